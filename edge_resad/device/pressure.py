"""How many parts of a camera wait for the inspection, and whether it falls behind."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW_S = 60.0  # over which the most that waited is remembered: the state is said once in that time


@dataclass(frozen=True, kw_only=True)
class Pressure:
    """What presses on the inspection of one camera."""

    waiting: int  # parts that wait with their pictures
    most: int  # of them at once, over this minute and the one before
    is_behind: bool  # parts are not inspected, for too many wait or they wait too long


class Peak:
    """The most that waited at once over this minute and the one before, for any number of people who ask."""

    def __init__(self) -> None:
        self._window = 0  # which minute it is
        self._most = 0  # in it
        self._before = 0  # in the one before

    def of(self, waiting: int, now: float) -> int:
        """Take how many wait now, monotonic seconds; the most of the time before and now."""
        window = int(now // WINDOW_S)
        if window != self._window:
            self._before = self._most if window == self._window + 1 else 0
            self._window, self._most = window, waiting
        self._most = max(self._most, waiting)
        return max(self._most, self._before)
