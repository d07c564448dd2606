"""``manage.py circuits``: see and steer circuits from a shell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from getpass import getuser
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.db import IntegrityError
from django.db.models import Q
from django.utils.translation import gettext as _

from ... import conf
from ...core.policy import WHOLE_NUMBERS, Limits, check_number
from ...core.status import Mode, State
from ...exceptions import InvalidInputError
from ...models import ACTOR_LENGTH, POLICY_FIELDS, Circuit, history_of
from ...reports import replay
from ...reports.forecast import basis_of
from ...reports.readings import read_circuits, read_most_urgent, transition_values
from ...reports.trying import with_changes
from ...reports.verdict import gather, verdict
from ...steering import recording
from ...steering.operations import OPERATIONS
from ...storage.database import DatabaseStore
from ...storage.families import in_family, values_of_new
from ...storage.nearness import near_misses
from ...validation import check_name
from ..arguments import add_base_options, add_json, number, whole_number, yes_or_no
from ..base import CircuitsCommand
from ..forecasting import add_forecast_arguments, as_values, forecast_lines
from ..operating import add_inject_arguments, add_operation_arguments
from ..overview import read_overview
from ..replaying import add_record_arguments, add_replay_arguments, lines_of_recording, replay_table
from ..reports import fields_table, history_table, list_table, overview_table
from ..tables import Table, clean
from ..watching import keep_showing

#: Exit status when an operation was refused, or its call failed.
NOT_DONE: Final = 1

#: How many transitions `show` prints, the newest ones.
LAST_TRANSITIONS: Final = 10

#: For at most this many unknown names, similar ones are suggested.
MISTYPED: Final = 5

INTERVAL: Final = 2.0
INTERVAL_LIMITS: Final = Limits(0.2, 3_600)
COUNT_LIMITS: Final = Limits(1, 1_000_000_000)


class Command(CircuitsCommand):
    """List, show, make and steer circuits."""

    help = _(
        "Lists, shows, makes and steers circuits. The exit status is 1 if an operation was refused "
        "or its call failed, and 2 for an unknown circuit or a bad value; nothing is changed then."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions and their arguments."""
        parser.set_defaults(perform=self._list, states=[], modes=[], family=None, as_json=False)
        actions = parser.add_subparsers(dest="action", metavar="ACTION")

        def action(name: str, text: Any, run: Callable[..., None]) -> CommandParser:
            added = actions.add_parser(name, help=str(text), description=str(text))
            added.set_defaults(perform=run)
            add_base_options(added)
            return added

        _add_list_arguments(action("list", _("List the circuits, what is down first."), self._list))
        _add_watch_arguments(
            action("watch", _("Show them live, what is down first, until Ctrl-C."), self._watch)
        )
        _add_show_arguments(action("show", _("Show all there is to know of one."), self._show))
        add_forecast_arguments(
            action("forecast", _("Say what a policy would do with its calls."), self._forecast)
        )
        add_record_arguments(
            action("record", _("Record its calls, to replay them later."), self._record)
        )
        add_replay_arguments(
            action(
                "replay",
                _("Say what policies would have done with the recorded calls."),
                self._replay,
            )
        )
        inject = OPERATIONS["inject"]
        add_inject_arguments(action("inject", inject.help, self._inject), inject)
        for key, operation in OPERATIONS.items():
            if operation.is_of_injection:
                continue
            added = action(_dashed(key), operation.help, self._operate)
            add_operation_arguments(added, operation)
        _add_create_arguments(action("create", _("Make a circuit."), self._create))
        _add_delete_arguments(
            action("delete", _("Delete circuits with their history."), self._delete)
        )

    def run(self, **options: Any) -> None:
        """Perform the action."""
        options["perform"](**options)

    def _list(
        self, states: list[str], modes: list[str], family: str | None, as_json: bool, **options: Any
    ) -> None:
        readings = read_most_urgent(None, _asked_for(states, modes, family))
        if as_json:
            self.say_json([reading.values() for reading in readings])
        elif readings:
            self.screen(**options).show(list_table(readings))
        else:
            is_filtered = states or modes or family is not None
            self.say(_("No circuit fits.") if is_filtered else _("No circuits yet."))

    def _watch(
        self,
        states: list[str],
        modes: list[str],
        family: str | None,
        interval: float,
        count: int | None,
        **options: Any,
    ) -> None:
        check_number("interval", interval, INTERVAL_LIMITS, whole=False)
        if count is not None:
            check_number("count", count, COUNT_LIMITS, whole=True)
        screen, asked = self.screen(**options), _asked_for(states, modes, family)

        def read() -> Table:
            return overview_table(read_overview(screen.most_rows(), asked))

        with screen.live() as live, suppress(KeyboardInterrupt):
            keep_showing(live, read, interval=interval, times=count)

    def _show(self, name: str, as_json: bool, **options: Any) -> None:
        _check_known([name])
        (reading,) = read_circuits(name=name)
        transitions = list(history_of(reading.circuit)[:LAST_TRANSITIONS])
        if as_json:
            history = [transition_values(transition) for transition in transitions]
            self.say_json({**reading.values(), "transitions": history})
            return
        evidence = gather([reading])[reading.circuit.pk]
        self.say(verdict(reading, evidence).text(reading.now))
        self.say("")
        screen = self.screen(**options)
        screen.show(fields_table(reading))
        if transitions:
            self.say("")
            screen.show(history_table(transitions))

    def _forecast(self, name: str, changes: list[str], as_json: bool, **options: Any) -> None:
        _check_known([name])
        (reading,) = read_circuits(name=name)
        changed = with_changes(reading.circuit, changes) if changes else None
        basis = basis_of(reading.circuit, reading.now)
        if as_json:
            self.say_json(as_values(reading.circuit, changed, basis))
            return
        for each in forecast_lines(reading.circuit, changed, basis):
            self.say(each)

    def _record(self, name: str, seconds: int, stop: bool, **options: Any) -> None:
        _check_known([name])
        if stop:
            recording.stop(name)
        else:
            recording.record(name, seconds)
        for each in lines_of_recording(name):
            self.say(each)

    def _replay(self, name: str, changes: list[str], as_json: bool, **options: Any) -> None:
        _check_known([name])
        (reading,) = read_circuits(name=name)
        tried = replay.policies_to_try(reading.circuit, changes)
        result = replay.result(reading.circuit, tried, reading.now, replay.MOST_CALLS)
        if as_json:
            self.say_json(replay.as_values(result))
            return
        for each in replay.sentences(reading.circuit, result, reading.now):
            self.say(each)
        if result is not None:
            self.say("")
            self.screen(**options).show(replay_table(result))

    def _operate(
        self,
        action: str,
        names: list[str],
        families: list[str],
        reason: str = "",
        actor: str | None = None,
        seconds: int | None = None,
        faults: Mapping[str, Any] = MappingProxyType({}),
        **options: Any,
    ) -> None:
        names = list(dict.fromkeys([*names, *chain.from_iterable(map(_members, families))]))
        if not names:
            raise InvalidInputError(_("Name a circuit, or a family with --family."))
        _check_known(names, or_named=conf.named())
        operation = OPERATIONS[action.replace("-", "_")]
        who = _system_user() if actor is None else actor
        not_done = False
        for name in names:
            done = operation.perform(name, actor=who, reason=reason, seconds=seconds, **faults)
            self.say(done.message)
            not_done |= done.result in ("refused", "failed")
        if not_done:
            sys.exit(NOT_DONE)

    def _inject(
        self, action: str, stop: bool, failures: float, delay: float, **options: Any
    ) -> None:
        if stop:
            self._operate("stop_injection", **{**options, "seconds": None})
        else:
            self._operate(action, faults={"failures": failures, "delay": delay}, **options)

    def _create(self, name: str, **options: Any) -> None:
        given = {field: options[field] for field in POLICY_FIELDS if options[field] is not None}
        _create(name, given)
        self.say(_("%(name)s: created.") % {"name": name})

    def _delete(self, names: list[str], interactive: bool, **options: Any) -> None:
        names = list(dict.fromkeys(names))
        _check_known(names)
        if interactive and not _is_confirmed(names):
            self.say(_("Nothing was deleted."))
            sys.exit(NOT_DONE)
        for circuit in Circuit.objects.filter(name__in=names).order_by("name"):
            circuit.delete()
            self.say(_("%(name)s: deleted.") % {"name": circuit.name})


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
    parser.add_argument("--family", metavar="NAME", help=_("only the circuits of a family"))


def _add_show_arguments(parser: CommandParser) -> None:
    parser.add_argument("name", help=_("the circuit"))
    add_json(parser)


def _add_create_arguments(parser: CommandParser) -> None:
    parser.add_argument("name", help=_("the circuit"))
    for name in POLICY_FIELDS:
        parser.add_argument(_option(name), type=_type_of(name), help=_help(name))


def _add_delete_arguments(parser: CommandParser) -> None:
    parser.add_argument("names", nargs="+", metavar="name", help=_("the circuits"))
    parser.add_argument(
        "--no-input",
        "--noinput",
        "--yes",
        action="store_false",
        dest="interactive",
        help=_("do not ask"),
    )


def _dashed(name: str) -> str:
    """Return a Python name as it is typed at a shell: ``force-open`` for ``force_open``."""
    return name.replace("_", "-")


def _option(field: str) -> str:
    return f"--{_dashed(field)}"


def _help(field: str) -> str:
    return str(getattr(Circuit._meta.get_field(field), "help_text", ""))


def _type_of(field: str) -> Callable[[str], Any]:
    if field == "respect_retry_after":
        return yes_or_no
    if field in ("probe_url", "strategy", "failure_statuses"):
        return str
    return whole_number if field in WHOLE_NUMBERS else number


def _system_user() -> str:
    try:
        return clean(getuser())[:ACTOR_LENGTH]
    except (ImportError, KeyError, OSError):
        return ""  # in a container, a user may have a number but no name


def _asked_for(states: list[str], modes: list[str], family: str | None) -> Q:
    """Return the given filters as a condition."""
    lookups = {"state__in": states, "mode__in": modes}
    given = Q(**{lookup: some for lookup, some in lookups.items() if some})
    return given if family is None else given & in_family(family)


def _members(family: str) -> list[str]:
    """Return the names of a family's circuits; the circuit named like the family comes first.

    Raises:
        InvalidInputError: The family has no circuits.
    """
    rows = Circuit.objects.filter(in_family(check_name(family))).order_by("name")
    found = list(rows.values_list("name", flat=True))
    if not found:
        raise InvalidInputError(_("No circuit is in the family %(name)r.") % {"name": family})
    return found


# Work --------------------------------------------------------------------------------------------


def _check_known(names: Sequence[str], or_named: Iterable[str] = ()) -> None:
    """Check that every name is a circuit's, so that one wrong name stops the whole command.

    Args:
        or_named: Names to accept although their circuits do not exist yet.

    Raises:
        InvalidInputError: Some names are unknown; the message lists them all.
    """
    for name in names:
        check_name(name)
    known = {*Circuit.objects.filter(name__in=names).values_list("name", flat=True), *or_named}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInputError(" ".join(_about_unknown(unknown)))


def _about_unknown(names: Sequence[str]) -> Iterator[str]:
    yield _("Unknown circuit: %(names)s. `circuits list` shows those there are.") % {
        "names": ", ".join(map(repr, names))
    }
    near = dict.fromkeys(chain.from_iterable(map(near_misses, names[:MISTYPED])))
    if near:
        yield _("Did you mean %(near)s?") % {"near": ", ".join(map(repr, near))}


def _is_confirmed(names: Sequence[str]) -> bool:
    """Ask whether to delete the circuits; the end of the input means no."""
    question = _(
        "The history of %(names)s goes too, and a call to it makes it anew. "
        "Type 'yes' to delete, or 'no' to cancel: "
    )
    try:
        answer = input(clean(question % {"names": ", ".join(names)}))
    except EOFError:
        return False
    return answer.strip().lower() in ("yes", _("yes"))


def _create(name: str, given: dict[str, Any]) -> None:
    check_name(name)
    if Circuit.objects.filter(name=name).exists():
        raise InvalidInputError(_exists(name))
    DatabaseStore().check_room(name)
    circuit = Circuit(name=name, **{**values_of_new(conf.get().database, name), **given})
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
