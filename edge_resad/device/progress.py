"""Whether a station gets on: parts are judged, or its cameras wait on purpose. What feeds the watchdog."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Literal, Protocol

from edge_resad.device.pipeline import Inspection

PATIENCE = 10  # parts in a row on which the inspector failed; then a new start is the better hope

Pace = Literal["on", "over", "away", "still"]
"""How a camera's lane does: it gets on, it has come to its end, its camera is known to give nothing and is looked for,
or it stands still and nobody knows why."""


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
        self._is_waited_on = True  # first: whoever hears of a wait sees it last until its end
        try:
            self._waits += 1
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

    @property
    def fails(self) -> bool:
        """Whether the inspector failed on as many parts in a row as it may."""
        return self._failures >= PATIENCE

    def step(self, inspection: Inspection | None) -> bool:
        """Take what a step gave, None where no frame came in time; whether that was progress.

        A part that was too old is progress: the line is slow, not dead. The inspector's failures are not, from the
        tenth in a row on.
        """
        alive = self._source.shown() or self._may_be_still
        if inspection is not None:
            self._failures = self._failures + 1 if inspection.not_inspected == "inspector_error" else 0
        return not self.fails and (alive or inspection is not None)


class StationProgress:
    """Judges whether a station of one or more cameras gets on, from how the lanes of all of them do.

    One that stands still holds up the whole, for nobody else can help it. One whose camera is known to give nothing, is
    said to and looked for, does not, as long as another one gets on.
    """

    def __init__(self) -> None:
        self._got_on: set[str] = set()

    def step(self, paces: Mapping[str, Pace]) -> bool:
        """Take how all lanes do now; whether each has got on since this last was so, or is excused."""
        self._got_on.update(name for name, pace in paces.items() if pace == "on")
        excused = {name for name, pace in paces.items() if pace in ("over", "away")}
        if not self._got_on or paces.keys() - self._got_on - excused:
            return False
        self._got_on.clear()
        return True
