"""Pins by libgpiod: the names and signatures of the real package, and what is said where there is no such pin."""

from __future__ import annotations

import errno
import inspect
import sys
from dataclasses import fields
from types import SimpleNamespace, TracebackType
from typing import Any

import gpiod
import pytest

from edge_resad.device.outputs import Output, Wiring
from edge_resad.device.outputs.gpio import EVENTS, GpioTerminal, GpioTicks, look_at_pin
from edge_resad.errors import OutputError
from tests.fakes import FakeClock

CHIP = "/dev/gpiochip0"
REAL_CHIP = gpiod.Chip


class KernelLine:
    """What the kernel knows of one line."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.consumer: str | None = None
        self.settings: gpiod.LineSettings | None = None
        self.levels: list[bool] = []
        self.edges: list[tuple[int, int]] = []  # timestamp in ns, number


class Kernel:
    """A GPIO chip of four lines behind the real package's values: only the chip and its requests are fakes.

    Each call is bound to the signature of the real method first, so that a name or an argument which the package lacks
    fails here too.
    """

    def __init__(self) -> None:
        self.lines = [KernelLine(), KernelLine("PQ.05"), KernelLine(), KernelLine()]
        self.fails: int | None = None  # with which errno the chip refuses to be opened

    def chip(self, path: str) -> FakeChip:
        inspect.signature(REAL_CHIP).bind(path)
        if self.fails is not None:
            raise OSError(self.fails, "refused")
        if path != CHIP:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return FakeChip(self)


class FakeChip:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def __enter__(self) -> FakeChip:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def get_info(self) -> Any:
        inspect.signature(REAL_CHIP.get_info).bind(self)
        return SimpleNamespace(num_lines=len(self._kernel.lines))

    def line_offset_from_id(self, *args: Any, **more: Any) -> int:
        pin = inspect.signature(REAL_CHIP.line_offset_from_id).bind(self, *args, **more).arguments["id"]
        if isinstance(pin, str):
            named = [offset for offset, line in enumerate(self._kernel.lines) if line.name == pin]
            if not named:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory")
            return named[0]
        if pin >= len(self._kernel.lines):
            raise ValueError("line offset of out range")
        return int(pin)

    def get_line_info(self, *args: Any, **more: Any) -> Any:
        pin = inspect.signature(REAL_CHIP.get_line_info).bind(self, *args, **more).arguments["line"]
        offset = self.line_offset_from_id(pin)
        line = self._kernel.lines[offset]
        info = {"offset": offset, "name": line.name, "used": line.consumer is not None, "consumer": line.consumer or ""}
        assert set(info) <= {field.name for field in fields(gpiod.LineInfo)}
        return SimpleNamespace(**info)

    def request_lines(self, *args: Any, **more: Any) -> FakeRequest:
        asked = inspect.signature(REAL_CHIP.request_lines).bind(self, *args, **more)
        asked.apply_defaults()
        ((pin, settings),) = asked.arguments["config"].items()
        line = self._kernel.lines[self.line_offset_from_id(pin)]
        if line.consumer is not None:
            raise OSError(errno.EBUSY, "Device or resource busy")
        line.consumer, line.settings = asked.arguments["consumer"], settings
        if settings.direction is gpiod.line.Direction.OUTPUT:
            line.levels.append(bool(settings.output_value))
        return FakeRequest(line, pin)


class FakeRequest:
    def __init__(self, line: KernelLine, pin: int | str) -> None:
        self._line = line
        self._pin = pin

    def set_value(self, *args: Any, **more: Any) -> None:
        asked = inspect.signature(gpiod.LineRequest.set_value).bind(self, *args, **more).arguments
        assert asked["line"] == self._pin
        assert isinstance(asked["value"], gpiod.line.Value)
        if self._line.consumer is None:
            raise OSError(errno.ENODEV, "No such device")
        self._line.levels.append(bool(asked["value"]))

    def wait_edge_events(self, *args: Any, **more: Any) -> bool:
        inspect.signature(gpiod.LineRequest.wait_edge_events).bind(self, *args, **more)
        return bool(self._line.edges)

    def read_edge_events(self, *args: Any, **more: Any) -> list[Any]:
        asked = inspect.signature(gpiod.LineRequest.read_edge_events).bind(self, *args, **more).arguments
        assert asked["max_events"] == EVENTS
        found, self._line.edges = self._line.edges, []
        return [
            gpiod.EdgeEvent(gpiod.EdgeEvent.Type.RISING_EDGE.value, timestamp_ns, 0, number, number)
            for timestamp_ns, number in found
        ]

    def release(self) -> None:
        inspect.signature(gpiod.LineRequest.release).bind(self)
        self._line.consumer = None


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(gpiod, "Chip", made.chip)
    return made


def test_a_pin_shows_its_value_from_the_first_moment_and_is_given_back(kernel: Kernel) -> None:
    pin = GpioTerminal(name="reject", chip=CHIP, pin="PQ.05", active_low=True).open(1)
    line = kernel.lines[1]
    assert (line.consumer, line.levels) == ("edge-resad/reject", [True])
    assert line.settings is not None
    assert line.settings.active_low
    pin.set(0)
    pin.set(3)  # an odd beat
    pin.close()
    assert (line.levels, line.consumer) == ([True, False, True], None)


def test_the_edges_of_an_encoder_are_counted_by_the_kernels_own_number(kernel: Kernel) -> None:
    reader = GpioTicks(chip=CHIP, pin=2).open()
    line = kernel.lines[2]
    assert line.settings is not None
    assert line.settings.edge_detection is gpiod.line.Edge.RISING
    assert line.settings.event_clock is gpiod.line.Clock.MONOTONIC
    assert reader.read() is None
    line.edges = [(1_000_000_000, 1), (2_500_000_000, 40)]  # its buffer had no room for those between
    assert reader.read() == (2.5, 40)
    reader.close()
    assert line.consumer is None


def test_a_pin_that_the_hardware_loses_is_said(kernel: Kernel) -> None:
    pin = GpioTerminal(name="reject", chip=CHIP, pin=0).open(0)
    kernel.lines[0].consumer = None
    with pytest.raises(OutputError, match=r"pin 0 of /dev/gpiochip0 cannot be set: No such device"):
        pin.set(1)


def test_a_pin_that_has_gone_is_noticed_before_a_part_needs_it(kernel: Kernel) -> None:
    clock = FakeClock()
    wiring = Wiring(name="reject", on=frozenset({"fail"}), safe_active=False)
    output = Output(wiring, GpioTerminal(name="reject", chip=CHIP, pin=0), clock=clock)
    output.step(clock.now)
    assert output.is_set
    kernel.lines[0].consumer = None
    kernel.fails = errno.ENODEV
    for _ in range(20):
        clock.now += 0.1
        output.step(clock.now)
    assert not output.is_set
    assert output.status.problem is not None
    assert output.status.failed == 0


@pytest.mark.parametrize(
    ("pin", "says"),
    [(9, "has no pin 9; it has 4, 0 to 3"), ("PX.01", "has no pin 'PX.01'")],
)
def test_a_pin_that_the_chip_lacks_is_said_with_what_there_is(kernel: Kernel, pin: int | str, says: str) -> None:
    with pytest.raises(OutputError, match=says):
        GpioTerminal(name="reject", chip=CHIP, pin=pin).open(0)


def test_a_pin_that_somebody_else_holds_is_said_with_his_name(kernel: Kernel) -> None:
    kernel.lines[0].consumer = "spi cs"
    with pytest.raises(OutputError, match="in use by spi cs"):
        GpioTerminal(name="reject", chip=CHIP, pin=0).open(0)
    kernel.lines[0].consumer = "edge-resad/reject"
    with pytest.raises(OutputError, match="Stop the station"):
        GpioTerminal(name="reject", chip=CHIP, pin=0).open(0)


def test_a_chip_that_is_not_allowed_names_the_group(kernel: Kernel) -> None:
    kernel.fails = errno.EACCES
    with pytest.raises(OutputError, match="usermod -aG gpio"):
        GpioTerminal(name="reject", chip=CHIP, pin=0).open(0)


def test_a_chip_that_is_not_there_is_said_by_the_real_package() -> None:
    with pytest.raises(OutputError, match="no GPIO chip at /dev/gpiochip-none"):
        GpioTerminal(name="reject", chip="/dev/gpiochip-none", pin=0).open(0)


def test_a_file_that_is_no_chip_is_said_by_the_real_package() -> None:
    with pytest.raises(OutputError, match="pin 0 of /dev/null cannot be opened"):
        GpioTicks(chip="/dev/null", pin=0).open()


def test_a_pin_is_looked_at_without_being_taken(kernel: Kernel) -> None:
    assert look_at_pin(CHIP, "PQ.05") == "pin 1 of /dev/gpiochip0 (PQ.05)"
    assert kernel.lines[1].consumer is None
    kernel.lines[0].consumer = "edge-resad/reject"
    assert look_at_pin(CHIP, 0) == "pin 0 of /dev/gpiochip0, in use by edge-resad/reject"
    kernel.lines[0].consumer = "spi cs"
    with pytest.raises(OutputError, match="in use by spi cs"):
        look_at_pin(CHIP, 0)


def test_a_machine_without_gpiod_is_told_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiod", None)
    with pytest.raises(OutputError, match=r"pip install 'edge-resad\[gpio\]'"):
        GpioTerminal(name="reject", chip=CHIP, pin=0).open(0)
