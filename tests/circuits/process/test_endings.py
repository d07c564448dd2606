"""The last work of a process is done however it ends, and never keeps it from ending."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys

import pytest

from circuits.process import endings

_BEGIN = """
import os, signal
from threading import Event
from circuits.process import endings

def say():
    print("done", flush=True)
"""


def ended(code: str) -> tuple[int, str]:
    """Run a process; return its exit status and its output."""
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + code], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize(
    ("end", "status"),
    [("", 0), ("os._exit(3)", 3), ("signal.raise_signal(signal.SIGTERM)", -signal.SIGTERM)],
    ids=["usual", "at once", "by a signal"],
)
def test_the_last_work_is_done(end: str, status: int) -> None:
    assert ended(f"endings.at_end(say, lambda: True)\n{end}") == (status, "done")


def test_the_last_work_of_a_child_is_done_too() -> None:
    code = "endings.at_end(say, lambda: True)\nif os.fork():\n os.wait()\nelse:\n os._exit(3)"
    assert ended(code) == (0, "done\ndone")


def test_a_signal_that_the_process_handles_is_no_end() -> None:
    code = """
endings.at_end(say, lambda: True)
signal.signal(signal.SIGTERM, lambda *_: print("handled", flush=True))
signal.raise_signal(signal.SIGTERM)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert ended(code) == (-signal.SIGKILL, "handled")


def test_nothing_is_done_where_there_is_nothing_to_do() -> None:
    assert ended("endings.at_end(say, lambda: False)\nos._exit(3)") == (3, "")


def test_work_that_hangs_is_left() -> None:
    code = "endings.PATIENCE = 0.1\nendings.at_end(Event().wait, lambda: True)\nos._exit(3)"
    assert ended(code) == (3, "")


def test_work_that_fails_changes_nothing_of_the_end() -> None:
    assert ended("endings.at_end(lambda: 1 / 0, lambda: True)\nos._exit(3)") == (3, "")
    assert ended("endings.at_end(say, lambda: 1 / 0)\nos._exit(3)") == (3, "")


def test_work_that_fails_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[int] = []
    done: list[int] = []
    needs: list[ZeroDivisionError | bool] = [ZeroDivisionError(), False, True]

    def work() -> None:
        done.append(len(ended))

    def is_needed() -> bool:
        need = needs.pop(0)
        if isinstance(need, Exception):
            raise need
        return need

    def end(status: int) -> None:
        vars(os)["_exit"](status)

    monkeypatch.setattr(os, "_exit", ended.append)  # which is wrapped, and restored afterwards
    monkeypatch.setattr(signal, "raise_signal", ended.append)
    try:
        endings.at_end(work, is_needed)
        end(3)
        [record] = caplog.records
        assert record.getMessage() == "Could not do the last work of this process."
        assert record.exc_info
        end(4)
        signal.raise_signal(signal.SIGURG)
        assert (ended, done) == ([3, 4, signal.SIGURG], []), "no work, or no end"
        end(5)
    finally:
        atexit.unregister(work)
    assert (ended, done) == ([3, 4, signal.SIGURG, 5], [3]), "the work comes before the end"
    assert len(caplog.records) == 1
