"""Work that one thread does for another, which can stop waiting for it.

A :class:`concurrent.futures.Future` can do more, and costs as much as a short query.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Errand(Generic[T]):
    """Work for another thread, and what came of it.

    Args:
        work: What is to be done.
    """

    __slots__ = ("_done", "_error", "_late", "_result", "_work")

    def __init__(self, work: Callable[[], T]) -> None:
        # Whoever takes the work out of the list does it or drops it; a list's pop is one step.
        self._work = [work]
        self._done = Lock()
        self._done.acquire()
        self._result: T | None = None
        self._error: BaseException | None = None
        self._late: list[Callable[[T], object]] = []

    def do(self) -> None:
        """Do the work, unless it was given up before it began."""
        work = _taken(self._work)
        if work is None:
            return
        try:
            self._result = work()
        except BaseException as error:
            self._error = error
        self._done.release()
        self._tell_late()

    @property
    def has_begun(self) -> bool:
        """Whether the work has begun, or was given up."""
        return not self._work

    def wait(self, seconds: float) -> bool:
        """Wait for the work at most so long; return whether it is done."""
        if not self._done.acquire(timeout=max(0.0, seconds)):
            return False
        self._done.release()
        return True

    def result(self) -> T:
        """Return what the work has returned, or raise what it has raised, once it is done."""
        if self._error is None:
            return cast(T, self._result)
        try:
            raise self._error
        finally:
            del self  # or the traceback would hold what holds the error

    def give_up(self, late: Callable[[T], object]) -> None:
        """Drop the work if it has not begun; otherwise pass on its result when it comes.

        Args:
            late: Called with the result, by the thread that does the work. An error is nobody's.
        """
        if _taken(self._work) is None:
            self._late.append(late)
            if self.wait(0):  # perhaps it was done before anybody asked for its result
                self._tell_late()

    def _tell_late(self) -> None:
        tell = _taken(self._late)
        if tell is not None and self._error is None:
            tell(cast(T, self._result))


def _taken(held: list[T]) -> T | None:
    """Take what a list holds; return None if another thread has taken it."""
    try:
        return held.pop()
    except IndexError:
        return None
