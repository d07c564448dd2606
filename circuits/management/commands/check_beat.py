"""``manage.py check_beat``: tells monitoring whether ``half_open_expired`` runs."""

from __future__ import annotations

import sys
from typing import Any, Final

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ...core.policy import Limits, check_number
from ...reports.health import LATE_SECONDS, beat
from ..arguments import number
from ..base import CircuitsCommand

#: Exit status when the task has not run in time.
NOT_RUN: Final = 1

AGE_LIMITS: Final = Limits(0.1, 31_536_000)


class Command(CircuitsCommand):
    """Report when ``half_open_expired`` last ran."""

    help = _(
        "Says when half_open_expired last ran. The exit status is 0 when that was in time, 1 when "
        "it was not, and 2 when the database cannot be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "--max-age",
            type=number,
            default=LATE_SECONDS,
            metavar="SECONDS",
            help=_("how long ago it may have run (default: %(default)s)"),
        )

    def run(self, **options: Any) -> None:
        """Print when the task last ran, and exit with the status that monitoring expects."""
        max_age = options["max_age"]
        check_number("max-age", max_age, AGE_LIMITS, whole=False)
        last = beat(max_age)
        self.say(_sentence(last["seconds_ago"]))
        if last["status"] != "ok":
            sys.exit(NOT_RUN)


def _sentence(seconds_ago: float | None) -> str:
    if seconds_ago is None:
        return _("half_open_expired has never run.")
    return _("half_open_expired ran %(seconds).1f seconds ago.") % {"seconds": seconds_ago}
