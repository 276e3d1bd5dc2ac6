"""Chores: what a collector does between two batches, a little at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from edge_resad.fleet.backdating import backdate
from edge_resad.fleet.database import cause
from edge_resad.fleet.retention import retain, settle_streams
from edge_resad.fleet.settings import RetentionSection

_BUSY_S = 1.0  # while messages wait, one step in so long
_AGAIN_S = 5.0  # between two looks at what can be back-dated

log = logging.getLogger(__name__)


class Chores:
    """Back-dating and retention, one small transaction a step."""

    def __init__(self, engine: Engine, retention: RetentionSection) -> None:
        self._engine = engine
        self._retention = retention
        self._work: Iterator[int] = iter(())
        self._next_step = 0.0
        self._next_round = 0.0
        self._next_retention = 0.0
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
        yield from backdate(self._engine)
        if now >= self._next_retention:
            self._next_retention = now + self._retention.every_s
            yield from settle_streams(self._engine)
            yield from retain(self._engine, self._retention, now_ms)
