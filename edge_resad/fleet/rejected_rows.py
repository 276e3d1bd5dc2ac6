"""Rejected rows: what could not be read, or has the number of another message, set aside with its reason."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, select

from edge_resad.fleet import schema
from edge_resad.fleet.inserting import insert_into
from edge_resad.fleet.reading import Arrival, Unreadable
from edge_resad.fleet.speakers import Speakers
from edge_resad.messages import Address

_KEPT_BYTES = 256 * 1024  # of a message whose place is known: a newer collector may read it
_SHOWN_BYTES = 4096  # of any other


def write_rejected(
    connection: Connection, speakers: Speakers, unreadables: Sequence[Unreadable]
) -> tuple[list[tuple[int, int, bool]], Counter[tuple[Address, str]]]:
    """Set messages aside; stream, seq and whether it is new of those whose place is known, and apart from them how many
    conflicts of each station and stream came for the first time.
    """
    rows: dict[str, dict[str, Any]] = {}
    for unreadable in unreadables:
        arrival = unreadable.arrival
        digest = digest_of(arrival)
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
                "conflict": unreadable.conflict,
            },
        )
        row["times"] += 1
        row["received_ms"] = arrival.received_ms
    if not rows:
        return [], Counter()
    conflicts = _new_conflicts(connection, unreadables)
    placed = [row for row in rows.values() if row["stream"] is not None and not row["conflict"]]
    places = {(row["stream"], row["seq"]) for row in placed}
    table = schema.rejected
    asked = select(table.c.stream, table.c.seq).where(table.c.stream.in_({stream for stream, _ in places}))
    asked = asked.where(table.c.seq.in_({seq for _, seq in places}), ~table.c.conflict)
    had = {(stream, seq) for stream, seq in connection.execute(asked)} if places else set()
    statement = insert_into(connection, table)
    said = statement.excluded
    again = {"times": table.c.times + said.times, "received_ms": said.received_ms, "reason": said.reason}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["digest"], set_=again),
        [rows[digest] for digest in sorted(rows)],
    )
    return [(stream, seq, (stream, seq) not in had) for stream, seq in sorted(places)], conflicts


def digest_of(arrival: Arrival) -> str:
    """By which a message that was set aside is known again."""
    return hashlib.sha256(arrival.topic.encode(errors="replace") + b"\0" + arrival.payload).hexdigest()


def _new_conflicts(connection: Connection, unreadables: Iterable[Unreadable]) -> Counter[tuple[Address, str]]:
    said = {digest_of(one.arrival): (one.address, one.stream_id) for one in unreadables if one.conflict}
    if not said:
        return Counter()
    table = schema.rejected
    had = set(connection.execute(select(table.c.digest).where(table.c.digest.in_(said))).scalars())
    return Counter(
        (address, stream_id)
        for digest, (address, stream_id) in said.items()
        if digest not in had and address is not None and stream_id is not None
    )
