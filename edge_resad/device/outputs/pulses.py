"""An output's pulses: which signals are due, and how long the output stays active for them. Knows no clock."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

MOST_WAITING = 4096  # more only wait where an encoder stands still


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The signals that became due at once."""

    signals: int
    late: int  # of them
    over: int = 0  # of them, those whose moment is over: for their parts they are lost
    dropped: int = 0  # beside them: their time was over


NOTHING = Begun(signals=0, late=0)


class Pulses:
    """Signals wait in the order in which they are due, whatever order they came in; pulses that overlap are one.

    What they wait for is a number that rises: seconds, or counts of an encoder.
    """

    def __init__(self, pulse_s: float, *, only_in_time: bool = False) -> None:
        """only_in_time: a pulse is over when it should be, however late it begins; one that is over by then is dropped,
        and so is one that came late where nobody knows by how much, for it waits for counts.
        """
        self._pulse_s = pulse_s
        self._only_in_time = only_in_time
        self._dues: list[float] = []  # a heap, each once
        self._waiting: dict[float, tuple[int, int]] = {}  # due -> signals, and how many of them came late
        self._until: float | None = None  # monotonic seconds; None: idle

    def __len__(self) -> int:
        """At how many moments signals are due."""
        return len(self._dues)

    @property
    def next_due(self) -> float | None:
        """When the next signal is due; None where none waits."""
        return self._dues[0] if self._dues else None

    @property
    def until(self) -> float | None:
        """When the pulse ends, monotonic seconds; None while there is none."""
        return self._until

    def add(self, due: float, *, late: bool) -> bool:
        """Take one more signal; False where too many wait. late: it was due before it came."""
        signals, of_them_late = self._waiting.get(due, (0, 0))
        if not signals:
            if len(self._dues) >= MOST_WAITING:
                return False
            heapq.heappush(self._dues, due)
        self._waiting[due] = (signals + 1, of_them_late + late)
        return True

    def begin(self, reached: float, now: float, tolerance: float | None = None) -> Begun:
        """Begin, or go on with, the pulse of every signal that is due.

        reached: what the signals wait for has come so far. now: monotonic seconds, from which the pulse lasts.
        tolerance: a signal that is overdue by more is late; None: only one that came late is.
        """
        if not self._dues or self._dues[0] > reached:
            return NOTHING
        signals = late = over = dropped = 0
        while self._dues and self._dues[0] <= reached:
            due = heapq.heappop(self._dues)
            of_it, of_it_late = self._waiting.pop(due)
            until, of_it_over = now + self._pulse_s, of_it_late
            if tolerance is not None:
                of_it_late = of_it if reached - due > tolerance else of_it_late
                of_it_over = of_it if due + max(self._pulse_s, tolerance) <= now else 0
                until = due + self._pulse_s if self._only_in_time else until
            if self._only_in_time:
                dropped, of_it = dropped + of_it_over, of_it - of_it_over
                of_it_late, of_it_over = min(of_it_late, of_it), 0
            if of_it:
                signals, late, over = signals + of_it, late + of_it_late, over + of_it_over
                self._until = max(until, self._until or until)
        return Begun(signals=signals, late=late, over=over, dropped=dropped)

    def end(self, now: float) -> None:
        """End the pulse where its time is over."""
        if self._until is not None and now >= self._until:
            self._until = None

    def cut(self) -> None:
        """End the pulse at once."""
        self._until = None

    def drop(self) -> int:
        """Forget every signal that waits, and how many they were."""
        count = sum(signals for signals, _ in self._waiting.values())
        self._dues.clear()
        self._waiting.clear()
        return count
