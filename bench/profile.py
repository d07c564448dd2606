"""Profiles one kind of call: ``python -m bench.profile hot``."""

from __future__ import annotations

import argparse
import os
import pstats
from collections.abc import Callable
from contextlib import AbstractContextManager
from cProfile import Profile
from functools import partial
from time import monotonic
from typing import Final

import django

#: Seconds for which calls are profiled.
SECONDS: Final = 2.0

#: How many functions are listed, those first that take the most time themselves.
SHOWN: Final = 20

Situation = tuple[Callable[[], object], Callable[[], AbstractContextManager[object]]]


def main() -> None:
    """Profile one kind of call, and list the functions that take the most time."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    from . import databases

    known = _situations()
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("situation", choices=known)
    parser.add_argument("--on", choices=databases.LABELS, default="sqlite", help="the database")
    options = parser.parse_args()
    call, within = known[options.situation](options.on)
    services = [name for name, alias in databases.ALIASES.items() if alias == options.on]
    with databases.made(services), within():
        call()
        profile = Profile()
        with profile:
            ends_at = monotonic() + SECONDS
            while monotonic() < ends_at:
                for _ in range(100):
                    call()
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(SHOWN)


def _situations() -> dict[str, Callable[[str], Situation]]:
    import circuits

    from . import peers
    from .cases.refusal import NAME, open_circuit
    from .databases import circuits_on
    from .work import Expecting, RemoteDownError, Work, forbidden

    protect = circuits.protect("profile")
    refused = Expecting(circuits.protect(NAME)(forbidden), circuits.CircuitOpenError)
    failing = Expecting(protect(Work().fail), RemoteDownError)
    lasting = {"threshold": peers.NEVER}
    return {
        "hot": lambda alias: (protect(Work().succeed), partial(circuits_on, alias)),
        "strict": lambda alias: (
            protect(Work().succeed),
            partial(circuits_on, alias, SNAPSHOT_SECONDS=0),
        ),
        "refusal": lambda alias: (refused.attempt, partial(open_circuit, alias)),
        "failure": lambda alias: (
            failing.attempt,
            partial(circuits_on, alias, DEFAULTS=lasting),
        ),
    }


if __name__ == "__main__":
    main()
