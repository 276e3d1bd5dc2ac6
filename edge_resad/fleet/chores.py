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
from edge_resad.fleet.receipts import Span, date_receipts
from edge_resad.fleet.retention import retain, settle_streams
from edge_resad.fleet.settings import RetentionSection

_BUSY_S = 1.0  # while messages wait, one step in so long
_AGAIN_S = 5.0  # between two looks at what can be dated
_DAY_MS = 86_400_000
_DATED_BACK_MS = 3_600_000  # what has no date is not made older than this
_EARLY_S = 3600.0  # what was received before the clock was set ahead may be stored so much later
_SLACK_MS = 60_000  # what came before our first round, too

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
        self._began: float | None = None  # our first round
        self._before: tuple[float, int] | None = None  # both clocks at the round before
        self._early: Span | None = None  # what a clock said before it was set ahead
        self._early_until = 0.0
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
        """Date what came by a wrong clock, as of the round before: what came since the clock is right is newer.

        That is what came while it was not set, and where it is set ahead by more than a day while we run, what came in
        the day before: a computer without a clock battery may begin with the time at which it was switched off.
        """
        then, then_ms = self._before or (now, now_ms)
        self._before = now, now_ms
        if self._began is None:
            self._began = now
        if not is_set(now_ms / 1000):
            return
        elapsed_ms = round((now - then) * 1000)
        if is_set(then_ms / 1000) and now_ms - then_ms > elapsed_ms + _DAY_MS:
            run_ms = min(round((now - self._began) * 1000), _DAY_MS)
            self._early = (then_ms - run_ms - _SLACK_MS, then_ms + elapsed_ms + _SLACK_MS)
            self._early_until = now + _EARLY_S
        as_of_ms = now_ms - min(elapsed_ms, _DATED_BACK_MS)
        yield from date_receipts(self._engine, as_of_ms)
        if self._early is not None and now < self._early_until:
            yield from date_receipts(self._engine, as_of_ms, self._early)

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
