"""Packs recorded calls into bytes, two to five for each, in the order in which they ended.

Each call is a varint, whose two lowest bits say how it ended and the others the milliseconds since
the call before it. Unless it was refused, a byte for its duration follows, in eighths of a power of
two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from math import log2
from typing import Final, NamedTuple


class Ending(IntEnum):
    """How a recorded call ended. The outcome that a refused call would have had is not known."""

    GOOD = 0
    FAILED = 1
    NOTHING = 2
    REFUSED = 3


class Call(NamedTuple):
    """A recorded call. Its end, on the caller's clock, and its duration are in seconds."""

    ended_at: float
    seconds: float
    ending: Ending

    @property
    def began_at(self) -> float:
        """When the call began, on the same clock as its end."""
        return self.ended_at - self.seconds


#: The duration that each value of a byte stands for, in seconds: from a millisecond to fifty days,
#: each 9 % longer than the one before.
DURATIONS: Final = tuple(2 ** (step / 8) / 1000 for step in range(256))


def packed(calls: Iterable[Call], since: float) -> bytes:
    """Return calls as bytes.

    Args:
        calls: The calls in the order in which they ended, none of them before ``since``.
        since: The time from which the first call's milliseconds count.
    """
    data, last = bytearray(), 0
    for call in calls:
        at = max(last, round((call.ended_at - since) * 1000))
        data += _varint((at - last) << 2 | call.ending)
        if call.ending is not Ending.REFUSED:
            data.append(_step(call.seconds))
        last = at
    return bytes(data)


def unpacked(data: bytes, since: float) -> Iterator[Call]:
    """Yield the packed calls; if the bytes are cut off, those that are complete."""
    at, rest = 0, iter(data)
    try:
        while True:
            number = _read_varint(rest)
            at += number >> 2
            ending = Ending(number & 3)
            seconds = 0.0 if ending is Ending.REFUSED else DURATIONS[next(rest)]
            yield Call(since + at / 1000, seconds, ending)
    except StopIteration:
        return


def _step(seconds: float) -> int:
    return min(255, round(8 * log2(max(1.0, seconds * 1000))))


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)


def _read_varint(data: Iterator[int]) -> int:
    number = shift = 0
    while True:
        byte = next(data)
        number |= (byte & 127) << shift
        if byte < 128:
            return number
        shift += 7
