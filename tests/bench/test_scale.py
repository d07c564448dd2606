"""The measurements of large tables, with small ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SITE = ("DATABASE_URL", "CIRCUITS_DATABASE_URL")


def test_it_measures_two_sizes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    sizes = ["--circuits", "300", "--transitions", "400", "--rounds", "1"]
    run = subprocess.run(
        [sys.executable, "-m", "bench.scale", *sizes],
        env={name: value for name, value in os.environ.items() if name not in SITE}
        | {"VAR_DIR": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert len(re.findall(r"ratio +\d+\.\d\d  \d+ queries", run.stdout)) == 14
    assert "half_open_expired: 30 of 300 in" in run.stdout
    assert re.search(r"prune: 3\d\d in", run.stdout)
    assert list(tmp_path.glob("**/*.sqlite3")) == []
