"""``circuits record`` and ``circuits replay``: replay recorded calls under other policies."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ..reports.readings import read_circuits
from ..reports.replay import Result, of_recording, row_of, titles
from ..steering.recording import DAY
from .arguments import add_policy_to_try, mode_time
from .tables import Cell, Table


def add_record_arguments(parser: CommandParser) -> None:
    """Declare the arguments of ``circuits record``."""
    parser.add_argument("name", help=_("the circuit"))
    parser.add_argument(
        "--for",
        type=mode_time,
        default=DAY,
        dest="seconds",
        metavar="TIME",
        help=_("for how long, such as 90s, 30m, 2h or 7d; a day by default"),
    )
    parser.add_argument("--stop", action="store_true", help=_("record no more; keep what there is"))


def add_replay_arguments(parser: CommandParser) -> None:
    """Declare the arguments of ``circuits replay``."""
    add_policy_to_try(
        parser, _("a policy to try, such as threshold=3 delay=5; the word or begins another one")
    )


def lines_of_recording(name: str) -> Iterator[str]:
    """Yield sentences about the recording of a circuit."""
    for reading in read_circuits(name=name):
        yield from of_recording(reading.circuit, reading.now)


def replay_table(result: Result) -> Table:
    """Return a table with a row for each policy."""
    # On a terminal, a non-breaking space may look unlike any other space.
    rows = [[Cell(text.replace("\xa0", " ")) for text in row_of(*each)] for each in result.replays]
    return Table(titles(), rows)
