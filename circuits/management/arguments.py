"""Options and argument types that the commands share. Each error says what is expected."""

from __future__ import annotations

import re
from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from math import inf, isnan
from typing import Final

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ..exceptions import shown
from ..steering.handle import MODE_SECONDS

#: The units of a length of time, in seconds.
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def add_base_options(parser: CommandParser) -> None:
    """Accept Django's own options after an action too, not only before it."""
    for option in ("--no-color", "--force-color", "--traceback", "--skip-checks"):
        parser.add_argument(option, action="store_true", default=SUPPRESS, help=SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, default=SUPPRESS, help=SUPPRESS)
    for option in ("--settings", "--pythonpath"):
        parser.add_argument(option, default=SUPPRESS, help=SUPPRESS)


def add_policy_to_try(parser: CommandParser, help_of_changes: str) -> None:
    """Declare the circuit, the values to try on it, and ``--json``."""
    parser.add_argument("name", help=_("the circuit"))
    parser.add_argument("changes", nargs="*", metavar="FIELD=VALUE", help=help_of_changes)
    add_json(parser)


def add_json(parser: CommandParser) -> None:
    """Declare ``--json``."""
    parser.add_argument(
        "--json", action="store_true", dest="as_json", help=_("print JSON and nothing else")
    )


def number(text: str) -> float:
    """Parse a number; NaN is refused."""
    with suppress(ValueError):
        value = float(text)
        if not isnan(value):
            return value
    raise ArgumentTypeError(_("it must be a number, not %r") % text)


def whole_number(text: str) -> int:
    """Parse a whole number."""
    with suppress(ValueError):
        return int(text)
    raise ArgumentTypeError(_("it must be a whole number, not %r") % text)


def share(text: str) -> float:
    """Parse a share, such as ``50%`` or ``0.5``, and return it as a number from 0 to 1."""
    typed = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)(%?)", text)
    value = float(typed[1]) / (100 if typed[2] else 1) if typed else inf
    if value > 1:
        raise ArgumentTypeError(
            _("it must be a share from 0%% to 100%%, such as 50%%, not %s") % shown(text)
        )
    return value


def yes_or_no(text: str) -> bool:
    """Parse ``yes``, ``true``, ``no`` or ``false``, in upper or lower case."""
    if text.lower() in ("yes", "true"):
        return True
    if text.lower() in ("no", "false"):
        return False
    raise ArgumentTypeError(_("it must be yes or no, not %r") % text)


def mode_time(text: str) -> int:
    """Parse how long a mode lasts, such as ``30m``, and return it in seconds."""
    typed = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    seconds = int(typed[1]) * _UNITS[typed[2]] if typed else 0
    if not MODE_SECONDS.least <= seconds <= MODE_SECONDS.most:
        raise ArgumentTypeError(
            _("it must be a time from 1s to 365d, such as 90s, 30m, 2h or 1d, not %s") % shown(text)
        )
    return seconds


def line(most: int) -> Callable[[str], str]:
    """Return an argument type for one printable line of at most ``most`` characters."""

    def check(text: str) -> str:
        if len(text) > most or not text.isprintable():
            raise ArgumentTypeError(
                _("it must be one line of at most %(most)d characters") % {"most": most}
            )
        return text

    return check
