"""The parts of a camera that wait for the inspection: each in its turn, and none lost without a word."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Protocol

from edge_resad.device.frame import Clock, Frame
from edge_resad.device.pipeline import Reason
from edge_resad.device.pressure import Peak
from edge_resad.device.trigger import MOST_WAITING
from edge_resad.device.unseen import MissedPart, Unseen

log = logging.getLogger(__name__)


class Parts(Protocol):
    """Which frames are parts. All but `look` is called by who holds `changed`."""

    @property
    def changed(self) -> threading.Condition:
        """Held around all others; notified where parts were announced."""

    @property
    def unseen(self) -> Unseen:
        """Parts that nobody takes: they were announced while too many waited, or wait when it is closed."""

    def look(self, frame: Frame) -> None:
        """What takes its time with a frame that is taken next; the camera's thread calls it and holds nothing."""

    def take(self, frame: Frame) -> Sequence[Frame]:
        """The parts that this frame decides, with their pictures or without."""

    def due(self, now: float) -> Sequence[Frame]:
        """The parts that time alone decides."""

    def until(self) -> float | None:
        """When to ask for `due` again; None: not before the next change."""

    def end(self) -> Sequence[Frame]:
        """The parts that are decided now that no frame follows."""

    def close(self) -> None:
        """Nobody takes parts any more."""


class EveryFrame:
    """The camera is triggered by wire: every frame that comes is a part."""

    def __init__(self, changed: threading.Condition | None = None) -> None:
        self.changed = changed or threading.Condition()
        self.unseen = Unseen()  # none ever

    def look(self, frame: Frame) -> None: ...

    def take(self, frame: Frame) -> Sequence[Frame]:
        return (frame,)

    def due(self, now: float) -> Sequence[Frame]:
        return ()

    def until(self) -> float | None:
        return None

    def end(self) -> Sequence[Frame]:
        return ()

    def close(self) -> None: ...


class PartQueue:
    """A slot for parts, each in its turn and none twice. What is no part goes by.

    A live camera is never held up: a part that finds `most` others waiting loses its picture and is a "backlog", in its
    place among the others. A source that can wait does.
    """

    def __init__(self, parts: Parts, *, most: int = 8, live: bool = True, clock: Clock | None = None) -> None:
        """parts: which frames are parts. most: parts with a picture that may wait for the inspection."""
        self._parts = parts
        self._changed = parts.changed
        self._most = most
        self._live = live
        self._clock = clock or Clock()
        self._waiting: deque[Frame] = deque()
        self._pictures = 0  # among those that wait
        self._unseen = Unseen()
        self._idle: Frame | None = None
        self._behind = 0  # parts that lost their picture since the inspection fell behind
        self._peak = Peak()
        self._ended = False
        self._abandoned = False
        self._error: BaseException | None = None

    def put(self, frame: Frame) -> bool:
        """Hand a frame over; False where nobody takes frames any more."""
        self._parts.look(frame)
        with self._changed:
            while not self._live and self._pictures >= self._most and not self._abandoned:
                self._changed.wait()
            decided = self._parts.take(frame)
            if self._abandoned:
                self._stop(decided)
                return False
            self._idle = None if decided and decided[-1].frame_id == frame.frame_id else frame
            self._add(decided)
            return True

    def end(self, error: BaseException | None = None) -> None:
        """Say that no frame follows, and why, where the camera failed."""
        with self._changed:
            decided = self._parts.end()
            if self._abandoned:
                self._stop(decided)
            else:
                self._add(decided)
            self._ended = True
            self._error = error
            self._changed.notify_all()

    def get(self, timeout_s: float) -> Frame | None:
        """Take the next part; None where none came in time. What ended the camera is raised once the queue is empty."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self.has_news and (left_s := deadline - time.monotonic()) > 0:
                self._changed.wait(min(left_s, self.news_within_s()))
            return self.take()

    @property
    def has_news(self) -> bool:
        """Whether there is a part, or an end to be told of."""
        with self._changed:  # the parts that wait for their time are looked at, which other threads take away
            return bool(self._waiting) or self._ended or self.news_within_s() <= 0

    def news_within_s(self) -> float:
        """When the next part's time is over."""
        until = self._parts.until()
        return math.inf if until is None else until - self._clock.monotonic()

    def take(self) -> Frame | None:
        """What `get` does, without waiting."""
        with self._changed:
            self._add(self._parts.due(self._clock.monotonic()))
            if self._waiting:
                return self._taken()
            if self._error is not None:
                raise self._error
            return None

    def coming(self) -> Frame | None:
        """The next part, left where it is; None where it has no picture, or none waits."""
        with self._changed:
            return self._waiting[0] if self._waiting and self._waiting[0].missed is None else None

    @property
    def is_behind(self) -> bool:
        """Whether parts have lost their pictures and others still wait. Asked with every part: it takes no lock."""
        return self._behind > 0

    def waiting(self) -> tuple[int, int]:
        """How many parts wait with their pictures, now and at most in this minute and the one before."""
        with self._changed:
            return self._pictures, self._peak.of(self._pictures, self._clock.monotonic())

    def idle(self) -> Frame | None:
        """Take the newest frame that shows no part, for the watch over the camera; None where there is none."""
        with self._changed:
            frame, self._idle = self._idle, None
            return frame

    @property
    def ended(self) -> bool:
        """True when the camera came to its end and its last part was taken; an error is there for `take` to raise."""
        with self._changed:
            over = self._ended and not self._waiting and self._parts.until() is None
            return over and self._error is None

    def abandon(self) -> None:
        """Stop taking frames; a camera's thread that waits in `put` goes on at once."""
        with self._changed:
            self._abandoned = True
            for part in self._waiting:
                self._unseen.add(part.missed or "stopped", part.there_mono)
            self._parts.close()
            self._waiting.clear()
            self._pictures = 0
            self._changed.notify_all()

    def unseen(self) -> dict[Reason, int]:
        """The parts that `take` never gave, by what became of them."""
        with self._changed:
            unseen: Counter[Reason] = self._unseen.counts + self._parts.unseen.counts
            return dict(unseen)

    def missed(self) -> Iterable[MissedPart]:
        """Those of them that this has not told yet, and when each was there."""
        with self._changed:
            return chain(self._unseen.take(), self._parts.unseen.take())

    def _stop(self, decided: Sequence[Frame]) -> None:
        for part in decided:
            self._unseen.add("stopped", part.there_mono)

    def _add(self, decided: Sequence[Frame]) -> None:
        for part in decided:
            if part.missed is None and self._live and self._pictures >= self._most:
                if not self._behind:
                    log.warning(
                        "the inspection is %d parts behind: more are not inspected until it has caught up. Give it a "
                        "faster engine, or the line more time between parts",
                        self._most,
                    )
                self._behind += 1
                part = part.without_picture("backlog")
            if len(self._waiting) >= MOST_WAITING:
                self._unseen.add(part.missed or "backlog", part.there_mono)
                continue
            self._pictures += part.missed is None
            self._waiting.append(part)
        if decided:
            self._peak.of(self._pictures, self._clock.monotonic())
            self._changed.notify_all()

    def _taken(self) -> Frame:
        part = self._waiting.popleft()
        if part.missed is None:
            self._pictures -= 1
            self._changed.notify_all()
        if self._behind and not self._waiting:
            log.info("the inspection has caught up: %d parts were not inspected meanwhile", self._behind)
            self._behind = 0
        return part
