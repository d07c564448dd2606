"""Permit, call, settle: the circuit around a piece of code, sync and async. It knows no HTTP."""

from __future__ import annotations

import atexit
import inspect
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from time import monotonic
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

from asgiref.sync import iscoroutinefunction

from . import conf, threads
from .exceptions import CircuitOpenError, InvalidInputError, RemoteCallFailedException
from .failsafe import FailSafeStore
from .flusher import Flusher
from .forks import leave_connection_to_parent
from .gate import Gate, Ticket
from .gates import Gates
from .machine import Policy, Step
from .memory import MemoryStore
from .outcomes import Exceptions, Failures
from .redaction import describe
from .store import DatabaseStore, Note, Snapshot, announce
from .validation import check_name

P = ParamSpec("P")
R = TypeVar("R")

#: This process's gates, by the circuit's name.
_gates: Final = Gates()


def _recall(name: str) -> Snapshot | None:
    gate = _gates.get(name)
    return gate.snapshot if gate is not None else None


store: Final = FailSafeStore(DatabaseStore(), MemoryStore(_recall))


# Asking for leave and reporting back -----------------------------------------------------------


def admit(name: str) -> Ticket:
    """Return leave to make one call through the circuit.

    Raises:
        CircuitOpenError: The circuit refuses calls for now.
        InvalidInputError: The name cannot be a circuit's.
        TooManyCircuitsError: The circuit is new and there are too many already.
    """
    gate = _gates.get(name)
    if gate is None:
        return _admit_first(name)
    now = monotonic()
    if now < gate.passes_until:
        return gate.ticket
    if now < gate.refuses_until:
        # Raised from here, since each frame on the way up costs a refusal as much as the rest.
        raise gate.refused(gate.retry_at - now)
    return gate.admit()


async def aadmit(name: str) -> Ticket:
    """Return leave to make one call, as :func:`admit` does, without blocking the event loop."""
    known = _gates.get(name)
    ticket = known.admit_in_memory() if known is not None else None
    if ticket is None and (known is None or known.begin_renewal()):
        # One thread reads the circuit for all tasks of the loop, however many come at once.
        gate, snapshot = await threads.in_thread_for_all(name, _current, name)
        ticket = gate.admit_by(snapshot)
    if ticket is not None:
        return ticket
    return await threads.in_thread(admit, name, undo=Ticket.release)


def settle_error(ticket: Ticket, error: BaseException, failures: Failures) -> bool:
    """Report the exception a call ended with; return whether it counted as a failure."""
    if failures.include(error, ticket.gate.failure_statuses):
        ticket.fail(describe(error))
        return True
    ticket.release()
    return False


def failed(name: str, error: BaseException, words: str = "") -> RemoteCallFailedException:
    """Return what to raise from the exception of a failed call.

    Args:
        words: What to say of it, free of secrets; the exception's type and message by default.
    """
    message = f"The call to {name} failed: {words or describe(error)}"
    return RemoteCallFailedException(message, name, getattr(error, "response", None))


async def asucceed(ticket: Ticket) -> None:
    """Report a success without blocking the event loop."""
    if not ticket.succeed_in_memory():
        return
    gate = ticket.gate
    if gate.awaits_renewal(ticket):
        await threads.in_thread_for_all(gate, gate.current)
        if not gate.dirty:
            return
    await threads.in_thread(gate.store_success, ticket)


async def asettle_error(ticket: Ticket, error: BaseException, failures: Failures) -> bool:
    """Report an exception as :func:`settle_error` does, without blocking the event loop."""
    if ticket.permit.lease is None and not failures.include(error, ticket.gate.failure_statuses):
        ticket.release()
        return False
    return await threads.in_thread(settle_error, ticket, error, failures)


def operate(name: str, decide: Callable[[Snapshot], Step], note: Note) -> bool:
    """Change a circuit on somebody's word; return whether anything is different.

    Raises:
        django.db.Error: The database does not answer. What people ask for is done for all
            processes or not at all, so this never falls back on memory.
    """
    changed = store.for_people.change(name, decide, note)
    known = _gates.get(name)
    if known is not None:
        known.expire()
    announce(changed)
    return changed.happened


def gate(name: str) -> Gate:
    """Return this process's gate to a circuit."""
    found = _gates.get(name)
    if found is None:
        found = _gates.add(Gate(check_name(name), store))
        flusher.ensure_running()
    return found


def _admit_first(name: str) -> Ticket:
    with _perhaps_new(name) as new:
        return new.admit()


def _current(name: str) -> tuple[Gate, Snapshot]:
    with _perhaps_new(name) as known:
        return known, known.current()


@contextmanager
def _perhaps_new(name: str) -> Iterator[Gate]:
    found = gate(name)
    try:
        yield found
    finally:
        if found.snapshot is None:
            # The store would not have it: a name refused must not fill the memory.
            _gates.pop(name, None)


# Around a block, a function, a callable ----------------------------------------------------------

_ANY_EXCEPTION: Final = Failures()


class guard:  # noqa: N801 - a context manager, used like a function
    """A block of code as a call through a circuit: ``with guard(name):`` or ``async with``.

    The block's exception goes through untouched. Make a new guard for each block.

    Args:
        name: The circuit's name.
        exceptions: The exceptions that count as failures; any other counts as nothing.
        exclude: Those among them that count as nothing either.

    Raises:
        CircuitOpenError: On entering, when the circuit refuses calls.
        InvalidInputError: The name cannot be a circuit's.
    """

    __slots__ = ("_failures", "_is_used", "_name", "_ticket")

    def __init__(
        self, name: str, *, exceptions: Exceptions = Exception, exclude: Exceptions = ()
    ) -> None:
        # A name that has a gate was checked when the gate was made.
        known = type(name) is str and name in _gates
        self._name = name if known else check_name(name)
        plain = exceptions is Exception and exclude == ()
        self._failures = _ANY_EXCEPTION if plain else Failures(exceptions, exclude)
        self._ticket: Ticket | None = None
        self._is_used = False

    def __enter__(self) -> None:
        self._begin()
        try:
            self._ticket = admit(self._name)
        except BaseException:
            self._is_used = False
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ticket = self._take()
        if error is None:
            ticket.succeed()
        else:
            settle_error(ticket, error, self._failures)

    async def __aenter__(self) -> None:
        self._begin()
        try:
            self._ticket = await aadmit(self._name)
        except BaseException:
            self._is_used = False
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ticket = self._take()
        if error is None:
            await asucceed(ticket)
        else:
            await asettle_error(ticket, error, self._failures)

    def _begin(self) -> None:
        if self._is_used:
            raise RuntimeError("This guard is in use; make a new one for each block.")
        self._is_used = True

    def _take(self) -> Ticket:
        ticket, self._ticket = cast(Ticket, self._ticket), None
        self._is_used = False
        return ticket


def protect(
    name: str,
    fallback: Callable[[Exception], Any] | None = None,
    *,
    exceptions: Exceptions = Exception,
    exclude: Exceptions = (),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function, ``def`` or ``async def``, so that its calls go through a circuit.

    Args:
        name: The circuit's name.
        fallback: Receives the exception of a failed or refused call; what it returns (awaited, if
            it must be) is returned instead. The failure counts all the same. Without it the
            original exception goes through untouched.
        exceptions: The exceptions that count as failures; any other counts as nothing.
        exclude: Those among them that count as nothing either.

    Raises:
        CircuitOpenError: By the decorated function, when the circuit refuses the call.
        InvalidInputError: The name cannot be a circuit's.
        TypeError: The function is a generator, whose call does not yet do its work.
    """
    check_name(name)
    failures = Failures(exceptions, exclude)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"protect cannot decorate the generator {function.__qualname__}; "
                f"use `with circuits.guard({name!r}):` inside it."
            )
        if iscoroutinefunction(function):
            call = _protected_async(name, function, failures)
            guarded = (
                call if fallback is None else _with_async_fallback(name, call, fallback, failures)
            )
            return cast(Callable[P, R], guarded)
        plain = _protected(name, function, failures)
        return plain if fallback is None else _with_fallback(name, plain, fallback, failures)

    return decorate


def _protected(name: str, function: Callable[P, R], failures: Failures) -> Callable[P, R]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        ticket = admit(name)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            settle_error(ticket, error, failures)
            raise
        ticket.succeed()
        return result

    return call


def _protected_async(
    name: str, function: Callable[P, Awaitable[R]], failures: Failures
) -> Callable[P, Awaitable[R]]:
    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        ticket = await aadmit(name)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            await asettle_error(ticket, error, failures)
            raise
        await asucceed(ticket)
        return result

    return call


def _with_fallback(
    name: str, function: Callable[P, R], fallback: Callable[[Exception], Any], failures: Failures
) -> Callable[P, R]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not _falls_back(name, error, failures):
                raise
            return cast(R, fallback(error))

    return call


def _with_async_fallback(
    name: str,
    function: Callable[P, Awaitable[R]],
    fallback: Callable[[Exception], Any],
    failures: Failures,
) -> Callable[P, Awaitable[R]]:
    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        except Exception as error:
            if not _falls_back(name, error, failures):
                raise
            value = fallback(error)
            return cast(R, await value if inspect.isawaitable(value) else value)

    return call


def _falls_back(name: str, error: Exception, failures: Failures) -> bool:
    refused = isinstance(error, CircuitOpenError)
    return refused or failures.include(error, gate(name).failure_statuses)


class CircuitBreaker:
    """A callable as a remote call through a circuit.

    Args:
        func: What makes the call; not a coroutine function (use :func:`protect` for those).
        exceptions: The exceptions that count as failures; any other goes through.
        threshold: Consecutive failures that open the circuit.
        delay: Seconds the open circuit refuses calls.
        name: The circuit's name; the function's module and name by default.
        exclude: Those among the exceptions that count as nothing.

    The policy is that of a new circuit: once the row exists, or where the settings name the
    circuit, those values win.

    Raises:
        InvalidInputError: The name, threshold or delay cannot be used.
        TypeError: ``func`` is a coroutine function.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        exceptions: Exceptions = (Exception,),
        threshold: int = 5,
        delay: float = 10,
        name: str | None = None,
        *,
        exclude: Exceptions = (),
    ) -> None:
        if iscoroutinefunction(func):
            raise TypeError(
                "CircuitBreaker cannot call a coroutine function; use circuits.protect."
            )
        self.func = func
        self.failures = Failures(exceptions, exclude)
        self.name = check_name(_name_of(func) if name is None else name)
        policy = Policy(threshold=threshold, delay=delay)
        conf.declare(self.name, threshold=policy.threshold, delay=policy.delay)

    def make_remote_call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function through the circuit and return what it returns.

        Raises:
            CircuitOpenError: The circuit refuses calls; the function was not called.
            RemoteCallFailedException: The call failed; its cause is the function's exception.
        """
        ticket = admit(self.name)
        try:
            result = self.func(*args, **kwargs)
        except BaseException as error:
            if settle_error(ticket, error, self.failures):
                raise failed(self.name, error) from error
            raise
        ticket.succeed()
        return result


def _name_of(func: Callable[..., Any]) -> str:
    name = getattr(func, "__qualname__", type(func).__qualname__)
    module = getattr(func, "__module__", None)
    if "<" in name or isinstance(func, partial):
        raise InvalidInputError(f"{name} cannot name a circuit; pass CircuitBreaker a name.")
    return f"{module}.{name}" if module else name


# What a process gathers, and its end -------------------------------------------------------------


def flush() -> None:
    """Write down the successes and refusals this process has gathered.

    Raises:
        django.db.Error: The database does not answer. Nothing is lost; the next flush tries again.
    """
    _gates.flush()


def forget() -> None:
    """Forget all that this process knows of circuits, unwritten tallies included."""
    _gates.forget()
    store.forget()


def forget_gate(name: str) -> None:
    """Forget what this process knows of one circuit, unwritten tallies included."""
    _gates.pop(name, None)


def _after_fork() -> None:
    """Leave the parent's gates, locks, threads and connection to the parent."""
    forget()
    leave_connection_to_parent(store.shared.alias)
    threads.forget()
    flusher.forget()


flusher: Final = Flusher(flush)
atexit.register(flusher.stop)
os.register_at_fork(after_in_child=_after_fork)
