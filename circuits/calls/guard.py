"""Puts any code behind a circuit: a block, a function or a callable. Knows nothing about HTTP."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from time import monotonic
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

from .. import conf
from ..core.policy import Policy
from ..exceptions import CircuitOpenError, InjectedFailureError, InvalidInputError
from ..process import faults
from ..process.entry import (
    abegin,
    admit_anywhere,
    astore_success,
    begin,
    begin_in_memory,
)
from ..process.gate import Ticket
from ..process.observers import CallOutcome
from ..process.results import release, store_success, succeed_in_memory
from ..process.runtime import gate, gates
from ..validation import check_name
from .callables import check_fallback, is_async, is_generator, name_of, receiving
from .failures import Exceptions, Failures
from .naming import fitted
from .settle import asettle_error, failed, settle_error

P = ParamSpec("P")
R = TypeVar("R")
_ANY_EXCEPTION: Final = Failures()


class guard:  # noqa: N801 - a context manager, used like a function
    """Run a block of code as one call through a circuit, with ``with`` or ``async with``::

        with circuits.guard("payments", exceptions=(sdk.ConnectionError,)):
            sdk.charge(order)

    The block's exception goes through untouched. Make a new guard for each block.

    Args:
        name: The circuit's name.
        exceptions: The exceptions that count as failures: a class, a callable that receives one
            and returns whether it counts, or a tuple of both. Any other counts as nothing.
        exclude: Exceptions that are answers of the remote, and so count as successes; named in the
            same way.

    Raises:
        CircuitOpenError: On entering, when the circuit refuses calls.
        InjectedFailureError: On entering, when somebody injects faults and this call is to fail.
        InvalidInputError: The name cannot be a circuit's.
    """

    __slots__ = ("_began_at", "_failures", "_is_used", "_name", "_ticket")

    def __init__(
        self, name: str, *, exceptions: Exceptions = Exception, exclude: Exceptions = ()
    ) -> None:
        # A name with a gate was checked when the gate was made.
        known = type(name) is str and name in gates
        self._name = name if known else check_name(name)
        plain = exceptions is Exception and exclude == ()
        self._failures = _ANY_EXCEPTION if plain else Failures(exceptions, exclude)
        self._ticket: Ticket | None = None
        self._began_at = 0.0
        self._is_used = False

    def __enter__(self) -> None:
        self._begin()
        try:
            self._began_at = now = monotonic()
            self._ticket = begin(self._name, now)
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
            if succeed_in_memory(ticket, self._began_at):
                store_success(ticket)
        else:
            settle_error(ticket.begun(self._began_at), error, self._failures)

    async def __aenter__(self) -> None:
        self._begin()
        try:
            self._ticket = begin_in_memory(self._name) or await abegin(self._name)
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
            if succeed_in_memory(ticket, ticket.started_at):
                await astore_success(ticket)
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
    fallback: Callable[..., Any] | None = None,
    *,
    exceptions: Exceptions = Exception,
    exclude: Exceptions = (),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function, ``def`` or ``async def``, so that its calls go through a circuit::

        @circuits.protect("payments", fallback=lambda error: None)
        def charge(order): ...

    Args:
        name: The circuit's name.
        fallback: A function that is called if the call fails or is refused. It receives the
            exception and, if it takes more arguments, those of the call. Its result (awaited, if
            it is async) is returned instead. The failure still counts. Without a fallback the
            original exception goes through untouched.
        exceptions: The exceptions that count as failures: a class, a callable that receives one
            and returns whether it counts, or a tuple of both. Any other counts as nothing.
        exclude: Exceptions that are answers of the remote, and so count as successes; named in the
            same way.

    Raises:
        CircuitOpenError: By the decorated function, when the circuit refuses the call.
        InjectedFailureError: By the decorated function, when somebody injects faults and this
            call is to fail. Its fallback is called as for any failure.
        InvalidInputError: The name cannot be a circuit's.
        TypeError: The function is a generator, whose work is not done by calling it; it is a
            property; or the fallback is async and the function is not.
    """
    check_name(name)
    failures = Failures(exceptions, exclude)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if isinstance(function, classmethod | staticmethod):
            return cast(Callable[P, R], type(function)(decorate(function.__func__)))
        _check_decorated(name, function, fallback)
        if is_async(function):
            call = _protected_async(name, function, failures)
            return cast(Callable[P, R], _with_async_fallback(name, call, fallback, failures))
        plain = _protected(name, function, failures)
        return _with_fallback(name, plain, fallback, failures)

    return decorate


def _check_decorated(
    name: str, function: Callable[..., Any], fallback: Callable[..., Any] | None
) -> None:
    """Refuse to decorate something whose work would not go through the circuit.

    Raises:
        TypeError: It cannot be decorated; the message says what to do instead.
    """
    if not callable(function):
        raise TypeError(
            f"protect decorates a function, not a {type(function).__name__}; "
            f"put @circuits.protect({name!r}) below the other decorator."
        )
    if is_generator(function):
        raise TypeError(
            f"protect cannot decorate the generator {name_of(function)}; "
            f"use `with circuits.guard({name!r}):` inside it."
        )
    if not is_async(function):
        check_fallback(fallback, name_of(function))


def _protected(name: str, function: Callable[P, R], failures: Failures) -> Callable[P, R]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        began_at = monotonic()
        ticket = begin(name, began_at, admit_anywhere)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            settle_error(ticket.begun(began_at), error, failures)
            raise
        if result is not None and hasattr(result, "__await__"):
            return cast(R, _awaited(name, result, failures, _going_on(ticket)))
        if succeed_in_memory(ticket, began_at):
            store_success(ticket)
        return result

    return call


def _protected_async(
    name: str, function: Callable[P, Any], failures: Failures
) -> Callable[P, Awaitable[Any]]:
    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        ticket = begin_in_memory(name) or await abegin(name)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            await asettle_error(ticket, error, failures)
            raise
        if succeed_in_memory(ticket, ticket.started_at):
            await astore_success(ticket)
        return result

    return call


def _going_on(ticket: Ticket) -> Ticket | None:
    """Keep the ticket of a trial until the awaitable is awaited; give any other one back.

    Perhaps nobody ever awaits it. Then a place would be lost, while a lease ends by itself.
    """
    if ticket.permit.lease is not None:
        return ticket
    ticket.started_at = 0.0  # it is timed from when it is awaited
    release(ticket)
    return None


async def _awaited(
    name: str,
    awaitable: Awaitable[Any],
    failures: Failures,
    ticket: Ticket | None,
    *,
    with_faults: bool = False,
) -> Any:
    """Await the result of a function that is not async, as one call through the circuit.

    Args:
        with_faults: Whether faults are injected now, since none were before the function was
            called.
    """
    try:
        if ticket is None:
            ticket = begin_in_memory(name) or await abegin(name, with_faults=with_faults)
        elif with_faults:
            await faults.asuffer(ticket)
        try:
            result = await awaitable
        except BaseException as error:
            await asettle_error(ticket, error, failures)
            raise
        if succeed_in_memory(ticket, ticket.started_at):
            await astore_success(ticket)
        return result
    finally:
        if inspect.iscoroutine(awaitable):
            awaitable.close()  # or Python would warn that a refused one was never awaited


def _with_fallback(
    name: str,
    function: Callable[P, R],
    fallback: Callable[..., Any] | None,
    failures: Failures,
) -> Callable[P, R]:
    if fallback is None:
        return function
    fall_back = receiving(fallback)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            if not _falls_back(name, error, failures):
                raise
            return cast(R, fall_back(error, *args, **kwargs))
        if hasattr(result, "__await__"):
            later = _with_async_fallback(name, lambda *_, **__: result, fallback, failures)
            return cast(R, later(*args, **kwargs))
        return result

    return call


def _with_async_fallback(
    name: str,
    function: Callable[P, Any],
    fallback: Callable[..., Any] | None,
    failures: Failures,
) -> Callable[P, Awaitable[Any]]:
    if fallback is None:
        return function
    fall_back = receiving(fallback)

    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return await function(*args, **kwargs)
        except Exception as error:
            if not _falls_back(name, error, failures):
                raise
            value = fall_back(error, *args, **kwargs)
            return await value if inspect.isawaitable(value) else value

    return call


def _falls_back(name: str, error: Exception, failures: Failures) -> bool:
    if isinstance(error, CircuitOpenError) or _is_injected(name, error):
        return True
    return failures.judge(error, gate(name).view.failure_statuses) is CallOutcome.FAILURE


def _is_injected(name: str, error: Exception) -> bool:
    """Return whether a failure was injected into the calls of this very circuit."""
    return isinstance(error, InjectedFailureError) and error.name == name


class CircuitBreaker:
    """Call a function through a circuit::

        breaker = CircuitBreaker(sdk.charge, exceptions=(sdk.Error,), threshold=3, delay=30)
        breaker.make_remote_call(order)

    Args:
        func: The function to call. If it is async, the caller awaits what it returns.
        exceptions: The exceptions that count as failures: a class, a callable that receives one
            and returns whether it counts, or a tuple of both. Any other goes through.
        threshold: Consecutive failures that open the circuit.
        delay: Seconds for which the open circuit refuses calls.
        name: The circuit's name; the function's module and name by default.
        exclude: Exceptions that are answers of the remote, and so count as successes; named in the
            same way.

    The policy applies to a new circuit. Once its row exists, or if the settings name the circuit,
    those values win.

    Raises:
        InvalidInputError: The name, threshold or delay cannot be used.
        TypeError: ``func`` is a generator, whose work is not done by calling it.
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
        if is_generator(func):
            raise TypeError(
                f"CircuitBreaker cannot call the generator {name_of(func)}; "
                "use `with circuits.guard(...):` inside it."
            )
        self.func = func
        self._is_async = is_async(func)
        self.failures = Failures(exceptions, exclude)
        self.name = check_name(_name_of(func) if name is None else name)
        policy = Policy(threshold=threshold, delay=delay)
        conf.declare(self.name, threshold=policy.threshold, delay=policy.delay)

    def make_remote_call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function through the circuit and return what it returns.

        If that is an awaitable, the call lasts until it has been awaited.

        Raises:
            CircuitOpenError: The circuit refuses calls; the function was not called.
            RemoteCallFailedException: The call failed; its cause is the function's exception.
        """
        began_at = monotonic()
        try:
            # An async function does its work only when it is awaited.
            ticket = begin(self.name, began_at, admit_anywhere, not self._is_async)
        except InjectedFailureError as error:
            raise failed(self.name, error) from error
        try:
            result = self.func(*args, **kwargs)
        except BaseException as error:
            if settle_error(ticket.begun(began_at), error, self.failures):
                raise failed(self.name, error) from error
            raise
        if result is not None and hasattr(result, "__await__"):
            return self._awaited(result, _going_on(ticket))
        if succeed_in_memory(ticket, began_at):
            store_success(ticket)
        return result

    async def _awaited(self, awaitable: Awaitable[Any], ticket: Ticket | None) -> Any:
        try:
            return await _awaited(
                self.name, awaitable, self.failures, ticket, with_faults=self._is_async
            )
        except Exception as error:
            if isinstance(error, CircuitOpenError):
                raise
            if not _is_injected(self.name, error):
                outcome = self.failures.judge(error, gate(self.name).view.failure_statuses)
                if outcome is not CallOutcome.FAILURE:
                    raise
            raise failed(self.name, error) from error


def _name_of(func: Callable[..., Any]) -> str:
    name = getattr(func, "__qualname__", type(func).__qualname__)
    module = getattr(func, "__module__", None)
    if "<" in name or isinstance(func, partial):
        raise InvalidInputError(f"{name} cannot name a circuit; pass CircuitBreaker a name.")
    return fitted(f"{module}.{name}" if module else name)
