"""Which outcomes are failures of the remote."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .exceptions import CircuitOpenError, InvalidInputError

Exceptions = type[BaseException] | tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class Failures:
    """The exceptions that count as failed calls.

    Args:
        exceptions: The classes that count.
        excluded: Those among them that do not.

    Raises:
        InvalidInputError: One of them is neither an exception class nor a tuple of them.
    """

    exceptions: Exceptions = Exception
    excluded: Exceptions = ()

    def __post_init__(self) -> None:
        _check_classes(self.exceptions)
        _check_classes(self.excluded)

    def include(self, error: BaseException, statuses: Collection[int]) -> bool:
        """Return whether an exception counts as a failed call.

        An HTTP error that carries its response, as those of requests and httpx do, counts by its
        status: a 404 is an answer. A refusal by another circuit says nothing about this remote.
        """
        if not isinstance(error, self.exceptions) or isinstance(error, self.excluded):
            return False
        if isinstance(error, CircuitOpenError):
            return False
        status = getattr(getattr(error, "response", None), "status_code", None)
        return status in statuses if isinstance(status, int) else True


def _check_classes(given: object) -> None:
    for each in given if isinstance(given, tuple) else (given,):
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise InvalidInputError(
                f"Name exceptions as a class or a tuple of classes; {each!r} is none."
            )
