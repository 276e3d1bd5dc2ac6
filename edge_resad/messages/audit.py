"""An audit on its way: who told a station what, and what became of it. It is kept where messages are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, JsonValue

from edge_resad.messages.command import CommandId, Status
from edge_resad.messages.envelope import Envelope, envelope_fields
from edge_resad.messages.origin import Origin, Stamp, origin_fields
from edge_resad.messages.signature import Role
from edge_resad.messages.strict import Wall
from edge_resad.messages.topic import Address, Id


class Audit(Origin):
    """A command's end, as a message of the stream. After a crash it may be written twice, with one `command_id`."""

    command_id: CommandId
    command: Id
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    issued_by: str = Field(min_length=1, max_length=128)
    issued_wall_s: Wall
    role: Role | None = None  # whose key signed it; None: it was not signed
    status: Status
    sentence: str | None = None


class AuditMessage(Envelope):
    """An audit in its envelope."""

    type: Literal["edge-resad.audit"] = "edge-resad.audit"
    data: Audit


def audit_message(address: Address, stamp: Stamp, about: Mapping[str, Any]) -> bytes:
    """The payload for `address.audit_topic`. about: the fields of `Audit` that are of the command."""
    data = Audit.model_validate({**origin_fields(address, stamp), **about})
    return AuditMessage(**envelope_fields(address, stamp.event_id, stamp.wall), data=data).payload()
