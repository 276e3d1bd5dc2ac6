"""What a station did between its start and its stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_resad.device.outputs import OutputStatus
from edge_resad.device.pipeline import Reason, Tally
from edge_resad.device.stages import StageTimes, said


@dataclass(frozen=True, kw_only=True)
class StationSummary:
    """What a station did between its start and its stop."""

    passed: int
    failed: int
    not_inspected: Mapping[Reason, int]
    alerts: int
    latency_p50_ms: float | None  # from the picture to the verdict; None where there was no verdict
    latency_p99_ms: float | None
    waiting: int  # messages in the spool's file that the broker does not have yet
    lost: int = 0  # messages that are nowhere: the disk of the spool did not take them
    log_lines_lost: int
    pictures_not_kept: int = 0
    stages: Mapping[str, StageTimes] = field(default_factory=dict)
    cameras: Mapping[str, Tally] = field(default_factory=dict)
    outputs: Sequence[OutputStatus] = ()

    @property
    def parts(self) -> int:
        """Every part that passed the camera."""
        return self.passed + self.failed + sum(self.not_inspected.values())

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in self.not_inspected.items())
        says = [f"{counted(self.parts, 'part')}: {self.passed} passed, {self.failed} failed"]
        says += [f"{sum(self.not_inspected.values())} not inspected ({reasons})"] if reasons else []
        says += [counted(self.alerts, "alert")]
        says += [f"{name}: {tally}" for name, tally in self.cameras.items() if len(self.cameras) > 1]
        if self.latency_p50_ms is not None and self.latency_p99_ms is not None:
            says += [f"from picture to verdict {self.latency_p50_ms:.1f} ms (p99 {self.latency_p99_ms:.1f} ms)"]
        if self.stages:
            says += [f"ms of each stage (p50, p95, p99, max): {said(self.stages)}"]
        says += [str(output) for output in self.outputs]
        if self.waiting:
            says += [f"{counted(self.waiting, 'message')} {'waits' if self.waiting == 1 else 'wait'} in the spool"]
        says += [f"{counted(self.lost, 'message')} lost"] if self.lost else []
        says += [f"{counted(self.log_lines_lost, 'line')} of the verdict log lost"] if self.log_lines_lost else []
        says += [f"{counted(self.pictures_not_kept, 'picture')} not kept"] if self.pictures_not_kept else []
        return "; ".join(says)


def counted(count: int, noun: str) -> str:
    """`1 part`, `2 parts`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
