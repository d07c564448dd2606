"""Judges whether the exception of a call is a failure of the remote, an answer, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from ..exceptions import CircuitOpenError, InvalidInputError, RemoteCallFailedException
from ..process.observers import CallOutcome
from .libraries import own_kind, status_of
from .uploads import is_marked

#: A class of exceptions, or a callable that receives an exception and returns whether it is one.
Rule = type[BaseException] | Callable[[Any], object]
Exceptions = Rule | tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Failures:
    """The exceptions that count as failed calls::

        Failures(exceptions=(sdk.Error, OSError), excluded=lambda error: error.code == "declined")

    Args:
        exceptions: The exceptions that count as failures: a class, a callable that receives an
            exception and returns whether it counts, or a tuple of both.
        excluded: The exceptions that are answers of the remote, named in the same way.

    Raises:
        InvalidInputError: An item is neither an exception class nor callable.
    """

    exceptions: Exceptions = Exception
    excluded: Exceptions = ()
    _named: _Rules = field(init=False, repr=False, compare=False)
    _excluded: _Rules = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_named", _Rules.of(self.exceptions))
        object.__setattr__(self, "_excluded", _Rules.of(self.excluded))

    def judge(self, error: BaseException, statuses: Collection[int]) -> CallOutcome:
        """Return the outcome that an exception stands for.

        - A success: it is excluded, or was raised for a status that is no failure, such as a 404.
          Such an exception is an answer of the remote.
        - A failure: it is named. In an exception group, one failure among the leaves is enough.
        - Nothing: any other exception, such as a refusal by another circuit, an error in the body
          that was sent, or another mistake of the caller that is not named by its own class.

        Args:
            statuses: The HTTP statuses that count as failures.
        """
        if isinstance(error, BaseExceptionGroup) and not self._named.name_group(error):
            return _together([self.judge(each, statuses) for each in error.exceptions])
        if isinstance(error, CircuitOpenError) or is_marked(error):
            return CallOutcome.IGNORED
        if self._excluded.match(error):
            return CallOutcome.SUCCESS
        if self._named.choose(error):
            return CallOutcome.FAILURE
        if _is_answer(error, statuses):
            return CallOutcome.SUCCESS
        return CallOutcome.FAILURE if self._named.name(error) else CallOutcome.IGNORED


@dataclass(frozen=True, slots=True)
class _Rules:
    """The exceptions that a caller names, sorted into classes and callables."""

    classes: tuple[type[BaseException], ...]
    tests: tuple[Callable[[Any], object], ...]

    @classmethod
    def of(cls, given: Exceptions) -> _Rules:
        rules = given if isinstance(given, tuple) else (given,)
        classes = tuple(each for each in rules if isinstance(each, type))
        tests = tuple(each for each in rules if not isinstance(each, type))
        for each in rules:
            if not (_is_exception_class(each) if isinstance(each, type) else callable(each)):
                raise InvalidInputError(
                    "Name exceptions as a class, a callable that returns whether one counts, or "
                    f"a tuple of those; {each!r} is none."
                )
        return cls(classes, tests)

    def match(self, error: BaseException) -> bool:
        """Return whether an exception is named by a class or a callable."""
        return self.choose(error) or isinstance(error, self._classes_for(error))

    def choose(self, error: BaseException) -> bool:
        """Return whether a callable says that an exception counts."""
        # Callables judge errors. They need not know of a cancelled task or a Ctrl-C.
        return isinstance(error, Exception) and any(
            is_true(test(error), "The callable that names exceptions") for test in self.tests
        )

    def name(self, error: BaseException) -> bool:
        """Return whether a class names an exception. Only their own class names mistakes."""
        named = self._classes_for(error)
        if not isinstance(error, named):
            return False
        own = own_kind(error)
        return own is None or any(issubclass(each, own) for each in named)

    def name_group(self, group: BaseExceptionGroup[Any]) -> bool:
        """Return whether a class names exception groups as such, not their leaves."""
        kinds = tuple(each for each in self.classes if issubclass(each, BaseExceptionGroup))
        return isinstance(group, kinds)

    def _classes_for(self, error: BaseException) -> tuple[type[BaseException], ...]:
        if isinstance(error, Exception):
            return self.classes
        # A caller that names BaseException does not mean a cancelled task or a Ctrl-C.
        return tuple(each for each in self.classes if each is not BaseException)


def is_true(answer: object, what: str) -> bool:
    """Return the answer of a caller's callable as a bool.

    Args:
        what: The name of the callable for the error.

    Raises:
        InvalidInputError: The answer is None, most likely because a ``return`` is missing.
    """
    if answer is None:
        raise InvalidInputError(f"{what} must return true or false, not None.")
    return bool(answer)


def _is_answer(error: BaseException, statuses: Collection[int]) -> bool:
    if isinstance(error, RemoteCallFailedException):
        return False  # another circuit has already judged the answer
    status = status_of(error)
    return status is not None and status not in statuses


def _together(outcomes: Collection[CallOutcome]) -> CallOutcome:
    """Return the outcome of a call from those of its parts."""
    if CallOutcome.FAILURE in outcomes:
        return CallOutcome.FAILURE
    return CallOutcome.IGNORED if CallOutcome.IGNORED in outcomes else CallOutcome.SUCCESS


def _is_exception_class(given: type) -> bool:
    return issubclass(given, BaseException)
