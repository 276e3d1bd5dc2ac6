"""What an output is for, and how it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_resad.device.settings import Cause

Signal = Literal["fail", "not_inspected", "pass"]
"""What may become of a part."""


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What one output is for."""

    name: str
    on: frozenset[Cause]
    cameras: frozenset[str] = frozenset()  # whose parts; none: all
    pulse_s: float = 0.1  # of a heartbeat: how long it stays at one level
    delay_s: float = 0.0  # from the picture; 0: at once
    delay_counts: int | None = None  # instead, of the encoder
    safe_active: bool = True  # the level while nobody judges

    def listens(self, camera: str) -> bool:
        """Whether a camera's parts are of interest."""
        return not self.cameras or camera in self.cameras

    def shares(self, other: Wiring) -> bool:
        """Whether parts of a camera concern both."""
        return not self.cameras or not other.cameras or not self.cameras.isdisjoint(other.cameras)


@dataclass(frozen=True, kw_only=True)
class OutputStatus:
    """How an output does."""

    name: str
    fired: int  # signals that were shown
    late: int  # of them, those whose moment was over
    failed: int  # signals that were not shown
    waiting: int  # moments at which signals are still due
    problem: str | None  # one sentence for the operator

    def __str__(self) -> str:
        late = f" ({self.late} of them late)" if self.late else ""
        return f"output {self.name}: {self.fired} signals{late}" + (f", {self.failed} failed" if self.failed else "")
