"""``manage.py circuits inject``, and what the other commands say of injected faults."""

from __future__ import annotations

import pytest
from pytest_django import Settings

import circuits
from circuits.models import Circuit, Transition
from circuits.reports.health import report
from tests.commands import shell
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed", "faults_allowed")


@pytest.fixture
def payments() -> Circuit:
    return CircuitFactory.create(name="payments")


def test_it_injects_for_ten_minutes_and_says_so(payments: Circuit) -> None:
    ended = shell(
        *("circuits", "inject", "payments", "--failures", "50%", "--delay", "2"),
        *("--reason", "game day", "--actor", "ada"),
    )
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == "payments: faults are injected for 10 minutes.\n"
    found = circuits.get("payments").injection
    assert found is not None
    assert (found.failures, found.delay) == (0.5, 2)
    transition = Transition.objects.get()
    assert transition.until is not None
    assert (transition.until - transition.at).total_seconds() == pytest.approx(600)
    assert (transition.actor, transition.detail) == (
        "ada",
        "50% fail, the others are 2 s late: game day",
    )


def test_it_stops_at_once(payments: Circuit) -> None:
    shell("circuits", "inject", "payments", "--failures", "1", "--for", "30s")
    ended = shell("circuits", "inject", "payments", "--stop", "--actor", "bob")
    assert (ended.status, ended.out) == (0, "payments: no more faults are injected.\n")
    assert circuits.get("payments").injection is None
    again = shell("circuits", "inject", "payments", "--stop")
    assert (again.status, again.out) == (0, "payments: no faults were injected.\n")
    assert Transition.objects.latest("generation").actor == "bob"


def test_a_family_at_once() -> None:
    for name in ("partners/a", "partners/b", "mail"):
        CircuitFactory.create(name=name)
    shell("circuits", "inject", "--family", "partners", "--delay", "0.5")
    found = {name: circuits.get(name).injection for name in ("partners/a", "partners/b", "mail")}
    assert [name for name, injection in found.items() if injection] == ["partners/a", "partners/b"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "Give failures, a delay or both: nothing would be injected."),
        (["--failures", "50"], "it must be a share from 0% to 100%, such as 50%, not '50'"),
        (["--failures", "101%"], "it must be a share from 0% to 100%, such as 50%, not '101%'"),
        (["--failures", "nan"], "it must be a share from 0% to 100%, such as 50%, not 'nan'"),
        (["--delay", "61"], "delay must be a number from 0 to 60, not 61.0."),
        (["--delay", "1", "--for", "2h"], "seconds must be a number from 1 to 3,600, not 7200."),
    ],
)
def test_what_cannot_be_injected_is_refused(
    payments: Circuit, given: list[str], sentence: str
) -> None:
    ended = shell("circuits", "inject", "payments", *given)
    assert ended.status == 2
    assert sentence in ended.err
    assert not Transition.objects.exists()


def test_without_the_setting_it_injects_nothing(payments: Circuit, settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "ALLOW_INJECTION": False}
    ended = shell("circuits", "inject", "payments", "--failures", "50%")
    assert ended.status == 2
    assert "Set CIRCUITS['ALLOW_INJECTION'] to True where calls may fail on purpose" in ended.err
    assert not Transition.objects.exists()


@pytest.mark.parametrize("command", [["list"], ["show", "payments"], ["watch", "--count", "1"]])
def test_the_other_commands_show_it_in_red(payments: Circuit, command: list[str]) -> None:
    quiet = shell("circuits", *command, "--force-color").out
    assert "↯" not in quiet
    assert "Injected faults" not in quiet
    shell("circuits", "inject", "payments", "--failures", "50%")
    loud = shell("circuits", *command, "--force-color").out
    if command[0] == "show":
        assert loud.replace("\xa0", " ").startswith("Injected faults until ")
        assert "50 % fail" in loud.replace("\xa0", " ")
    else:
        assert "↯ closed" in loud
        line = next(line for line in loud.splitlines() if "↯ closed" in line)
        assert "\x1b[31m" in line.partition("↯")[0] or "\x1b[31m" in line


def test_the_health_report_lists_it_and_stays_ok(payments: Circuit, settings: Settings) -> None:
    assert report(with_errors=False)["circuits"] == []
    circuits.get("payments").inject(failures=0.5, delay=2)
    found = report(with_errors=False)
    (entry,) = found["circuits"]
    assert (found["status"], found["total"]) == ("ok", 1)
    assert (entry["injected"]["failures"], entry["injected"]["delay"]) == (0.5, 2)
    assert entry["injected"]["until"] == Circuit.objects.get().injected_until
    assert entry["verdict"].startswith("Injected faults until ")
    circuits.get("payments").stop_injection()
    assert report(with_errors=False)["circuits"] == []


def test_where_it_is_open_the_verdict_says_both(payments: Circuit) -> None:
    circuits.get("payments").inject(failures=0.5)
    circuits.get("payments").force_open()
    (entry,) = report(with_errors=False)["circuits"]
    said = entry["verdict"].replace("\xa0", " ")
    assert said.startswith("Down since ")
    assert said.endswith("injected faults: 50 % fail")
