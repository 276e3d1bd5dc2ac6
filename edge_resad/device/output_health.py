"""The outputs' health: one that cannot be set is said to people and the fleet, and once more when it works again."""

from __future__ import annotations

from edge_resad.device.faults import Faults
from edge_resad.device.outputs import Outputs

EVERY_S = 1.0  # what comes and goes in between is in the outputs' own counts


class OutputHealth:
    """Looks at the outputs now and then and turns what is wrong into faults. Belongs to the line's thread."""

    def __init__(self, outputs: Outputs, faults: Faults) -> None:
        self._outputs = outputs
        self._faults = faults
        self._next = -1.0

    def step(self, now: float) -> None:
        """Let time pass. now: monotonic seconds."""
        if now >= self._next:
            self._next = now + EVERY_S
            self._faults.set(self._outputs.ill)
