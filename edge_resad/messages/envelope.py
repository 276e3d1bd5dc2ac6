"""The envelope of a JSON message: the attributes of CloudEvents, the same around every kind of content."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal

from pydantic import Field

from edge_resad.messages.strict import Strict
from edge_resad.messages.topic import Address, Id

SCHEMA_VERSION = 1  # raised only by a change that an older reader would misunderstand
JSON_TYPE = "application/json"


class Envelope(Strict):
    """What stands around the content of every JSON message."""

    specversion: Literal["1.0"] = "1.0"
    id: Id
    source: Annotated[str, Field(max_length=256)]
    time: Annotated[str, Field(max_length=40)]  # RFC 3339, UTC, by the station's clock
    datacontenttype: Literal["application/json"] = "application/json"
    schemaversion: int = SCHEMA_VERSION

    def payload(self) -> bytes:
        """The message as it travels."""
        return self.model_dump_json(exclude_none=True).encode()


def envelope_fields(source: Address | str, event_id: str, wall: float) -> dict[str, Any]:
    """The fields of an `Envelope`. source: a station, or what `collector_source` makes. wall: s since 1970."""
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=wall)
    time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": event_id, "source": source if isinstance(source, str) else source.prefix, "time": time}
