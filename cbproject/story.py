"""The life of one circuit in six steps, each of which checks its own outcome."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests
from django.db import DatabaseError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

import circuits
from circuits.models import Circuit

CIRCUIT = "demo"
THRESHOLD = 5
DELAY = 10.0
FIELDS = [
    "state",
    "mode",
    "threshold",
    "delay",
    "failure_count",
    "generation",
    "last_attempt_at",
    "last_success_at",
    "last_failure_at",
    "last_error",
    "state_changed_at",
]


class UnexpectedOutcomeError(Exception):
    """A step had another outcome than the story tells; the message says which."""


@dataclass
class Stage:
    """What the steps share: the remote to call, the terminal, and what the app has logged.

    Args:
        base_url: The URL of the remote, without a slash at the end.
        console: The terminal to print on.
        logged: The messages that the app has logged so far.
    """

    base_url: str
    console: Console
    logged: list[str] = field(default_factory=list)

    def call(self, endpoint: str) -> requests.Response:
        """Call an endpoint of the remote through the circuit, and return its response."""
        response: requests.Response = circuits.call(CIRCUIT, f"{self.base_url}/{endpoint}")
        return response

    def hits(self) -> dict[str, int]:
        """Return how many requests reached each endpoint, as the server itself counts them."""
        stats = requests.get(f"{self.base_url}/stats", timeout=5)
        hits: dict[str, int] = stats.json()["hits"]
        return hits

    def say(self, text: str) -> None:
        """Print one line of the story."""
        self.console.print(f"  {text}", highlight=False, soft_wrap=True)


def play(stage: Stage, delay: float = DELAY) -> None:
    """Play all steps in order.

    Args:
        stage: What the steps share.
        delay: Seconds for which the circuit stays open.

    Raises:
        UnexpectedOutcomeError: A step had another outcome; the message names the step.
    """
    _recreate_circuit(delay)
    with _showing_log(stage):
        for number, (title, step) in enumerate(STEPS, start=1):
            stage.console.print(f"\n[bold]{number}. {title}[/bold]", highlight=False)
            try:
                step(stage)
            except (circuits.RemoteCallFailedException, UnexpectedOutcomeError) as error:
                raise UnexpectedOutcomeError(f"Step {number}, {title!r}: {error}") from error


def _recreate_circuit(delay: float) -> None:
    try:
        Circuit.objects.filter(name=CIRCUIT).delete()
        Circuit.objects.create(name=CIRCUIT, threshold=THRESHOLD, delay=delay)
    except DatabaseError as error:
        raise UnexpectedOutcomeError(
            f"The circuit {CIRCUIT!r} could not be made ({error}). "
            "Were both databases migrated, as `make demo` does?"
        ) from error


def two_good_calls(stage: Stage) -> None:
    for _ in range(2):
        response = stage.call("success")
        stage.say(f"GET /success: [green]{response.status_code}[/green]")
    _expect_state("closed")


def failing_calls(stage: Stage) -> None:
    for _ in range(THRESHOLD):
        try:
            response = stage.call("faulty")
        except circuits.CircuitOpenError as error:
            raise UnexpectedOutcomeError(f"the circuit was open too early: {error}") from error
        except circuits.RemoteCallFailedException as error:
            stage.say(f"GET /faulty: [red]{error}[/red]")
        else:
            raise UnexpectedOutcomeError(f"/faulty answered {response.status_code}")
    _expect_state("open")


def refused_calls(stage: Stage) -> None:
    before = stage.hits()
    _expect_refusal(stage, "faulty")
    _expect_refusal(stage, "success")
    after = stage.hits()
    if before != after:
        raise UnexpectedOutcomeError(f"requests reached the server: {before} became {after}")
    stage.say(
        "No request reached the server: it has counted "
        f"{after['success']} to /success and {after['faulty']} to /faulty, as before."
    )


def countdown(stage: Stage) -> None:
    total = circuits.get(CIRCUIT).retry_after
    if not total:
        raise UnexpectedOutcomeError("the open circuit has no delay to wait for")
    columns = TextColumn("  Retry after"), BarColumn(), TextColumn("{task.fields[left]:.1f} s")
    with Progress(*columns, console=stage.console) as progress:
        bar = progress.add_task("", total=total, left=total)
        while left := circuits.get(CIRCUIT).retry_after:
            progress.update(bar, completed=total - left, left=left)
            time.sleep(min(left, 0.1))
        progress.update(bar, completed=total, left=0.0)


def recovery(stage: Stage) -> None:
    stage.logged.clear()
    response = stage.call("success")
    stage.say(f"GET /success: [green]{response.status_code}[/green]")
    for change in ("from open to half_open", "from half_open to closed"):
        if not any(f"Changed state {change}" in line for line in stage.logged):
            raise UnexpectedOutcomeError(f"no log line says 'Changed state {change}'")
    _expect_state("closed")


def record(stage: Stage) -> None:
    circuit = Circuit.objects.get(name=CIRCUIT)
    stage.console.print(_circuit_table(circuit), _transition_table(circuit))
    changes = list(circuit.transitions.order_by("pk").values_list("from_state", "to_state"))
    if changes != [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]:
        raise UnexpectedOutcomeError(f"the transitions are {changes}")


STEPS: list[tuple[str, Callable[[Stage], None]]] = [
    ("Two good calls", two_good_calls),
    ("Five failing calls open the circuit", failing_calls),
    ("The next calls are refused", refused_calls),
    ("The delay passes", countdown),
    ("A good call closes the circuit", recovery),
    ("What the database keeps of it", record),
]


def _expect_state(state: str) -> None:
    found = circuits.get(CIRCUIT).state
    if found != state:
        raise UnexpectedOutcomeError(f"the circuit should be {state}, but is {found}")


def _expect_refusal(stage: Stage, endpoint: str) -> None:
    try:
        response = stage.call(endpoint)
    except circuits.CircuitOpenError as error:
        stage.say(f"GET /{endpoint}: [yellow]{error}[/yellow]")
    else:
        raise UnexpectedOutcomeError(f"/{endpoint} was called, and answered {response.status_code}")


def _circuit_table(circuit: Circuit) -> Table:
    table = Table("Field", "Value", title=f"Circuit {circuit.name}", title_justify="left")
    for name in FIELDS:
        table.add_row(name, str(getattr(circuit, name)))
    return table


def _transition_table(circuit: Circuit) -> Table:
    table = Table("At", "From", "To", "Reason", title="Its transitions", title_justify="left")
    for change in circuit.transitions.order_by("pk"):
        table.add_row(f"{change.at:%H:%M:%S.%f}", change.from_state, change.to_state, change.reason)
    return table


class _StageHandler(logging.Handler):
    def __init__(self, stage: Stage) -> None:
        super().__init__(logging.INFO)
        self._stage = stage

    def emit(self, record: logging.LogRecord) -> None:
        self._stage.logged.append(record.getMessage())
        self._stage.say(f"[cyan]{record.levelname} {record.name}:[/cyan] {record.getMessage()}")


@contextmanager
def _showing_log(stage: Stage) -> Iterator[None]:
    """Show the app's log lines on the stage, and nowhere else, while the block runs."""
    logger, handler = logging.getLogger("circuits"), _StageHandler(stage)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
