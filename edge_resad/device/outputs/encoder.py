"""The encoder: how far the belt has moved, for outputs whose delay is counts and not time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from edge_resad.device.frame import Clock
from edge_resad.device.link import Backoff
from edge_resad.device.outputs.track import Track
from edge_resad.errors import OutputError

log = logging.getLogger(__name__)

JOIN_S = 1.0
RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0


class Reader(Protocol):
    """A counter that is open. One thread reads it."""

    def read(self) -> tuple[float, int] | None:
        """When it said what, seconds of the monotonic clock; None where it said nothing new for a moment.

        Waits a fraction of a second at most. Raises OutputError where it cannot be read.
        """

    def close(self) -> None:
        """Give it back."""


class Ticks(Protocol):
    """A counter that can be opened as often as it is lost."""

    @property
    def is_local(self) -> bool:
        """True: it is part of this machine, and one that is missing at the start is a mistake in the station file."""

    @property
    def size(self) -> int:
        """How many values it has before it begins anew."""

    def open(self) -> Reader:
        """Open it. Raises OutputError, which says what to do."""


class Encoder:
    """Reads a counter in a thread of its own; one that is lost is looked for, and counts begin anew, on a new track."""

    def __init__(self, ticks: Ticks, clock: Clock | None = None, *, name: str = "belt") -> None:
        self.problem: str | None = f"encoder {name}: it has not been read yet."
        self.name = name
        self._said = False
        self._ticks = ticks
        self._clock = clock or Clock()
        self._track = Track(ticks.size)
        self._listeners: list[Callable[[int | None], None]] = []
        self._closing = threading.Event()
        self._reader: Reader | None = None
        self._thread = threading.Thread(target=self._work, name=f"encoder {name}", daemon=True)

    def listen(self, listener: Callable[[int | None], None]) -> None:
        """Hear every new count, and None when it is lost; in the encoder's thread. Before it is entered."""
        self._listeners.append(listener)

    def __enter__(self) -> Encoder:
        if self._ticks.is_local:
            self._reader = self._ticks.open()
            self._found()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._closing.set()
        self._thread.join(JOIN_S)

    @property
    def track(self) -> Track:
        """The counts since it was found, or, while it is lost, those that will be: another track after every loss."""
        return self._track

    @property
    def count(self) -> int | None:
        """Counts since it was found; None while it is lost."""
        return self._track.count

    def _work(self) -> None:
        backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
        while not self._closing.is_set():
            try:
                if self._reader is None:
                    self._reader = self._ticks.open()
                read = self._reader.read()
                if self.problem is not None:
                    self._found()
                if read is not None:
                    self._moved(read)
                backoff.reset()
            except Exception as error:  # whatever it is, the belt goes on
                self._lost(error)
                self._closing.wait(backoff.next())
        if self._reader is not None:
            self._reader.close()

    def _moved(self, read: tuple[float, int]) -> None:
        self._track.add(*read)
        for listener in self._listeners:
            listener(self._track.count)

    def _found(self) -> None:
        if self._said:
            log.info("encoder %s is there again", self.name)
        self.problem, self._said = None, False
        if self._ticks.is_local:  # edges count from here on; a register says itself where it is
            self._moved((self._clock.monotonic(), 0))

    def _lost(self, error: Exception) -> None:
        why = str(error) if isinstance(error, OutputError) else f"{type(error).__name__}: {error}. Report it."
        says = f"encoder {self.name}: {why}"
        if self._reader is not None:
            reader, self._reader = self._reader, None
            with suppress(Exception):  # it is broken: so may its end be
                reader.close()
        if not self._said:
            log.warning("%s Until then signals with delay_counts fail.", says)
        self.problem, self._said = says, True
        self._track = Track(self._ticks.size)
        for listener in self._listeners:
            listener(None)
