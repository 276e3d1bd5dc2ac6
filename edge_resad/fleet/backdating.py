"""Back-dating: once a station's clock is right, what its boot session wrote before is dated by it too."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, Engine, Table, Update, bindparam, delete, select, update

from edge_resad.fleet import schema
from edge_resad.fleet.clock import UNDATED
from edge_resad.fleet.crash_points import crash_point
from edge_resad.fleet.database import alone
from edge_resad.fleet.hours import add_to_hours

_CHUNK = 1000  # rows of one transaction
DATING = 7_236_583
"""PostgreSQL's lock of the collector that dates."""


def backdate(engine: Engine) -> Iterator[int]:
    """Date what waits for it, a small transaction at a time; each yields its number of rows."""
    table = schema.boot
    with engine.connect() as connection:
        asked = select(table.c.id).where(table.c.pending, table.c.offset_ms.is_not(None))
        boots = [number for (number,) in connection.execute(asked)]
    for number in boots:
        dated = _CHUNK
        while dated:
            dated = _step(engine, number)
            yield dated


def _step(engine: Engine, number: int) -> int:
    """Date some rows of one boot session; 0 where none is left, and then its mark is gone."""
    with engine.begin() as connection:
        dated = _date(connection, number) if alone(connection, DATING) else 0
        crash_point("in-backdating")
    crash_point("after-backdating")
    return dated


def _date(connection: Connection, number: int) -> int:
    boot = schema.boot
    held = select(boot.c.offset_ms).where(boot.c.id == number).with_for_update()
    offset_ms = connection.execute(held).scalar_one()
    for table in schema.DATED:
        waiting = select(table).where(table.c.boot == number, table.c.at_quality.in_(UNDATED)).limit(_CHUNK)
        rows = [dict(row._mapping) for row in connection.execute(waiting)]
        if not rows:
            continue
        connection.execute(
            _dating(table),
            [
                {"its_stream": row["stream"], "its_seq": row["seq"], "its_at": row["mono_ms"] + offset_ms}
                for row in rows
            ],
        )
        if table is schema.verdict:
            add_to_hours(connection, rows, sign=-1)
            add_to_hours(connection, [{**row, "at_ms": row["mono_ms"] + offset_ms} for row in rows])
            hour = schema.hour
            emptied = (hour.c.device == rows[0]["device"]) & (hour.c.parts <= 0)
            connection.execute(delete(hour).where(emptied))
        return len(rows)
    connection.execute(update(boot).where(boot.c.id == number).values(pending=False))
    return 0


def _dating(table: Table) -> Update:
    these = (table.c.stream == bindparam("its_stream")) & (table.c.seq == bindparam("its_seq"))
    return update(table).where(these).values(at_ms=bindparam("its_at"), at_quality="backdated")
