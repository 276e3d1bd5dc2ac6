"""The timetable: which product is put to use at which time of the day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol


class Change(Protocol):
    """At this time of every day this product is put to use."""

    @property
    def at(self) -> str:
        """Such as 06:00, of this machine's zone."""

    @property
    def use(self) -> str:
        """Such as flange or flange@2."""


class Timetable:
    """Says what has become due since it was last asked. It needs a clock that is right: before 2020 nothing is due."""

    def __init__(self, changes: Sequence[Change], since: float) -> None:
        """since: seconds since 1970; what was due before is past."""
        self._changes = changes
        self._asked_at = since

    def due(self, now: float) -> Change | None:
        """The last change that was due since the last time; None where there was none. now: seconds since 1970.

        A clock that is set back repeats nothing until it has caught up; more than a day is one day. One that was more
        than a day ahead was wrong, and what it says now counts.
        """
        if _SET_CLOCK <= now < self._asked_at - _DAY_S:
            self._asked_at = now
        before, self._asked_at = self._asked_at, max(now, self._asked_at)
        if now <= before or now < _SET_CLOCK:
            return None
        today = datetime.fromtimestamp(now)
        times = [
            (moment, change)
            for change in self._changes
            for day in (0, 1)
            if before < (moment := _moment(today - timedelta(days=day), change.at)) <= now
        ]
        return max(times, key=lambda time: time[0])[1] if times else None


_DAY_S = 86400.0
_SET_CLOCK = datetime(2020, 1, 1).timestamp()  # a machine without a clock begins at 1970


def _moment(day: datetime, at: str) -> float:
    hour, minute = (int(piece) for piece in at.split(":"))
    return day.replace(hour=hour, minute=minute, second=0, microsecond=0).timestamp()
