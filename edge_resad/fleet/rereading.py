"""Rereading: what an older collector could not read, a newer one may."""

from __future__ import annotations

from sqlalchemy import Engine, bindparam, delete, select

from edge_resad.fleet import schema
from edge_resad.fleet.crash_points import crash_point
from edge_resad.fleet.reading import Arrival, Reading, Unreadable, read
from edge_resad.fleet.store import Store

_CHUNK = 200  # messages that are read at a time


def reread(engine: Engine, store: Store) -> int:
    """Store what can be read by now of what was set aside as a whole; how many that were.

    StoreAway where the store takes nothing. May be ended at any point: what was stored is stored once.
    """
    table = schema.rejected
    whole = table.c.stream.is_not(None) & (table.c.payload_bytes > 0) & ~table.c.conflict
    read_now, last = 0, ""
    while True:
        with engine.connect() as connection:
            asked = select(table).where(whole, table.c.digest > last).order_by(table.c.digest).limit(_CHUNK)
            rows = connection.execute(asked).all()
        if not rows:
            return read_now
        last = rows[-1].digest
        now: dict[str, Reading] = {
            row.digest: read(Arrival(row.topic, bytes(row.payload), row.first_ms))
            for row in rows
            if len(row.payload) == row.payload_bytes
        }
        now = {digest: reading for digest, reading in now.items() if not isinstance(reading, Unreadable)}
        if now:
            store.add(list(now.values()))
            crash_point("reread-stored")
            with engine.begin() as connection:
                # One that was set aside once more stays: the store did not take it.
                gone = delete(table).where(table.c.digest == bindparam("of"), table.c.times == bindparam("read"))
                times = {row.digest: row.times for row in rows}
                connection.execute(gone, [{"of": digest, "read": times[digest]} for digest in now])
                crash_point("in-rereading")
            crash_point("after-rereading")
            read_now += len(now)
