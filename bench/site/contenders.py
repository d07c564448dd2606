"""The breakers that stand between the site and its remote, all with the same policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .. import peers
from ..peers import Peer

#: Failures in a row that open a circuit.
THRESHOLD: Final = 5

#: Seconds that a circuit stays open.
DELAY: Final = 5

#: The name of the circuit, for breakers that name theirs.
NAME: Final = "remote"

#: The name of our own contender.
OURS: Final = "circuits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A breaker, or none at all.

    Args:
        make: Makes the breaker, in each process of the site.
        policy: The policy of our own circuits; empty for the peers.
    """

    make: Callable[[], Peer]
    policy: Mapping[str, Any] = field(default_factory=dict)


class NeverRefusedError(Exception):
    """The refusal of a contender that never refuses; nothing raises it."""


def _none() -> Peer:
    return Peer(name="no breaker", protect=lambda work: work, refusal=NeverRefusedError)


def _pybreaker() -> Peer:
    return peers.pybreaker(THRESHOLD, DELAY)


def _circuitbreaker() -> Peer:
    return peers.circuitbreaker(THRESHOLD, DELAY)


def _redis() -> Any:
    from redis import Redis

    return Redis.from_url(peers.redis_url())


def _pybreaker_on_redis() -> Peer:
    return peers.pybreaker_on_redis(_redis(), NAME, THRESHOLD, DELAY)


def _interlock_on_redis() -> Peer:
    return peers.interlock_on_redis(_redis(), NAME, THRESHOLD, DELAY)


def _ours() -> Peer:
    import circuits

    return Peer(name=OURS, protect=circuits.protect(NAME), refusal=circuits.CircuitOpenError)


def _own(**policy: float) -> Contender:
    return Contender(make=_ours, policy={"threshold": THRESHOLD, "delay": DELAY, **policy})


CONTENDERS: Final[Mapping[str, Contender]] = {
    "no breaker": Contender(make=_none),
    "pybreaker": Contender(make=_pybreaker),
    "circuitbreaker": Contender(make=_circuitbreaker),
    "pybreaker on Redis": Contender(make=_pybreaker_on_redis),
    "interlock-cb on Redis": Contender(make=_interlock_on_redis),
    OURS: _own(),
    f"{OURS} with slow_call_seconds=0.5": _own(slow_call_seconds=0.5),
    f"{OURS} with max_concurrent=2": _own(max_concurrent=2, max_wait_seconds=0.1),
}
