"""`manage.py circuits watch` as somebody on call uses it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from circuits.core.status import Mode, State
from circuits.management import watching
from circuits.management.reports import calls_cell
from circuits.management.tables import Strip
from circuits.models import Circuit, Heartbeat, Minute
from circuits.moments import to_datetime
from circuits.reports.statistics import Calls
from circuits.storage.database import EXPIRY
from tests.clock import DatabaseClock, database_clock
from tests.commands import Ended, Terminal, shell, start_manage
from tests.concurrency import PATIENCE, interrupted, wait_until
from tests.factories import CircuitFactory
from tests.outage import cut_connection, no_database

pytestmark = pytest.mark.usefixtures("committed")

TITLES = ["Circuit", "State", "Mode", "For", "Retry in", "Last hour", "Last error"]

#: In the last minute of the last slot of an hour.
NOW = 1_800_000_000.0 + 59 * 60


@pytest.fixture
def db_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseClock]:
    with database_clock(monkeypatch) as clock:
        clock.set(NOW)
        yield clock


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("LINES", "24")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


def once(*argv: str, out: StringIO | None = None) -> Ended:
    return shell("circuits", "watch", "--count", "1", *argv, out=out)


def plain(text: str) -> str:
    """Return a text without its control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def lines_left(text: str) -> list[str]:
    """Return the lines that stay on a terminal after the second screen is gone."""
    return plain(text.rpartition("\x1b[?1049l")[2]).splitlines()


def names(lines: list[str]) -> list[str]:
    """Return the names in a table of circuits whose names are single words."""
    return [line.split()[0] for line in lines[2:] if {"✓", "✕", "◌"} & set(line)]


# What is shown -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("db_clock")
def test_it_shows_all_at_one_look_with_what_is_down_first() -> None:
    now = to_datetime(NOW)
    Heartbeat.objects.create(name=EXPIRY, at=now - timedelta(seconds=1.5))
    CircuitFactory.create(name="well", state_changed_at=now - timedelta(seconds=200))
    CircuitFactory.create(name="trying", state=State.HALF_OPEN, state_changed_at=now)
    CircuitFactory.create(
        name="forced",
        mode=Mode.FORCED_CLOSED,
        mode_until=now + timedelta(seconds=1_790.4),
        state_changed_at=now,
    )
    CircuitFactory.create(
        name="down",
        opened=True,
        down_since=now - timedelta(seconds=5),
        retry_at=now + timedelta(seconds=65),
        last_error="HTTP 500",
    )
    summary, titles, *rows = once().table
    assert summary[:4] == ["✕ 1 open", "◐ 1 half open", "! 1 forced", "✓ 2 closed"]
    assert re.fullmatch(r"beat last seen \d\.\d s ago", summary[4])
    assert titles == TITLES
    down, forced, trying, well = rows
    assert (down[:3], down[5:]) == (["down", "✕ open", "automatic"], ["HTTP 500"])
    assert re.fullmatch(r"[5-9]\.\d s", down[3])
    assert re.fullmatch(r"1:0[0-5]", down[4])
    assert forced[:2] == ["forced", "✓ closed"]
    assert re.fullmatch(r"forced closed \(29:[45]\d\)", forced[2])
    assert trying[:3] == ["trying", "◐ half open", "automatic"]
    assert well[:3] == ["well", "✓ closed", "automatic"]
    assert well[3].startswith("3 min 2")


@pytest.mark.parametrize(("seconds_ago", "words"), [(None, "beat never seen"), (300, "5 min")])
def test_it_says_when_beat_does_not_run(seconds_ago: float | None, words: str) -> None:
    if seconds_ago is not None:
        moment = timezone.now() - timedelta(seconds=seconds_ago)
        Heartbeat.objects.create(name=EXPIRY, at=moment)
    ended = once(out=Terminal())
    assert words in ended.out
    assert re.search(rf"\x1b\[33m[^\x1b]*{words}", ended.out)


@pytest.mark.usefixtures("db_clock")
@pytest.mark.parametrize(
    ("seconds", "words"), [(-1, "now"), (7.5, "8 s"), (3 * 86_400 + 60, "3 d 0 h")]
)
def test_the_wait_for_a_retry_is_counted_down(seconds: float, words: str) -> None:
    retry_at = to_datetime(NOW + seconds)
    CircuitFactory.create(name="down", opened=True, delay=86_400 * 4, retry_at=retry_at)
    row = once().table[2]
    assert row[4] in (words, words.replace("8", "7"))


@pytest.mark.usefixtures("db_clock")
def test_it_shows_the_calls_of_the_last_hour() -> None:
    circuit = CircuitFactory.create(name="payments")
    CircuitFactory.create(name="users")
    this_minute = int(NOW // 60)
    for ago, calls in ((200, (9, 9, 9)), (40, (8, 0, 0)), (1, (1, 2, 0)), (0, (0, 0, 1))):
        numbers = dict(zip(Calls._fields, calls, strict=True))
        Minute.objects.create(circuit=circuit, minute=this_minute - ago, **numbers)
    payments, users = once().table[2:]
    assert payments[4] == "·" * 9 + "█" + "·" * 19 + "▄ ✕ 2 ⊘ 1"
    assert len(users) == 4


def test_a_circuit_or_state_that_is_not_asked_for_is_left_out() -> None:
    CircuitFactory.create(name="a")
    CircuitFactory.create(name="b", opened=True)
    CircuitFactory.create(name="c", opened=True, mode=Mode.OBSERVE)
    assert names(once().lines) == ["b", "c", "a"]
    asked = once("--state", "open", "--mode", "automatic", "--mode", "forced_open")
    assert names(asked.lines) == ["b"]
    assert "✓ 1 closed" in asked.lines[0]
    assert "more" not in asked.out


def test_it_says_when_there_is_nothing() -> None:
    assert once().lines[2:] == ["No circuits yet.", ""]
    CircuitFactory.create()
    assert once("--state", "open").lines[2:] == ["No circuit fits.", ""]


# A chart in one line


def charted(*slots: Calls) -> Strip:
    cell = calls_cell(slots)
    assert isinstance(cell, Strip)
    assert len(cell.text) == len(cell.styles)
    return cell


def test_the_busiest_slot_is_as_high_as_there_is() -> None:
    assert charted(*(Calls(number) for number in range(9))).text == "·▁▂▃▄▅▆▇█"
    assert charted(Calls(1), Calls(10**12)).text == "▁█"


def test_a_slot_has_the_colour_of_the_worst_that_happened() -> None:
    cell = charted(Calls(), Calls(9_999), Calls(9_999, 1), Calls(9, 0, 1), Calls(0, 1, 9_000))
    assert cell.text == "·██▁█ ✕ 2 ⊘ 9,001"
    assert cell.styles[:5] == ["dim", "green", "red", "yellow", "red"]
    assert set(cell.styles[5:9]) == {"red"}
    assert set(cell.styles[9:]) == {"yellow"}


def test_without_calls_there_is_no_chart() -> None:
    assert calls_cell(()).text == calls_cell([Calls()] * 30).text == ""


# On a terminal -----------------------------------------------------------------------------------


def test_a_terminal_gets_it_in_colour() -> None:
    CircuitFactory.create(opened=True)
    out = once(out=Terminal()).out
    assert "\x1b[31m✕ open" in out
    assert "\x1b[31m✕ 1 open" in out
    assert "\x1b[2m! 0 forced" in out
    assert "\x1b[31m" not in once("--no-color", out=Terminal()).out


@pytest.mark.usefixtures("db_clock")
@pytest.mark.parametrize("columns", [40, 80, 100, 200])
def test_it_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "20")
    for number in range(40):
        circuit = CircuitFactory.create(
            name=f"service{number:02}{'x' * 80}", last_error="error " * 50
        )
        Minute.objects.create(circuit=circuit, minute=int(NOW // 60), failures=7)
    lines = lines_left(once(out=Terminal()).out)
    assert len(names(lines)) == 15
    # The prompt, or a note, takes the line that remains.
    assert len(lines) == 19
    assert lines[-1].strip() == "and 25 more"
    assert max(map(len, lines)) <= columns
    assert columns < 80 or all("✕ 7" in line for line in lines[3:-1])


def test_what_fits_is_all_shown() -> None:
    CircuitFactory.create_batch(19)
    assert not lines_left(once(out=Terminal()).out)[-1].startswith("and")
    CircuitFactory.create()
    assert lines_left(once(out=Terminal()).out)[-1].strip() == "and 1 more"


def test_a_pipe_gets_every_circuit() -> None:
    CircuitFactory.create_batch(60)
    assert len(once().table) == 62


# Again and again ---------------------------------------------------------------------------------

Pauses = Callable[..., list[float]]


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    """Let each pause do something and take no time; Ctrl-C follows the last one."""

    def install(*acts: Callable[[], object]) -> list[float]:
        made: list[float] = []

        def pause(seconds: float) -> None:
            made.append(seconds)
            if len(made) > len(acts):
                raise KeyboardInterrupt
            acts[len(made) - 1]()

        monkeypatch.setattr(watching, "sleep", pause)
        return made

    return install


def nothing() -> None:
    pass


def test_it_goes_on_until_interrupted(during: Pauses) -> None:
    CircuitFactory.create(name="payments")

    def open_it() -> None:
        now = timezone.now()
        Circuit.objects.update(state=State.OPEN, retry_at=now, state_changed_at=now)

    pauses = during(nothing, open_it)
    ended = shell("circuits", "watch")
    assert (ended.status, ended.err) == (0, "")
    assert pauses == [2.0, 2.0, 2.0]
    rows = [row for row in ended.table if row[0] == "payments"]
    assert [row[1] for row in rows] == ["✓ closed", "✓ closed", "✕ open"]
    assert ended.lines.count("") == 3


def test_it_ends_after_as_many_updates_as_were_asked_for(during: Pauses) -> None:
    CircuitFactory.create(name="payments")
    pauses = during(*[nothing] * 9)
    ended = shell("circuits", "watch", "--count", "3", "--interval", "0.5")
    assert ended.status == 0
    assert pauses == [0.5, 0.5]
    assert len([row for row in ended.table if row[0] == "payments"]) == 3


def test_a_terminal_is_redrawn_and_the_last_table_stays(during: Pauses) -> None:
    CircuitFactory.create(name="payments")
    during(nothing)
    ended = shell("circuits", "watch", out=Terminal())
    assert ended.status == 0
    drawn, _, stays = ended.out.partition("\x1b[?1049l")
    assert drawn.count("payments") == 2
    assert stays.count("payments") == 1


def test_without_rich_a_terminal_gets_one_table_after_the_other(
    during: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    CircuitFactory.create(name="payments")
    during(nothing)
    ended = shell("circuits", "watch", out=Terminal())
    assert "\x1b" not in ended.out
    assert ended.lines[1].startswith("Circuit  ")
    assert ended.lines[3] == ""
    assert ended.lines[6].startswith("payments  ")


@pytest.mark.parametrize("asked", [(), ("--state", "closed")])
def test_the_number_of_queries_is_that_of_one_circuit(asked: tuple[str, ...]) -> None:
    def queries() -> list[str]:
        connections.close_all()  # a command begins without any
        with CaptureQueriesContext(connections["circuits"]) as captured:
            once(*asked)
        return [query["sql"] for query in captured]

    CircuitFactory.create()
    of_one = queries()
    CircuitFactory.create_batch(30)
    assert len(queries()) == len(of_one) == 5, of_one


@pytest.mark.parametrize(
    "option",
    ["--interval=0.1", "--interval=nan", "--interval=often", "--count=0", "--count=1.5"],
)
def test_a_number_that_is_none_is_refused(option: str) -> None:
    ended = shell("circuits", "watch", option)
    assert (ended.status, ended.out) == (2, "")
    assert "must be a" in ended.err
    assert option.partition("=")[0].strip("-") in ended.err


# The database goes away --------------------------------------------------------------------------

NOTE = r"Nothing new since \d\d:\d\d:\d\d: the circuits' database cannot be read \(\w+: .+\)\."


def begin(outage: ExitStack) -> Callable[[], object]:
    return lambda: outage.enter_context(no_database())


def first_words(ended: Ended) -> list[str]:
    """Return the first word of each line, except the summary and the titles."""
    words = [line.split()[0] for line in ended.lines if line]
    return [word for word in words if word not in ("✕", "Circuit")]


def test_an_outage_is_said_once_and_the_watch_goes_on(during: Pauses) -> None:
    CircuitFactory.create(name="payments")
    with ExitStack() as outage:
        pauses = during(begin(outage), nothing, nothing, outage.close, nothing)
        ended = shell("circuits", "watch")
    assert (ended.status, ended.err, len(pauses)) == (0, "", 6)
    assert first_words(ended) == ["payments", "Nothing", "payments", "payments"]
    assert len(re.findall(NOTE, ended.out)) == 1


def test_each_outage_is_said(during: Pauses) -> None:
    CircuitFactory.create(name="payments")
    with ExitStack() as outage:
        during(begin(outage), outage.close, begin(outage))
        ended = shell("circuits", "watch")
    assert first_words(ended) == ["payments", "Nothing", "payments", "Nothing"]


def test_on_a_terminal_the_last_table_stays_above_the_note(during: Pauses) -> None:
    CircuitFactory.create_batch(30)
    with ExitStack() as outage:
        during(begin(outage), nothing)
        ended = shell("circuits", "watch", out=Terminal())
    lines = lines_left(ended.out)
    assert (ended.status, ended.err) == (0, "")
    assert len(lines) == 24
    assert lines[-2].strip() == "and 11 more"
    assert lines[-1].startswith("Nothing new since")


def test_a_connection_that_was_cut_is_made_anew(during: Pauses) -> None:
    CircuitFactory.create(name="payments")
    during(cut_connection, nothing)
    ended = shell("circuits", "watch")
    assert len(re.findall(NOTE, ended.out)) == 1
    assert ended.out.count("payments") == 2


def test_what_cannot_be_read_at_the_start_is_an_error() -> None:
    for out in (None, Terminal()):
        with no_database():
            ended = shell("circuits", "watch", out=out)
        assert ended.status == 2
        assert ended.err.startswith("CommandError: The circuits' database cannot be used")
        assert ended.err.count("\n") == 1


# A real terminal ---------------------------------------------------------------------------------


class PseudoTerminal:
    """A terminal of a given size, which keeps everything that is written to it."""

    def __init__(self, lines: int, columns: int) -> None:
        self._ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.text = ""
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError), open(self._ours, encoding="utf-8", newline="") as written:  # noqa: PTH123
            while some := written.read(1):
                self.text += some

    def close(self) -> None:
        os.close(self.theirs)
        self._reader.join(PATIENCE)


def test_a_real_terminal_is_kept_up_to_date_until_ctrl_c(tmp_path: Path) -> None:
    def manage(*argv: str) -> None:
        process = start_manage(tmp_path, *argv)
        _out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err

    manage("migrate", "--verbosity=0", "--database=circuits")
    manage("circuits", "create", "payments")
    terminal = PseudoTerminal(lines=10, columns=100)
    watch = start_manage(
        tmp_path,
        *("circuits", "watch", "--interval", "0.2"),
        stdout=terminal.theirs,
        stderr=terminal.theirs,
        TERM="xterm-256color",
    )
    try:
        wait_until(lambda: "payments" in terminal.text)
        assert "✕ open" not in terminal.text
        manage("circuits", "force-open", "payments", "--for", "10m")
        wait_until(lambda: "✕ open" in terminal.text)
        interrupted(watch)
    finally:
        watch.kill()
        terminal.close()
    assert watch.returncode == 0
    assert "Traceback" not in terminal.text
    assert terminal.text.count("\x1b[?1049h") == terminal.text.count("\x1b[?1049l") == 1
    summary, _titles, _rule, row = lines_left(terminal.text)
    assert summary.startswith("✕ 1 open  ◐ 0 half open  ! 1 forced  ✓ 0 closed  beat never seen")
    assert re.match(r"payments +✕ open +forced open \((9:5\d|10:00)\) ", row)
