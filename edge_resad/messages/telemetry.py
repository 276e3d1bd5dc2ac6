"""Telemetry: how a station's machine does. It may be lost, so nothing that matters is said here alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, JsonValue

from edge_resad.messages.envelope import Envelope, envelope_fields
from edge_resad.messages.origin import Moment, Written, written_fields
from edge_resad.messages.state import StageMs
from edge_resad.messages.strict import Strict, Whole
from edge_resad.messages.topic import Address, Id

Amount = Annotated[FiniteFloat, Field(ge=0)]


class Room(Strict):
    """How much of a memory or a disk there is, and how much of it is free; megabytes of 10^6 bytes."""

    total_mb: Amount
    free_mb: Amount


class Waiting(Strict):
    """What the station's outbox holds."""

    messages: Whole
    size_mb: Amount | None = None
    oldest_s: Amount | None = None  # how long the oldest waits; None where a restart makes that unknown
    dead: Whole = 0  # messages that the broker refuses for ever
    dropped: Whole = 0  # given up for want of room, over the life of the stream


class Telemetry(Written):
    """How a station's machine does. What it cannot tell is absent."""

    up_s: Amount  # since the station's program began
    temperatures_c: dict[str, FiniteFloat] | None = None  # thermometer -> °C
    throttled: tuple[str, ...] | None = None  # what holds the machine back now; empty: nothing
    clocks_mhz: dict[str, Amount] | None = None  # such as gpu
    load: Amount | None = None  # of the CPU, processes over a minute
    power_w: dict[str, Amount] | None = None  # rail -> watts
    memory: Room | None = None
    disks: dict[str, Room] | None = None  # what is kept there, such as spool or pictures -> its disk
    outbox: Waiting | None = None
    stages_ms: dict[str, StageMs] | None = None  # over the parts since the start
    parts: dict[Id, Whole] | None = None  # passed, failed, not_inspected since the start
    not_inspected: dict[Id, Whole] | None = None  # reason -> parts since the start
    counts: dict[Id, Whole] | None = None  # anything else that is counted since the start
    about: dict[str, JsonValue] = Field(default_factory=dict)  # anything else


class TelemetryMessage(Envelope):
    """Telemetry in its envelope."""

    type: Literal["edge-resad.telemetry"] = "edge-resad.telemetry"
    data: Telemetry


def telemetry_message(address: Address, at: Moment, *, event_id: str, up_s: float, **figures: object) -> bytes:
    """The payload for `address.telemetry_topic`. figures: other fields of `Telemetry`."""
    data = Telemetry.model_validate({**written_fields(address, at), "up_s": up_s, **figures})
    return TelemetryMessage(**envelope_fields(address, event_id, at.wall), data=data).payload()
