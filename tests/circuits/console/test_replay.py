"""The page of a circuit's recording, and the commands: what other policies would have done."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from circuits.core.recording import Call, Ending
from circuits.models import Circuit, Recording
from circuits.moments import to_datetime
from circuits.storage import recordings
from circuits.storage.database import DatabaseStore
from tests.commands import shell
from tests.factories import CircuitFactory
from tests.staff import page, said, seen, signed_in, text

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def circuit() -> Circuit:
    return CircuitFactory.create(name="payments", threshold=5, delay=10)


def replay_page(circuit: Circuit) -> str:
    return reverse("admin:circuits_circuit_replay", args=[circuit.pk])


def record(circuit: Circuit, outcomes: str) -> None:
    """Record a call each second: ``.`` a success, ``f`` a failure, ``n`` nothing, ``r`` refused."""
    alias, now = DatabaseStore().alias, DatabaseStore().now()
    begin = now - len(outcomes)
    recordings.begin(alias, circuit, 60)
    Recording.objects.update(since=to_datetime(begin), until=to_datetime(now))
    endings = dict(zip(".fnr", Ending, strict=True))
    calls = [Call(begin + n, 0.001, endings[letter]) for n, letter in enumerate(outcomes)]
    assert recordings.add(alias, circuit.name, calls)


# The page


def test_without_a_recording_it_says_what_cannot_be_known(ann: Client, circuit: Circuit) -> None:
    told = text(seen(ann, replay_page(circuit)))
    assert "No calls are recorded." in told
    assert "they cannot tell whether failures came in a row" in told
    assert "Openings" not in told
    assert replay_page(circuit) in seen(ann, page(circuit)), "its page leads there"


def test_a_button_records_for_a_day_and_another_one_stops(ann: Client, circuit: Circuit) -> None:
    answer = ann.post(replay_page(circuit), {"record": ""})
    assert said(answer) == [("success", "The calls of payments are recorded for 24 hours.")]
    circuit.refresh_from_db()
    assert circuit.recorded_until is not None
    kept = Recording.objects.get()
    assert (kept.until - kept.since).total_seconds() == pytest.approx(86_400, abs=1)
    assert "Recording since" in text(seen(ann, replay_page(circuit)))
    answer = ann.post(replay_page(circuit), {"stop": ""})
    assert said(answer) == [("success", "The calls of payments are no longer recorded.")]
    assert "Recorded from" in text(seen(ann, replay_page(circuit)))
    assert LogEntry.objects.count() == 2


def test_policies_stand_side_by_side(ann: Client, circuit: Circuit) -> None:
    record(circuit, "." * 10 + "fff" + "." * 10 + "f" * 20)
    told = seen(ann, replay_page(circuit), **{"try": "threshold=3 delay=5 or threshold=100"})
    words = text(told)
    assert re.search(r"as it is 1 1[56] seconds 0 14 \(61 %\)", words)
    assert "threshold=3 delay=5 2 " in words
    assert "threshold=100 0 0 seconds 0 0" in words
    assert told.count('<figure class="circuits-chart">') == 4


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("threshold=0", "threshold: "),
        ("timeout=3", "is no FIELD=VALUE of a policy"),
        ("max_concurrent=3", "is no FIELD=VALUE of a policy"),
        ("nonsense", "is no FIELD=VALUE of a policy"),
        ("<script>", "is no FIELD=VALUE of a policy"),
        ("delay=1 or delay=2 or delay=3 or delay=4", "At most 3 policies"),
    ],
)
def test_what_cannot_be_tried_is_said(
    ann: Client, circuit: Circuit, typed: str, error: str
) -> None:
    record(circuit, "....f")
    told = seen(ann, replay_page(circuit), **{"try": typed})
    assert error in text(told)
    assert "<script>&" not in told
    assert "as it is 0" in text(told)


def test_what_was_refused_is_told(ann: Client, circuit: Circuit) -> None:
    record(circuit, "..rr.")
    told = text(seen(ann, replay_page(circuit)))
    assert "2 calls were refused while they were recorded" in told


def test_what_is_left_out_is_told(
    ann: Client, circuit: Circuit, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(circuit, ".....")
    begin = DatabaseStore().now()
    assert recordings.add(DatabaseStore().alias, "payments", [Call(begin, 0.0, Ending.GOOD)] * 7)
    monkeypatch.setattr("circuits.console.replay.MOST_CALLS", 5)
    told = text(seen(ann, replay_page(circuit)))
    assert "The first 5 calls are replayed; 7 later ones are left out." in told


def test_who_may_only_look_cannot_record(circuit: Circuit) -> None:
    viewer = signed_in("view_circuit")
    assert "Record for 24 hours" not in seen(viewer, replay_page(circuit))
    assert viewer.post(replay_page(circuit), {"record": ""}).status_code == 403
    nobody = signed_in(name="bob")
    assert nobody.get(replay_page(circuit)).status_code == 403
    operator = signed_in("view_circuit", "operate_circuit", name="eve")
    assert operator.post(replay_page(circuit), {"record": ""}).status_code == 302
    assert Recording.objects.count() == 1


def test_a_circuit_that_is_gone_has_no_recording(ann: Client, circuit: Circuit) -> None:
    gone = replay_page(circuit)
    circuit.delete()
    assert "no longer there" in text(ann.get(gone, follow=True).content.decode())


# The commands


def test_record_and_stop_at_a_shell(circuit: Circuit) -> None:
    ended = shell("circuits", "record", "payments", "--for", "2h")
    assert ended.status == 0
    assert ended.out.startswith("Recording since ")
    kept = Recording.objects.get()
    assert (kept.until - kept.since).total_seconds() == pytest.approx(7_200, abs=1)
    ended = shell("circuits", "record", "payments", "--stop")
    assert ended.out.startswith("Recorded from ")
    assert shell("circuits", "record", "payments", "--for", "8d").status == 2
    assert shell("circuits", "record", "pyments").status == 2


def test_replay_at_a_shell(circuit: Circuit) -> None:
    record(circuit, "." * 10 + "fff" + "." * 10 + "f" * 20)
    ended = shell("circuits", "replay", "payments", "threshold=100", "or", "threshold=3")
    assert ended.status == 0
    assert [row[0] for row in ended.table[-3:]] == ["as it is", "threshold=100", "threshold=3"]
    as_json = shell("circuits", "replay", "payments", "threshold=100", "--json").json
    assert as_json["calls"] == 43
    assert [each["openings"] for each in as_json["policies"]] == [1, 0]
    assert as_json["policies"][1]["changes"] == "threshold=100"
    assert shell("circuits", "replay", "payments", "timeout=1").status == 2


def test_replay_at_a_shell_without_a_recording(circuit: Circuit) -> None:
    ended = shell("circuits", "replay", "payments")
    assert ended.out.startswith("No calls are recorded.")
    assert shell("circuits", "replay", "payments", "--json").json["policies"] == []
