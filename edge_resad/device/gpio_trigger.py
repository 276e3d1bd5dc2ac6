"""A trigger on a pin: an edge, seen by the kernel at its time, says that a part is there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

from edge_resad.device.frame import FIRST_PAUSE_S, LONGEST_PAUSE_S
from edge_resad.errors import TriggerError

log = logging.getLogger(__name__)

POLL_S = 0.2  # how often a pin without edges is asked whether it should stop
LEAVE_S = 1.0  # how long the thread may take to notice
KERNEL_EVENTS = 1024  # edges that the kernel keeps while nobody reads

Edge = Literal["rising", "falling"]
Pull = Literal["as-is", "up", "down", "off"]
Fire = Callable[[str, float], object]
"""Such as `Trigger.fire`: who says that a part is there, and when, in seconds of the monotonic clock."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A line of a GPIO chip and what an edge on it is."""

    chip: str  # such as /dev/gpiochip0
    line: int | str  # its number, or its name
    edge: Edge = "rising"
    pull: Pull = "as-is"
    debounce_us: int = 0

    def __str__(self) -> str:
        return f"line {self.line} of {self.chip}"


class EdgeEvent(Protocol):
    """What we use of `gpiod.EdgeEvent`."""

    @property
    def timestamp_ns(self) -> int:
        """Of the monotonic clock."""

    @property
    def line_seqno(self) -> int:
        """1, 2, 3 ... on this line, those that the kernel had to drop included."""


class Edges(Protocol):
    """What we use of `gpiod.LineRequest`."""

    def wait_edge_events(self, timeout: float) -> bool:
        """Wait for edges; whether some came, False on timeout."""

    def read_edge_events(self) -> Sequence[EdgeEvent]:
        """Those that came."""

    def release(self) -> None:
        """Give the pin back."""


class GpioTrigger:
    """Fires for every edge of a pin, in a thread of its own, while its context lasts.

    A pin that is not there when the station starts is a mistake of the station file. One that fails later is said once
    and asked for again until it is back.
    """

    def __init__(self, pin: Pin, fire: Fire, *, open_pin: Callable[[Pin], Edges] | None = None) -> None:
        self.problem: str | None = None  # why no edges are seen
        self._pin = pin
        self._fire = fire
        self._open_pin = open_pin or open_pin_of_gpiod
        self._stop = threading.Event()
        self._edges: Edges | None = None
        self._seen: int | None = None  # number of the last edge
        self._thread = threading.Thread(target=self._work, name="gpio trigger", daemon=True)

    def __enter__(self) -> GpioTrigger:
        self._edges = self._open_pin(self._pin)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._stop.set()
        self._thread.join(LEAVE_S)

    def _work(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                if self._edges is None:
                    self._edges = self._open_pin(self._pin)
                if self.problem is not None:
                    log.info("%s is back", self._pin)
                    self.problem = None
                    pause_s = FIRST_PAUSE_S
                if self._edges.wait_edge_events(POLL_S):
                    self._tell(self._edges.read_edge_events())
            except Exception as gone:  # whatever it is: without this thread parts would go by and nobody would know
                if self.problem is None:
                    log.error("%s gives no edges any more: %s. No part is triggered until it is back", self._pin, gone)
                self.problem = str(gone)
                self._close()
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._close()

    def _tell(self, events: Sequence[EdgeEvent]) -> None:
        for event in events:
            at = event.timestamp_ns * 1e-9
            dropped = event.line_seqno - self._seen - 1 if self._seen is not None else 0
            if dropped > 0:
                log.warning("%s: %d edges came faster than they could be read", self._pin, dropped)
            self._seen = event.line_seqno
            for _ in range(max(0, dropped) + 1):  # an edge that was dropped is a part all the same
                self._fire("gpio", at)

    def _close(self) -> None:
        if self._edges is not None:
            try:
                self._edges.release()
            except OSError:
                log.debug("%s could not be given back", self._pin, exc_info=True)
        self._edges, self._seen = None, None


def open_pin_of_gpiod(pin: Pin) -> Edges:
    """Ask the kernel for the edges of a pin.

    Raises:
        TriggerError: gpiod is missing, or the pin cannot be had.
    """
    try:
        import gpiod
        from gpiod.line import Bias, Clock, Direction
        from gpiod.line import Edge as GpiodEdge
    except ImportError:
        raise TriggerError(
            "a trigger of kind \"gpio\" needs the package gpiod. Run: pip install 'edge-resad[gpio]'"
        ) from None
    pulls = {"as-is": Bias.AS_IS, "up": Bias.PULL_UP, "down": Bias.PULL_DOWN, "off": Bias.DISABLED}
    wanted = gpiod.LineSettings(
        direction=Direction.INPUT,
        edge_detection=GpiodEdge.RISING if pin.edge == "rising" else GpiodEdge.FALLING,
        bias=pulls[pin.pull],
        debounce_period=timedelta(microseconds=pin.debounce_us),
        event_clock=Clock.MONOTONIC,
    )
    try:
        return gpiod.request_lines(
            pin.chip, config={pin.line: wanted}, consumer="edge-resad trigger", event_buffer_size=KERNEL_EVENTS
        )
    except FileNotFoundError:
        seen = ", ".join(str(chip) for chip in sorted(Path("/dev").glob("gpiochip*"))) or "none"
        raise TriggerError(f"no GPIO chip at {pin.chip}. Seen now: {seen}. Set [camera.trigger] chip") from None
    except PermissionError:
        raise TriggerError(
            f"this user may not open {pin.chip}. Expected a member of the group gpio. Run: sudo usermod -aG gpio "
            "$USER, and log in again"
        ) from None
    except (OSError, ValueError) as refused:
        raise TriggerError(
            f"{pin} cannot be had for a trigger: {refused}. Expected a free input; gpioinfo of the package gpiod shows "
            "the lines and who holds them. Set [camera.trigger] chip and line"
        ) from refused
