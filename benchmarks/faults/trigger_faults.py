"""Faults of a trigger: its pin is lost, and nobody says any more that a part is there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import edge_resad.device.gpio_trigger as gpio_module
from benchmarks.faults.belt import Belt
from benchmarks.faults.camera_faults import Play
from benchmarks.faults.scene import Outcome, Scene, Stage
from edge_resad.device.gpio_trigger import Edges, Pin
from edge_resad.errors import TriggerError

LASTS_S = 5.0
WAIT_MS = 2000.0  # longer than a busy machine is late with a picture


@dataclass(frozen=True)
class BeltEdge:
    """A part at the light barrier."""

    timestamp_ns: int
    line_seqno: int


class Barrier:
    """A light barrier at the belt: an edge for every part, until its pin is lost."""

    def __init__(self) -> None:
        self.belt: Belt | None = None  # none before the scene begins
        self.is_lost = False

    def open(self, pin: Pin) -> Edges:
        """What opens its pin, wherever it is."""
        if self.is_lost:
            raise TriggerError("no GPIO chip at /dev/gpiochip0")
        return BarrierPin(self)


class BarrierPin:
    """One opening of the pin."""

    def __init__(self, barrier: Barrier) -> None:
        self._barrier = barrier
        self._next: int | None = None  # part

    def wait_edge_events(self, timeout: float) -> bool:
        """Wait for a part."""
        if self._barrier.is_lost:
            raise OSError(19, "No such device")
        belt, now = self._barrier.belt, time.monotonic()
        if belt is not None and self._next is None:
            self._next = belt.next_after(now)
        is_over = belt is not None and belt.ended_at is not None and self._next is not None and self._next >= belt.shown
        if belt is None or self._next is None or is_over:
            time.sleep(timeout)
            return False
        wait_s = belt.moment(self._next) - now
        time.sleep(min(max(wait_s, 0.0), timeout))
        return wait_s <= timeout

    def read_edge_events(self) -> Sequence[BeltEdge]:
        """The part."""
        belt, part = self._barrier.belt, self._next
        assert belt is not None
        assert part is not None
        self._next = part + 1
        return [BeltEdge(round(belt.moment(part) * 1e9), part + 1)]

    def release(self) -> None:
        """Nothing is held."""


@contextmanager
def _instead_of_gpiod(barrier: Barrier) -> Iterator[None]:
    theirs = gpio_module.open_pin_of_gpiod
    gpio_module.open_pin_of_gpiod = barrier.open
    try:
        yield
    finally:
        gpio_module.open_pin_of_gpiod = theirs


def pin_lost(stage: Stage) -> Outcome:
    """The adapter of the light barrier's pin is unplugged; parts go by and nobody tells."""
    barrier = Barrier()
    trigger = {"kind": "gpio", "line": 7, "wait_ms": WAIT_MS, "capture_ms": 0.0}
    sections = {"camera": {"trigger": trigger}}
    with _instead_of_gpiod(barrier), Scene(stage, "trigger-pin-lost", sections=sections) as scene:
        barrier.belt = scene.belt
        scene.until_judged()
        scene.begin()
        barrier.is_lost = True
        scene.last_for(LASTS_S)
        barrier.is_lost = False
        scene.end()
        recovered_s = scene.until_recovered()
        return scene.outcome("trigger's pin lost for 5 s", recovered_s=recovered_s, words=("no edges",))


TRIGGER_FAULTS: dict[str, Play] = {"trigger-pin-lost": pin_lost}
