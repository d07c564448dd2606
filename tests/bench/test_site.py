"""The figures of what an outage costs a site, and the pages that show them."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import time
from asyncio import StreamReader, StreamWriter
from pathlib import Path
from xml.etree import ElementTree

import pytest
import requests

from bench.results import Report, load
from bench.site import docs, plot, remote
from bench.site.contenders import CONTENDERS, OURS
from bench.site.figures import Figures, figures, result
from bench.site.load import Request, at_once, schedule

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs" / "site.json"

#: When the outage begins and ends in these runs.
START, END = 10.0, 20.0


def local(due: float, seconds: float, status: int = 200) -> Request:
    return Request(page="local", due=due, seconds=seconds, status=status)


def asking(due: float, status: int, process: str = "1", seconds: float = 0.1) -> Request:
    answered = due + seconds
    return Request(
        page="remote",
        due=due,
        seconds=seconds,
        status=status,
        process=process,
        answered_at=answered,
    )


def found(*run: Request) -> Figures:
    return figures(run, START, END, reached=7)


def some(**values: float | None) -> Figures:
    usual = {
        "slow_or_lost": 20, "lost": 3, "asked": 1200, "reached": 7,
        "refused_after": 2.04, "first_after": None, "every_after": 0.0, "early": 0,
    }  # fmt: skip
    return Figures(**(usual | values))  # type: ignore[arg-type]


def test_a_page_that_needs_no_remote_is_late_over_250_milliseconds_or_never_comes() -> None:
    lost = Request(page="local", due=1)
    run = [local(1, 0.2), local(1, 0.25), local(2, 0.26), lost, local(3, 0.1, 500), asking(1, 502)]
    counted = found(*run)
    assert (counted.slow_or_lost, counted.lost, counted.asked) == (3, 1, 5)
    assert counted.reached == 7


def test_all_refuse_when_the_last_process_does() -> None:
    first = [asking(10 + number, 503, str(number)) for number in range(4)]
    earlier, later = asking(9, 503, "3"), asking(14, 503, "0")
    assert found(*first, earlier, later).refused_after == pytest.approx(3.1)
    assert found(*first[:3], later).refused_after is None


def test_the_first_page_again_and_the_last_that_was_not_served() -> None:
    hung = asking(19, 200, seconds=1.1)
    run = [hung, asking(21, 503), asking(22, 200), asking(23, 502), asking(25, 200)]
    again = found(*run)
    assert again.first_after == pytest.approx(2.1)
    assert again.every_after == pytest.approx(3)
    assert found(*run, asking(25.5, 503)).every_after is None
    assert found(asking(21, 200)).every_after == 0


def test_faults_while_all_is_well() -> None:
    assert found(asking(5, 503), asking(9.9, 502), asking(11, 502)).early == 1


def test_requests_come_on_schedule() -> None:
    due = list(schedule(start=100, seconds=2))
    assert len([at for page, at in due if page == "remote"]) == 80
    assert len([at for page, at in due if page == "local"]) == 120
    assert min(at for _, at in due) == 100
    assert max(at for _, at in due) < 102


def requested(answer: bytes) -> list[Request]:
    """Make requests to a server that sends an answer and closes the connection."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def run() -> list[Request]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            return await at_once(server.sockets[0].getsockname()[1], 2)

    return asyncio.run(run())


def test_a_request_knows_who_answered_and_when() -> None:
    answered = requested(b"HTTP/1.1 503 No\r\nX-Process: 47\r\nX-At: 12.5\r\n\r\n")
    assert [each.page for each in answered] == ["remote", "remote", "local", "local"]
    assert {(each.status, each.process, each.answered_at) for each in answered} == {
        (503, "47", 12.5)
    }
    assert all(0 < each.seconds < 60 for each in answered)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nX-Pro"])
def test_a_request_without_a_whole_answer_is_lost(answer: bytes) -> None:
    assert all(each.is_lost for each in requested(answer))


def test_a_request_to_nobody_is_lost() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert all(each.is_lost for each in asyncio.run(at_once(port, 1)))


def test_the_remote_hangs_until_the_end_and_counts_who_comes() -> None:
    with remote.serving() as serving:
        assert requests.get(serving.url, timeout=20).text == "ok"
        end = time.monotonic() + 2
        serving.hang(end - 60, end)
        assert requests.get(serving.url, timeout=20).text == "ok"
        assert time.monotonic() >= end
        assert requests.get(serving.url, timeout=20).text == "ok"
        assert serving.reached == 1


def test_each_of_ours_has_the_policy_of_the_others() -> None:
    own = [each.policy for name, each in CONTENDERS.items() if name.startswith(OURS)]
    assert len(own) == 3
    assert all((policy["threshold"], policy["delay"]) == (5, 5) for policy in own)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "tepid"], "invalid choice: 'tepid'"),
        (["--only", OURS, "--out", "docs"], "--out writes what people read"),
        (["--outage", "2", "--out", "docs"], "--out writes what people read"),
    ],
)
def test_what_the_command_refuses(arguments: list[str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.site", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert sentence in done.stderr


# What people read --------------------------------------------------------------------------------


def test_what_was_never_seen_is_told_so() -> None:
    table = result({OURS: some()}).table
    assert table is not None
    assert table.columns[1].endswith("of 1,200")
    assert table.rows == ((OURS, 20, 3, 7, 2.0, "never", 0.0, 0),)


def test_the_pages_say_what_the_results_do() -> None:
    report = load(KEPT)
    page, readme = (ROOT / "docs" / "benchmarks.md").read_text(), (ROOT / "README.md").read_text()
    assert docs.filled_page(page, report) == page
    assert docs.filled_readme(readme, report) == readme
    [kept] = report.results
    assert kept.table is not None
    assert [row[0] for row in kept.table.rows] == [*CONTENDERS]
    assert f"{kept.table.rows[0][1]:,} took over 250 ms" in " ".join(readme.split())


def test_what_was_found_is_written_to_all_that_people_read(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="only `make bench-site` installs it")
    folder = tmp_path / "docs"
    folder.mkdir()
    for file in (folder / "benchmarks.md", tmp_path / "README.md"):
        file.write_text("Before.\n<!-- bench: site -->\nold\n<!-- /bench -->\nAfter.\n")
    numbers = {name: some(slow_or_lost=1000 + at) for at, name in enumerate(CONTENDERS)}
    docs.write(Report(environment={}, rounds=1, results=(result(numbers),)), folder)
    for file in (folder / "benchmarks.md", tmp_path / "README.md"):
        text = " ".join(file.read_text().split())
        assert "1,000 took over 250 ms" in text
        assert "old" not in text
    assert load(folder / "site.json").results[0].name == "site"
    assert (folder / "benchmarks" / "site.svg").is_file()


def test_the_plot_can_be_read_on_a_light_and_on_a_dark_page(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="only `make bench-site` installs it")
    shown = result({"no breaker": some(slow_or_lost=1254), OURS: some()})
    for file in (tmp_path / "one.svg", tmp_path / "other.svg"):
        plot.draw(shown, file)
    text = (tmp_path / "one.svg").read_text()
    assert text == (tmp_path / "other.svg").read_text()
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    drawn = re.sub(r"<style>@media.*?</style>", "", text)
    for light, dark in plot.DARK.items():
        assert f"fill: {light}" in drawn
        assert dark not in drawn
        assert f"fill: {dark} !important" in text
    assert "1,254" in text
