"""Pins of this machine, by libgpiod: one that is set, one whose edges count, and what there is to say about one."""

from __future__ import annotations

import errno
import getpass
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from edge_resad.device.outputs.terminal import Pin
from edge_resad.errors import OutputError

if TYPE_CHECKING:
    import gpiod

OURS = "edge-resad"  # what `gpioinfo` says of a pin in use by us
EVENTS = 1024  # edges that the kernel keeps while nobody reads; those beyond are counted all the same
REFRESH_S = 1.0  # so that a pin that has gone, as with its USB adapter, is noticed before a part needs it
PATIENCE_S = 0.2  # how long a wait for edges lasts


@dataclass(frozen=True, kw_only=True)
class GpioTerminal:
    """A pin that is set."""

    name: str  # of the output
    chip: str  # such as /dev/gpiochip0
    pin: int | str  # its offset on the chip, or its name
    active_low: bool = False

    is_local = True
    refresh_s = REFRESH_S

    def open(self, value: int) -> Pin:
        """Take the pin from the kernel, showing a value from the first moment."""
        gpiod = _gpiod()
        settings = gpiod.LineSettings(
            direction=gpiod.line.Direction.OUTPUT,
            active_low=self.active_low,
            output_value=gpiod.line.Value.ACTIVE if value & 1 else gpiod.line.Value.INACTIVE,
        )
        request = _request(gpiod, self.chip, self.pin, settings, f"{OURS}/{self.name}")
        return _GpioPin(request, self.pin, _named(self.chip, self.pin), gpiod)


class _GpioPin:
    """A pin that is ours until it is closed."""

    def __init__(self, request: gpiod.LineRequest, pin: int | str, named: str, module: ModuleType) -> None:
        self._request = request
        self._pin = pin
        self._named = named
        self._levels = (module.line.Value.INACTIVE, module.line.Value.ACTIVE)

    def set(self, value: int) -> None:
        """Set the level."""
        try:
            self._request.set_value(self._pin, self._levels[value & 1])
        except OSError as error:
            raise OutputError(f"{self._named} cannot be set: {error.strerror}. Check the hardware.") from error

    def close(self) -> None:
        """Give the pin back to the kernel; what level it has then is the kernel's affair."""
        self._request.release()


@dataclass(frozen=True, kw_only=True)
class GpioTicks:
    """A pin whose rising edges count, such as one track of an encoder."""

    chip: str
    pin: int | str
    active_low: bool = False

    is_local = True
    size = 2**32  # where the kernel's number of an edge begins anew

    def open(self) -> GpioReader:
        """Take the pin from the kernel."""
        gpiod = _gpiod()
        settings = gpiod.LineSettings(
            direction=gpiod.line.Direction.INPUT,
            edge_detection=gpiod.line.Edge.RISING,
            active_low=self.active_low,
            event_clock=gpiod.line.Clock.MONOTONIC,  # that of the frames
        )
        request = _request(gpiod, self.chip, self.pin, settings, f"{OURS}/encoder", EVENTS)
        return GpioReader(request, _named(self.chip, self.pin))


class GpioReader:
    """Counts edges by the kernel's own number of each: those for which its buffer had no room are in it."""

    def __init__(self, request: gpiod.LineRequest, named: str) -> None:
        self._request = request
        self._named = named

    def read(self) -> tuple[float, int] | None:
        """When the newest edge was and its number; None where none came for a moment."""
        try:
            if not self._request.wait_edge_events(PATIENCE_S):
                return None
            newest = self._request.read_edge_events(EVENTS)[-1]
        except OSError as error:
            raise OutputError(
                f"the edges of {self._named} cannot be read: {error.strerror}. Check the hardware."
            ) from error
        return 1e-9 * newest.timestamp_ns, newest.line_seqno

    def close(self) -> None:
        """Give the pin back."""
        self._request.release()


def look_at_pin(chip: str, pin: int | str) -> str:
    """What is at a pin, without taking it: `pin 12 of /dev/gpiochip0 (PQ.05)`.

    Raises:
        OutputError: the chip or the pin is not there, not allowed, or another program holds it.
    """
    gpiod = _gpiod()
    try:
        with gpiod.Chip(chip) as opened:
            info = opened.get_line_info(_offset(opened, chip, pin))
    except OSError as error:
        raise _refused(chip, pin, error) from error
    if info.used and not info.consumer.startswith(OURS):
        raise _taken(chip, pin, info.consumer)
    by_us = f", in use by {info.consumer}" if info.used else ""
    return f"{_named(chip, info.offset)}{f' ({info.name})' if info.name else ''}{by_us}"


def _request(
    module: ModuleType, chip: str, pin: int | str, settings: object, consumer: str, events: int | None = None
) -> gpiod.LineRequest:
    try:
        with module.Chip(chip) as opened:
            _offset(opened, chip, pin)
            request: gpiod.LineRequest = opened.request_lines({pin: settings}, consumer, events)
            return request
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _taken(chip, pin, _consumer(module, chip, pin)) from error
        raise _refused(chip, pin, error) from error


def _offset(opened: gpiod.Chip, chip: str, pin: int | str) -> int:
    """Where a pin is on its chip."""
    try:
        return opened.line_offset_from_id(pin)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENOENT:
            raise
        lines = opened.get_info().num_lines
        raise OutputError(
            f"{chip} has no pin {pin!r}; it has {lines}, 0 to {lines - 1}. `gpioinfo` lists them with their names: "
            "write one of them into the station file."
        ) from error


def _consumer(module: ModuleType, chip: str, pin: int | str) -> str:
    try:
        with module.Chip(chip) as opened:
            return str(opened.get_line_info(pin).consumer)
    except OSError:
        return "another program"


def _taken(chip: str, pin: int | str, by: str) -> OutputError:
    stop = "Stop the station that runs" if by.startswith(OURS) else "Stop what holds it"
    return OutputError(f"{_named(chip, pin)} is in use by {by or 'the system'}. {stop}, or set another pin.")


def _refused(chip: str, pin: int | str, error: OSError) -> OutputError:
    if error.errno == errno.ENOENT:
        return OutputError(f"no GPIO chip at {chip}. `gpiodetect` lists them: set chip to one of them.")
    if error.errno in (errno.EACCES, errno.EPERM):
        who = getpass.getuser()
        return OutputError(f"{who} may not open {chip}. Run: sudo usermod -aG gpio {who}, and log in again.")
    return OutputError(f"{_named(chip, pin)} cannot be opened: {error.strerror}. Correct its chip and pin.")


def _named(chip: str, pin: int | str) -> str:
    return f"pin {pin} of {chip}"


def _gpiod() -> ModuleType:
    try:
        import gpiod
    except ImportError as missing:
        raise OutputError(
            "the station file names a GPIO pin, and gpiod is not installed. Run: pip install 'edge-resad[gpio]'"
        ) from missing
    return gpiod
