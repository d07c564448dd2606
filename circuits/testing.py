"""Helpers for a site's tests: they keep circuits in memory, in the state that a test needs.

    from circuits.testing import memory_circuits, override_circuit

    with override_circuit("payments", state="open"):
        response = client.post("/checkout/")
    assert response.status_code == 503

Both work as a context manager and as a decorator, of ``def`` and of ``async def`` alike. With
pytest, the fixtures ``circuits_in_memory`` and ``override_circuit`` come with the package.

To keep circuits in memory in all tests of a site, set ``CIRCUITS["TEST_IN_MEMORY"] = True`` or use
:class:`MemoryRunner`.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from functools import wraps
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import iscoroutinefunction
from django.test.runner import DiscoverRunner

from . import conf
from .core.policy import Policy
from .core.status import Mode, State, Status
from .process.runtime import forget, forget_gate, store
from .storage import testruns
from .validation import check_name

# The mixin's base, for type checkers only.
if TYPE_CHECKING:
    _Runner = DiscoverRunner
else:
    _Runner = object

#: Seconds for which an overridden open circuit refuses calls: longer than any test runs.
LONG: Final = 3600.0


class _Decorator(ContextDecorator):
    """A context manager that decorates coroutine functions too."""

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *exc_info: object) -> None:
        raise NotImplementedError

    def __call__(self, function: Any) -> Any:
        """Decorate a function, or a coroutine function."""
        if not iscoroutinefunction(function):
            return super().__call__(function)

        @wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await function(*args, **kwargs)

        return call


class memory_circuits(_Decorator):  # noqa: N801 - used like a function
    """Keep all circuits in this process's memory during a block. They begin as new ones."""

    def __enter__(self) -> None:
        self._was_pinned = store.pinned
        forget()
        store.pinned = True

    def __exit__(self, *exc_info: object) -> None:
        store.pinned = self._was_pinned
        forget()


class MemoryCircuits(_Runner):
    """A mixin for test runners that keeps circuits in memory, new for each test."""

    def setup_test_environment(self, **kwargs: Any) -> None:
        """Set up the test environment, with the circuits in memory."""
        super().setup_test_environment(**kwargs)
        testruns.keep_in_memory()


class MemoryRunner(MemoryCircuits, DiscoverRunner):
    """Django's test runner, with circuits kept in memory, new for each test.

    Set ``TEST_RUNNER = "circuits.testing.MemoryRunner"``.
    """


class override_circuit(_Decorator):  # noqa: N801 - used like a function
    """Put a circuit into a state during a block. All circuits are in memory meanwhile.

    Args:
        name: The circuit's name.
        state: ``closed``, ``open`` or ``half_open``.
        mode: ``automatic``, ``forced_open``, ``forced_closed`` or ``observe``.
        retry_after: For how many seconds an open circuit refuses calls.
        policy: Any policy field, such as ``threshold=1``.

    Raises:
        InvalidInputError: The name or a policy value cannot be used.
        ValueError: There is no such state or mode.
    """

    def __init__(
        self,
        name: str,
        *,
        state: str = State.CLOSED,
        mode: str = Mode.AUTOMATIC,
        retry_after: float = LONG,
        **policy: Any,
    ) -> None:
        self._name = check_name(name)
        self._state, self._mode = State(state), Mode(mode)
        self._retry_after = retry_after
        self._policy = policy
        Policy(**policy)

    def __enter__(self) -> None:
        self._memory = None if store.in_memory else memory_circuits()
        if self._memory is not None:
            self._memory.__enter__()
        self._before = conf.declared(self._name)
        self._given = store.memory.given(self._name)
        conf.declare(self._name, **{**self._before, **self._policy})
        store.memory.put(self._name, self._status())
        forget_gate(self._name)

    def __exit__(self, *exc_info: object) -> None:
        conf.declare(self._name, **self._before)
        store.memory.put(self._name, self._given)
        forget_gate(self._name)
        if self._memory is not None:
            self._memory.__exit__(*exc_info)

    def _status(self) -> Status:
        now = monotonic()
        opened = self._state is not State.CLOSED or self._mode is Mode.FORCED_OPEN
        state = State.OPEN if self._mode is Mode.FORCED_OPEN else self._state
        return Status(
            state=state,
            mode=self._mode,
            opened_at=now if opened else None,
            down_since=now if opened else None,
            retry_at=now + self._retry_after if state is State.OPEN else None,
            changed_at=now,
        )
