"""What goes out next: two lanes of letters. What is new goes at once; what is old goes beside it, at a bounded rate."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable

from edge_resad.device.ranges import Ranges

LOWEST = -(2**63)  # below every letter
MOST_OUT = 1000  # letters sent and not acknowledged before the backlog waits; a broker keeps about as many by default
LIVE_MOST = 1000  # new letters that wait; of more the older ones join the backlog
PROBE = 50  # letters of a backlog that ask whether a collector is back


class Rate:
    """So many a second, and never more than a second's worth at once."""

    def __init__(self, per_s: float | None, now: float) -> None:
        self._per_s = per_s
        self._allowed = max(1.0, per_s or 0.0)
        self._at = now

    def allows(self, now: float) -> int:
        """How many may go now."""
        if self._per_s is None:
            return 1 << 30
        most = max(1.0, self._per_s)
        self._allowed = min(most, self._allowed + (now - self._at) * self._per_s)
        self._at = now
        return int(self._allowed)

    def take(self) -> None:
        """One went."""
        self._allowed -= 1

    def wait_s(self) -> float:
        """Seconds until the next may go."""
        if self._per_s is None or self._allowed >= 1:
            return 0.0
        return (1 - self._allowed) / self._per_s


class Outgoing:
    """Where a connection stands in the two lanes, and what it sent that no collector has acknowledged yet.

    Where a collector acknowledges, a letter stays in the outbox until it does. What is not acknowledged in time is sent
    again, from the oldest on; while no acknowledgement comes at all, ever more seldom and only a few.
    """

    def __init__(
        self,
        live_from: int,
        *,
        per_s: float | None,
        now: float,
        ack_s: float,
        ack_max_s: float,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """live_from: number of the first letter that is new. ack_s: how long an acknowledgement may take."""
        self.live = live_from - 1  # every letter of the lane up to here was sent or held back
        self.backlog = LOWEST
        self.until = live_from - 1  # end of the backlog
        self.rate = Rate(per_s, now)
        self.silent = False  # nobody acknowledges
        self._ack_s, self._ack_max_s, self._wait_s = ack_s, ack_max_s, ack_s
        self._uniform = uniform
        self._out = Ranges(most=10_000)
        self._probe = PROBE if per_s is None else max(1, min(PROBE, int(per_s)))
        self._budget: int | None = None  # letters left of a probe
        self._heard = False  # an acknowledgement, since the last sweep
        self._marks: deque[tuple[float, int]] = deque()  # when the lane of new letters had come how far
        self._sent_at = now
        self._first: int | None = None  # of the last sweep
        self._sweep_at: float | None = None

    def is_out(self, seq: int) -> bool:
        """Sent, and not yet to be sent again."""
        return seq in self._out

    def sent(self, seq: int, now: float, *, kept: bool) -> None:
        """A letter went out. kept: it waits for a collector's acknowledgement."""
        if kept:
            self._out.add(seq, seq)
        if seq > self.until and (not self._marks or now >= self._marks[-1][0] + self._ack_s / 8):
            self._marks.append((now, seq))
        self._sent_at = now

    def delivered(self, seq: int) -> None:
        """A letter needs no more care: the broker's answer was enough, or it will never be taken."""
        self._out.remove(seq, seq)

    def acknowledged(self, ranges: Iterable[tuple[int, int]], now: float) -> None:
        """A collector has these."""
        for first, last in ranges:
            self._out.remove(first, last)
        if self.silent:
            self._wait_s = self._ack_s
        self._heard, self._budget, self.silent = True, None, False
        if self._sweep_at is not None and len(self._out) >= MOST_OUT:
            self._sweep_at = now + self._wait_s

    def rewind(self, seq: int) -> None:
        """Letters from this one on were held back and may go now."""
        if seq > self.until:
            self.live = min(self.live, seq - 1)
        else:
            self.backlog = min(self.backlog, seq - 1)

    def catch_up(self, next_seq: int) -> None:
        """New letters come faster than they go: all but the newest join the backlog."""
        if next_seq - 1 - self.live > LIVE_MOST:
            self.until = next_seq - 1 - LIVE_MOST // 2
            self.live = self.until
            self._marks.clear()

    def room(self, now: float) -> int:
        """How many letters of the backlog may go now."""
        if self.backlog >= self.until:
            return 0
        room = min(self.rate.allows(now), MOST_OUT - len(self._out))
        return max(0, room if self._budget is None else min(room, self._budget))

    def took(self, seq: int | None) -> None:
        """The backlog was read up to here; None where it is at its end."""
        self.backlog = self.until if seq is None else seq

    def counted(self) -> None:
        """A letter of the backlog went."""
        self.rate.take()
        if self._budget is not None:
            self._budget -= 1

    def sweep(self, now: float, oldest: Callable[[], int | None]) -> None:
        """Begin again with what nobody acknowledged in time. oldest: asks for the first letter that still waits."""
        stuck = self._budget == 0 or len(self._out) >= MOST_OUT
        if self.backlog < self.until and not stuck:
            self._sweep_at = None
            return
        if self._sweep_at is None:
            self._sweep_at = now + self._uniform(self._wait_s, 1.25 * self._wait_s)
        if now < self._sweep_at:
            return
        self._sweep_at = None
        mark = self.until
        while self._marks and self._marks[0][0] <= now - self._ack_s:
            mark = max(mark, self._marks.popleft()[1])
        if self._sent_at <= now - self._ack_s:
            mark = max(mark, self.live)
        first = oldest()
        if first is None or first > mark:
            return
        if not self._heard:
            self._budget, self.silent = self._probe, True
        if not self._heard or first == self._first:  # nobody, or nobody wants this one
            self._wait_s = min(2 * self._wait_s, self._ack_max_s)
        self._heard, self._first = False, first
        self._out.remove(LOWEST, mark)
        self.backlog, self.until = LOWEST, mark
        self.live = max(self.live, self.until)
