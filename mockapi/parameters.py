"""Reading the query parameters, with one clear sentence for each that cannot be used."""

from django.http import HttpRequest
from django.utils.translation import gettext as _

MAX_SEED_LENGTH = 100


class BadParameterError(ValueError):
    """A parameter that cannot be used; the message names it and says what would do."""


def read_number(request: HttpRequest, name: str, *, default: float, highest: float) -> float:
    """The parameter as a number from 0 to `highest`."""
    try:
        value = float(request.GET.get(name, default))
    except ValueError:
        value = -1.0  # text is refused in the same words as a number out of range
    if not 0 <= value <= highest:  # written so that nan, which compares false, is refused too
        raise BadParameterError(
            _("%(name)s must be a number from 0 to %(highest)g, for example %(name)s=%(default)g.")
            % {"name": name, "highest": highest, "default": default}
        )
    return value


def read_seed(request: HttpRequest) -> str | None:
    """The seed, or None when the request has none."""
    seed = request.GET.get("seed")
    if seed is not None and not 1 <= len(seed) <= MAX_SEED_LENGTH:
        raise BadParameterError(
            _("seed must have 1 to %(limit)d characters; leave it out for random outcomes.")
            % {"limit": MAX_SEED_LENGTH}
        )
    return seed
