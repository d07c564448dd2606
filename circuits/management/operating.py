"""The arguments of the operations of ``circuits``: on which circuits, why, and for how long."""

from __future__ import annotations

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ..models import ACTOR_LENGTH
from ..redaction import ERROR_LENGTH
from ..steering.operations import INJECTED_SECONDS, Operation
from .arguments import line, mode_time, number, share


def add_operation_arguments(parser: CommandParser, operation: Operation) -> None:
    """Declare the arguments of an operation."""
    parser.add_argument("names", nargs="*", metavar="name", help=_("the circuits"))
    parser.add_argument(
        "--family",
        action="append",
        default=[],
        dest="families",
        metavar="NAME",
        help=_("all circuits of a family; may be given more than once"),
    )
    if not operation.takes_reason:
        return
    parser.add_argument(
        "--reason", type=line(ERROR_LENGTH), default="", help=_("why; it goes into the history")
    )
    parser.add_argument(
        "--actor",
        type=line(ACTOR_LENGTH),
        help=_("who asks for it; the user of the operating system by default"),
    )
    if operation.may_end:
        parser.add_argument(
            "--for",
            type=mode_time,
            dest="seconds",
            metavar="TIME",
            help=_("go back to automatic after so long, such as 90s, 30m, 2h or 1d"),
        )


def add_inject_arguments(parser: CommandParser, operation: Operation) -> None:
    """Declare the arguments of ``circuits inject``."""
    add_operation_arguments(parser, operation)
    parser.add_argument(
        "--failures",
        type=share,
        default=0.0,
        metavar="SHARE",
        help=_("the share of calls that fails without reaching the remote, such as 50%%"),
    )
    parser.add_argument(
        "--delay",
        type=number,
        default=0.0,
        metavar="SECONDS",
        help=_("by how many seconds the other calls are late, up to 60"),
    )
    parser.add_argument(
        "--for",
        type=mode_time,
        default=INJECTED_SECONDS,
        dest="seconds",
        metavar="TIME",
        help=_("for how long, such as 90s or 30m, up to 1h; 10m by default"),
    )
    parser.add_argument("--stop", action="store_true", help=_("end the faults that are injected"))
