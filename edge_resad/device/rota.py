"""Whose turn it is: the frames of several cameras, one after the other, none kept waiting by another's rate."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from edge_resad.device.frame import Frame


class Waiting(Protocol):
    """A place where a camera's frames wait."""

    @property
    def has_news(self) -> bool:
        """Whether there is a frame, or an end that was not told yet."""

    @property
    def ended(self) -> bool:
        """Whether no frame follows and all is told."""

    def take(self) -> Frame | None:
        """The next frame without waiting; raises what ended the camera."""


class Rota:
    """Takes frames from several places in turn. One thread.

    A camera whose turn it is and that has no frame is passed over; after a frame its camera comes last. So each of n
    cameras waits for n - 1 frames at most, whatever the others' rates.
    """

    def __init__(self, places: Sequence[Waiting], changed: threading.Condition) -> None:
        """changed: notified by every place that has news."""
        self._places = places
        self._changed = changed
        self._turn = 0

    def next(self, timeout_s: float) -> tuple[int, Frame] | None:
        """The next frame and whose it is; None where none came in time. What ended a camera is raised."""
        with self._changed:
            self._changed.wait_for(self._has_news, timeout_s)
            for step in range(len(self._places)):
                index = (self._turn + step) % len(self._places)
                frame = self._places[index].take()
                if frame is not None:
                    self._turn = (index + 1) % len(self._places)
                    return index, frame
        return None

    def _has_news(self) -> bool:
        places = [place for place in self._places if not place.ended]
        return not places or any(place.has_news for place in places)
