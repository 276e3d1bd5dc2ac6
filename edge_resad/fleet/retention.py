"""Retention: what is too old, or too much, goes; counts per hour and open questions stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, bindparam, delete, func, select

from edge_resad.fleet import schema
from edge_resad.fleet.clock import EARLIEST_MS
from edge_resad.fleet.coverage import settle, settle_some
from edge_resad.fleet.crash_points import crash_point
from edge_resad.fleet.database import REMOVING, alone
from edge_resad.fleet.rejected_room import make_room_in_all
from edge_resad.fleet.settings import RetentionSection

_DAY_MS = 86_400_000
_CHUNK = 2000  # rows of one transaction
_SETTLED = 10_000  # numbers of a stream that are settled at a time
_ROW_BYTES = 60  # PostgreSQL: what a row costs beside its values, in the table and in its indexes


@dataclass(frozen=True)
class Rule:
    """What goes, and which of it first: the oldest by the time of receipt."""

    what: str
    table: Table
    days: int
    only: ColumnElement[bool] | None = None  # rows that are meant; None: all

    def too_old(self, now_ms: int) -> ColumnElement[bool]:
        """The rows that are older than the rule allows."""
        return and_(self.dated, self.table.c.received_ms < now_ms - self.days * _DAY_MS)

    @property
    def dated(self) -> ColumnElement[bool]:
        """The rows whose time of receipt is known. What came while the clock was not set is not old, but undated."""
        return self._meant(self.table.c.received_ms >= EARLIEST_MS)

    @property
    def undated(self) -> ColumnElement[bool]:
        """The rows whose time of receipt is not known yet."""
        return self._meant(self.table.c.received_ms < EARLIEST_MS)

    def _meant(self, those: ColumnElement[bool]) -> ColumnElement[bool]:
        return those if self.only is None else and_(those, self.only)


def rules(retention: RetentionSection) -> tuple[Rule, ...]:
    """Every rule by age. The first ones are also what goes, in this order, where the store is too large."""
    return (
        Rule("messages word for word", schema.raw, retention.raw_days),
        Rule("telemetry", schema.telemetry, retention.telemetry_days),
        Rule("verdicts of good parts", schema.verdict, retention.passed_days, schema.IS_PASS),
        Rule("pictures", schema.thumbnail, retention.thumbnail_days),
        Rule("other verdicts", schema.verdict, retention.verdict_days, schema.IS_NOT_PASS),
        Rule("states", schema.state, retention.state_days, _is_not_newest(schema.state)),
        Rule("reported settings", schema.reported, retention.state_days, _is_not_newest(schema.reported)),
        Rule("commands", schema.command, retention.alert_days),
        Rule("replies", schema.reply, retention.alert_days),
        Rule("gaps", schema.gap, retention.alert_days),
        Rule("messages set aside", schema.rejected, retention.alert_days, schema.rejected.c.stream.is_not(None)),
        Rule("alerts", schema.alert, retention.alert_days, ~schema.alert.c.open),
    )


def retain(engine: Engine, retention: RetentionSection, now_ms: int | None) -> Iterator[int]:
    """Remove what is too old, then what is too much, a small transaction at a time; each yields its number of rows.

    now_ms: since 1970; None where no clock can be trusted: nothing is too old then.
    """
    if now_ms is not None:
        for rule in rules(retention):
            removed = _CHUNK
            while removed == _CHUNK:
                removed = _remove(engine, rule, rule.too_old(now_ms), most=_CHUNK)
                yield removed
    while removed := _remove_rejected(engine, retention):
        yield removed
    if retention.max_mb is not None:
        yield from _shrink(engine, retention, retention.max_mb * 1_000_000)


def settle_streams(engine: Engine) -> Iterator[int]:
    """Settle what is complete, so that what is missing is found without a look at every row."""
    settled = _SETTLED
    while settled:
        with engine.begin() as connection:
            settled = settle_some(connection, _SETTLED) if alone(connection, REMOVING) else 0
            crash_point("in-settling")
        crash_point("after-settling")
        yield settled


def forecast(engine: Engine, retention: RetentionSection, now_ms: int) -> list[tuple[str, int, int]]:
    """What `retain` would remove by age: rule, its days, rows."""
    with engine.connect() as connection:
        counted = []
        for rule in rules(retention):
            asked = select(func.count()).select_from(rule.table).where(rule.too_old(now_ms))
            counted.append((rule.what, rule.days, int(connection.execute(asked).scalar_one())))
        return counted


def used_bytes(connection: Connection) -> int:
    """What the store's rows take. Of SQLite the pages in use; of PostgreSQL, which gives no room back, an estimate."""
    if connection.dialect.name == "sqlite":
        pages, free, size = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size
    total = 0
    for table in schema.metadata.sorted_tables:
        live = connection.exec_driver_sql(
            "SELECT COALESCE(pg_stat_get_live_tuples(%s::regclass), 0)", (table.name,)
        ).scalar_one()
        wide = connection.exec_driver_sql(
            f"SELECT COALESCE(avg(pg_column_size(r)), 0) FROM (SELECT * FROM {table.name} LIMIT 1000) r"
        ).scalar_one()
        total += int(live * (float(wide) + _ROW_BYTES))
    return total


def _shrink(engine: Engine, retention: RetentionSection, budget: int) -> Iterator[int]:
    going = rules(retention)[:5]
    for rule, meant in ((one, rows) for one in going for rows in (one.dated, one.undated)):  # what is undated came last
        while True:
            with engine.connect() as connection:
                used, rows = used_bytes(connection), _rows(connection, rule.table)
            if used <= budget:
                return
            share = min(_CHUNK, max(1, int((used - budget) / max(used / max(rows, 1), 1))))
            removed = _remove(engine, rule, meant, most=share)
            yield removed
            if removed == 0:
                break


def _rows(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _remove(engine: Engine, rule: Rule, meant: ColumnElement[bool], *, most: int) -> int:
    table = rule.table
    keys = [key.name for key in table.primary_key.columns]
    has_letters = table in (*schema.LETTERS, schema.rejected)
    wanted = dict.fromkeys([*keys, *(("stream", "seq") if has_letters else ())])
    with engine.begin() as connection:
        if not alone(connection, REMOVING):
            return 0
        oldest = select(*(table.c[name] for name in wanted)).where(meant).order_by(table.c.received_ms).limit(most)
        rows = [dict(row._mapping) for row in connection.execute(oldest)]
        if not rows:
            return 0
        if table is schema.alert:
            _remove_alert_messages(connection, rows)
        elif has_letters:
            _settle(connection, [(row["stream"], row["seq"]) for row in rows])
        _delete(connection, table, [{name: row[name] for name in keys} for row in rows])
        crash_point("in-retention")
    crash_point("after-retention")
    return len(rows)


def _remove_alert_messages(connection: Connection, alerts: list[dict[str, Any]]) -> None:
    table = schema.alert_message
    letters: list[tuple[int, int]] = []
    for alert in alerts:
        of_it = (table.c.device == alert["device"]) & (table.c.alert_id == alert["alert_id"])
        letters += [
            (stream, seq) for stream, seq in connection.execute(select(table.c.stream, table.c.seq).where(of_it))
        ]
    if letters:
        _settle(connection, letters)
        _delete(connection, table, [{"stream": stream, "seq": seq} for stream, seq in letters])


def _remove_rejected(engine: Engine, retention: RetentionSection) -> int:
    """By number too, for a station can send as much as it likes that nobody can read."""
    of_each, in_all = retention.rejected_rows_of_device, retention.rejected_rows
    with engine.begin() as connection:
        removed = make_room_in_all(connection, of_each=of_each, in_all=in_all, at_once=_CHUNK)
        crash_point("in-retention-of-rejected")
    crash_point("after-retention-of-rejected")
    return removed


def _settle(connection: Connection, letters: list[tuple[int, int]]) -> None:
    spans: dict[int, tuple[int, int]] = {}
    for stream, seq in letters:
        first, last = spans.get(stream, (seq, seq))
        spans[stream] = (min(first, seq), max(last, seq))
    for stream, (first, last) in sorted(spans.items()):
        settle(connection, stream, first, last)


def _delete(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    these = and_(*(key == bindparam(f"its_{key.name}") for key in table.primary_key.columns))
    connection.execute(delete(table).where(these), [{f"its_{name}": row[name] for name in row} for row in rows])


def _is_not_newest(table: Table) -> ColumnElement[bool]:
    """What is retained comes again with every connection: the newest of a station must stay known."""
    other = table.alias()
    newest = select(func.max(other.c.received_ms)).where(other.c.device == table.c.device).scalar_subquery()
    return table.c.received_ms < newest
