"""The command line refuses bad arguments, each with one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cases import CASES

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "tepid"], "There is no case 'tepid'; there are hot, http,"),
        (["--rounds", "0"], "must be a whole number from 1 to 1000, not '0'."),
        (["--quick", "--out", "docs"], "--out writes what people read"),
        (["--only", "hot", "--out", "nowhere"], "nowhere/benchmarks.json holds no results"),
    ],
)
def test_refused(arguments: list[str], sentence: str) -> None:
    done = run(*arguments)
    assert done.returncode in (1, 2)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_missing() -> None:
    done = run("--only", "coroutine", TEST_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(
        ("Redis cannot be reached at 127.0.0.1:1", "pybreaker is not installed")
    )


def test_nothing_to_compare_with(tmp_path: Path) -> None:
    done = run("--only", "hot", "--check", str(tmp_path / "none.json"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "run `make bench`" in done.stderr


def test_each_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
