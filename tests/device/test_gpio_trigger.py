"""A trigger on a pin: every edge is a part at its own time, and a pin that fails is looked for."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

import edge_resad.device.gpio_trigger as gpio_module
from edge_resad.device.gpio_trigger import Edges, GpioTrigger, Pin, open_pin_of_gpiod
from edge_resad.errors import TriggerError

PIN = Pin(chip="/dev/gpiochip0", line=7)
WAIT_S = 60.0  # a deadline, not a pause


@dataclass(frozen=True)
class FakeEdge:
    timestamp_ns: int
    line_seqno: int


class FakePin:
    """A pin whose edges the test gives; an error among them is raised."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self._given: queue.Queue[FakeEdge | Exception] = queue.Queue()
        self._next: list[FakeEdge] = []

    def give(self, *events: FakeEdge | Exception) -> None:
        for event in events:
            self._given.put(event)

    def wait_edge_events(self, timeout: float) -> bool:
        try:
            event = self._given.get(timeout=timeout)
        except queue.Empty:
            return False
        if isinstance(event, Exception):
            raise event
        self._next.append(event)
        return True

    def read_edge_events(self) -> Sequence[FakeEdge]:
        events, self._next = self._next, []
        return events

    def release(self) -> None:
        self.released.set()


class Heard:
    """Takes what a trigger fires."""

    def __init__(self, expected: int) -> None:
        self.parts: list[tuple[str, float]] = []
        self.complete = threading.Event()
        self._expected = expected

    def __call__(self, source: str, at: float) -> bool:
        self.parts.append((source, at))
        if len(self.parts) >= self._expected:
            self.complete.set()
        return True


def opener(*pins: FakePin | TriggerError) -> Callable[[Pin], Edges]:
    """Opens one after the other; an error is raised in its turn."""
    left = list(pins)

    def open_pin(pin: Pin) -> Edges:
        one = left.pop(0)
        if isinstance(one, TriggerError):
            raise one
        return one

    return open_pin


def test_every_edge_is_a_part_at_the_time_at_which_the_kernel_saw_it() -> None:
    pin, heard = FakePin(), Heard(2)
    with GpioTrigger(PIN, heard, open_pin=opener(pin)):
        pin.give(FakeEdge(1_500_000_000, 1), FakeEdge(2_000_000_000, 2))
        assert heard.complete.wait(WAIT_S)
    assert heard.parts == [("gpio", 1.5), ("gpio", 2.0)]
    assert pin.released.is_set()


def test_edges_that_the_kernel_had_to_drop_are_parts_too(caplog: pytest.LogCaptureFixture) -> None:
    pin, heard = FakePin(), Heard(4)
    with GpioTrigger(PIN, heard, open_pin=opener(pin)):
        pin.give(FakeEdge(1_000_000_000, 10), FakeEdge(2_000_000_000, 13))
        assert heard.complete.wait(WAIT_S)
    assert [at for _, at in heard.parts] == [1.0, 2.0, 2.0, 2.0]
    assert "2 edges came faster" in caplog.text


def test_a_pin_that_fails_is_said_once_and_asked_for_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gpio_module, "FIRST_PAUSE_S", 0.01)
    broken, back, heard = FakePin(), FakePin(), Heard(1)
    caplog.set_level("INFO")
    trigger = GpioTrigger(PIN, heard, open_pin=opener(broken, TriggerError("busy"), back))
    with trigger:
        broken.give(OSError(19, "No such device"))
        back.give(FakeEdge(3_000_000_000, 1))
        assert heard.complete.wait(WAIT_S)
        assert trigger.problem is None
    assert broken.released.is_set()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "line 7 of /dev/gpiochip0 gives no edges any more" in caplog.messages[0]


def test_an_error_that_nobody_expects_does_not_end_the_looking_for_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpio_module, "FIRST_PAUSE_S", 0.01)
    broken, back, heard = FakePin(), FakePin(), Heard(1)
    with GpioTrigger(PIN, heard, open_pin=opener(broken, back)):
        broken.give(RuntimeError("the request was released"))
        back.give(FakeEdge(3_000_000_000, 1))
        assert heard.complete.wait(WAIT_S)
    assert broken.released.is_set()


def test_a_pin_that_is_not_there_at_the_start_is_a_mistake_of_the_station_file() -> None:
    with (
        pytest.raises(TriggerError, match="busy"),
        GpioTrigger(PIN, Heard(1), open_pin=opener(TriggerError("busy"))),
    ):
        pass


def test_a_chip_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(
        TriggerError, match=r"no GPIO chip at /dev/gpiochip99\. Seen now: .*Set \[camera.trigger\] chip"
    ):
        open_pin_of_gpiod(Pin(chip="/dev/gpiochip99", line=3))


def test_what_is_no_gpio_chip_is_said() -> None:
    with pytest.raises(TriggerError, match="line 3 of /dev/null cannot be had for a trigger"):
        open_pin_of_gpiod(Pin(chip="/dev/null", line=3))


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiod", None)
    with pytest.raises(TriggerError, match=r"pip install 'edge-resad\[gpio\]'"):
        open_pin_of_gpiod(PIN)
