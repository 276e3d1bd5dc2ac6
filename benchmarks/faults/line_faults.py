"""Faults of the PLC: it hangs, or it is away."""

from __future__ import annotations

from benchmarks.faults.camera_faults import Play
from benchmarks.faults.scene import Outcome, Scene, Stage

LASTS_S = 5.0


def hangs(stage: Stage) -> Outcome:
    """It takes requests and answers none."""
    with Scene(stage, "plc-hangs") as scene:
        scene.until_judged()
        scene.begin()
        scene.plc.hang()
        scene.last_for(LASTS_S)
        scene.plc.answer()
        scene.end()
        recovered_s = scene.until_said("output reject works again")
        return scene.outcome("PLC hangs for 5 s", recovered_s=recovered_s, words=("output",))


def is_away(stage: Stage) -> Outcome:
    """Its connections end and nobody listens."""
    with Scene(stage, "plc-away") as scene:
        scene.until_judged()
        scene.begin()
        scene.plc.stop()
        scene.last_for(LASTS_S)
        scene.plc.start()
        scene.end()
        recovered_s = scene.until_said("output reject works again")
        return scene.outcome("PLC away for 5 s", recovered_s=recovered_s, words=("output",))


LINE_FAULTS: dict[str, Play] = {"plc-hangs": hangs, "plc-away": is_away}
