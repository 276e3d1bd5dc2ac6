"""One pulse by hand, for the one who checks a wire."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from edge_resad.device.outputs.terminal import Terminal

BEFORE_S = 1.0  # idle, so that the pulse is seen on a meter
_LEVELS = ("idle", "active")


def fire(
    terminal: Terminal, *, pulse_s: float, after: int, sleep: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """Idle for a second, active for the pulse, idle for a second, then the level while nobody judges; each as it is.

    Raises:
        OutputError: the terminal is missing, taken or silent.
    """
    pin = terminal.open(0)
    try:
        yield "idle"
        sleep(BEFORE_S)
        pin.set(1)
        yield f"active for {1e3 * pulse_s:g} ms"
        sleep(pulse_s)
        pin.set(0)
        yield "idle"
        sleep(BEFORE_S)
        if after:
            pin.set(after)
        yield f"left {_LEVELS[after]}, as while nobody judges"
    finally:
        pin.close()
