"""What calling a function returns, and which arguments a fallback is given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from circuits.calls.callables import (
    check_fallback,
    is_async,
    is_generator,
    name_of,
    receiving,
)

ERROR = ValueError("down")


def error_alone(error: Any) -> Any:
    return error


def with_default(error: Any, order: Any = "none") -> Any:
    return error, order


def positional(error: Any, order: Any, currency: Any = "EUR") -> Any:
    return error, order, currency


def positional_only(error: Any, order: Any, /) -> Any:
    return error, order


def named_only(error: Any, *, currency: Any) -> Any:
    return error, currency


def any_positional(*args: Any) -> Any:
    return args


def any_named(error: Any, **kwargs: Any) -> Any:
    return error, kwargs


@pytest.mark.parametrize(
    ("fallback", "args", "kwargs", "result"),
    [
        (error_alone, (5,), {"currency": "USD"}, ERROR),
        (with_default, (5,), {}, (ERROR, "none")),
        (positional, (5,), {"currency": "USD"}, (ERROR, 5, "USD")),
        (positional_only, (5,), {}, (ERROR, 5)),
        (named_only, (), {"currency": "USD"}, (ERROR, "USD")),
        (any_positional, (5,), {}, (ERROR, 5)),
        (any_named, (), {"currency": "USD"}, (ERROR, {"currency": "USD"})),
        (partial(positional, order=7), (), {}, (ERROR, 7, "EUR")),
        (bool, (5,), {}, True),
    ],
)
def test_a_fallback_gets_the_arguments_that_it_takes(
    fallback: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> None:
    assert receiving(fallback)(ERROR, *args, **kwargs) == result


async def later() -> None: ...


def parts() -> Iterator[int]:
    yield 1


async def later_parts() -> AsyncIterator[int]:
    yield 1


class Later:
    async def __call__(self) -> None: ...


class Parts:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    ("function", "returns_awaitable", "returns_generator", "name"),
    [
        (error_alone, False, False, "error_alone"),
        (later, True, False, "later"),
        (partial(partial(later)), True, False, "later"),
        (Later(), True, False, "Later"),
        (partial(Later()), True, False, "Later"),
        (Later, False, False, "Later"),
        (parts, False, True, "parts"),
        (partial(parts), False, True, "parts"),
        (Parts(), False, True, "Parts"),
        (later_parts, False, True, "later_parts"),
    ],
)
def test_what_a_function_returns_is_known_before_it_is_called(
    function: Callable[..., Any], returns_awaitable: bool, returns_generator: bool, name: str
) -> None:
    assert is_async(function) is returns_awaitable
    assert is_generator(function) is returns_generator
    assert name_of(function) == name


def test_an_async_fallback_is_for_an_async_function() -> None:
    check_fallback(None, "charge")
    check_fallback(error_alone, "charge")
    with pytest.raises(TypeError) as refused:
        check_fallback(later, "charge")
    assert str(refused.value) == (
        "The fallback later is async, and charge is not; give it one that is not."
    )
