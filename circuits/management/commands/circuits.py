"""``manage.py circuits``: circuits seen and steered from a shell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from getpass import getuser
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.db import IntegrityError
from django.utils.translation import gettext as _

from ... import conf
from ...exceptions import InvalidInputError, TooManyCircuitsError
from ...machine import WHOLE_NUMBERS, Limits, Mode, State, check_number
from ...models import ACTOR_LENGTH, POLICY_FIELDS, Circuit
from ...operations import OPERATIONS, Operation
from ...readings import read_circuits, transition_values
from ...redaction import ERROR_LENGTH
from ...validation import check_name
from ..arguments import (
    add_base_options,
    add_json,
    line,
    mode_time,
    number,
    whole_number,
    yes_or_no,
)
from ..base import CircuitsCommand
from ..overview import read_overview
from ..reports import fields_table, history_table, list_table, overview_table
from ..tables import Table, clean
from ..watching import keep_showing

#: How many of the last transitions `show` shows.
LAST_TRANSITIONS: Final = 10

INTERVAL: Final = 2.0
INTERVAL_LIMITS: Final = Limits(0.2, 3_600)
COUNT_LIMITS: Final = Limits(1, 1_000_000_000)


class Command(CircuitsCommand):
    """Lists, shows, makes and steers circuits."""

    help = _(
        "Lists, shows, makes and steers circuits. The exit status is 2 for an unknown circuit or "
        "a bad value; nothing is changed then."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions and their arguments."""
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

        def action(name: str, text: Any, run: Callable[..., None]) -> CommandParser:
            added = actions.add_parser(name, help=str(text), description=str(text))
            added.set_defaults(perform=run)
            add_base_options(added)
            return added

        _add_list_arguments(action("list", _("List the circuits."), self._list))
        _add_watch_arguments(
            action("watch", _("Show them live, what is down first, until Ctrl-C."), self._watch)
        )
        _add_show_arguments(action("show", _("Show all there is to know of one."), self._show))
        for key, operation in OPERATIONS.items():
            added = action(_words(key), operation.help, self._operate)
            _add_operation_arguments(added, operation)
        _add_create_arguments(action("create", _("Make a circuit."), self._create))

    def run(self, **options: Any) -> None:
        """Perform the action."""
        options["perform"](**options)

    def _list(self, states: list[str], modes: list[str], as_json: bool, **options: Any) -> None:
        readings = read_circuits(**_lookups(states, modes))
        if as_json:
            self.say_json([reading.values() for reading in readings])
        elif readings:
            self.screen(**options).show(list_table(readings))
        else:
            self.say(_("No circuit fits.") if states or modes else _("No circuits yet."))

    def _watch(
        self,
        states: list[str],
        modes: list[str],
        interval: float,
        count: int | None,
        **options: Any,
    ) -> None:
        check_number("interval", interval, INTERVAL_LIMITS, whole=False)
        if count is not None:
            check_number("count", count, COUNT_LIMITS, whole=True)
        screen, lookups = self.screen(**options), _lookups(states, modes)

        def read() -> Table:
            return overview_table(read_overview(screen.most_rows(), **lookups))

        with screen.live() as live, suppress(KeyboardInterrupt):
            keep_showing(live, read, interval=interval, times=count)

    def _show(self, name: str, as_json: bool, **options: Any) -> None:
        _check_known([name])
        (reading,) = read_circuits(name=name)
        transitions = list(reading.circuit.history()[:LAST_TRANSITIONS])
        if as_json:
            history = [transition_values(transition) for transition in transitions]
            self.say_json({**reading.values(), "transitions": history})
            return
        screen = self.screen(**options)
        screen.show(fields_table(reading))
        if transitions:
            self.say("")
            screen.show(history_table(transitions))

    def _operate(
        self,
        action: str,
        names: list[str],
        reason: str,
        actor: str | None,
        seconds: int | None = None,
        **options: Any,
    ) -> None:
        names = list(dict.fromkeys(names))
        _check_known(names)
        operation = OPERATIONS[action.replace("-", "_")]
        who = _system_user() if actor is None else actor
        for name in names:
            done = operation.perform(name, actor=who, words=reason, seconds=seconds)
            self.say(done.message)

    def _create(self, name: str, **options: Any) -> None:
        given = {field: options[field] for field in POLICY_FIELDS if options[field] is not None}
        _create(name, given)
        self.say(_("%(name)s: created.") % {"name": name})


# Arguments ---------------------------------------------------------------------------------------


def _add_list_arguments(parser: CommandParser) -> None:
    _add_filters(parser)
    add_json(parser)


def _add_watch_arguments(parser: CommandParser) -> None:
    _add_filters(parser)
    parser.add_argument(
        "--interval",
        type=number,
        default=INTERVAL,
        metavar="SECONDS",
        help=_("pause between two updates (default: %(default)s)"),
    )
    parser.add_argument(
        "--count",
        type=whole_number,
        metavar="NUMBER",
        help=_("end after so many updates; until Ctrl-C by default"),
    )


def _add_filters(parser: CommandParser) -> None:
    for option, values in (("state", State), ("mode", Mode)):
        parser.add_argument(
            f"--{option}",
            action="append",
            default=[],
            dest=f"{option}s",
            choices=[value.value for value in values],
            help=_("only those; may be given more than once"),
        )


def _add_show_arguments(parser: CommandParser) -> None:
    parser.add_argument("name", help=_("the circuit"))
    add_json(parser)


def _add_operation_arguments(parser: CommandParser, operation: Operation) -> None:
    parser.add_argument("names", nargs="+", metavar="name", help=_("the circuits"))
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


def _add_create_arguments(parser: CommandParser) -> None:
    parser.add_argument("name", help=_("the circuit"))
    for name in POLICY_FIELDS:
        parser.add_argument(_option(name), type=_kind(name), help=_help(name))


def _words(name: str) -> str:
    """Return a name of code as it is typed at a shell."""
    return name.replace("_", "-")


def _option(field: str) -> str:
    return f"--{_words(field)}"


def _help(field: str) -> str:
    return str(getattr(Circuit._meta.get_field(field), "help_text", ""))


def _kind(field: str) -> Callable[[str], Any]:
    if field == "respect_retry_after":
        return yes_or_no
    if field in ("probe_url", "strategy", "failure_statuses"):
        return str
    return whole_number if field in WHOLE_NUMBERS else number


def _system_user() -> str:
    try:
        return clean(getuser())[:ACTOR_LENGTH]
    except (ImportError, KeyError, OSError):
        return ""  # in a container, a user may have a number only


def _lookups(states: list[str], modes: list[str]) -> dict[str, list[str]]:
    """Return the filters that were given."""
    asked = {"state__in": states, "mode__in": modes}
    return {lookup: some for lookup, some in asked.items() if some}


# Work --------------------------------------------------------------------------------------------


def _check_known(names: Sequence[str]) -> None:
    """Refuse unknown names: to steer a circuit must never make one."""
    for name in names:
        check_name(name)
    known = set(Circuit.objects.filter(name__in=names).values_list("name", flat=True))
    unknown = [repr(name) for name in names if name not in known]
    if unknown:
        raise InvalidInputError(
            _("Unknown circuit: %(names)s. `circuits list` shows those there are.")
            % {"names": ", ".join(unknown)}
        )


def _create(name: str, given: dict[str, Any]) -> None:
    check_name(name)
    if Circuit.objects.filter(name=name).exists():
        raise InvalidInputError(_exists(name))
    limit = conf.get().max_circuits
    if Circuit.objects.count() >= limit:
        raise TooManyCircuitsError(name, limit)
    circuit = Circuit(name=name, **{**conf.get().circuit(name), **given})
    try:
        circuit.full_clean()
        circuit.save(force_insert=True)
    except ValidationError as error:
        raise InvalidInputError("\n".join(_problems(error))) from error
    except IntegrityError as error:
        raise InvalidInputError(_exists(name)) from error


def _exists(name: str) -> str:
    return _("There is a circuit %(name)r already; `circuits show` shows it.") % {"name": name}


def _problems(error: ValidationError) -> Iterator[str]:
    for field, messages in error.message_dict.items():
        for message in messages:
            yield f"{_option(field)}: {message}" if field in POLICY_FIELDS else message
