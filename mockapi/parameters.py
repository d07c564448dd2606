"""Reads query parameters, and says in one sentence what is wrong with a bad one."""

from django.http import HttpRequest
from django.utils.translation import gettext as _

MAX_SEED_LENGTH = 100


class BadParameterError(ValueError):
    """A parameter has a bad value; the message names it and says which values are allowed."""


def read_number(request: HttpRequest, name: str, *, default: float, highest: float) -> float:
    """Return a parameter as a number from 0 to `highest`.

    Raises:
        BadParameterError: It is not a number, or out of range.
    """
    try:
        value = float(request.GET.get(name, default))
    except ValueError:
        value = -1.0  # refused below, with the same message as a number out of range
    if not 0 <= value <= highest:  # nan is refused too, since every comparison with it is false
        raise BadParameterError(
            _("%(name)s must be a number from 0 to %(highest)g, for example %(name)s=%(default)g.")
            % {"name": name, "highest": highest, "default": default}
        )
    return value


def read_seed(request: HttpRequest) -> str | None:
    """Return the seed, or None if the request has none.

    Raises:
        BadParameterError: The seed is empty or too long.
    """
    seed = request.GET.get("seed")
    if seed is not None and not 1 <= len(seed) <= MAX_SEED_LENGTH:
        raise BadParameterError(
            _("seed must have 1 to %(limit)d characters; leave it out for random outcomes.")
            % {"limit": MAX_SEED_LENGTH}
        )
    return seed
