"""Room for what is set aside: so much of each station and in all. The least worth goes first, then the oldest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, bindparam, case, delete, func, select

from edge_resad.fleet import schema
from edge_resad.fleet.clock import EARLIEST_MS
from edge_resad.fleet.coverage import unsettle
from edge_resad.fleet.database import REMOVING, alone
from edge_resad.fleet.inserting import insert_into

NOBODY = 0
"""Under which `dropped` counts what came on a topic that names no station."""
_SPARE = 20  # one in so many goes beyond what must, so that not every batch has to make room


def of_device(device: int | None) -> ColumnElement[bool]:
    """The rows of a station; None: those of nobody."""
    column = schema.rejected.c.device
    return column.is_(None) if device is None else column == device


def make_room(connection: Connection, those: ColumnElement[bool], most: int, *, at_once: int) -> int:
    """Drop what is more than `most` of those rows, up to `at_once` of them; how many went.

    What has no place in a stream can never be read and goes first, alerts go last. What had one is missing from then
    on: nobody ever read it. `dropped` counts them, each as often as it came. None go while another collector removes
    rows: there will be another time.
    """
    table, dropped = schema.rejected, schema.dropped
    counted = select(func.count()).select_from(table).where(those)
    if int(connection.execute(counted).scalar_one()) <= most or not alone(connection, REMOVING):
        return 0
    there = int(connection.execute(counted).scalar_one())  # another collector may have made room just now
    if there <= most:
        return 0
    worth = case((table.c.stream.is_(None), 0), (table.c.topic.like("%/alert/%"), 2), else_=1)
    going = (
        select(table.c.digest)  # alone: SQLite reads whole payloads to get at what is behind them
        .where(those)
        .order_by(worth, table.c.received_ms < EARLIEST_MS, table.c.received_ms, table.c.digest)  # undated: the newest
        .limit(min(there - most + most // _SPARE, at_once))
        .with_for_update(skip_locked=True)  # another collector counts one that came again: it stays
    )
    digests = connection.execute(going).scalars().all()
    if not digests:
        return 0
    about = select(table.c.stream, table.c.seq, table.c.times, table.c.conflict, table.c.device)
    rows = connection.execute(about.where(table.c.digest.in_(digests))).all()
    unsettle(connection, [(row.stream, row.seq) for row in rows if row.stream is not None and not row.conflict])
    gone = delete(table).where(table.c.digest == bindparam("of"))
    connection.execute(gone, [{"of": digest} for digest in digests])
    whose = Counter[int]()
    for row in rows:
        whose[NOBODY if row.device is None else row.device] += row.times
    statement = insert_into(connection, dropped)
    more = {"messages": dropped.c.messages + statement.excluded.messages}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["device"], set_=more),
        [{"device": device, "messages": number} for device, number in sorted(whose.items())],
    )
    return len(rows)


def make_room_in_all(connection: Connection, *, of_each: int, in_all: int, at_once: int) -> int:
    """Drop what is more than these numbers, of those first who have most; how many went. 0: there is room."""
    table = schema.rejected
    counted = connection.execute(select(table.c.device, func.count()).group_by(table.c.device)).all()
    share = fair_share([number for _, number in counted], in_all)
    if share == 0:  # more stations than rows
        return make_room(connection, table.c.digest != "", in_all, at_once=at_once)
    most = min(of_each, share)
    return sum(
        make_room(connection, of_device(device), most, at_once=at_once) for device, number in counted if number > most
    )


def fair_share(numbers: Sequence[int], in_all: int) -> int:
    """What each may have of `in_all`, where those who have less leave the rest to the others."""
    left = in_all
    for after, number in enumerate(sorted(numbers)):
        share = left // (len(numbers) - after)
        if number > share:
            return share
        left -= number
    return in_all
