"""Any JSON message, as a reader meets it."""

from __future__ import annotations

import json
from typing import Annotated, TypeAlias

from pydantic import Field, TypeAdapter

from edge_resad.messages.acknowledgement import AcknowledgementMessage
from edge_resad.messages.alert import AlertMessage
from edge_resad.messages.envelope import SCHEMA_VERSION
from edge_resad.messages.gap import GapMessage
from edge_resad.messages.state import StateMessage
from edge_resad.messages.strict import READING
from edge_resad.messages.verdict import VerdictMessage

Message: TypeAlias = VerdictMessage | AlertMessage | StateMessage | GapMessage | AcknowledgementMessage
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def read_message(payload: bytes) -> Message:
    """Read a JSON payload; ValueError says what is wrong with it."""
    try:
        raw = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the payload is not JSON: {error}") from error
    version = raw.get("schemaversion", 0) if isinstance(raw, dict) else 0
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ValueError(
            f"the message has schema {version}, this reader knows up to {SCHEMA_VERSION}: update the reader"
        )
    return _MESSAGE.validate_python(raw, context=READING)
