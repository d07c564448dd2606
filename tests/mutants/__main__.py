"""Puts small faults into a room of the code, one at a time, and lists those that no test notices.

Mutmut makes the faults and runs the tests that reach each of them. There are thousands, so a run
tries a random choice of them until its time is over::

    python -m tests.mutants core storage --minutes 30
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import ndiff
from pathlib import Path
from time import monotonic
from typing import Final

from tests.mutants.equivalent import EQUIVALENT

ROOT: Final = Path(__file__).parent.parent.parent
FOLDER: Final = ROOT / "var" / "mutants"

#: The fast tests that should notice the faults, by room.
TESTS: Final[dict[str, list[str]]] = {
    "core": ["tests/circuits/core"],
    "storage": [
        "tests/circuits/storage",
        "tests/circuits/steering/test_handle.py",
        "tests/circuits/process/test_promises.py",
        "tests/circuits/reports/test_statistics.py",
        "tests/circuits/test_routers.py",
        "tests/circuits/test_tasks.py",
        "tests/circuits/test_testing.py",
    ],
    "process": [
        "tests/circuits/process",
        "tests/circuits/calls/test_injection.py",
        "tests/circuits/calls/test_nesting.py",
        "tests/circuits/reports/test_quarantines.py",
    ],
    "calls": ["tests/circuits/calls"],
}

#: How pytest runs them. A fault may keep a test from ending, so each has a short time. Tests that
#: start processes or go through every order of steps take seconds, and every fault that survives
#: would run them all.
OPTIONS: Final = [
    *("-p", "no:cacheprovider"),
    *("--timeout", "30", "-o", "timeout_func_only=true"),
    *("--hypothesis-profile", "mutants"),
    *("-k", "not processes and not restart and not every_order_of_steps"),
]

#: The files that tests need in addition to the package and themselves.
ALSO: Final = ["cbproject", "mockapi", "manage.py", "README.md", "docs"]

#: How many faults are tried before the clock is read again.
BATCH: Final = 40

#: Mutmut's results for a fault that a test has noticed; with any other, the fault has survived.
NOTICED: Final = {"killed", "timeout", "segfault", "suspicious", "caught by type check"}
NOT_TRIED: Final = {"not checked", "skipped"}

#: Where anything would do: the type in a ``cast``, and the key under which something is done once a
#: minute.
IDLE: Final = (
    (r"\bcast\((?:[^,()\[\]]|\[[^\]]*\])+,", "cast("),
    (r"\bis_due\([^()]+\)", "is_due(KEY)"),
)


def main() -> int:
    """Try each room for its share of the time, and print the faults that survive."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("rooms", nargs="*", default=list(TESTS), metavar="ROOM")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all rooms together")
    asked = parser.parse_args()
    unknown = sorted(set(asked.rooms) - TESTS.keys())
    if unknown:
        parser.error(f"no room {', '.join(unknown)}; there are {', '.join(TESTS)}")
    for room in asked.rooms:
        report(room, tried(room, asked.minutes * 60 / len(asked.rooms)))
    return 0


def tried(room: str, seconds: float) -> Mapping[str, str]:
    """Try faults in a room for some seconds, and return the result of each.

    Making the faults takes some minutes more, and longer on a busy machine.
    """
    copy = copied(room)
    run(copy, "run", "none")  # makes all faults and finds the tests that reach them; tries none
    faults = results(copy)
    changes = changes_in(copy / "mutants", room)
    entries = [entry for entry in EQUIVALENT if entry.startswith(f"circuits.{room}.")]
    named = by_entry(entries, changes)
    for entry in unclear(named):
        print(f"{room}: EQUIVALENT names {len(named[entry])} faults by {entry!r}", flush=True)
    left_out = {name for names in named.values() for name in names}
    left_out |= {name for name, change in changes.items() if is_idle(change)}
    end = monotonic() + seconds
    waiting = [name for name in faults if faults[name] in NOT_TRIED and name not in left_out]
    if not waiting:
        raise RuntimeError(f"There are no faults to try in {room}; see {copy / 'mutmut.log'}.")
    random.shuffle(waiting)
    while waiting and monotonic() < end:
        batch = [waiting.pop() for _ in range(min(BATCH, len(waiting)))]
        printed = run(copy, "run", "--max-children", "1", *batch)
        if results(copy)[batch[0]] in NOT_TRIED:  # a test fails without any fault, perhaps
            raise RuntimeError(f"Mutmut has not tried the faults in {room}:\n{printed[-2000:]}")
    return results(copy)


def copied(room: str) -> Path:
    """Return a fresh copy of the project, in which mutmut is set up for one room."""
    copy = FOLDER / room
    shutil.rmtree(copy, ignore_errors=True)
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", *ignored))
    with (copy / "pyproject.toml").open("a") as settings:
        settings.write(
            "\n[tool.mutmut]\n"
            'source_paths = ["circuits"]\n'
            f'only_mutate = ["circuits/{room}/*"]\n'
            f"also_copy = {ALSO}\n"
            f"pytest_add_cli_args_test_selection = {TESTS[room]}\n"
            f"pytest_add_cli_args = {OPTIONS}\n"
            # A process that has run tests has threads and open databases. A fork breaks them, and
            # then every fault seems to be noticed.
            'process_isolation = "forkserver"\n'
        )
    return copy


def run(copy: Path, *command: str) -> str:
    """Run mutmut, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *command],
        cwd=copy,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,  # its exit status is 1 also when a fault has survived
    )
    with (copy / "mutmut.log").open("a") as log:
        log.write(done.stdout)
    return done.stdout


def results(copy: Path) -> dict[str, str]:
    """Return the results so far, by the name of the fault."""
    return dict(re.findall(r"^ +(\S+): (.+)$", run(copy, "results", "--all", "true"), re.M))


def by_entry(entries: Iterable[str], changes: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the faults that each entry of :data:`EQUIVALENT` names.

    Args:
        changes: The change that each fault makes.
    """
    found: dict[str, list[str]] = {entry: [] for entry in entries}
    for name, change in changes.items():
        function = function_of(name)
        for entry in found.keys() & {function, f"{function}: {change}"}:
            found[entry].append(name)
    return found


def unclear(named: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the entries that name no fault any more, or several by one change."""
    return [entry for entry, names in named.items() if not names or (": " in entry and names[1:])]


def changes_in(mutants: Path, room: str) -> dict[str, str]:
    """Return the changes of all faults that mutmut has made in a room, by the name of the fault."""
    changes: dict[str, str] = {}
    for path in mutants.glob(f"circuits/{room}/**/*.py"):
        module = ".".join(path.relative_to(mutants).with_suffix("").parts)
        changes |= {f"{module}.{name}": each for name, each in changes_of(path.read_text()).items()}
    return changes


def changes_of(source: str) -> dict[str, str]:
    """Return the change of each fault as ``OLD -> NEW``, from a module with all faults of mutmut's.

    It keeps each faulty function beside the one without a fault.
    """
    lines = source.splitlines()
    functions = {
        node.name: [line.strip() for line in lines[node.lineno - 1 : node.end_lineno]]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "__mutmut_" in node.name
    }
    changes = {}
    for name, (head, *body) in functions.items():
        whole = f"{function_of(name)}__mutmut_orig"
        diff = list(ndiff(functions[whole], [head.replace(name, whole), *body]))
        old, new = (" ".join(line[2:] for line in diff if line[0] == sign) for sign in "-+")
        changes[name] = f"{old} -> {new}"
    return {name: change for name, change in changes.items() if not name.endswith("_orig")}


def is_idle(change: str) -> bool:
    """Return whether a change only puts something else where anything would do; see ``IDLE``."""
    for pattern, plain in IDLE:
        change = re.sub(pattern, plain, change)
    old, _, new = change.partition(" -> ")
    return old == new


def report(room: str, found: Mapping[str, str]) -> None:
    """Print how many faults were noticed, and the survivors, function by function."""
    outcomes = {name: status for name, status in found.items() if status not in NOT_TRIED}
    survivors = sorted(name for name, status in outcomes.items() if status not in NOTICED)
    share = 1 - len(survivors) / len(outcomes) if outcomes else 0.0
    print(f"{room}: {len(outcomes)} of {len(found)} faults tried, {share:.1%} noticed", flush=True)
    for function, number in by_function(survivors).items():
        print(f"  {number:4d} survive in {function}")
    for name in survivors:
        print(f"  {name}: {outcomes[name]}")
    if survivors:
        print(f"  To see one: cd {FOLDER / room} && {sys.executable} -m mutmut show NAME")


def by_function(names: Sequence[str]) -> Counter[str]:
    """Return the number of faults in each function."""
    return Counter(map(function_of, names))


def function_of(name: str) -> str:
    """Return the name of the function that contains a fault, from mutmut's name of the fault."""
    return name.partition("__mutmut_")[0]


if __name__ == "__main__":
    sys.exit(main())
