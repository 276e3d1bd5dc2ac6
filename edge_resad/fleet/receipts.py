"""Receipts: what came while the collector's clock was wrong is given another time, once it is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Engine, Table, bindparam, case, delete, literal, or_, select, update

from edge_resad.fleet import schema
from edge_resad.fleet.backdating import DATING
from edge_resad.fleet.clock import EARLIEST_MS
from edge_resad.fleet.crash_points import crash_point
from edge_resad.fleet.database import alone
from edge_resad.fleet.hours import add_to_hours

_CHUNK = 1000  # rows of one transaction
_SPEAKERS: tuple[tuple[Table, tuple[str, ...]], ...] = (
    (schema.device, ("first_ms", "seen_ms", "state_ms")),
    (schema.stream, ("first_ms", "seen_ms")),
    (schema.boot, ("first_ms",)),
)
_OTHERS = (schema.alert, schema.reply, schema.reported, schema.raw, schema.state, schema.telemetry, schema.rejected)
_ROWS: tuple[tuple[Table, ColumnElement[bool] | None], ...] = (
    (schema.verdict, schema.IS_PASS),  # apart, for each has an index
    (schema.verdict, schema.IS_NOT_PASS),
    *((table, None) for table in schema.LETTERS if table is not schema.verdict),
    *((table, None) for table in _OTHERS),
)
Span: TypeAlias = "tuple[int, int]"
"""From, and up to, in ms since 1970."""
UNDATED: Span = (0, EARLIEST_MS)
"""What a clock that is not set says."""
_HOURS_NEED = ("at_ms", "at_quality", "device", "product", "status", "score", "threshold")


def date_receipts(engine: Engine, now_ms: int, span: Span = UNDATED) -> Iterator[int]:
    """Date what came in a span of a wrong clock, a small transaction at a time; each yields its number of rows.

    now_ms: the time that it gets, of a clock that is set.
    """
    with engine.execution_options(reading=True).connect() as connection:
        waiting = [
            (table, only)
            for table, only in _ROWS
            if connection.execute(
                select(literal(1)).where(_wrong(table, ("received_ms",), only, span)).limit(1)
            ).first()
        ]
    if not waiting:
        return
    # Who spoke before what was said: nobody looks at them where no message waits.
    for table, names in _SPEAKERS:
        yield from _dated(engine, table, names, None, now_ms, span)
    for table, only in waiting:
        yield from _dated(engine, table, ("received_ms",), only, now_ms, span)


def _dated(
    engine: Engine, table: Table, names: Sequence[str], only: ColumnElement[bool] | None, now_ms: int, span: Span
) -> Iterator[int]:
    dated = _CHUNK
    while dated == _CHUNK:
        with engine.begin() as connection:
            wrong = _wrong(table, names, only, span)
            dated = _date(connection, table, names, wrong, now_ms, span) if alone(connection, DATING) else 0
            crash_point("in-dating-of-receipts")
        crash_point("after-dating-of-receipts")
        yield dated


def _date(
    connection: Connection, table: Table, names: Sequence[str], wrong: ColumnElement[bool], now_ms: int, span: Span
) -> int:
    keys = [key.name for key in table.primary_key.columns]
    wanted = dict.fromkeys([*keys, *(_HOURS_NEED if table is schema.verdict else ())])
    asked = select(*(table.c[name] for name in wanted)).where(wrong).limit(_CHUNK)
    # One that another collector writes now is dated the next time.
    rows = [dict(row._mapping) for row in connection.execute(asked.with_for_update(skip_locked=True))]
    if not rows:
        return 0
    changes: dict[str, Any] = {name: _or_now(table.c[name], now_ms, span) for name in names}
    if table is schema.rejected:
        changes["first_ms"] = _or_now(table.c.first_ms, now_ms, span)
    if table in schema.DATED:
        changes["at_ms"] = case((table.c.at_quality == "received", now_ms), else_=table.c.at_ms)
    these = [table.c[name] == bindparam(f"its_{name}") for name in keys]
    connection.execute(
        update(table).where(*these).values(**changes), [{f"its_{name}": row[name] for name in keys} for row in rows]
    )
    if table is schema.verdict:
        _move_hours(connection, [row for row in rows if row["at_quality"] == "received"], now_ms)
    return len(rows)


def _move_hours(connection: Connection, verdicts: Sequence[Mapping[str, Any]], now_ms: int) -> None:
    """Parts that happened when they were received, for want of better, happened now."""
    if verdicts:
        add_to_hours(connection, verdicts, sign=-1)
        add_to_hours(connection, [{**row, "at_ms": now_ms} for row in verdicts])
        hour = schema.hour
        devices = {row["device"] for row in verdicts}
        connection.execute(delete(hour).where(hour.c.device.in_(devices), hour.c.parts <= 0))


def _wrong(table: Table, names: Sequence[str], only: ColumnElement[bool] | None, span: Span) -> ColumnElement[bool]:
    found = or_(*(_within(table.c[name], span) for name in names))
    return found if only is None else found & only


def _or_now(column: ColumnElement[Any], now_ms: int, span: Span) -> ColumnElement[Any]:
    return case((_within(column, span), now_ms), else_=column)


def _within(column: ColumnElement[Any], span: Span) -> ColumnElement[bool]:
    return (column >= span[0]) & (column < span[1])
