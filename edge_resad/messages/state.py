"""A station's state: it is there and how it does, or it is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, FiniteFloat, JsonValue

from edge_resad.messages.envelope import Envelope, envelope_fields
from edge_resad.messages.origin import Origin, place_fields
from edge_resad.messages.strict import Strict, Whole
from edge_resad.messages.topic import Address, Id


class _State(Strict):
    online: bool
    bd_seq: Whole
    stream_id: Id
    boot_id: Id
    site: Id
    line: Id
    device: Id


class StageMs(Strict):
    """What one stage of a part's way took, milliseconds."""

    p50: FiniteFloat
    p95: FiniteFloat
    p99: FiniteFloat
    max: FiniteFloat


class Birth(_State):
    """A station is there. `bd_seq` pairs it with the will of the same connection."""

    online: Literal[True] = True
    product: str | None = None
    version: str | None = None
    bundle: str | None = None
    live_from_seq: Whole = 1  # what arrives with a smaller `seq` was written before this connection: it is late
    waiting: Whole = 0  # messages that waited when the station connected
    dropped: Whole = 0  # messages that the station gave up over the life of the stream, for want of room
    dead: Whole = 0  # messages that its broker will never take; they stay in its outbox for a person to look at
    faults: dict[Id, tuple[str, ...]] | None = None  # camera -> what is wrong with it now; empty where all are well
    stages_ms: dict[str, StageMs] | None = None  # over the parts since the start; None before the first
    machine: dict[Id, float] | None = None  # heat, clock, free memory and disk; None where nobody looks
    about: dict[str, JsonValue] = Field(default_factory=dict)  # anything else that the station says of itself


class Offline(_State):
    """A station is gone: said by itself on a clean stop, by the broker (its will) otherwise."""

    online: Literal[False] = False


class StateMessage(Envelope):
    """A station's state in its envelope."""

    type: Literal["edge-resad.state"] = "edge-resad.state"
    data: Birth | Offline


def birth_message(
    address: Address,
    *,
    bd_seq: int,
    stream_id: str,
    boot_id: str,
    wall: float,
    live_from_seq: int,
    waiting: int,
    dropped: int,
    facts: Mapping[str, Any],
    dead: int = 0,
    faults: Mapping[str, tuple[str, ...]] | None = None,
    stages_ms: Mapping[str, Mapping[str, float]] | None = None,
    machine: Mapping[str, float] | None = None,
    again: int = 0,
) -> bytes:
    """The retained payload for `address.state_topic` while connected.

    facts: version, bundle, product, anything else.
    dead: messages that the broker will never take.
    faults: camera -> what is wrong with it.
    stages_ms: p50, p95, p99 and max of every stage.
    machine: how the machine does, by the figure's name with its unit.
    again: how often this connection has said it before.
    """
    named = {name: facts[name] for name in ("version", "bundle", "product") if name in facts}
    data = Birth(
        bd_seq=bd_seq,
        stream_id=stream_id,
        boot_id=boot_id,
        **place_fields(address),
        **named,
        live_from_seq=live_from_seq,
        waiting=waiting,
        dropped=dropped,
        dead=dead,
        faults=None if faults is None else dict(faults),
        stages_ms=_rounded(stages_ms) if stages_ms else None,
        machine=None if machine is None else dict(machine),
        about={name: fact for name, fact in facts.items() if name not in named},
    )
    return StateMessage(**envelope_fields(address, birth_id(stream_id, bd_seq, again), wall), data=data).payload()


def birth_id(stream_id: str, bd_seq: int, again: int = 0) -> str:
    """The id of a birth; each time that a connection says it again it is another message."""
    return f"{stream_id}-b{bd_seq}" + (f"-{again}" if again else "")


def _rounded(stages_ms: Mapping[str, Mapping[str, float]]) -> dict[str, StageMs]:
    return {
        name: StageMs(**{what: round(value, 3) for what, value in stage.items()}) for name, stage in stages_ms.items()
    }


def offline_message(address: Address, *, bd_seq: int, stream_id: str, boot_id: str, wall: float) -> bytes:
    """The retained payload for `address.state_topic` after the end; as a will, its time is that of the connection."""
    data = Offline(bd_seq=bd_seq, stream_id=stream_id, boot_id=boot_id, **place_fields(address))
    return StateMessage(**envelope_fields(address, f"{stream_id}-d{bd_seq}", wall), data=data).payload()


def is_late(data: Origin, birth: Birth) -> bool:
    """True where a message was written before the connection that `birth` announced, so it tells of the past."""
    return data.stream_id != birth.stream_id or data.seq < birth.live_from_seq
