"""When something happened: the best estimate from clocks that may be wrong."""

from __future__ import annotations

from typing import Literal

from edge_resad.clock_floor import is_set
from edge_resad.messages import Origin

Quality = Literal["synced", "backdated", "unsure", "received"]
UNDATED = ("unsure", "received")
"""What a later synchronisation of the same boot session improves."""
EARLIEST_MS = 1_704_067_200_000
"""2024: a clock before it has never been set. Unlike the clock's floor it never moves: a receipt before it has no date,
and none that had one shall lose it.
"""
_AHEAD_MS = 86_400_000  # a day: a clock further ahead of ours is wrong


def estimate(origin: Origin, received_ms: int, offset_ms: int | None) -> tuple[int, Quality]:
    """When a message was written, in ms since 1970, and how good that is.

    offset_ms: wall minus monotonic clock of its boot session, where the session has had a synchronised clock.
    """
    wall_ms = to_ms(origin.wall_s)
    if is_synced(origin, received_ms):
        return wall_ms, "synced"
    if offset_ms is not None:
        return to_ms(origin.mono_s) + offset_ms, "backdated"
    if _plausible(wall_ms, received_ms):
        return wall_ms, "unsure"
    return received_ms, "received"


def is_synced(origin: Origin, received_ms: int) -> bool:
    """Whether the station says that its clock is right, and it can be."""
    return origin.clock_synced is True and _plausible(to_ms(origin.wall_s), received_ms)


def receipt_ms(wall: float, mono: float) -> int:
    """The time of a receipt, in ms since 1970. Where our own clock is not set nobody knows it yet: it is before
    `EARLIEST_MS` then, namely how long this computer runs, which keeps receipts in their order.
    """
    return to_ms(wall if is_set(wall) else mono)


def to_ms(seconds: float) -> int:
    """Seconds as whole milliseconds."""
    return round(seconds * 1000)


def _plausible(wall_ms: int, received_ms: int) -> bool:
    if received_ms < EARLIEST_MS:  # ours is not set: nobody can say that a station's is ahead
        return wall_ms >= EARLIEST_MS
    return EARLIEST_MS <= wall_ms <= received_ms + _AHEAD_MS
