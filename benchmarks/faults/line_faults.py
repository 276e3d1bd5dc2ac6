"""Faults of the PLC: it hangs, or it is away."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.faults.camera_faults import Play
from benchmarks.faults.scene import Outcome, Scene, Stage

LASTS_S = 5.0


def hangs(stage: Stage) -> Outcome:
    """It takes requests and answers none."""
    with Scene(stage, "plc-hangs") as scene:
        return _played(scene, "PLC hangs for 5 s", scene.plc.hang, scene.plc.answer)


def is_away(stage: Stage) -> Outcome:
    """Its connections end and nobody listens."""
    with Scene(stage, "plc-away") as scene:
        return _played(scene, "PLC away for 5 s", scene.plc.stop, scene.plc.start)


def _played(scene: Scene, fault: str, break_it: Callable[[], object], mend_it: Callable[[], object]) -> Outcome:
    scene.until_judged()
    scene.begin()
    break_it()
    scene.last_for(LASTS_S)
    mend_it()
    scene.end()
    recovered_s = scene.until_said("output reject works again")
    return scene.outcome(fault, recovered_s=recovered_s, words=("output",))


LINE_FAULTS: dict[str, Play] = {"plc-hangs": hangs, "plc-away": is_away}
