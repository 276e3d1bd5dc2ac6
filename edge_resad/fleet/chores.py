"""Chores: what a collector does between two batches, a little at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from edge_resad.clock_floor import is_set
from edge_resad.fleet.backdating import backdate
from edge_resad.fleet.database import cause
from edge_resad.fleet.doubt import UNSET, look_at_clock
from edge_resad.fleet.receipts import date_receipts
from edge_resad.fleet.retention import retain, settle_streams
from edge_resad.fleet.settings import RetentionSection

_BUSY_S = 1.0  # while messages wait, one step in so long
_AGAIN_S = 5.0  # between two looks at what can be dated
_DATED_BACK_S = 3600.0  # what has no date is not made older than this

log = logging.getLogger(__name__)


class Chores:
    """Dating and retention, one small transaction a step. Nothing goes by its age where the clock is doubted."""

    def __init__(self, engine: Engine, retention: RetentionSection) -> None:
        self._engine = engine
        self._retention = retention
        self._work: Iterator[int] = iter(())
        self._next_step = 0.0
        self._next_round = 0.0
        self._next_retention = 0.0
        self._dated: float | None = None  # when what had no date was looked for last
        self._looked: float | None = None  # when the clock was compared with the store's last
        self._doubt: str | None = None  # what is wrong with the clock, as it was said
        self._said: str | None = None

    def step(self, now: float, now_ms: int, *, busy: bool) -> None:
        """Do a little, where something is due. now: s of a monotonic clock; now_ms: since 1970."""
        if busy and now < self._next_step:
            return
        self._next_step = now + _BUSY_S
        try:
            if next(self._work, None) is None and now >= self._next_round:
                self._next_round = now + _AGAIN_S
                self._work = self._round(now, now_ms)
            self._said = None
        except SQLAlchemyError as error:  # the store is away, or another collector was faster: later
            self._work = iter(())
            if self._said != cause(error):
                self._said = cause(error)
                log.warning("the store's upkeep waits: %s", self._said)

    def _round(self, now: float, now_ms: int) -> Iterator[int]:
        yield from self._date_receipts(now, now_ms)
        yield from backdate(self._engine)
        if now >= self._next_retention:
            self._next_retention = now + self._retention.every_s
            yield from settle_streams(self._engine)
            sure = self._is_sure(now, now_ms)
            yield from retain(self._engine, self._retention, now_ms if sure else None)

    def _date_receipts(self, now: float, now_ms: int) -> Iterator[int]:
        """As of the round before: what came since the clock was set is newer than what came before."""
        since_s = 0.0 if self._dated is None else min(now - self._dated, _DATED_BACK_S)
        self._dated = now
        if is_set(now_ms / 1000):
            yield from date_receipts(self._engine, now_ms - round(since_s * 1000))

    def _is_sure(self, now: float, now_ms: int) -> bool:
        """Whether the clock can be trusted with what is old; where not, that is said once."""
        if is_set(now_ms / 1000):
            elapsed_s = 0.0 if self._looked is None else now - self._looked
            doubt = look_at_clock(self._engine, now_ms, round(elapsed_s * 1000))
            self._looked = now
            kind, sentence = (None, "retention goes by the clock again") if doubt is None else ("ahead", str(doubt))
        else:
            kind, sentence = "unset", UNSET
        if kind != self._doubt:
            log.warning("%s", sentence)
        self._doubt = kind
        return kind is None
