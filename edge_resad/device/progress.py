"""Whether a station gets on: parts are judged, or its camera waits on purpose. What feeds the watchdog."""

from __future__ import annotations

import threading
from typing import Protocol

from edge_resad.device.pipeline import Inspection

PATIENCE = 10  # parts in a row on which the inspector failed; then a new start is the better hope


class VitalSigns(threading.Event):
    """The event that stops a source, which also tells whether the source is alive.

    A source that waits on purpose, for its pace or for a lost camera to come back, waits on the event that stops it.
    Being in such a wait, or having begun one, is a sign of life; a source that hangs in a driver shows none. One source
    waits on it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_waited_on = False
        self._waits = 0  # begun so far
        self._seen = 0

    def wait(self, timeout: float | None = None) -> bool:
        """Wait as an event does."""
        self._waits += 1
        self._is_waited_on = True
        try:
            return super().wait(timeout)
        finally:
            self._is_waited_on = False

    @property
    def is_waited_on(self) -> bool:
        """Whether the source is in such a wait now."""
        return self._is_waited_on

    @property
    def waits(self) -> int:
        """How many such waits have begun so far."""
        return self._waits

    def shown(self) -> bool:
        """Whether there was a sign of life since this was last asked."""
        before, self._seen = self._seen, self._waits
        return self._is_waited_on or self._seen > before


class Alive(Protocol):
    """What can be asked whether it lives."""

    def shown(self) -> bool:
        """Whether there was a sign of life since this was last asked."""


class Progress:
    """Judges, step by step, whether a line gets on."""

    def __init__(self, source: Alive, *, may_be_still: bool = False) -> None:
        """may_be_still: the source shows no sign of life between two parts, as a camera that is triggered by wire."""
        self._source = source
        self._may_be_still = may_be_still
        self._failures = 0  # in a row

    def step(self, inspection: Inspection | None) -> bool:
        """Take what a step gave, None where no frame came in time; whether that was progress.

        A part that was too old is progress: the line is slow, not dead. The inspector's failures are not, from the
        tenth in a row on.
        """
        alive = self._source.shown() or self._may_be_still
        if inspection is not None:
            self._failures = self._failures + 1 if inspection.not_inspected == "inspector_error" else 0
        return self._failures < PATIENCE and (alive or inspection is not None)
