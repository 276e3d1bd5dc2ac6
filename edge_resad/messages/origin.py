"""The origin of a message: which station wrote it, when, and as which of its stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field, FiniteFloat

from edge_resad.messages.strict import Strict
from edge_resad.messages.topic import Address, Id


@dataclass(frozen=True)
class Stamp:
    """When and as what a message was written: its place in its stream, and two clocks."""

    stream_id: str  # one outbox file; a new file begins a new stream
    seq: int  # 1, 2, 3 ... in the stream, over restarts
    boot_id: str  # `mono` is comparable within one of these
    wall: float  # s since 1970 by the station's clock, which may be wrong
    mono: float  # s, never jumps
    clock_synced: bool | None = None  # what the system says of `wall`; None: it does not say

    @property
    def event_id(self) -> str:
        """The message's name, unique in the world; fit to stand in a topic."""
        return f"{self.stream_id}-{self.seq}"


class Origin(Strict):
    """Where and when a message of the stream was written."""

    stream_id: str
    seq: int = Field(ge=1)
    boot_id: str
    wall_s: FiniteFloat
    mono_s: FiniteFloat
    clock_synced: bool | None = None
    site: Id
    line: Id
    device: Id


def origin_fields(address: Address, stamp: Stamp) -> dict[str, Any]:
    """The fields of an `Origin`."""
    written = {"stream_id": stamp.stream_id, "seq": stamp.seq, "boot_id": stamp.boot_id}
    clocks = {"wall_s": stamp.wall, "mono_s": stamp.mono, "clock_synced": stamp.clock_synced}
    return {**written, **clocks, **place_fields(address)}


def place_fields(address: Address) -> dict[str, Any]:
    """The fields that say who speaks."""
    return {"site": address.site, "line": address.line, "device": address.device}
