"""A station's configuration from afar: what the fleet wants, and what the station has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from edge_resad.messages.envelope import Envelope, envelope_fields
from edge_resad.messages.origin import Moment, Written, place_fields, written_fields
from edge_resad.messages.signature import Signature, SigningKey, signed
from edge_resad.messages.strict import MAX_WHOLE, Strict, Wall
from edge_resad.messages.topic import Address, Id, collector_source

Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,3}$", max_length=128)]
"""A setting by its place in the station file, such as `inspection.threshold`."""
Settings = dict[Key, JsonValue]
Version = Annotated[int, Field(ge=1, le=MAX_WHOLE)]


class Desired(Strict):
    """What the fleet wants of a station. The highest `version` holds; a station takes none twice and none backwards."""

    version: Version
    settings: Settings
    issued_by: str = Field(min_length=1, max_length=128)  # a person or a program
    issued_wall_s: Wall
    site: Id
    line: Id
    device: Id
    signature: Signature | None = None


class DesiredMessage(Envelope):
    """What the fleet wants, in its envelope."""

    type: Literal["edge-resad.config-desired"] = "edge-resad.config-desired"
    data: Desired


class Reported(Written):
    """What a station has, and what became of the last `Desired`."""

    version: Version | None = None  # of the `Desired` that this answers; None before the first
    status: Literal["applied", "refused"] | None = None  # refused: nothing of it holds
    sentence: str | None = None  # why it was refused, or what it still needs, such as a restart
    refused: dict[str, str] = Field(default_factory=dict)  # setting -> what is wrong with it
    settings: dict[str, JsonValue]  # what holds now, secrets left out


class ReportedMessage(Envelope):
    """What a station has, in its envelope."""

    type: Literal["edge-resad.config-reported"] = "edge-resad.config-reported"
    data: Reported


def desired_message(
    address: Address,
    *,
    event_id: str,
    version: int,
    settings: Mapping[str, object],
    issued_by: str,
    wall: float,
    host: str,
    key: SigningKey | None = None,
) -> bytes:
    """The retained payload for `address.desired_topic`.

    host: who sends it, as a collector is named. key: of the fleet or already of the device; None leaves it unsigned.
    """
    fields = envelope_fields(collector_source(host), event_id, wall)
    about = {"version": version, "settings": dict(settings), "issued_by": issued_by, "issued_wall_s": wall}
    data = Desired.model_validate({**about, **place_fields(address)})
    return signed(DesiredMessage(**fields, data=data).payload(), key, address)


def reported_message(
    address: Address,
    at: Moment,
    *,
    event_id: str,
    settings: Mapping[str, object],
    version: int | None = None,
    status: Literal["applied", "refused"] | None = None,
    sentence: str | None = None,
    refused: Mapping[str, str] | None = None,
) -> bytes:
    """The retained payload for `address.reported_topic`."""
    answer = {"version": version, "status": status, "sentence": sentence, "refused": dict(refused or {})}
    data = Reported.model_validate({**written_fields(address, at), **answer, "settings": dict(settings)})
    return ReportedMessage(**envelope_fields(address, event_id, at.wall), data=data).payload()
