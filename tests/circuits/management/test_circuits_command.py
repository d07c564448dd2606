"""`manage.py circuits` as an operator uses it."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.test import override_settings
from django.utils import timezone
from pytest_django import Settings

import circuits
from circuits.core.status import Mode
from circuits.management import watching
from circuits.management.commands import circuits as command
from circuits.models import POLICY_FIELDS, Circuit, Transition
from tests.commands import Terminal, shell
from tests.factories import CircuitFactory, TransitionFactory

pytestmark = pytest.mark.usefixtures("committed")

OPERATIONS = ["try-now", "reset", "force-open", "force-closed", "observe", "automatic"]


# list


@pytest.mark.parametrize("argv", [("circuits", "list"), ("circuits",)], ids=["list", "bare"])
def test_list_shows_each_circuit_what_is_down_first(argv: tuple[str, ...]) -> None:
    CircuitFactory.create(name="users", state_changed_at=timezone.now() - timedelta(seconds=200))
    CircuitFactory.create(
        name="payments", opened=True, last_error="HTTPError: HTTP 500", mode="observe"
    )
    titles, payments, users = shell(*argv).table
    assert titles == ["Circuit", "State", "Mode", "For", "Retry in", "Last error"]
    assert payments[:3] == ["payments", "◌ would be open", "observe"]
    assert payments[4].endswith(" s")
    assert payments[5] == "HTTPError: HTTP 500"
    assert users == ["users", "✓ closed", "automatic", "3 min 20 s"]


def test_list_on_a_terminal_has_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    CircuitFactory.create(opened=True)
    assert "\x1b[31m✕ open" in shell("circuits", "list", out=Terminal()).out
    assert "\x1b[31m" not in shell("circuits", "list", "--no-color", out=Terminal()).out


@pytest.mark.parametrize("argv", [("list",), ("watch", "--count", "1")], ids=["list", "watch"])
def test_on_a_terminal_of_80_columns_names_and_modes_are_whole_and_each_row_is_a_line(
    monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "20")
    down = {"opened": True, "last_error": "ConnectionError: " + "refused " * 20}
    until = timezone.now() + timedelta(minutes=30)
    CircuitFactory.create(name="payments-in-europe", mode="forced_open", mode_until=until, **down)
    CircuitFactory.create(name="search", mode="forced_closed")
    lines = shell("circuits", *argv, "--no-color", out=Terminal()).lines
    (payments,) = (line for line in lines[-4:] if "payments-in-europe" in line)
    (search,) = (line for line in lines[-4:] if "search" in line)
    assert "forced open" in payments
    assert "forced closed" in search
    assert "Con" in payments
    assert max(len(payments), len(search)) <= 80


def test_list_writes_to_the_output_that_it_is_given() -> None:
    CircuitFactory.create(name="payments")
    out = StringIO()
    call_command("circuits", "list", stdout=out)
    assert "payments" in out.getvalue()


def test_a_family_is_listed_and_steered_as_one() -> None:
    for name in ("payments", "payments/charges", "payments/refunds", "users"):
        CircuitFactory.create(name=name)
    listed = shell("circuits", "list", "--json", "--family", "payments").json
    assert [each["name"] for each in listed] == ["payments", "payments/charges", "payments/refunds"]
    assert shell("circuits", "list", "--family", "nobody").out.strip() == "No circuit fits."
    said = shell("circuits", "force-open", "--family", "payments", "--reason", "move").out
    assert said.splitlines() == [
        "payments: forced open.",
        "payments/charges: forced open.",
        "payments/refunds: forced open.",
    ]
    assert circuits.get("users").mode is Mode.AUTOMATIC


def test_watch_shows_a_member_that_comes_while_it_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    CircuitFactory.create(name="payments/charges")

    def sleep(seconds: float) -> None:
        for name in ("payments", "payments/refunds", "users"):
            CircuitFactory.create(name=name)

    monkeypatch.setattr(watching, "sleep", sleep)
    said = shell("circuits", "watch", "--family", "payments", "--count", "2").out
    numbers = {name: said.count(f"{name} ") for name in ("payments/charges", "payments/refunds")}
    assert numbers == {"payments/charges": 2, "payments/refunds": 1}
    assert "users" not in said


@pytest.mark.parametrize("given", [[], ["--family", "nobody"]])
def test_what_names_no_circuit_steers_none(given: list[str]) -> None:
    CircuitFactory.create(name="payments")
    assert shell("circuits", "force-open", *given).status == 2
    assert circuits.get("payments").mode is Mode.AUTOMATIC


def test_list_can_be_narrowed() -> None:
    CircuitFactory.create(name="a")
    CircuitFactory.create(name="b", opened=True)
    CircuitFactory.create(name="c", opened=True, mode="forced_open")
    CircuitFactory.create(name="d", state="half_open")

    def names(*filters: str) -> list[str]:
        return [each["name"] for each in shell("circuits", "list", "--json", *filters).json]

    assert names() == ["b", "c", "d", "a"]
    assert names("--state", "open") == ["b", "c"]
    assert names("--state", "closed", "--state", "half_open") == ["d", "a"]
    assert names("--mode", "forced_open") == ["c"]
    assert names("--state", "open", "--mode", "automatic") == ["b"]
    assert names("--state", "closed", "--mode", "observe") == []


def test_list_refuses_a_state_there_is_not() -> None:
    ended = shell("circuits", "list", "--state", "ajar")
    assert ended.status == 2
    assert "'ajar'" in ended.err
    assert "half_open" in ended.err


def test_list_says_when_there_is_nothing() -> None:
    assert shell("circuits", "list").out == "No circuits yet.\n"
    assert shell("circuits", "list", "--state", "open").out == "No circuit fits.\n"
    assert shell("circuits", "list", "--json").json == []


def test_times_are_the_databases() -> None:
    now = timezone.now()
    CircuitFactory.create(
        opened=True,
        state_changed_at=now - timedelta(seconds=100),
        retry_at=now + timedelta(seconds=100),
    )
    with time_machine.travel(now + timedelta(hours=1), tick=True):
        (circuit,) = shell("circuits", "list", "--json").json
    assert 100 <= circuit["time_in_state"] < 130
    assert 70 < circuit["retry_in"] <= 100


@pytest.mark.parametrize(
    ("fields", "retry_in"),
    [
        ({"expired": True}, 0),
        ({"opened": True, "mode": "forced_open"}, None),
        ({"state": "half_open"}, None),
        ({}, None),
    ],
)
def test_retry_in_is_for_what_time_ends(fields: dict[str, Any], retry_in: float | None) -> None:
    CircuitFactory.create(**fields)
    (circuit,) = shell("circuits", "list", "--json").json
    assert circuit["retry_in"] == retry_in


def test_a_circuit_that_never_changed_is_in_its_state_since_it_was_made() -> None:
    circuit = CircuitFactory.create()
    Circuit.objects.filter(pk=circuit.pk).update(created_at=timezone.now() - timedelta(hours=2))
    assert shell("circuits", "list").table[1][3] == "2 h 0 min"


# show


def test_show_tells_every_field_and_the_last_transitions() -> None:
    circuit = CircuitFactory.create(name="payments", opened=True, probe_url="http://remote/health")
    for number in range(12):
        TransitionFactory.create(circuit=circuit, detail=f"error {number}", actor="ada")
    ended = shell("circuits", "show", "payments")
    fields = dict(line for line in ended.table if len(line) == 2)
    assert fields["name"] == "payments"
    assert fields["state"] == "✕ open"
    assert fields["probe URL"] == "http://remote/health"
    assert fields["threshold"] == "5"
    assert fields["delay"] == "10.0"
    assert fields["opened at"].startswith(f"{timezone.now():%Y-%m-%d }")
    assert fields["retry in"].endswith(" s")
    history = [line for line in ended.table if line[-1].startswith("error ")]
    assert [line[-1] for line in history] == [f"error {number}" for number in range(11, 1, -1)]
    assert history[0][1:] == [
        "✓ closed",
        "✕ open",
        "automatic",
        "too many failures",
        "ada",
        "error 11",
    ]


def test_show_of_a_circuit_without_a_history_is_its_fields() -> None:
    CircuitFactory.create(name="payments")
    ended = shell("circuits", "show", "payments")
    assert ended.lines[:2] == ["Calls pass", ""]
    assert ended.table[1] == ["Field", "Value"]
    assert "" not in ended.lines[2:]
    assert "Reason" not in ended.out


def test_show_begins_with_the_verdict_in_a_sentence() -> None:
    CircuitFactory.create(name="payments", opened=True, reopen_count=7, total_refusals=3752)
    first = shell("circuits", "show", "payments").lines[0]
    assert first.startswith("Down since ")
    assert first.endswith(", 7 failed trials, 3,752 refused")


def test_show_knows_all_fields() -> None:
    now = timezone.now().timestamp()
    leases = [["secret-token", now + 20], ["gone", now - 100]]
    circuit = CircuitFactory.create(name="payments", state="half_open", leases=leases)
    TransitionFactory.create(circuit=circuit, detail="the remote is down")
    ended = shell("circuits", "show", "payments", "--json")
    shown = ended.json
    stored = {field.name for field in Circuit._meta.concrete_fields} - {
        "id",
        "leases",
        "refusals_before",
        "retry_window",
    }
    assert stored < shown.keys()
    assert shown["trials_under_way"] == 1
    assert "secret-token" not in ended.out
    (transition,) = shown["transitions"]
    assert transition["detail"] == "the remote is down"
    assert transition["to_state"] == "open"


def test_show_of_an_unknown_circuit_makes_none() -> None:
    ended = shell("circuits", "show", "paymnets")
    assert ended.status == 2
    assert ended.err == (
        "CommandError: Unknown circuit: 'paymnets'. `circuits list` shows those there are.\n"
    )
    assert not Circuit.objects.exists()


def test_a_mistyped_name_is_told_what_it_was_perhaps_meant_for() -> None:
    CircuitFactory.create(name="payments")
    for argv in (("show", "paymnets"), ("force-open", "paymnets", "paymnts", "x")):
        ended = shell("circuits", *argv)
        assert ended.status == 2
        assert ended.err.endswith(
            "`circuits list` shows those there are. Did you mean 'payments'?\n"
        )
    assert Circuit.objects.get().generation == 0


def test_what_the_settings_name_can_be_steered_before_it_is_made(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "CIRCUITS": {"payments": {"threshold": 3}}}
    assert shell("circuits", "force-open", "payments").out == "payments: forced open.\n"
    assert Circuit.objects.get().threshold == 3


# reset, force-open, force-closed, observe, automatic


@pytest.mark.parametrize(
    ("operation", "before", "after", "sentence"),
    [
        ("reset", {"opened": True}, ("closed", "automatic"), "payments: reset."),
        (
            "reset",
            {},
            ("closed", "automatic"),
            "payments: already closed, nothing to reset.",
        ),
        (
            "reset",
            {"opened": True, "mode": "forced_open"},
            ("open", "forced_open"),
            "payments stays forced open; put it back to automatic first.",
        ),
        ("force-open", {}, ("open", "forced_open"), "payments: forced open."),
        (
            "force-open",
            {"opened": True, "mode": "forced_open"},
            ("open", "forced_open"),
            "payments: already forced open.",
        ),
        ("force-closed", {"opened": True}, ("closed", "forced_closed"), "payments: forced closed."),
        (
            "force-closed",
            {"mode": "forced_closed"},
            ("closed", "forced_closed"),
            "payments: already forced closed.",
        ),
        ("observe", {}, ("closed", "observe"), "payments: observing, no call is refused."),
        ("observe", {"mode": "observe"}, ("closed", "observe"), "payments: already observing."),
        ("automatic", {"mode": "observe"}, ("closed", "automatic"), "payments: automatic."),
        ("automatic", {}, ("closed", "automatic"), "payments: already automatic."),
    ],
)
def test_an_operation_does_it_and_says_so(
    operation: str, before: dict[str, Any], after: tuple[str, str], sentence: str
) -> None:
    CircuitFactory.create(name="payments", **before)
    ended = shell("circuits", operation, "payments")
    refused = "stays forced open" in sentence
    assert (ended.status, ended.out) == (1 if refused else 0, sentence + "\n")
    circuit = Circuit.objects.get()
    assert (circuit.state, circuit.mode) == after


def test_reset_forgets_failures_that_have_opened_nothing_yet() -> None:
    CircuitFactory.create(name="payments", failure_count=3)
    assert shell("circuits", "reset", "payments").out == "payments: reset.\n"
    assert Circuit.objects.get().failure_count == 0


def test_an_operation_takes_many_names_each_once() -> None:
    CircuitFactory.create(name="a", opened=True)
    CircuitFactory.create(name="b")
    ended = shell("circuits", "reset", "b", "a", "b")
    assert ended.lines == ["b: already closed, nothing to reset.", "a: reset."]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_unknown_name_among_many_changes_nothing(operation: str) -> None:
    CircuitFactory.create(name="a", opened=True)
    ended = shell("circuits", operation, "a", "b", "c")
    assert (ended.status, ended.out) == (2, "")
    assert "Unknown circuit: 'b', 'c'." in ended.err
    assert Circuit.objects.get().generation == 1
    assert not Transition.objects.exists()


def test_a_name_that_can_be_none_is_refused() -> None:
    ended = shell("circuits", "reset", "two\nlines")
    assert ended.status == 2
    assert "must not hold control characters" in ended.err


def test_who_did_it_and_why_goes_into_the_history() -> None:
    CircuitFactory.create(name="payments")
    shell("circuits", "force-open", "payments", "--reason", "maintenance", "--actor", "ada")
    transition = Transition.objects.get()
    assert (transition.actor, transition.detail) == ("ada", "maintenance")


@pytest.mark.parametrize("action", ["force-open", "force-closed", "observe"])
@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("1s", 1), ("90s", 90), ("30m", 1800), ("2h", 7200), ("365d", 31_536_000)],
)
def test_a_mode_may_be_set_for_a_while(action: str, typed: str, seconds: int) -> None:
    CircuitFactory.create(name="payments")
    assert shell("circuits", action, "payments", "--for", typed).status == 0
    change = Transition.objects.get()
    assert change.until == Circuit.objects.get().mode_until
    assert change.until is not None
    assert (change.until - change.at).total_seconds() == seconds


@pytest.mark.parametrize(
    "typed", ["", "30", "m", "0s", "-5m", "1.5h", "366d", "30 m", "1e9s", "²m"]
)
def test_a_while_that_cannot_be_is_refused(typed: str) -> None:
    CircuitFactory.create(name="payments")
    ended = shell("circuits", "force-open", "payments", f"--for={typed}")
    assert ended.status == 2
    assert "argument --for: it must be a time from 1s to 365d, such as 90s, 30m" in ended.err
    assert Circuit.objects.get().mode == "automatic"


@pytest.mark.parametrize("action", ["reset", "automatic"])
def test_what_has_no_end_takes_none(action: str) -> None:
    CircuitFactory.create(name="payments")
    assert shell("circuits", action, "payments", "--for", "30m").status == 2


def test_who_did_it_is_the_systems_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    CircuitFactory.create(name="payments")
    shell("circuits", "force-open", "payments")
    assert Transition.objects.get().actor == "grace"


@pytest.mark.parametrize("error", [ImportError, KeyError, OSError])
def test_a_system_may_not_know_its_user(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def getuser() -> str:
        raise error

    monkeypatch.setattr(command, "getuser", getuser)
    CircuitFactory.create(name="payments")
    assert shell("circuits", "force-open", "payments").status == 0
    assert Transition.objects.get().actor == ""


@pytest.mark.parametrize(
    ("option", "text"),
    [("--reason", "x" * 501), ("--reason", "two\nlines"), ("--actor", "x" * 151)],
)
def test_a_reason_or_actor_that_cannot_be_kept_is_refused(option: str, text: str) -> None:
    CircuitFactory.create(name="payments")
    ended = shell("circuits", "force-open", "payments", option, text)
    assert ended.status == 2
    assert f"argument {option}: it must be one line of at most" in ended.err
    assert Circuit.objects.get().mode == "automatic"


# create


def test_create_takes_every_policy_field() -> None:
    values = {
        "threshold": 3,
        "delay": 2.5,
        "half_open_max_calls": 2,
        "success_threshold": 4,
        "backoff_factor": 1.5,
        "max_delay": 60.0,
        "jitter": 0.25,
        "lease_seconds": 12.0,
        "ramp_up_seconds": 30.0,
        "strategy": "rate",
        "window_seconds": 90.0,
        "window_calls": 50,
        "failure_rate": 0.25,
        "minimum_calls": 7,
        "slow_call_seconds": 2.0,
        "slow_call_rate": 0.5,
        "max_throttle": 0.7,
        "respect_retry_after": True,
        "max_concurrent": 4,
        "max_wait_seconds": 0.5,
        "enforce_share": 0.4,
        "retry_share": 0.1,
        "timeout": 1.5,
        "failure_statuses": "500-599, 429",
        "probe_url": "http://remote/health",
    }
    assert values.keys() == set(POLICY_FIELDS)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    ended = shell("circuits", "create", "payments", *options)
    assert (ended.status, ended.out) == (0, "payments: created.\n")
    circuit = Circuit.objects.get(name="payments")
    assert {name: getattr(circuit, name) for name in POLICY_FIELDS} == values
    assert circuit.state == "closed"


@override_settings(
    CIRCUITS={
        "DATABASE": "circuits",
        "DEFAULTS": {"delay": 33},
        "CIRCUITS": {"payments": {"threshold": 7}},
    }
)
def test_create_begins_with_the_settings() -> None:
    shell("circuits", "create", "payments", "--timeout", "2")
    circuit = Circuit.objects.get()
    assert (circuit.threshold, circuit.delay, circuit.timeout) == (7, 33, 2)
    assert circuits.get("payments").state == "closed"


def test_create_tells_each_problem_and_writes_nothing() -> None:
    ended = shell(
        "circuits",
        "create",
        "payments",
        "--threshold=0",
        "--delay=-1",
        "--max-delay=inf",
        "--probe-url=ftp://remote",
    )
    assert ended.status == 2
    assert ended.err.removeprefix("CommandError: ").splitlines() == [
        "--probe-url: The URL must begin with http:// or https://, not 'ftp'.",
        "--threshold: Ensure this value is greater than or equal to 1.",
        "--delay: Ensure this value is greater than or equal to 0.",
        "--max-delay: Ensure this value is less than or equal to 31536000.",
    ]
    assert not Circuit.objects.exists()


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("--threshold=many", "it must be a whole number, not 'many'"),
        ("--threshold=1.5", "it must be a whole number, not '1.5'"),
        ("--delay=long", "it must be a number, not 'long'"),
        ("--delay=nan", "it must be a number, not 'nan'"),
    ],
)
def test_create_wants_numbers(option: str, wanted: str) -> None:
    ended = shell("circuits", "create", "payments", option)
    assert ended.status == 2
    assert f"argument {option.partition('=')[0]}: {wanted}" in ended.err
    assert not Circuit.objects.exists()


@pytest.mark.parametrize("name", ["", " padded", "x" * 101, "a\x1bb"])
def test_create_refuses_a_name_that_can_be_none(name: str) -> None:
    ended = shell("circuits", "create", name)
    assert ended.status == 2
    assert "A circuit's name must" in ended.err
    assert not Circuit.objects.exists()


def test_create_leaves_a_circuit_that_exists_alone() -> None:
    CircuitFactory.create(name="payments", threshold=9)
    ended = shell("circuits", "create", "payments", "--threshold", "2")
    assert ended.status == 2
    assert "There is a circuit 'payments' already; `circuits show` shows it." in ended.err
    assert Circuit.objects.get().threshold == 9


def test_create_gives_way_to_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def full_clean(circuit: Circuit) -> None:
        CircuitFactory.create(name=circuit.name, threshold=9)

    monkeypatch.setattr(Circuit, "full_clean", full_clean)
    ended = shell("circuits", "create", "payments")
    assert ended.status == 2
    assert "There is a circuit 'payments' already" in ended.err
    assert Circuit.objects.get().threshold == 9


@override_settings(CIRCUITS={"DATABASE": "circuits", "MAX_CIRCUITS": 1})
def test_create_keeps_to_the_limit() -> None:
    CircuitFactory.create()
    ended = shell("circuits", "create", "payments")
    assert ended.status == 2
    assert "raise CIRCUITS['MAX_CIRCUITS']" in ended.err
    assert Circuit.objects.count() == 1


# All actions


def test_a_database_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_most_urgent(*args: Any) -> None:
        raise DatabaseError("no such table: circuits_circuit")

    monkeypatch.setattr(command, "read_most_urgent", read_most_urgent)
    ended = shell("circuits", "list")
    assert ended.status == 2
    assert ended.err == (
        "CommandError: The circuits' database cannot be used; is it up, and migrated? "
        "(DatabaseError: no such table: circuits_circuit)\n"
    )


def test_called_from_code_bad_input_is_an_exception() -> None:
    with pytest.raises(CommandError, match="Unknown circuit: 'payments'") as refused:
        call_command("circuits", "reset", "payments")
    assert refused.value.returncode == 2


def test_djangos_options_may_stand_behind_the_action() -> None:
    with pytest.raises(CommandError, match="Unknown circuit"):
        shell("circuits", "reset", "payments", "--traceback", "-v", "2")


# delete


@pytest.mark.parametrize("option", ["--no-input", "--noinput", "--yes"])
def test_delete_deletes_circuits_with_their_history(option: str) -> None:
    TransitionFactory.create(circuit=CircuitFactory.create(name="payments"))
    for name in ("mail", "search"):
        CircuitFactory.create(name=name)
    ended = shell("circuits", "delete", "payments", "mail", "payments", option)
    assert (ended.status, ended.out) == (0, "mail: deleted.\npayments: deleted.\n")
    assert [each.name for each in Circuit.objects.all()] == ["search"]
    assert not Transition.objects.exists()


@pytest.mark.parametrize(("answer", "is_done"), [("yes", True), ("no", False), ("", False)])
def test_delete_asks(monkeypatch: pytest.MonkeyPatch, answer: str, is_done: bool) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return answer

    monkeypatch.setattr("builtins.input", ask)
    CircuitFactory.create(name="payments")
    ended = shell("circuits", "delete", "payments")
    assert "The history of payments goes too" in asked[0]
    assert ended.status == (0 if is_done else 1)
    assert ended.out == ("payments: deleted.\n" if is_done else "Nothing was deleted.\n")
    assert Circuit.objects.exists() is not is_done


def test_delete_without_anybody_to_ask_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(question: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", ask)
    CircuitFactory.create(name="payments")
    assert shell("circuits", "delete", "payments").out == "Nothing was deleted.\n"
    assert Circuit.objects.exists()


def test_delete_of_an_unknown_circuit_deletes_none() -> None:
    CircuitFactory.create(name="payments")
    assert shell("circuits", "delete", "payments", "mail", "--yes").status == 2
    assert Circuit.objects.exists()
