"""How the tables and the admin behave when they are large: ``python -m bench.scale``.

It makes databases of its own beside those of ``DATABASE_URL`` and ``CIRCUITS_DATABASE_URL``
(temporary SQLite files without them), a small and a large one, and drops them at the end.
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

#: Rows in one INSERT of the preparation.
BATCH: Final = 2_000


def prepare(folder: str) -> None:
    """Add the two aliases to the settings, and start Django."""
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
    """Let the app keep its circuits in this database."""
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
            with suppress(AttributeError):  # it was not made
                connections[alias].creation.destroy_test_db(name, verbosity=0)


# Rows --------------------------------------------------------------------------------------------


def fill(alias: str, rows: Iterator[Any]) -> None:
    """Write rows in batches."""
    from django.db import transaction

    while batch := list(islice(rows, BATCH)):
        with transaction.atomic(using=alias):
            type(batch[0])._base_manager.using(alias).bulk_create(batch)
    settle(alias)


#: What a database does by itself in time, so that it knows what its tables hold.
_SETTLE: Final = {
    "sqlite": "ANALYZE",
    "postgresql": "VACUUM ANALYZE",
    "mysql": "ANALYZE TABLE circuits_circuit, circuits_transition",
}


def settle(alias: str) -> None:
    """Let the database see to its statistics."""
    from django.db import connections

    with connections[alias].cursor() as cursor:
        cursor.execute(_SETTLE[connections[alias].vendor])


def circuits(number: int, expired: int) -> Iterator[Any]:
    """Yield circuits, of which so many are open with their delay over, and 50 only observe."""
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
            created_at=now,  # or each row asks the clock of the site's own database
            **(is_expired if index < expired else {}),
        )


def transitions(number: int, alias: str) -> Iterator[Any]:
    """Yield a history of a year, half of which is of the last circuit."""
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


def once(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how many seconds the work takes, and what it returns."""
    began = perf_counter()
    answer = work()
    return perf_counter() - began, answer


def counted(alias: str, work: Callable[[], Any]) -> int:
    """Return how many queries the work makes of the database."""
    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connections[alias]) as queries:
        work()
    return len(queries)


def compared(
    small: Callable[[], Any], large: Callable[[], Any], rounds: int
) -> tuple[float, float]:
    """Return the median seconds of two pieces of work that take turns."""
    small(), large()  # what is cached, is cached
    pairs = [(once(small)[0], once(large)[0]) for _ in range(rounds)]
    return statistics.median(few for few, _ in pairs), statistics.median(many for _, many in pairs)


def page(client: Any, alias: str, url: str) -> Callable[[], Any]:
    """Return what asks for a page with the circuits of that database."""

    def ask() -> None:
        with circuits_in(alias):
            response = client.get(url)
            assert response.status_code == 200, (url, response.status_code)

    return ask


def signed_in() -> Any:
    """Return the browser of a superuser."""
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
    """Return the pages that show the history in that database."""
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
    """Print how long each page takes with few rows and with many."""
    for name in small:
        ask_large = page(client, LARGE, large[name])
        before, after = compared(page(client, SMALL, small[name]), ask_large, rounds)
        print(
            f"{name:36} {before * 1000:8.1f} ms {after * 1000:8.1f} ms "
            f"ratio {after / before:5.2f}  {counted(LARGE, ask_large)} queries"
        )


def expire_all(alias: str) -> None:
    """Print how long one pass takes over all that have expired."""
    from circuits.models import Circuit
    from circuits.tasks import half_open_expired

    with circuits_in(alias):
        total = Circuit.objects.count()
        due: list[int] = []
        queries = 0

        def run() -> None:
            nonlocal queries
            queries = counted(alias, lambda: due.append(half_open_expired()))

        seconds, _ = once(run)
        idle, _ = once(half_open_expired)
    print(
        f"half_open_expired: {due[0]} of {total} in {seconds:.2f} s, {queries} queries; "
        f"an idle pass {idle * 1000:.1f} ms"
    )


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--circuits", type=int, default=100_000)
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15, help="how often each page is asked for")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        with databases():
            measure(asked.circuits, asked.transitions, asked.rounds)


def measure(number: int, changes: int, rounds: int) -> None:
    """Fill the databases and go through all measurements."""
    from django.db import connections

    print(connections[LARGE].vendor)
    fill(SMALL, circuits(100, 50))
    seconds, _ = once(lambda: fill(LARGE, circuits(number, number // 10)))
    print(f"{number} circuits written in {seconds:.1f} s")
    client = signed_in()
    compare_pages(client, PAGES, PAGES, rounds)
    expire_all(SMALL)
    expire_all(LARGE)
    fill(SMALL, transitions(100, SMALL))
    seconds, _ = once(lambda: fill(LARGE, transitions(changes, LARGE)))
    print(f"{changes} changes written in {seconds:.1f} s")
    compare_pages(client, history_pages(SMALL), history_pages(LARGE), rounds)
    prune_all(LARGE)


def prune_all(alias: str) -> None:
    """Print how long it takes to delete what is too old, and to see that nothing is left to."""
    from circuits.tasks import prune

    with circuits_in(alias):
        seconds, deleted = once(prune)
        idle, _ = once(prune)
        queries = counted(alias, prune)
    print(
        f"prune: {deleted} in {seconds:.1f} s; an idle pass {idle * 1000:.1f} ms, {queries} queries"
    )


if __name__ == "__main__":
    main()
