"""``manage.py probe``: makes a real call through a circuit, for people and for monitoring."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from time import sleep
from typing import Any, Final

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ...core.policy import Limits, check_number
from ...exceptions import InvalidInputError
from ...models import Circuit
from ...steering.probe import ProbeResult, probe
from ..arguments import add_json, number
from ..base import CircuitsCommand
from ..reports import state_cell
from ..tables import Cell, Table

#: Exit status when a probe failed or was refused.
NOT_PASSED: Final = 1

#: Exit status when Ctrl-C ends ``--watch`` before the first round is done; shells use the same.
INTERRUPTED: Final = 130

INTERVAL: Final = 2.0
INTERVAL_LIMITS: Final = Limits(0.1, 86_400)

Report = Callable[[list[ProbeResult]], None]


class Command(CircuitsCommand):
    """Call remotes through their circuits, and print the outcomes."""

    help = _(
        "Makes a call through a circuit and shows how it went. The exit status is 0 when all "
        "passed, 1 when one failed or was refused, and 2 for an unknown circuit, a bad URL, or "
        "nothing to probe."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        add = parser.add_argument
        add("name", nargs="?", help=_("the circuit"))
        add("url", nargs="?", help=_("where to call; the circuit's probe URL by default"))
        add("--all", action="store_true", dest="every", help=_("every circuit with a probe URL"))
        add_json(parser)
        add("--watch", action="store_true", help=_("again and again, until Ctrl-C"))
        add(
            "--interval",
            type=number,
            default=INTERVAL,
            metavar="SECONDS",
            help=_("pause between the rounds of --watch (default: %(default)s)"),
        )

    def run(self, **options: Any) -> None:
        """Probe, and exit with a status that tells whether all probes passed."""
        check_number("interval", options["interval"], INTERVAL_LIMITS, whole=False)
        probe_round = _chosen(options["name"], options["url"], options["every"])
        if options["watch"]:
            status = self._watch(probe_round, **options)
        else:
            results = probe_round()
            self._show(results, **options)
            status = _status(results)
        if status:
            sys.exit(status)

    def _show(self, results: list[ProbeResult], as_json: bool, **options: Any) -> None:
        if as_json:
            self.say_json([asdict(result) for result in results])
        else:
            self.screen(**options).show(_table(results))

    def _watch(
        self, probe_round: Callable[[], list[ProbeResult]], interval: float, **options: Any
    ) -> int:
        status = INTERRUPTED
        with self._live(**options) as report, suppress(KeyboardInterrupt):
            while True:
                results = probe_round()
                status = _status(results)
                report(results)
                sleep(interval)
        return status

    @contextmanager
    def _live(self, as_json: bool, **options: Any) -> Iterator[Report]:
        if as_json:
            yield lambda results: self.say_json([asdict(each) for each in results], indent=None)
        else:
            with self.screen(**options).live() as live:
                yield lambda results: live.show(_table(results))


def _chosen(name: str | None, url: str | None, every: bool) -> Callable[[], list[ProbeResult]]:
    """Return a function that probes each chosen circuit once."""
    if every == (name is not None):
        raise InvalidInputError(
            _("Give either the name of a circuit, or --all for every circuit with a probe URL.")
        )
    return _probe_all if name is None else lambda: [probe(name, url)]


def _probe_all() -> list[ProbeResult]:
    names = list(Circuit.objects.exclude(probe_url="").values_list("name", flat=True))
    if not names:
        raise InvalidInputError(
            _("No circuit has a probe URL; set one in the admin, or probe with NAME and URL.")
        )
    return [probe(name) for name in names]


def _status(results: list[ProbeResult]) -> int:
    return 0 if all(result.outcome == "passed" for result in results) else NOT_PASSED


def _table(results: list[ProbeResult]) -> Table:
    titles = [_("Circuit"), "URL", _("Outcome"), "HTTP", "ms", _("State"), _("Detail")]
    return Table(titles, [_row(result) for result in results])


def _row(result: ProbeResult) -> list[Cell]:
    return [
        Cell(result.name),
        Cell(result.url),
        _outcome_cell(result.outcome),
        Cell("" if result.status is None else str(result.status)),
        Cell(f"{result.seconds * 1000:.0f}"),
        state_cell(result.state),
        Cell(result.detail),
    ]


def _outcome_cell(outcome: str) -> Cell:
    return {
        "passed": Cell("✓ " + _("passed"), "green"),
        "failed": Cell("✕ " + _("failed"), "red"),
        "refused": Cell("⊘ " + _("refused"), "yellow"),
    }[outcome]
