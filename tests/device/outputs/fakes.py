"""A pin without a wire, and an encoder that is turned by hand."""

from __future__ import annotations

import threading

from edge_resad.device.outputs.terminal import Pin
from edge_resad.errors import OutputError


class FakeTerminal:
    """Remembers every value that it showed. May be away, or break."""

    refresh_s: float | None = None

    def __init__(self, *, is_local: bool = True) -> None:
        self.is_local = is_local
        self.shown: list[int] = []
        self.opened = self.closed = 0
        self.away = False
        self.news = threading.Condition()

    def open(self, value: int) -> Pin:
        if self.away:
            raise OutputError("nobody is there.")
        self.opened += 1
        self.set(value)
        return self

    def set(self, value: int) -> None:
        if self.away:
            raise OutputError("nobody is there.")
        with self.news:
            self.shown.append(value)
            self.news.notify_all()

    def close(self) -> None:
        self.closed += 1

    @property
    def last(self) -> int:
        return self.shown[-1]


class FakeReader:
    """What is put into it is read; it can be broken."""

    def __init__(self, ticks: FakeTicks) -> None:
        self._ticks = ticks

    def read(self) -> tuple[float, int] | None:
        with self._ticks.news:
            if not self._ticks.waiting and not self._ticks.broken:
                self._ticks.news.wait(0.05)
            if self._ticks.broken:
                raise OutputError("the encoder is broken.")
            return self._ticks.waiting.pop(0) if self._ticks.waiting else None

    def close(self) -> None: ...


class FakeTicks:
    """A counter of four decimal digits."""

    size = 10_000

    def __init__(self, *, is_local: bool = True) -> None:
        self.is_local = is_local
        self.waiting: list[tuple[float, int]] = []
        self.broken = False
        self.news = threading.Condition()

    def open(self) -> FakeReader:
        if self.broken:
            raise OutputError("the encoder is broken.")
        return FakeReader(self)

    def turn(self, mono: float, raw: int) -> None:
        with self.news:
            self.waiting.append((mono, raw))
            self.news.notify_all()
