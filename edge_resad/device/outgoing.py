"""What goes out next: alerts, then failed parts, then the rest; what is new at once, what is old at a bounded rate."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge_resad.device.ranges import Ranges
from edge_resad.device.spoolfile import KINDS, Kind, Letter

LOWEST = -(2**63)  # below every letter
MOST_OUT = 1000  # letters sent and not acknowledged before the backlog waits; a broker keeps about as many by default
LIVE_MOST = 1000  # new letters that wait; of more the older ones join the backlog
PROBE = 50  # letters of a backlog that ask whether a collector is back
_REST: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind not in ("alert", "fail"))


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


@dataclass
class Lane:
    """Letters of some kinds, each in order of its number: what this connection has yet to send, and what is old."""

    kinds: tuple[Kind, ...]
    live: int  # every letter up to here was sent or held back, or is old
    backlog: int  # and of what is old up to here
    flooded: bool = False  # more new letters wait than go at once: they are read by the half window


class Outgoing:
    """Where a connection stands in its lanes, and what it sent that no collector has acknowledged yet.

    To an alert no letter is old: those from before the connection go in the same lane, before everything else, so that
    what is said of an alert stays in order. In the other lanes such letters are the backlog.
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
        come_s: float = 0.0,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """live_from: number of the first letter that is new. ack_s: how long an acknowledgement may take.
        come_s: within which what is sent again goes when a collector has come.
        """
        self.until = live_from - 1  # end of the backlog
        self._alerts = Lane(("alert",), LOWEST, self.until)
        self._others = [Lane(("fail",), self.until, LOWEST), Lane(_REST, self.until, LOWEST)]
        self.lanes = (self._alerts, *self._others)  # the first goes first
        self._live_from = live_from
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
        self._come_s = come_s
        self._came: tuple[float, int] | None = None  # a collector has: when to begin again, and up to where

    @property
    def has_backlog(self) -> bool:
        """Whether some of what is old was not looked at yet."""
        return any(lane.backlog < self.until for lane in self.lanes)

    def may_go(self, letter: Letter) -> bool:
        """Whether it is this letter's turn: not a picture's before its alert, nor an alert's of long ago while all that
        went before is unacknowledged.
        """
        if letter.kind == "image":
            return letter.seq <= self._alerts.live
        if letter.kind == "alert" and letter.seq < self._live_from:
            return len(self._out) < MOST_OUT and self._budget != 0
        return True

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

    def collector_came(self, now: float) -> None:
        """There is a collector and there was none: what it has not acknowledged goes again soon, and first a few.

        Every station hears it in the same moment: each waits a time of its own, and until the first acknowledgement
        sends no more than while none came.
        """
        self.silent, self._heard = False, False
        mark = max(self.until, *(lane.live for lane in self.lanes))
        if self._came is not None:  # one that comes and goes all the time must not put it off
            self._came = self._came[0], mark
            return
        self._came = now + self._uniform(0.0, self._come_s), mark
        self._wait_s, self._sweep_at = self._ack_s, None

    def rewind(self, seq: int) -> None:
        """Letters from this one on were held back and may go now."""
        self._alerts.live = min(self._alerts.live, seq - 1)
        for lane in self._others:
            if seq > self.until:
                lane.live = min(lane.live, seq - 1)
            else:
                lane.backlog = min(lane.backlog, seq - 1)

    def catch_up(self, next_seq: int) -> None:
        """New letters come faster than they go: all but the newest and the alerts join the backlog."""
        if next_seq - 1 - min(lane.live for lane in self._others) <= LIVE_MOST:
            return
        until = next_seq - 1 - LIVE_MOST // 2
        if self._alerts.backlog == self.until:
            self._alerts.backlog = until
        self.until = until
        for lane in self._others:
            lane.live = max(lane.live, until)
        self._marks.clear()

    def room(self, now: float) -> int:
        """How many letters of the backlog may go now."""
        if not self.has_backlog:
            return 0
        room = min(self.rate.allows(now), MOST_OUT - len(self._out))
        return max(0, room if self._budget is None else min(room, self._budget))

    def counted(self, letter: Letter) -> None:
        """A letter of the backlog went, or an alert from before the connection, which no rate bounds."""
        if letter.kind != "alert":
            self.rate.take()
        if self._budget is not None:
            self._budget -= 1

    def sweep(self, now: float, oldest: Callable[[], int | None]) -> None:
        """Begin again with what nobody acknowledged in time. oldest: asks for the first letter that still waits."""
        if self._came is not None and now >= self._came[0]:
            mark, self._came, self._sweep_at = max(self.until, self._came[1]), None, None
            first = oldest()
            if first is not None and first <= mark:
                self._budget = None if self._heard else self._probe
                self._first = None
                self._begin_again(mark)
            return
        stuck = self._budget == 0 or len(self._out) >= MOST_OUT
        if self.has_backlog and not stuck:
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
            mark = max(mark, *(lane.live for lane in self.lanes))
        first = oldest()
        if first is None or first > mark:
            return
        if not self._heard:
            self._budget, self.silent = self._probe, True
        if not self._heard or first == self._first:  # nobody, or nobody wants this one
            self._wait_s = min(2 * self._wait_s, self._ack_max_s)
        self._heard, self._first = False, first
        self._begin_again(mark)

    def _begin_again(self, mark: int) -> None:
        """All that waits up to this number is old, and goes once more."""
        self._out.remove(LOWEST, mark)
        self.until = mark
        for lane in self.lanes:
            lane.backlog = LOWEST
        for lane in self._others:
            lane.live = max(lane.live, mark)
