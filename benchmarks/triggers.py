"""From the trigger to the verdict: triggers at random moments, a camera that runs by itself, the shipped detector.

`python -m benchmarks.triggers --seconds 20` on an idle machine. Every part is a verdict or not inspected: the last
line counts them, and where that does not add up the exit code is 1.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Annotated

import typer

from edge_resad.bundle import open_bundle
from edge_resad.demo.products import draw
from edge_resad.device.frame import Clock, Frame, Pace
from edge_resad.device.handover import Capture
from edge_resad.device.part_queue import PartQueue
from edge_resad.device.pipeline import Alarm, Line, Tally
from edge_resad.device.stages import Stages
from edge_resad.device.trigger import Trigger
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.inspector import Inspector

FAMILY = "flange"
PICTURES = 8


class FreeCamera:
    """A camera that runs by itself and whose captures last so long, with pictures drawn beforehand."""

    live = True
    unreadable = 0

    def __init__(self, fps: float, halt: threading.Event) -> None:
        self._images = [draw(FAMILY, 100 + number).image for number in range(PICTURES)]
        self._clock = Clock()
        self._pace = Pace(fps, halt, self._clock)
        self._taken = 0

    def __enter__(self) -> FreeCamera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def read(self) -> Frame | None:
        if not self._pace.wait():
            return None
        frame = Frame(
            image=self._images[self._taken % PICTURES],
            frame_id=self._taken,
            captured_mono=self._clock.monotonic(),
            captured_wall=self._clock.wall(),
        )
        self._taken += 1
        return frame


def main(
    seconds: Annotated[float, typer.Option(min=1, help="How long to run, for each of the two ways.")] = 20.0,
    rate: Annotated[float, typer.Option(min=0.1, help="Triggers a second, at random moments.")] = 8.0,
    fps: Annotated[float, typer.Option(min=1, help="Frames a second of the camera.")] = 30.0,
    capture_ms: Annotated[float, typer.Option(min=0, help="[camera.trigger] capture_ms, where it is set.")] = 8.0,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "int8",
) -> None:
    """Fire, judge and count: with capture_ms and without."""
    if precision not in ("fp32", "fp16", "int8"):
        raise typer.BadParameter("precision is fp32, fp16 or int8")
    bundle = open_bundle()
    shots = [draw(FAMILY, number).image for number in range(4)]
    made = enrol(bundle, shots, product=FAMILY, precision=precision, augment="off")  # type: ignore[arg-type]
    print(
        f"{os.cpu_count()} CPU cores, load {os.getloadavg()[0]:.1f}; camera {fps:g} frames/s, {rate:g} triggers/s, "
        f"{precision}"
    )
    print(f"{'':24}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}  ms")
    adds_up = True
    with Inspector(bundle, made.bank) as inspector:
        for says, capture_s in ((f"capture_ms = {capture_ms:g}", capture_ms / 1e3), ("capture_ms not set", None)):
            adds_up &= _measure(says, inspector, seconds=seconds, rate=rate, fps=fps, capture_s=capture_s)
    raise typer.Exit(0 if adds_up else 1)


def _measure(
    says: str, inspector: Inspector, *, seconds: float, rate: float, fps: float, capture_s: float | None
) -> bool:
    trigger, halt, stages, tally = Trigger(capture_s=capture_s), threading.Event(), Stages(), Tally()
    queue = PartQueue(trigger)
    line = Line(inspector, Alarm(1, 1), max_age_s=1.0)
    stopped = threading.Event()

    def fire() -> None:
        dice = random.Random(1)
        while not stopped.wait(dice.expovariate(rate)):
            trigger.fire("benchmark")

    firing = threading.Thread(target=fire, daemon=True)
    with Capture(FreeCamera(fps, halt), halt, slot=queue):
        firing.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            part = queue.get(0.1)
            if part is None:
                continue
            inspection = line.step(part)
            tally.count(inspection)
            if inspection.verdict is not None:
                stages.count(inspection.latency, inspector.timings, signal_ms=0.0, outputs_ms=0.0)
        stopped.set()
        firing.join()
    unseen = Counter(queue.unseen())
    for stage in ("trigger", "waiting", "engine"):
        times = stages.times()[stage]
        name = {"trigger": "trigger to verdict", "waiting": "  picture waits", "engine": "  engine"}[stage]
        print(f"{name:24}{times.p50:8.1f}{times.p95:8.1f}{times.p99:8.1f}{times.max:8.1f}  {says}")
    verdicts, without = tally.passed + tally.failed, tally.not_inspected + unseen
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(without.items()) if count) or "none"
    parts, fired = tally.parts + unseen.total(), trigger.fired.total()
    print(f"{fired} triggers = {verdicts} verdicts + {without.total()} not inspected ({reasons})")
    return parts == fired


if __name__ == "__main__":
    typer.run(main)
