"""Tables as they look in a pipe and on a terminal."""

from __future__ import annotations

import sys
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from django.core.management.base import OutputWrapper

from circuits.management.screens import screen
from circuits.management.tables import Cell, PlainScreen, Screen, Table, duration
from tests.commands import Terminal

ESCAPE = "\x1b"

TABLE = Table(["Name", "State"], [[Cell("支付"), Cell("open", "red")], [Cell("é"), Cell("closed")]])


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


def shown(table: Table, out: StringIO, *, no_color: bool = False, force_color: bool = False) -> str:
    screen(OutputWrapper(out), no_color=no_color, force_color=force_color).show(table)
    return out.getvalue()


def test_a_pipe_gets_aligned_lines() -> None:
    assert shown(TABLE, StringIO()) == "Name  State\n支付  open\né     closed\n"


def test_a_terminal_gets_a_drawing_with_colours() -> None:
    text = shown(TABLE, Terminal())
    assert "┃" in text
    assert f"{ESCAPE}[31mopen" in text


def test_colour_can_be_refused() -> None:
    text = shown(TABLE, Terminal(), no_color=True)
    assert "┃" in text
    assert ESCAPE not in text


def test_colour_can_be_forced_into_a_pipe() -> None:
    assert f"{ESCAPE}[31mopen" in shown(TABLE, StringIO(), force_color=True)


def test_without_rich_a_terminal_gets_aligned_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    assert shown(TABLE, Terminal()) == shown(TABLE, StringIO())


@pytest.mark.parametrize("out", [StringIO, Terminal])
def test_nothing_is_cut_off(out: type[StringIO]) -> None:
    error = "word " * 100
    text = shown(Table(["Name", "Error"], [[Cell("a"), Cell(error)]]), out())
    assert text.count("word") == 100


@pytest.mark.parametrize("out", [StringIO, Terminal])
def test_text_is_neither_markup_nor_control(out: type[StringIO]) -> None:
    text = shown(
        Table(["[b]"], [[Cell("[red]x[/red]")], [Cell("a\x1b[2Jb\nc\x9bd\u202ee")]]), out()
    )
    assert "[b]" in text
    assert "[red]x[/red]" in text
    assert "a\ufffd[2Jb\ufffdc\ufffdd\ufffde" in text


@pytest.mark.parametrize("force_color", [False, True])
def test_what_an_output_cannot_write_is_replaced(force_color: bool) -> None:
    raw = BytesIO()
    out = TextIOWrapper(raw, encoding="ascii")
    where = screen(OutputWrapper(out), force_color=force_color)
    where.show(Table(["Näme"], [[Cell("● open")]]))
    text = raw.getvalue().decode("ascii")
    assert "N?me" in text
    assert "? open" in text


def live(where: Screen) -> None:
    with where.live() as board:
        for number in (1, 2):
            board.show(Table(["Round"], [[Cell(f"number {number}")]]))


def test_a_live_table_is_redrawn_and_the_last_one_stays() -> None:
    out = Terminal()
    live(screen(OutputWrapper(out)))
    before, second_screen, after = _around_second_screen(out.getvalue())
    assert before == ""
    assert "number 1" in second_screen
    assert "number 2" in second_screen
    assert "number 1" not in after
    assert "number 2" in after
    assert after.startswith("┏")  # no line end was put between what rich wrote


def _around_second_screen(text: str) -> tuple[str, str, str]:
    before, _, rest = text.partition(f"{ESCAPE}[?1049h")
    within, _, after = rest.partition(f"{ESCAPE}[?1049l")
    return before, within, after


def test_a_live_table_in_a_pipe_is_one_after_the_other() -> None:
    out = StringIO()
    live(PlainScreen(OutputWrapper(out)))
    assert out.getvalue() == "Round\nnumber 1\n\nRound\nnumber 2\n\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (8.69, "8.7 s"),
        (60, "1 min 0 s"),
        (200.4, "3 min 20 s"),
        (3_600 + 12 * 60, "1 h 12 min"),
        (2 * 86_400 + 5 * 3_600 + 1, "2 d 5 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
