"""The history as CSV: complete, harmless in a spreadsheet, and of any length."""

from __future__ import annotations

import csv
import io
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import circuits
from circuits.console.paging import HistoryList
from circuits.core.status import Mode, Reason, State
from circuits.models import Circuit, Transition
from circuits.reports import export
from tests.factories import CircuitFactory, TransitionFactory
from tests.staff import HISTORY, page, seen, signed_in

pytestmark = pytest.mark.usefixtures("committed")

EXPORT = reverse("admin:circuits_transition_export")

MOMENT = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)


def downloaded(client: Client, **query: Any) -> list[dict[str, str]]:
    """Download the history, and return its rows, each by heading."""
    response: Any = client.get(EXPORT, query)
    assert response.status_code == 200
    content = b"".join(response.streaming_content)
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_each_change_is_a_row_the_oldest_first(ann: Client) -> None:
    circuit = CircuitFactory.create(name="payments")
    TransitionFactory.create(
        circuit=circuit, generation=1, at=MOMENT, detail="HTTP 500 from x", refusals=42
    )
    TransitionFactory.create(
        circuit=circuit,
        generation=2,
        at=MOMENT + timedelta(minutes=1),
        from_state=State.OPEN,
        to_mode=Mode.FORCED_OPEN,
        reason=Reason.MODE,
        actor="ann",
        until=MOMENT + timedelta(minutes=31),
    )
    first, second = downloaded(ann)
    assert first == {
        "at": "2026-03-01T12:30:15+00:00",
        "circuit": "payments",
        "from_state": "closed",
        "to_state": "open",
        "from_mode": "automatic",
        "to_mode": "automatic",
        "reason": "failures",
        "detail": "HTTP 500 from x",
        "actor": "",
        "generation": "1",
        "until": "",
        "refusals": "42",
    }
    assert (second["actor"], second["to_mode"]) == ("ann", "forced_open")
    assert second["until"] == "2026-03-01T13:01:15+00:00"


def test_times_are_those_of_who_looks(ann: Client) -> None:
    TransitionFactory.create(at=MOMENT)
    with timezone.override("Europe/Amsterdam"):
        assert downloaded(ann)[0]["at"] == "2026-03-01T13:30:15+01:00"


def test_the_filters_and_the_search_of_the_list_hold(ann: Client) -> None:
    payments, mail = CircuitFactory.create(name="payments"), CircuitFactory.create(name="mail")
    TransitionFactory.create(circuit=payments)
    TransitionFactory.create(circuit=mail, reason=Reason.MODE)
    assert len(downloaded(ann)) == 2
    for query in ({"circuit__id__exact": mail.pk}, {"reason__exact": "mode"}, {"q": "mail"}):
        assert [row["circuit"] for row in downloaded(ann, **query)] == ["mail"]


def test_a_filter_that_cannot_be_understood_is_said(ann: Client) -> None:
    TransitionFactory.create()
    response = ann.get(EXPORT, {"at__lt": "yesterday-ish"})
    assert (response.status_code, response.content) == (400, b"This filter cannot be understood.")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula_to_a_spreadsheet(ann: Client, start: str) -> None:
    nasty = f'{start}HYPERLINK("http://evil.example","x")'
    TransitionFactory.create(detail=nasty, actor=nasty)
    [row] = downloaded(ann)
    assert row["detail"] == row["actor"] == f"'{nasty}"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x;=1+1", "x;'=1+1"),
        ("x; @SUM(1)", "x;' @SUM(1)"),
        ("x\t+1;-2", "x\t'+1;'-2"),
        ('x;"=1+1', "x;'\"=1+1"),
        ("x\n=1+1", "x\n'=1+1"),
        ("\u200b=1+1", "'\u200b=1+1"),
        ("\ufeff\u202e @x", "'\ufeff\u202e @x"),
        ("\u00a0=1+1", "'\u00a0=1+1"),
        (" =1+1", "' =1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff20x", "'\uff20x"),
        ("\u22121", "'\u22121"),
        ("a; b, c-d=e", "a; b, c-d=e"),
        ("HTTP 500 from https://x.example/a?b", "HTTP 500 from https://x.example/a?b"),
    ],
)
def test_nor_is_what_a_spreadsheet_makes_of_it(ann: Client, text: str, kept: str) -> None:
    """Some spreadsheets separate cells by semicolons, and some skip invisible characters."""
    TransitionFactory.create(detail=text, actor=text)
    [row] = downloaded(ann)
    assert (row["detail"], row["actor"]) == (kept, kept)


def test_commas_quotes_and_lines_stay_within_their_cells(ann: Client) -> None:
    TransitionFactory.create(detail='a "b", c\nd', actor="Zoë ☂")
    [row] = downloaded(ann)
    assert (row["detail"], row["actor"]) == ('a "b", c\nd', "Zoë ☂")


def test_all_is_there_though_the_list_is_cut(ann: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HistoryList, "window", 3)
    monkeypatch.setattr(export, "CHUNK", 4)
    circuit = CircuitFactory.create()
    for generation in range(1, 12):
        TransitionFactory.create(circuit=circuit, generation=generation)
    assert [row["generation"] for row in downloaded(ann)] == [str(n) for n in range(1, 12)]


def test_it_is_read_bit_by_bit() -> None:
    """The first lines are sent before all are read, and many take no more memory than few."""
    circuit = CircuitFactory.create()
    Transition.objects.bulk_create(
        TransitionFactory.build(circuit=circuit, generation=generation, detail="x" * 200)
        for generation in range(1, 12_001)
    )
    rows = Transition.objects.all()
    with CaptureQueriesContext(connections["circuits"]) as queries:
        blocks = export.blocks(rows)
        assert next(blocks).count("\n") == 1
        first = next(blocks).count("\n")
        asked = len(queries)
        tracemalloc.start()
        rest = sum(block.count("\n") for block in blocks)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert asked <= 3
    assert (first, first + rest) == (export.CHUNK, 12_000)
    assert peak < 20_000_000


async def test_an_asynchronous_server_sends_it_bit_by_bit_too(
    ann: Client, async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django would first read all of a synchronous response into memory."""
    monkeypatch.setattr(export, "CHUNK", 4)
    async_client.cookies = ann.cookies
    await sync_to_async(histories)(10)
    answer: Any = await async_client.get(EXPORT)
    assert answer.is_async
    blocks = [block.decode() async for block in answer.streaming_content]
    assert [block.count("\n") for block in blocks] == [1, 4, 4, 2]
    assert "".join(blocks).encode() == await sync_to_async(downloaded_bytes)(ann)


def histories(number: int) -> None:
    """Make a number of changes of one circuit."""
    circuit = CircuitFactory.create()
    for generation in range(1, number + 1):
        TransitionFactory.create(circuit=circuit, generation=generation)


def downloaded_bytes(client: Client) -> bytes:
    answer: Any = client.get(EXPORT)
    return b"".join(answer.streaming_content)


def test_a_history_of_many_circuits_comes_whole(ann: Client) -> None:
    """This includes SQLite, which allows no more than a thousand conditions in one query."""
    made = Circuit.objects.bulk_create(Circuit(name=f"host-{n}") for n in range(1_500))
    Transition.objects.bulk_create(
        TransitionFactory.build(circuit=circuit, generation=1) for circuit in made
    )
    assert [row["circuit"] for row in downloaded(ann)] == [f"host-{n}" for n in range(1_500)]


def test_it_is_a_file_with_the_day_in_its_name(ann: Client) -> None:
    response = ann.get(EXPORT)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    name = f"circuits-history-{timezone.localdate():%Y-%m-%d}.csv"
    assert response["Content-Disposition"] == f'attachment; filename="{name}"'


def test_who_may_see_the_history_may_have_it() -> None:
    assert signed_in("view_circuit").get(EXPORT).status_code == 200


def test_nobody_else_may() -> None:
    client = signed_in()
    assert client.get(EXPORT).status_code == 403
    assert Client().get(EXPORT).status_code == 302


def test_the_pages_lead_to_it(ann: Client) -> None:
    CircuitFactory(name="payments")
    circuits.get("payments").force_open()
    circuit = Circuit.objects.get()
    assert f'href="{EXPORT}?circuit__id__exact={circuit.pk}"' in seen(ann, page(circuit))
    assert f'href="{EXPORT}?q=pay"' in seen(ann, HISTORY, q="pay")
