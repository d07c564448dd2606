"""What a child process of a test does: ``python -m tests.worker TASK ARGUMENTS``.

Started by :func:`tests.concurrency.start_worker`, on the databases of the test.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import django
from django.conf import settings


def fail(name: str, count: int, snapshot_seconds: float) -> dict[str, int]:
    """Make that many failing calls; return how many were made and how many refused."""
    import circuits

    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": snapshot_seconds}
    made = refused = 0
    for _ in range(count):
        try:
            with circuits.guard(name):
                made += 1
                raise ConnectionError("the remote is down")
        except circuits.CircuitOpenError:
            refused += 1
        except ConnectionError:
            pass
    return {"made": made, "refused": refused}


def mixed_calls(name: str, count: int, every: int) -> dict[str, int]:
    """Make that many calls of which every ``every``-th fails, and flush."""
    import circuits

    failed = refused = 0
    for number in range(1, count + 1):
        try:
            with circuits.guard(name):
                if number % every == 0:
                    failed += 1
                    raise ConnectionError("the remote is down")
        except circuits.CircuitOpenError:
            refused += 1
        except ConnectionError:
            pass
    circuits.flush()
    return {"failed": failed, "refused": refused}


def measure(name: str, count: int) -> dict[str, int]:
    """Make that many good calls through one circuit, then that many failing ones, for Prometheus.

    It counts in the files of PROMETHEUS_MULTIPROC_DIR.
    """
    import circuits
    from circuits import metrics

    metrics.connect()
    for _ in range(count):
        with circuits.guard(f"{name} good"):
            pass
    return fail(name, count, snapshot_seconds=0)


TASKS = {task.__name__: task for task in (fail, mixed_calls, measure)}


def main(task: str, arguments: str) -> None:
    """Set Django up on the test's databases, wait for the start, and print the result."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    for alias, database in json.loads(os.environ["TEST_DATABASE_NAMES"]).items():
        settings.DATABASES[alias]["NAME"] = database
    django.setup()
    print("ready", flush=True)
    sys.stdin.readline()
    result: Any = TASKS[task](**json.loads(arguments))
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
