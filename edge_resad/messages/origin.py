"""The origin of a message: which station wrote it, when, and as which of its stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, FiniteFloat

from edge_resad.messages.strict import MAX_WHOLE, Strict, Wall
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
    clock_error_s: float | None = None  # how far `wall` may be off, as the system says

    @property
    def event_id(self) -> str:
        """The message's name, unique in the world; fit to stand in a topic."""
        return f"{self.stream_id}-{self.seq}"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When something was written that is no message of the stream."""

    boot_id: str
    wall: float  # s since 1970 by the station's clock, which may be wrong
    mono: float  # s, never jumps
    clock_synced: bool | None = None
    clock_error_s: float | None = None


class Written(Strict):
    """Where and when something was written."""

    boot_id: Id
    wall_s: Wall
    mono_s: FiniteFloat
    clock_synced: bool | None = None
    clock_error_s: Annotated[FiniteFloat, Field(ge=0)] | None = None
    site: Id
    line: Id
    device: Id


class Origin(Written):
    """Where and when a message of the stream was written."""

    stream_id: Id
    seq: Annotated[int, Field(ge=1, le=MAX_WHOLE)]


def origin_fields(address: Address, stamp: Stamp) -> dict[str, Any]:
    """The fields of an `Origin`."""
    return {"stream_id": stamp.stream_id, "seq": stamp.seq, **written_fields(address, stamp)}


def written_fields(address: Address, at: Stamp | Moment) -> dict[str, Any]:
    """The fields of a `Written`."""
    clocks = {"boot_id": at.boot_id, "wall_s": at.wall, "mono_s": at.mono, "clock_synced": at.clock_synced}
    return {**clocks, "clock_error_s": at.clock_error_s, **place_fields(address)}


def place_fields(address: Address) -> dict[str, Any]:
    """The fields that say who speaks."""
    return {"site": address.site, "line": address.line, "device": address.device}
