"""Runs the test suites of requests and httpx twice: as they are, and with circuits in between.

A test that fails only with circuits shows a behaviour of the library that circuits change. Changes
that are intended are listed in `EXPECTED`, each with its reason, and in docs/calling.md. Any other
is an error, and so is an expected one that does not occur.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

ROOT: Final = Path(__file__).parent.parent.parent

#: Plugins that would apply our own rules to the libraries' tests, and are left out.
WITHOUT: Final = ("django", "asyncio", "xdist", "cacheprovider")

#: Seconds for one run of one suite.
TIMEOUT: Final = 900

#: By library: patterns of the tests that fail with circuits in between, each with its reason.
EXPECTED: Final[dict[str, dict[str, str]]] = {
    "requests": {},
    "httpx": {
        r"test_proxies\.test_(proxies_environ|transport_for_request|socks_proxy)\[?": (
            "looks at the private _pool of the transport, or at its class"
        ),
        r"test_proxies\.test_proxy_with_mounts": "compares the transport with the one inside",
    },
}


def main() -> int:
    """Return the exit status: the number of libraries with unexplained differences."""
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="circuits-libraries-") as folder:
        for library in EXPECTED:
            wrong += not is_as_expected(library, Path(folder))
    return wrong


def is_as_expected(library: str, folder: Path) -> bool:
    """Run a library's suite both ways, print the difference, and return whether it is explained."""
    sources = unpacked(library, folder)
    before = failures(sources, folder)
    after = failures(sources, folder, "behind_circuits")
    ran = after.keys() & before.keys()
    changed = sorted(test for test in ran if after[test] and not before[test])
    reasons = EXPECTED[library]
    unexplained = [test for test in changed if not any(re.search(each, test) for each in reasons)]
    unmet = [each for each in reasons if not any(re.search(each, test) for test in changed)]
    print(f"{sources.name}: {len(after)} tests, {sum(before.values())} fail as they are,")
    print(f"    {len(changed)} more with circuits, {len(unexplained)} of these unexplained")
    for test in unexplained:
        print(f"  unexplained: {test}")
    for pattern in unmet:
        print(f"  expected to differ, and does not: {pattern}")
    missing = before.keys() ^ after.keys()
    if missing or not after:
        print(f"  run one way only: {len(missing)} tests")
    return bool(after) and not unexplained and not unmet and not missing


def unpacked(library: str, folder: Path) -> Path:
    """Download the source distribution of the installed version, and return its folder."""
    wanted = f"{library}=={version(library)}"
    command = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", library, wanted]
    subprocess.run([sys.executable, *command, "--dest", str(folder)], check=True)
    [archive] = folder.glob(f"{library}-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def failures(sources: Path, folder: Path, *plugins: str) -> dict[str, bool]:
    """Run a suite, and return for each test whether it failed."""
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "--quiet", "--no-header", f"--junitxml={report}"]
    command += [part for name in WITHOUT for part in ("-p", f"no:{name}")]
    command += [part for name in plugins for part in ("-p", name)]
    own = Path(tempfile.mkdtemp(dir=folder))
    subprocess.run(
        [*command, "tests"],
        cwd=sources,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, Path(__file__).parent))),
            "LIBRARIES_FOLDER": str(own),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=TIMEOUT,
        check=False,  # the report says which failed
    )
    if plugins:
        check_that_calls_came_through(own / "circuits.sqlite3")
    return {
        f"{case.get('classname')}.{case.get('name')}": has_failed(case)
        for case in ElementTree.parse(report).iter("testcase")
    }


def check_that_calls_came_through(database: Path) -> None:
    """Raise an error if no circuit was used, since the comparison would then prove nothing."""
    with closing(sqlite3.connect(database)) as connection:
        [(circuits,)] = connection.execute("SELECT count(*) FROM circuits_circuit")
    if not circuits:
        raise RuntimeError("No call went through a circuit.")


def has_failed(case: ElementTree.Element) -> bool:
    """Return whether a test of a report failed or could not run."""
    return any(case.find(kind) is not None for kind in ("failure", "error"))


if __name__ == "__main__":
    sys.exit(main())
