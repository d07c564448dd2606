"""Replays a circuit's recorded calls under other policies, and reports what would have happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import Any, Final

from django.db.models import Sum
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..core.policy import POLICY_NAMES
from ..core.recording import Call
from ..core.replay import Replayed, replay
from ..exceptions import InvalidInputError
from ..models import Circuit, Recording
from ..moments import to_seconds
from ..storage import recordings
from ..storage.rows import policy_of
from .trying import with_changes
from .words import duration, grouped, moment_of_day, percent

#: The most policies that are compared, including the present one.
MOST_POLICIES: Final = 4

#: The most calls that are replayed.
MOST_CALLS: Final = 1_000_000

#: The word that separates two typed policies.
OR: Final = "or"

#: The fields that a replay can change. A recording cannot tell what the others would have changed.
FIELDS: Final = tuple(
    name
    for name in POLICY_NAMES
    if name not in ("respect_retry_after", "max_concurrent", "max_wait_seconds")
)

#: The seed of the random numbers, so that replaying a recording again gives the same result.
SEED: Final = 17


@dataclass(frozen=True, slots=True)
class TriedPolicy:
    """A policy to replay.

    Args:
        circuit: A copy of the circuit that has this policy.
        words: The changes as they were typed; empty for the present policy.
    """

    circuit: Circuit
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of replaying a recording under several policies.

    Args:
        since: When the recording began, in seconds since 1970.
        until: When the replay ended, in seconds since 1970.
        calls: How many calls were replayed.
        left_out: How many later calls were not replayed.
        replays: Each policy, and what it would have done.
    """

    since: float
    until: float
    calls: int
    left_out: int
    replays: Sequence[tuple[TriedPolicy, Replayed]]


def policies_to_try(circuit: Circuit, typed: Sequence[str]) -> list[TriedPolicy]:
    """Return the present policy, followed by the typed ones.

    Args:
        typed: The words that were typed, such as those of
            ``threshold=3 delay=5 or threshold=10``.

    Raises:
        InvalidInputError: A field or a value cannot be replayed, or there are too many policies.
    """
    parts = [list(part) for is_or, part in groupby(typed, lambda word: word == OR) if not is_or]
    if len(parts) >= MOST_POLICIES:
        message = _("At most %(number)s policies can be tried at once.")
        raise InvalidInputError(message, number=MOST_POLICIES - 1)
    changed = [TriedPolicy(with_changes(circuit, part, FIELDS), " ".join(part)) for part in parts]
    return [TriedPolicy(circuit, ""), *changed]


def result(
    circuit: Circuit, policies: Sequence[TriedPolicy], now: float, most: int
) -> Result | None:
    """Replay a circuit's recording under some policies; return None if no calls are recorded.

    Args:
        now: The present time, in seconds since 1970 on the database's clock.
        most: Roughly the most calls to replay.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    recording = recordings.find(circuit)
    calls, left_out = ([], 0) if recording is None else recordings.read(recording, most)
    if recording is None or not calls:
        return None
    since = to_seconds(recording.since)
    last = max(call.ended_at for call in calls)
    until = last if left_out else max(last, min(now, to_seconds(recording.until)))
    return Result(
        since=since,
        until=until,
        calls=len(calls),
        left_out=left_out,
        replays=[(each, _replayed(each, calls, since, until)) for each in policies],
    )


def _replayed(policy: TriedPolicy, calls: Sequence[Call], since: float, until: float) -> Replayed:
    return replay(calls, policy_of(policy.circuit), since, until, Random(SEED).random)


def as_values(found: Result | None) -> dict[str, Any]:
    """Return the numbers of a result, for JSON."""
    if found is None:
        return {"calls": 0, "left_out": 0, "policies": []}
    names = ("openings", "down_seconds", "good", "good_refused", "bad", "bad_spared", "unknown")
    return {
        "since": found.since,
        "until": found.until,
        "calls": found.calls,
        "left_out": found.left_out,
        "policies": [
            {"changes": policy.words} | {name: getattr(replayed, name) for name in names}
            for policy, replayed in found.replays
        ],
    }


# In words ----------------------------------------------------------------------------------------


def of_recording(circuit: Circuit, now: float) -> Iterator[str]:
    """Yield sentences on how much of a circuit is recorded."""
    recording = recordings.find(circuit)
    if recording is None:
        yield _(
            "No calls are recorded. The counts of each minute say how many calls failed, but not "
            "in which order: they cannot tell whether failures came in a row, when another policy "
            "would have opened the circuit, nor which calls it would have refused."
        )
        return
    since, until = (moment_of_day(each, now) for each in (recording.since, recording.until))
    number = recording.batches.aggregate(n=Sum("number"))["n"] or 0
    is_over = not recordings.is_under_way(recording, now)
    text = (
        ngettext(
            "Recorded from %(since)s to %(until)s: %(number)s call.",
            "Recorded from %(since)s to %(until)s: %(number)s calls.",
            number,
        )
        if is_over
        else ngettext(
            "Recording since %(since)s, until %(until)s: %(number)s call so far.",
            "Recording since %(since)s, until %(until)s: %(number)s calls so far.",
            number,
        )
    )
    yield text % {"since": since, "until": until, "number": grouped(number)}
    if is_over and _is_full(recording):
        yield _("It ended early, since there was no room for more.")


def _is_full(recording: Recording) -> bool:
    return recording.size > 0.95 * recordings.MOST_BYTES


def cautions(found: Result) -> Iterator[str]:
    """Yield sentences on what limits a result: calls left out, and refused while recorded."""
    if found.left_out:
        text = _("The first %(number)s calls are replayed; %(left_out)s later ones are left out.")
        yield text % {"number": grouped(found.calls), "left_out": grouped(found.left_out)}
    unknown = found.replays[0][1].unknown
    if unknown:
        text = ngettext(
            "%(number)s call was refused while it was recorded, and nobody knows what it would "
            "have come to. In the mode observe all calls are made.",
            "%(number)s calls were refused while they were recorded, and nobody knows what they "
            "would have come to. In the mode observe all calls are made.",
            unknown,
        )
        yield text % {"number": grouped(unknown)}


def sentences(circuit: Circuit, found: Result | None, now: float) -> Iterator[str]:
    """Yield the sentences about the recording and the limits of its replay."""
    yield from of_recording(circuit, now)
    if found is not None:
        yield from cautions(found)


def share_of(part: int, whole: int) -> str:
    """Return a number of calls and its share of the whole: ``12 (3 %)``."""
    return f"{grouped(part)} ({percent(part / whole)})" if whole and part else grouped(part)


def row_of(policy: TriedPolicy, replayed: Replayed) -> list[str]:
    """Return a row of the table with what a policy would have done."""
    return [
        policy.words or _("as it is"),
        grouped(replayed.openings),
        duration(replayed.down_seconds),
        share_of(replayed.good_refused, replayed.good),
        share_of(replayed.bad_spared, replayed.bad),
    ]


def titles() -> list[str]:
    """Return the titles of the table's columns."""
    return [
        _("Policy"),
        _("Openings"),
        _("Down for"),
        _("Good calls refused"),
        _("Bad calls spared"),
    ]
