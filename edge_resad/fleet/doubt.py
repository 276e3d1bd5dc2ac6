"""Doubt: a clock that is suddenly far ahead removes nothing by age until a collector has run with it for a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Connection, Engine, Row, select, update

from edge_resad.fleet import schema
from edge_resad.fleet.crash_points import crash_point
from edge_resad.fleet.inserting import insert_into

_AHEAD_MS = 86_400_000  # a clock further ahead than this is doubted
_WAIT_MS = 86_400_000  # of running: somebody can set it right meanwhile
_NOTED_EVERY_MS = 600_000  # how exactly the store knows when a clock was right: not every look shall write
_ONE = schema.clock.c.id == 1

UNSET = (
    "the collector's clock is not set: what comes is dated when it is, and nothing goes by its age before. "
    "Set it, or give this computer a time server."
)


@dataclass(frozen=True)
class Doubt:
    """A clock that is too far ahead of when the store was last looked after. Times in ms since 1970."""

    trusted_ms: int
    says_ms: int
    waited_ms: int  # of running

    def __str__(self) -> str:
        days = (self.says_ms - self.trusted_ms) // 86_400_000
        hours = -(-(_WAIT_MS - self.waited_ms) // 3_600_000)
        return (
            f"the collector's clock says {_moment(self.says_ms)}, {days} days after the store was last looked after, "
            f"{_moment(self.trusted_ms)}. Where that is wrong, set the clock. Nothing goes by its age until collectors "
            f"have run for {hours} h more; edge-resad fleet retain fleet.toml --clock-is-right ends the wait."
        )


def look_at_clock(engine: Engine, now_ms: int, elapsed_ms: int) -> Doubt | None:
    """Compare the clock with what the store knows and note it; None where it can be trusted.

    now_ms: of a clock that is set. elapsed_ms: by the monotonic clock since this process looked last; 0: never.
    """
    table = schema.clock
    with engine.begin() as connection:
        _begin(connection, now_ms)
        had = connection.execute(select(table).where(_ONE).with_for_update()).one()
        doubt = judge(had, now_ms, elapsed_ms)
        if doubt is not None:
            if had.doubted_ms is None or elapsed_ms:
                _note(connection, trusted_ms=had.trusted_ms, doubted_ms=now_ms, waited_ms=doubt.waited_ms)
        elif had.doubted_ms is not None or not 0 <= now_ms - had.trusted_ms < _NOTED_EVERY_MS:
            _note(connection, trusted_ms=now_ms, doubted_ms=None, waited_ms=0)
        crash_point("in-clock-look")
    crash_point("after-clock-look")
    return doubt


def judge(had: Row[Any], now_ms: int, elapsed_ms: int) -> Doubt | None:
    """Whether this clock is doubted. had: the row of `clock`."""
    if now_ms - had.trusted_ms <= _AHEAD_MS + elapsed_ms:  # one that went back makes nothing old
        return None
    waited_ms = 0
    if had.doubted_ms is not None:  # not more than has passed by either clock, however many collectors look
        waited_ms = had.waited_ms + max(0, min(now_ms - had.doubted_ms, elapsed_ms))
    return Doubt(had.trusted_ms, now_ms, waited_ms) if waited_ms < _WAIT_MS else None


def trust_clock(engine: Engine, now_ms: int) -> None:
    """A person says that the clock is right."""
    with engine.begin() as connection:
        _begin(connection, now_ms)
        _note(connection, trusted_ms=now_ms, doubted_ms=None, waited_ms=0)
        crash_point("in-clock-look")
    crash_point("after-clock-look")


def doubt_in(connection: Connection) -> Doubt | None:
    """What collectors said last."""
    row = connection.execute(select(schema.clock).where(_ONE)).first()
    return None if row is None or row.doubted_ms is None else Doubt(row.trusted_ms, row.doubted_ms, row.waited_ms)


def _begin(connection: Connection, now_ms: int) -> None:
    """The first look at an empty store: there is nothing that could be too old."""
    row = {"id": 1, "trusted_ms": now_ms, "doubted_ms": None, "waited_ms": 0}
    connection.execute(insert_into(connection, schema.clock).on_conflict_do_nothing(), [row])


def _note(connection: Connection, **values: int | None) -> None:
    connection.execute(update(schema.clock).where(_ONE).values(**values))


def _moment(ms: int) -> str:
    when = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=ms)
    return f"{when:%Y-%m-%d %H:%M} UTC"
