"""Makes classes of refusals that are also errors of a library."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, cast

from ..exceptions import CircuitOpenError

E = TypeVar("E", bound=CircuitOpenError)


def also(kind: type[E], refusal: CircuitOpenError) -> type[E]:
    """Return a class that is both a library's error and the class of the refusal.

    If refusals are also errors of a framework, as with Django REST framework, so is the new class.
    The framework's views then answer refusals of a library's client as well.

    Args:
        kind: A refusal class that is also an error of the library.
        refusal: A refusal of the same circuit, as the gate raises it.
    """
    library, framework = cast(Any, kind), cast(Any, type(refusal))
    return cast(type[E], _both(library, framework))


@cache
def _both(kind: Any, other: Any) -> Any:
    if issubclass(kind, other):
        return kind

    def reduce(self: Any) -> Any:
        # Pickle cannot find a class made here by its name, so it is rebuilt as the library's.
        _class, *rest = super(both, self).__reduce__()
        return (kind, *rest)

    own = {name: getattr(kind, name) for name in ("__doc__", "__module__", "__qualname__")}
    both: Any = type(kind.__name__, (kind, other), {**own, "__reduce__": reduce})
    return both
