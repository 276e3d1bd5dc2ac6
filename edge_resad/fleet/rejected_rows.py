"""Rejected rows: what could not be read, or has the number of another message, set aside with its reason."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, or_, select

from edge_resad.fleet import schema
from edge_resad.fleet.inserting import insert_into
from edge_resad.fleet.reading import Arrival, Unreadable
from edge_resad.fleet.rejected_room import make_room, of_device
from edge_resad.fleet.speakers import Speakers
from edge_resad.messages import Address

_KEPT_BYTES = 256 * 1024  # of a message whose place is known: a newer collector may read it
_SHOWN_BYTES = 4096  # of any other
_AT_ONCE = 1000  # rows beyond those of the batch that go with it at most, where there is no room


@dataclass(frozen=True)
class SetAside:
    """What became of the messages of a batch that were set aside."""

    new: tuple[int, ...] = ()  # of each message that came for the first time and has a place in a stream: its stream
    conflicts: Counter[tuple[Address, str]] = field(default_factory=Counter)
    """Station and stream -> messages, not seen before, whose number is another message's."""
    dropped: int = 0  # older ones, for which there is no room any more


def write_rejected(
    connection: Connection, speakers: Speakers, unreadables: Sequence[Unreadable], *, most: int
) -> SetAside:
    """Set messages aside. most: rows of one station that stay."""
    rows: dict[str, dict[str, Any]] = {}
    for unreadable in unreadables:
        arrival = unreadable.arrival
        digest = digest_of(arrival)
        device = None if unreadable.address is None else speakers.device(unreadable.address)
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
                "device": device,
            },
        )
        row["times"] += 1
        row["received_ms"] = arrival.received_ms
    if not rows:
        return SetAside()
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
    again["conflict"] = or_(table.c.conflict, said.conflict)  # one that could not be read until now, and now conflicts
    connection.execute(
        statement.on_conflict_do_update(index_elements=["digest"], set_=again),
        [rows[digest] for digest in sorted(rows)],
    )
    devices = {row["device"] for row in rows.values()}
    return SetAside(
        new=tuple(stream for stream, _ in places - had),
        conflicts=conflicts,
        dropped=sum(
            make_room(connection, of_device(device), most, at_once=len(rows) + _AT_ONCE)
            for device in sorted(devices, key=lambda device: device or 0)
        ),
    )


def digest_of(arrival: Arrival) -> str:
    """By which a message that was set aside is known again."""
    return hashlib.sha256(arrival.topic.encode(errors="replace") + b"\0" + arrival.payload).hexdigest()


def _new_conflicts(connection: Connection, unreadables: Iterable[Unreadable]) -> Counter[tuple[Address, str]]:
    said = {digest_of(one.arrival): (one.address, one.stream_id) for one in unreadables if one.conflict}
    if not said:
        return Counter()
    table = schema.rejected
    asked = select(table.c.digest).where(table.c.digest.in_(said), table.c.conflict)
    had = set(connection.execute(asked).scalars())
    return Counter(
        (address, stream_id)
        for digest, (address, stream_id) in said.items()
        if digest not in had and address is not None and stream_id is not None
    )
