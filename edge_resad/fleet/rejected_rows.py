"""Rejected rows: what could not be read, set aside with its reason and counted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select

from edge_resad.fleet import schema
from edge_resad.fleet.inserting import insert_into
from edge_resad.fleet.reading import Unreadable
from edge_resad.fleet.speakers import Speakers

_KEPT_BYTES = 256 * 1024  # of a message whose place is known: a newer collector may read it
_SHOWN_BYTES = 4096  # of any other


def write_rejected(
    connection: Connection, speakers: Speakers, unreadables: Iterable[Unreadable]
) -> list[tuple[int, int, bool]]:
    """Set messages aside; stream, seq and whether it is new of those whose place is known."""
    rows: dict[str, dict[str, Any]] = {}
    for unreadable in unreadables:
        arrival = unreadable.arrival
        digest = hashlib.sha256(arrival.topic.encode(errors="replace") + b"\0" + arrival.payload).hexdigest()
        stream = None
        if unreadable.address is not None and unreadable.stream_id is not None:
            stream = speakers.stream(unreadable.address, unreadable.stream_id)
        row = rows.setdefault(
            digest,
            {
                **{"digest": digest, "stream": stream, "seq": unreadable.seq, "times": 0},
                **{"first_ms": arrival.received_ms, "reason": unreadable.reason},
                "topic": arrival.topic.encode(errors="replace").decode().replace("\0", "")[:1000],
                "payload": arrival.payload[: _SHOWN_BYTES if stream is None else _KEPT_BYTES],
                "payload_bytes": len(arrival.payload),
            },
        )
        row["times"] += 1
        row["received_ms"] = arrival.received_ms
    if not rows:
        return []
    places = {(row["stream"], row["seq"]) for row in rows.values() if row["stream"] is not None}
    table = schema.rejected
    asked = select(table.c.stream, table.c.seq).where(table.c.stream.in_({stream for stream, _ in places}))
    asked = asked.where(table.c.seq.in_({seq for _, seq in places}))
    had = {(stream, seq) for stream, seq in connection.execute(asked)} if places else set()
    statement = insert_into(connection, table)
    said = statement.excluded
    again = {"times": table.c.times + said.times, "received_ms": said.received_ms, "reason": said.reason}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["digest"], set_=again),
        [rows[digest] for digest in sorted(rows)],
    )
    return [(stream, seq, (stream, seq) not in had) for stream, seq in sorted(places)]
