"""Measures the admin and the tasks with few rows and with many: ``python -m bench.scale``.

It makes a small and a large database beside those of ``DATABASE_URL`` and
``CIRCUITS_DATABASE_URL``, or as temporary SQLite files without these, and drops them at the end.
Where two sizes are compared they take turns, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, Final

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cbproject.settings")
os.environ.setdefault("DJANGO_SECRET_KEY", "only-for-measurements")
os.environ["DJANGO_DEBUG"] = "true"

import django
from django.conf import settings

SMALL, LARGE = "small", "large"

#: How many rows one INSERT writes when a table is filled.
BATCH: Final = 2_000


def prepare(folder: str) -> None:
    """Add the aliases of both databases to the settings, and set Django up."""
    for alias in (SMALL, LARGE):
        settings.DATABASES[alias] = {**settings.DATABASES["circuits"]}
    for alias, database in settings.DATABASES.items():
        is_file = database["ENGINE"].endswith("sqlite3")
        name = str(Path(folder) / f"{alias}.sqlite3") if is_file else f"circuits_scale_{alias}"
        database["TEST"] = {"NAME": name}
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    django.setup()
    logging.getLogger("circuits").setLevel(logging.CRITICAL)
    settings.DEBUG = False


@contextmanager
def circuits_in(alias: str) -> Iterator[None]:
    """Keep the circuits in the database of an alias while the block runs."""
    from django.test import override_settings

    with override_settings(CIRCUITS={**settings.CIRCUITS, "DATABASE": alias}):
        yield


@contextmanager
def databases() -> Iterator[None]:
    """Make the databases, and drop them at the end."""
    from django.db import connections

    made: list[tuple[str, str]] = []
    try:
        for alias in ("default", SMALL, LARGE):
            with circuits_in(LARGE if alias == "default" else alias):
                name = str(connections[alias].settings_dict["NAME"])
                made.append((alias, name))
                connections[alias].creation.create_test_db(verbosity=0, autoclobber=True)
        yield
    finally:
        for alias, name in reversed(made):
            with suppress(AttributeError):  # the database was never made
                connections[alias].creation.destroy_test_db(name, verbosity=0)


# Rows --------------------------------------------------------------------------------------------


def fill(alias: str, rows: Iterator[Any]) -> None:
    """Write rows to a database in batches, and refresh its statistics."""
    from django.db import transaction

    while batch := list(islice(rows, BATCH)):
        with transaction.atomic(using=alias):
            type(batch[0])._base_manager.using(alias).bulk_create(batch)
    settle(alias)


#: The statement that refreshes the statistics of each database, which it would do itself in time.
_SETTLE: Final = {
    "sqlite": "ANALYZE",
    "postgresql": "VACUUM ANALYZE",
    "mysql": "ANALYZE TABLE circuits_circuit, circuits_transition",
}


def settle(alias: str) -> None:
    """Let a database refresh its statistics."""
    from django.db import connections

    with connections[alias].cursor() as cursor:
        cursor.execute(_SETTLE[connections[alias].vendor])


def circuits(number: int, expired: int) -> Iterator[Any]:
    """Yield ``number`` circuits, of which 50 observe and ``expired`` are open past their delay."""
    from django.utils import timezone

    from circuits.models import Circuit

    now = timezone.now()
    ago = now - timedelta(minutes=1)
    is_expired = {"state": "open", "opened_at": ago, "retry_at": ago, "state_changed_at": ago}
    for index in range(number):
        yield Circuit(
            name=f"service {index:06}",
            probe_url=f"https://service-{index}.example/health",
            generation=100_000_000 + index % 7,
            mode="automatic" if index < number - 50 else "observe",
            created_at=now,  # otherwise each row would ask the clock of the site's own database
            **(is_expired if index < expired else {}),
        )


def transitions(number: int, alias: str) -> Iterator[Any]:
    """Yield ``number`` transitions spread over a year, half of which belong to the last circuit."""
    from django.utils import timezone

    from circuits.models import Circuit, Transition

    circuit_ids = list(Circuit.objects.using(alias).order_by("pk").values_list("pk", flat=True))
    now = timezone.now()
    reasons = ("failures", "delay_passed", "trial_succeeded")
    states = ("closed", "open", "half_open", "closed")
    for index in range(number):
        flapping = index % 2
        yield Transition(
            circuit_id=circuit_ids[-1 if flapping else index // 2 % len(circuit_ids)],
            from_state=states[index % 3],
            to_state=states[index % 3 + 1],
            from_mode="automatic",
            to_mode="automatic",
            reason=reasons[index % 3],
            detail="HTTP 503 from https://service.example/charge",
            generation=index + 1,
            at=now - timedelta(days=365) * (1 - index / number),
        )


# Measuring ---------------------------------------------------------------------------------------


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Do some work once, and return the seconds it took and its result."""
    began = perf_counter()
    answer = work()
    return perf_counter() - began, answer


def count_queries(alias: str, work: Callable[[], Any]) -> int:
    """Do some work, and return how many queries it sent to a database."""
    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connections[alias]) as queries:
        work()
    return len(queries)


def compared(
    small: Callable[[], Any], large: Callable[[], Any], rounds: int
) -> tuple[float, float]:
    """Let two pieces of work take turns, and return the median seconds of each."""
    small(), large()  # fills the caches
    pairs = [(timed(small)[0], timed(large)[0]) for _ in range(rounds)]
    return statistics.median(few for few, _ in pairs), statistics.median(many for _, many in pairs)


def page(client: Any, alias: str, url: str) -> Callable[[], Any]:
    """Return a function that requests a page, with the circuits of a database."""

    def ask() -> None:
        with circuits_in(alias):
            response = client.get(url)
            assert response.status_code == 200, (url, response.status_code)

    return ask


def superuser_client() -> Any:
    """Return a test client that is logged in as a superuser."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ann"))
    return client


LIST: Final = "/admin/circuits/circuit/"
CHANGES: Final = "/admin/circuits/transition/"

PAGES: Final = {
    "circuits": LIST,
    "circuits, second page": f"{LIST}?p=2",
    "circuits, open": f"{LIST}?state__exact=open",
    "circuits, closed": f"{LIST}?state__exact=closed",
    "circuits, observing": f"{LIST}?mode__exact=observe",
    "circuits, searched": f"{LIST}?q=service+00001",
}


def history_pages(alias: str) -> dict[str, str]:
    """Return the addresses of the pages that show the history of a database, by their names."""
    from circuits.models import Circuit

    ids = Circuit.objects.using(alias).order_by("pk").values_list("pk", flat=True)
    flapping, quiet = ids.last(), ids.first()
    return {
        "a flapping circuit's page": f"{LIST}{flapping}/change/",
        "changes": CHANGES,
        "changes, second page": f"{CHANGES}?p=2",
        "changes, of a common state": f"{CHANGES}?to_state__exact=open",
        "changes, of a reason without any": f"{CHANGES}?reason__exact=mode",
        "changes, searched without success": f"{CHANGES}?q=nothing+like+it",
        "changes, of a flapping circuit": f"{CHANGES}?circuit__id__exact={flapping}",
        "changes, of a quiet circuit": f"{CHANGES}?circuit__id__exact={quiet}",
    }


def compare_pages(client: Any, small: dict[str, str], large: dict[str, str], rounds: int) -> None:
    """Print how many milliseconds each page takes with few rows and with many."""
    for name in small:
        ask_large = page(client, LARGE, large[name])
        before, after = compared(page(client, SMALL, small[name]), ask_large, rounds)
        print(
            f"{name:36} {before * 1000:8.1f} ms {after * 1000:8.1f} ms "
            f"ratio {after / before:5.2f}  {count_queries(LARGE, ask_large)} queries"
        )


def expire_all(alias: str) -> None:
    """Print how long ``half_open_expired`` takes over all circuits whose delay has passed."""
    from circuits.models import Circuit
    from circuits.tasks import half_open_expired

    with circuits_in(alias):
        total = Circuit.objects.count()
        due: list[int] = []
        queries = 0

        def run() -> None:
            nonlocal queries
            queries = count_queries(alias, lambda: due.append(half_open_expired()))

        seconds, _ = timed(run)
        idle, _ = timed(half_open_expired)
    print(
        f"half_open_expired: {due[0]} of {total} in {seconds:.2f} s, {queries} queries; "
        f"an idle pass {idle * 1000:.1f} ms"
    )


def main() -> None:
    """Read the sizes from the command line, measure, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--circuits", type=int, default=100_000)
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument(
        "--rounds", type=int, default=15, help="how many times each page is requested (15)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        with databases():
            measure(options.circuits, options.transitions, options.rounds)


def measure(number: int, changes: int, rounds: int) -> None:
    """Fill both databases and run all measurements.

    Args:
        number: How many circuits the large database gets.
        changes: How many transitions it gets.
        rounds: How many times each page is requested.
    """
    from django.db import connections

    print(connections[LARGE].vendor)
    fill(SMALL, circuits(100, 50))
    seconds, _ = timed(lambda: fill(LARGE, circuits(number, number // 10)))
    print(f"{number} circuits written in {seconds:.1f} s")
    client = superuser_client()
    compare_pages(client, PAGES, PAGES, rounds)
    expire_all(SMALL)
    expire_all(LARGE)
    fill(SMALL, transitions(100, SMALL))
    seconds, _ = timed(lambda: fill(LARGE, transitions(changes, LARGE)))
    print(f"{changes} transitions written in {seconds:.1f} s")
    compare_pages(client, history_pages(SMALL), history_pages(LARGE), rounds)
    prune_all(LARGE)


def prune_all(alias: str) -> None:
    """Print how long ``prune`` takes when there are rows to delete, and when there are none."""
    from circuits.tasks import prune

    with circuits_in(alias):
        seconds, deleted = timed(prune)
        idle, _ = timed(prune)
        queries = count_queries(alias, prune)
    print(
        f"prune: {deleted} in {seconds:.1f} s; an idle pass {idle * 1000:.1f} ms, {queries} queries"
    )


if __name__ == "__main__":
    main()
