"""Makes refusals that are also errors of a library, and of a framework."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, cast

from ..exceptions import CircuitOpenError

E = TypeVar("E", bound=CircuitOpenError)


def also(kind: type[E], refusal: CircuitOpenError) -> type[E]:
    """Return a class that is both a library's error and the class of the refusal.

    Where a framework has refusals of its own, as Django REST framework has, its views answer
    those that come out of a library's client as well.

    Args:
        kind: A class that code written for the library takes for one of its own errors.
        refusal: A refusal of the same circuit, as the gate raises it.
    """
    library, framework = cast(Any, kind), cast(Any, type(refusal))
    return cast(type[E], _both(library, framework))


@cache
def _both(kind: Any, other: Any) -> Any:
    if issubclass(kind, other):
        return kind

    def reduce(self: Any) -> Any:
        # A class that has no name of its own cannot be found again: it is rebuilt as the one.
        _class, *rest = super(both, self).__reduce__()
        return (kind, *rest)

    own = {name: getattr(kind, name) for name in ("__doc__", "__module__", "__qualname__")}
    both: Any = type(kind.__name__, (kind, other), {**own, "__reduce__": reduce})
    return both
