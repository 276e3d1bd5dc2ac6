"""Whose turn it is: the frames of several cameras, one after the other, none kept waiting by another's rate."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from edge_resad.device.frame import Frame


class Waiting(Protocol):
    """A place where a camera's frames wait."""

    @property
    def has_news(self) -> bool:
        """Whether there is a frame, or an end that was not told yet."""

    def news_within_s(self) -> float:
        """For how long there can be none, unless the condition says so."""

    @property
    def ended(self) -> bool:
        """Whether no frame follows and all is told."""

    def coming(self) -> Frame | None:
        """The next frame, left where it is; None where none is there whose turn will come."""

    def take(self) -> Frame | None:
        """The next frame without waiting; raises what ended the camera."""


class Rota:
    """Takes frames from several places in turn.

    A camera whose turn it is and that has no frame is passed over; after a frame its camera comes last. So each of n
    cameras waits for n - 1 frames at most, whatever the others' rates.
    """

    def __init__(self, places: Sequence[Waiting], changed: threading.Condition) -> None:
        """changed: notified by every place that has news."""
        self._places = places
        self._changed = changed
        self._turn = 0

    def coming(self) -> tuple[int, Frame] | None:
        """Whose frame is next, of those whose turn will come, as far as is known now. From any thread."""
        with self._changed:
            for index in self._in_turn():
                frame = self._places[index].coming()
                if frame is not None:
                    return index, frame
        return None

    def next(self, timeout_s: float) -> tuple[int, Frame] | None:
        """The next frame and whose it is; None where none came in time. What ended a camera is raised."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._has_news() and (left_s := deadline - time.monotonic()) > 0:
                soon_s = min((place.news_within_s() for place in self._places), default=math.inf)
                self._changed.wait(max(0.0, min(left_s, soon_s)))
            for index in self._in_turn():
                frame = self._places[index].take()
                if frame is not None:
                    self._turn = (index + 1) % len(self._places)
                    return index, frame
        return None

    def _in_turn(self) -> Iterator[int]:
        for step in range(len(self._places)):
            yield (self._turn + step) % len(self._places)

    def _has_news(self) -> bool:
        places = [place for place in self._places if not place.ended]
        return not places or any(place.has_news for place in places)
