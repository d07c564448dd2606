"""`manage.py probe` as people and monitoring use it, over real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from circuits.management.commands import probe as command
from circuits.models import Circuit
from mockapi.hits import hits
from tests.commands import Terminal, shell, start_manage
from tests.concurrency import PATIENCE, interrupted
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


# One circuit


def test_a_probe_that_passes(remote: str) -> None:
    CircuitFactory.create(name="payments")
    ended = shell("probe", "payments", f"{remote}/success")
    titles, row = ended.table
    assert ended.status == 0
    assert titles == ["Circuit", "URL", "Outcome", "HTTP", "ms", "State", "Detail"]
    assert row[:4] == ["payments", f"{remote}/success", "✓ passed", "200"]
    assert row[4].isdigit()
    assert row[5] == "✓ closed"
    assert hits.snapshot()["success"] == 1


def test_a_probe_that_fails_counts_as_a_failure(remote: str) -> None:
    CircuitFactory.create(name="payments", threshold=2)
    ended = shell("probe", "payments", f"{remote}/faulty")
    assert ended.status == 1
    assert ended.table[1][2:4] == ["✕ failed", "500"]
    assert "HTTP 500" in ended.table[1][-1]
    assert Circuit.objects.get().failure_count == 1


def test_a_probe_that_is_refused_reaches_no_remote(remote: str) -> None:
    CircuitFactory.create(name="payments", opened=True)
    ended = shell("probe", "payments", f"{remote}/success")
    assert ended.status == 1
    assert "⊘ refused" in ended.table[1]
    assert "✕ open" in ended.table[1]
    assert "Retry after" in ended.out
    assert hits.snapshot()["success"] == 0


def test_the_stored_url_is_the_default(remote: str) -> None:
    CircuitFactory.create(name="payments", probe_url=f"{remote}/success")
    assert shell("probe", "payments").status == 0
    assert hits.snapshot()["success"] == 1


def test_a_secret_in_the_url_is_not_shown(remote: str) -> None:
    CircuitFactory.create(name="payments")
    for option in ((), ("--json",)):
        ended = shell("probe", "payments", f"{remote}/faulty?token=hunter2", *option)
        assert ended.status == 1
        assert "hunter2" not in ended.out + ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("unknown", "http://127.0.0.1:9/"),
        ("two\nlines", "http://127.0.0.1:9/"),
        ("payments", "ftp://127.0.0.1/"),
        ("payments", ""),
        ("payments",),  # it has no probe URL
    ],
)
def test_what_cannot_be_probed_is_one_sentence(arguments: tuple[str, ...]) -> None:
    CircuitFactory.create(name="payments")
    ended = shell("probe", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("CommandError: ")
    assert ended.err.count("\n") == 1
    assert Circuit.objects.count() == 1


# All circuits


def test_all_probes_each_circuit_with_a_url(remote: str) -> None:
    CircuitFactory.create(name="a", probe_url=f"{remote}/success")
    CircuitFactory.create(name="b", probe_url=f"{remote}/faulty")
    CircuitFactory.create(name="c")
    ended = shell("probe", "--all")
    assert ended.status == 1
    assert [row[0] for row in ended.table] == ["Circuit", "a", "b"]
    Circuit.objects.get(name="b").delete()
    assert shell("probe", "--all").status == 0


def test_all_of_none_is_a_mistake() -> None:
    CircuitFactory.create()
    ended = shell("probe", "--all")
    assert (ended.status, ended.out) == (2, "")
    assert "No circuit has a probe URL; set one in the admin" in ended.err


@pytest.mark.parametrize("arguments", [(), ("payments", "--all"), ("--watch",)])
def test_one_or_all(arguments: tuple[str, ...]) -> None:
    CircuitFactory.create(name="payments", probe_url="http://127.0.0.1:9/")
    ended = shell("probe", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert "Give either the name of a circuit, or --all" in ended.err
    assert Circuit.objects.get().failure_count == 0


# For machines


def test_json_is_all_that_is_printed(remote: str) -> None:
    CircuitFactory.create(name="a", probe_url=f"{remote}/success")
    CircuitFactory.create(name="b", probe_url=f"{remote}/faulty")
    ended = shell("probe", "--all", "--json")
    passed, failed = ended.json
    assert ended.status == 1
    assert passed.pop("seconds") > 0
    assert passed == {
        "name": "a",
        "url": f"{remote}/success",
        "outcome": "passed",
        "status": 200,
        "detail": passed["detail"],
        "state": "closed",
    }
    assert (failed["name"], failed["outcome"], failed["status"]) == ("b", "failed", 500)


def test_called_from_code(remote: str) -> None:
    CircuitFactory.create(name="a", probe_url=f"{remote}/faulty")
    with pytest.raises(SystemExit) as ended:
        call_command("probe", all=True)
    assert ended.value.code == 1
    with pytest.raises(CommandError, match="unknown") as refused:
        call_command("probe", "unknown")
    assert refused.value.returncode == 2


def test_a_database_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, url: str | None) -> None:
        raise DatabaseError("gone away")

    monkeypatch.setattr(command, "probe", broken)
    ended = shell("probe", "payments")
    assert ended.status == 2
    assert "The circuits' database cannot be used" in ended.err


# Again and again


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect the pauses, which take no time; Ctrl-C arrives in the second one."""
    made: list[float] = []

    def pause(seconds: float) -> None:
        made.append(seconds)
        if len(made) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "sleep", pause)
    return made


@pytest.mark.parametrize(("path", "status"), [("success", 0), ("faulty", 1)])
def test_watch_goes_on_until_interrupted(
    remote: str, pauses: list[float], path: str, status: int
) -> None:
    CircuitFactory.create(name="payments")
    ended = shell("probe", "payments", f"{remote}/{path}", "--watch")
    assert ended.status == status
    assert pauses == [2.0, 2.0]
    assert hits.snapshot()[path] == 2
    assert [row[0] for row in ended.table] == ["Circuit", "payments"] * 2


def test_watch_ends_with_the_status_of_the_last_round(
    remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    circuit = CircuitFactory.create(name="payments", probe_url=f"{remote}/faulty", threshold=9)

    def pause(seconds: float) -> None:
        if Circuit.objects.get().probe_url.endswith("success"):
            raise KeyboardInterrupt
        circuit.probe_url = f"{remote}/success"
        circuit.save(update_fields=["probe_url"])

    monkeypatch.setattr(command, "sleep", pause)
    ended = shell("probe", "--all", "--watch", "--interval", "0.5", "--json")
    first, last = (json.loads(line)[0]["outcome"] for line in ended.lines)
    assert (first, last, ended.status) == ("failed", "passed", 0)


def test_watch_redraws_a_terminal(
    remote: str, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    CircuitFactory.create(name="payments")
    ended = shell("probe", "payments", f"{remote}/success", "--watch", out=Terminal())
    assert ended.status == 0
    drawn, _, left = ended.out.partition("\x1b[?1049l")
    assert drawn.count("payments") == 2
    assert left.count("payments") == 1


@pytest.mark.usefixtures("pauses")
def test_watch_without_rich_writes_one_table_after_the_other(
    remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    CircuitFactory.create(name="payments")
    ended = shell("probe", "payments", f"{remote}/success", "--watch", out=Terminal())
    assert "\x1b" not in ended.out
    assert ended.lines[0].startswith("Circuit  ")
    assert ended.lines[2] == ""
    assert ended.lines[4].startswith("payments  ")


def test_watch_interrupted_before_it_knows_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str, url: str | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "probe", interrupted)
    assert shell("probe", "payments", "--watch").status == 130


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "often"])
def test_an_interval_that_is_none_is_refused(interval: str, pauses: list[float]) -> None:
    ended = shell("probe", "payments", "--watch", f"--interval={interval}")
    assert ended.status == 2
    assert "interval" in ended.err
    assert "must be a number" in ended.err
    assert not pauses


# In a process of its own

Manage = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """Return a function that starts `manage.py` of the reference project on its own databases."""

    return partial(start_manage, tmp_path)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, out


def outcomes(out: str) -> list[Any]:
    return [result["outcome"] for result in json.loads(out)]


def test_the_exit_status_is_for_the_shell(remote: str, manage: Manage) -> None:
    assert ended(manage("circuits", "list"))[0] == 2  # nothing was migrated
    assert ended(manage("migrate", "--verbosity=0", "--database=circuits"))[0] == 0
    made = manage("circuits", "create", "payments", "--probe-url", f"{remote}/success")
    assert ended(made) == (0, "payments: created.\n")

    status, out = ended(manage("probe", "payments", "--json"))
    assert (status, outcomes(out)) == (0, ["passed"])
    status, out = ended(manage("probe", "payments", f"{remote}/faulty", "--json"))
    assert (status, outcomes(out)) == (1, ["failed"])
    assert ended(manage("probe", "unknown", f"{remote}/success")) == (2, "")
    assert ended(manage("probe", "--all", "--nonsense")) == (2, "")

    watch = manage("probe", "--all", "--watch", "--json", "--interval=3600")
    assert watch.stdout
    assert outcomes(watch.stdout.readline()) == ["passed"]
    out, _ = interrupted(watch)
    assert (watch.returncode, out) == (0, "")

    with manage("probe", "--all", "--watch", "--json", "--interval=0.1") as watch:
        assert watch.stdout
        watch.stdout.readline()
        watch.stdout.close()  # as `head -1` does
        assert watch.stderr
        assert "Traceback" not in watch.stderr.read()
    assert watch.returncode == 141
