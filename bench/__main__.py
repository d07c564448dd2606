"""The command line of the benchmarks: ``python -m bench``."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import TYPE_CHECKING, Final

import django

if TYPE_CHECKING:
    from .cases.case import Case
    from .measure import Effort
    from .results import Report

#: How many times `--check` measures, as long as something seems worse.
TRIES: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen cases and return the exit status: 1 if ``--check`` found a regression, else 0.

    Raises:
        SystemExit: An argument is wrong, or a package or server is missing; the message says which.
    """
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    from .check import missed

    options = _parse(arguments)
    cases = _chosen(options.only)
    earlier = _earlier(options.out) if options.out and options.only else None
    _require_peers()
    _require_services(cases)
    gc.freeze()  # what exists now will not become garbage, so the collector need not look at it
    if options.check is not None:
        return _check(cases, _effort(options), options.check)
    report = _run(cases, _effort(options))
    for name, ratio in missed(report).items():
        print(f"Missed: {name} is {ratio.value:.3g} and should be {ratio.limit:g} at most.")
    if options.out is not None:
        from .report import write

        write(report if earlier is None else _merged(report, earlier), options.out)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=_rounds, help="how many turns each contender has (7)")
    parser.add_argument(
        "--quick", action="store_true", help="make the turns short, to see that everything works"
    )
    parser.add_argument("--only", nargs="+", metavar="CASE", help="run only these cases")
    after = parser.add_mutually_exclusive_group()
    after.add_argument(
        "--check", type=Path, metavar="FILE", help="compare ratios with an earlier run's JSON"
    )
    after.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write benchmarks.json, .md and plots there; with --only, update only those cases",
    )
    options = parser.parse_args(arguments)
    if options.out and options.quick:
        parser.error("--out writes what people read, so it cannot go with --quick.")
    return options


def _rounds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 1000, not {text!r}.")
    return int(text)


def _effort(options: argparse.Namespace) -> Effort:
    from .measure import Effort

    usual = Effort(turn_seconds=0.02) if options.quick else Effort()
    return usual if options.rounds is None else usual.with_rounds(options.rounds)


def _chosen(names: Sequence[str] | None) -> list[Case]:
    from .cases import CASES

    if names is None:
        return [*CASES]
    known = {case.name: case for case in CASES}
    for name in names:
        if name not in known:
            sys.exit(f"There is no case {name!r}; there are {', '.join(known)}.")
    return [known[name] for name in names]


def _require_services(cases: Sequence[Case]) -> None:
    from tests import services

    for name in {name for case in cases for name in case.needs}:
        services.require(name)


def _require_peers() -> None:
    from . import peers

    try:
        peers.versions()
    except PackageNotFoundError as error:
        sys.exit(f"{error.name} is not installed: run `make bench`, which installs what it needs.")


def _run(cases: Sequence[Case], effort: Effort) -> Report:
    from . import databases, machine
    from .peers import versions
    from .report import show
    from .results import Report

    results = []
    services = {name for case in cases for name in case.needs}
    with databases.made(services):
        environment = machine.environment(versions()) | databases.versions(services)
        for case in cases:
            results.append(case.run(effort))
            show(results[-1])
    return Report(environment=environment, rounds=effort.rounds, results=tuple(results))


def _earlier(folder: Path) -> Report:
    """Return the report that the chosen cases will be merged into.

    It is loaded before the cases run, so that a missing file is known before they take their time.
    """
    from .results import load

    try:
        return load(folder / "benchmarks.json")
    except ValueError as error:
        sys.exit(str(error))


def _merged(report: Report, earlier: Report) -> Report:
    try:
        return report.over(earlier)
    except ValueError as error:
        sys.exit(str(error))


def _check(cases: Sequence[Case], effort: Effort, file: Path) -> int:
    from . import check
    from .results import load

    try:
        before = load(file)
    except ValueError as error:
        sys.exit(str(error))

    def tries() -> Iterator[list[check.Regression]]:
        for _ in range(TRIES):
            yield list(check.regressions(_run(cases, effort), before))

    worse = check.lasting(tries())
    for each in worse:
        print(each, file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
