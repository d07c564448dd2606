"""Tells what calling a function returns: a value, an awaitable or a generator; checks fallbacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from asgiref.sync import iscoroutinefunction

_MORE: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether calling a function is known to return an awaitable.

    This holds for an ``async def``, an object whose ``__call__`` is one, and a
    ``functools.partial`` of either.
    """
    inner = _inner(function)
    return iscoroutinefunction(inner) or iscoroutinefunction(_call_of(inner))


def is_generator(function: Callable[..., Any]) -> bool:
    """Return whether calling a function returns a generator, whose work is still to be done."""
    inner = _inner(function)
    return any(
        check(each)
        for check in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
        for each in (inner, _call_of(inner))
    )


def name_of(function: Callable[..., Any]) -> str:
    """Return the name by which people know a function."""
    inner = _inner(function)
    return str(getattr(inner, "__qualname__", type(inner).__qualname__))


def check_fallback(fallback: Callable[..., Any] | None, of: str) -> None:
    """Refuse an async fallback of a function that is not async.

    Args:
        of: The name of the function that it is the fallback of.

    Raises:
        TypeError: The fallback is async.
    """
    if fallback is not None and is_async(fallback):
        raise TypeError(
            f"The fallback {name_of(fallback)} is async, and {of} is not; give it one that is not."
        )


def receiving(fallback: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a fallback so that it can be called with the exception and the call's arguments.

    The arguments are passed on only if the fallback has a second argument without a default,
    ``*args`` or ``**kwargs``. Otherwise it gets the exception alone.
    """
    return fallback if _takes_more(fallback) else lambda error, *args, **kwargs: fallback(error)


def _takes_more(fallback: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(fallback).parameters.values())
    except ValueError:  # some built-in functions have no signature
        return False
    if any(each.kind in _MORE for each in parameters):
        return True
    needed = [each for each in parameters if each.default is each.empty]
    return len(needed) > 1 or any(each.kind not in _POSITIONAL for each in needed)


def _inner(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, partial):
        function = function.func
    return function


def _call_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that runs when an object is called."""
    return getattr(type(function), "__call__", function)  # noqa: B004 - the method itself
