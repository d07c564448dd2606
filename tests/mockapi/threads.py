"""A helper for tests with many threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import TypeVar

T = TypeVar("T")


class YieldingKey(str):
    """A string that lets other threads run whenever a dict looks it up.

    It widens the gap between reading a value of a dict and writing it back. So code without a lock
    loses updates at once, and not once in a million runs.
    """

    __slots__ = ()

    def __hash__(self) -> int:
        sleep(0)
        return super().__hash__()


def run_in_threads(action: Callable[[], T], *, times: int, threads: int = 16) -> list[T]:
    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(action) for _ in range(times)]]
