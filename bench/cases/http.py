"""A call that succeeds, as in ``hot``, but over HTTP to a server on this machine."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import requests

import circuits
from bench import peers
from bench.contenders import Within
from bench.databases import circuits_on
from bench.measure import Contender, Effort, calling, measure
from bench.remote import serving
from bench.results import Result, compare
from bench.work import Tally

from .case import Case

NAME: Final = "http"

#: The timeout in seconds that a circuit has by default, so that all contenders have the same.
TIMEOUT: Final = 10.0


def run(effort: Effort) -> Result:
    """Time ``circuits.call`` against a session's ``get``, alone and behind a peer."""
    with serving() as url, requests.Session() as session:
        get = partial(session.get, url, timeout=TIMEOUT)
        within = partial(circuits_on, "sqlite")
        peer = peers.pybreaker()
        timings = measure(
            [
                _asking("no breaker", get),
                _asking("circuits.call", partial(circuits.call, NAME, url), within),
                _asking("protect", circuits.protect(NAME)(get), within),
                _asking(peer.name, peer.protect(get)),
            ],
            effort,
        )
    return Result(
        name=NAME,
        title="A GET that succeeds, over one kept connection to a server on this machine",
        timings=timings,
        baseline="no breaker",
        ratios=(
            compare(timings, "circuits.call", "no breaker"),
            compare(timings, "circuits.call", "pybreaker"),
        ),
    )


def _asking(name: str, get: Any, within: Within = nullcontext) -> Contender:
    tally = Tally()
    tick = tally.tick

    def call() -> None:
        if get().text == "ok":
            tick()

    return Contender(name=name, time=calling(call), done=tally.total, within=within)


CASE: Final = Case(name=NAME, run=run)
