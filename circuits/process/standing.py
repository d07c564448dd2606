"""Tells refusals the state of their circuit, as far as this process knows it, without a query."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time

from ..core import machine
from ..exceptions import Standing
from ..links import incident_link
from ..storage.contract import Snapshot


def standing_of(snapshot: Snapshot | None) -> Standing:
    """Return the standing of a circuit at its last snapshot; an empty one if there is none."""
    if snapshot is None:
        return Standing()
    status = snapshot.status
    # In memory, times are on the monotonic clock.
    shift = 0.0 if snapshot.is_shared else time() - snapshot.now
    return Standing(
        state=status.state.value,
        mode=status.mode.value,
        since=_moment(status.down_since, shift),
        retry_at=_moment(status.retry_at, shift),
        failed_trials=status.reopen_count,
        refused=snapshot.refused,
        last_error=snapshot.last_error,
        url=incident_link(snapshot.key, machine.opening_of(status)) if snapshot.is_shared else "",
    )


def _moment(at: float | None, shift: float) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at + shift, UTC)
