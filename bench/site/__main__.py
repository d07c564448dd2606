"""Measures what an outage of a remote costs a site: ``python -m bench.site``.

gunicorn with 4 workers of 4 threads serves a page that needs the remote and one that does not, both
on PostgreSQL. The remote hangs for a while. Each contender has its turn.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import django

from .contenders import CONTENDERS

if TYPE_CHECKING:
    from ..results import Report
    from .figures import Figures
    from .load import Request
    from .remote import Remote

#: The folder of the project.
HERE: Final = Path(__file__).parents[2]

GUNICORN: Final = (
    "gunicorn",
    "--workers=4",
    "--threads=4",
    "--worker-class=gthread",
    "--no-control-socket",
    "--log-level=error",
    "django.core.wsgi:get_wsgi_application()",
)

#: Seconds within which all processes of the site must answer, and within which they must end.
PATIENCE: Final = 30.0

#: Seconds between the end of the preparations and the first request.
HEADSTART: Final = 0.5

#: The packages on which the numbers depend.
PACKAGES: Final = (
    "gunicorn", "requests", "psycopg", "redis", "pybreaker", "circuitbreaker", "interlock-cb",
)  # fmt: skip


class Phases(NamedTuple):
    """Seconds for which all is well, the remote hangs, and all is well again."""

    well: float
    outage: float
    after: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and with ``--out`` write the docs."""
    parser = argparse.ArgumentParser(prog="python -m bench.site", description=__doc__)
    parser.add_argument("--well", type=float, default=4, help="seconds before the outage (4)")
    parser.add_argument("--outage", type=float, default=20, help="seconds of the outage (20)")
    parser.add_argument("--after", type=float, default=16, help="seconds after the outage (16)")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, help="run only these contenders")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write site.json there, and update the pages"
    )
    options = parser.parse_args(arguments)
    phases = Phases(options.well, options.outage, options.after)
    if options.out and (options.only or phases.outage != parser.get_default("outage")):
        parser.error("--out writes what people read, so it needs all contenders and 20 seconds.")
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    report = run(phases, options.only)
    if options.out:
        from .docs import write

        write(report, options.out)


def run(phases: Phases, only: Sequence[str] | None = None) -> Report:
    """Measure the contenders one after the other, and return the results.

    Args:
        only: The names of the contenders to measure; all by default.
    """
    from tests import services

    from .. import databases, machine
    from ..peers import redis_client
    from ..report import show
    from ..results import Report
    from . import figures, remote

    for name in ("PostgreSQL", "Redis"):
        services.require(name)
    found: dict[str, Figures] = {}
    with databases.made_one("postgres"), redis_client(), remote.serving() as serving:
        versions = {name: version(name) for name in PACKAGES}
        servers = {"PostgreSQL": databases.versions(["PostgreSQL"])["PostgreSQL"]}
        for name in only or CONTENDERS:
            found[name] = measure(name, phases, serving)
            print(name, found[name], flush=True)
    result = figures.result(found)
    show(result)
    return Report(environment=machine.environment(versions) | servers, rounds=1, results=(result,))


def measure(name: str, phases: Phases, remote: Remote) -> Figures:
    """Serve the site with one contender, and return what the outage costs it."""
    from circuits.models import Circuit

    from .figures import figures
    from .load import load

    Circuit.objects.using("postgres").all().delete()
    with site(name, remote.url) as port:
        warm_up(port)
        start = time.monotonic() + HEADSTART
        outage = start + phases.well
        remote.hang(outage, outage + phases.outage)
        requests = asyncio.run(load(port, start, sum(phases)))
    return figures(requests, outage, outage + phases.outage, remote.reached)


def warm_up(port: int) -> None:
    """Request both pages until every process of the site has answered.

    Raises:
        TimeoutError: A process did not answer within ``PATIENCE`` seconds.
    """
    from .figures import PROCESSES
    from .load import at_once

    seen: set[str] = set()
    deadline = time.monotonic() + PATIENCE
    while len(seen) < PROCESSES:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Only {len(seen)} processes of the site answer.")
        requests: list[Request] = asyncio.run(at_once(port, 16))
        seen |= {each.process for each in requests if each.status == 200}


@contextmanager
def site(contender: str, remote: str) -> Iterator[int]:
    """Serve the site while the block runs, and yield its port.

    Args:
        contender: The name of what stands between the site and its remote.
        remote: The URL of the remote.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as server:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "bench.site.settings",
            "BENCH_CONTENDER": contender,
            "BENCH_REMOTE": remote,
            "PYTHONPATH": str(HERE),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", *GUNICORN, f"--bind=fd://{server.fileno()}"],
            env=environment,
            cwd=HERE,
            pass_fds=[server.fileno()],
            start_new_session=True,
        )
        try:
            yield server.getsockname()[1]
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
        return
    os.killpg(process.pid, 9)
    process.wait()


if __name__ == "__main__":
    main()
