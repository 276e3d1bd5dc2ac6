"""Faults of the whole process: it is killed, ends in the middle of a commit, or its clock jumps."""

from __future__ import annotations

import random
import time
from functools import partial

from benchmarks.faults.camera_faults import Play
from benchmarks.faults.child import ChildScene
from benchmarks.faults.scene import Outcome, Stage
from edge_resad.device.crash_points import CRASH_CODE, CrashPoint
from tests.wall_clock import LIBFAKETIME, WallClock

KILLS = 10
CRASHES: tuple[CrashPoint, ...] = ("before-insert", "before-commit", "after-commit")
DAY_S = 86400.0
JUMP_LASTS_S = 4.0


def killed(stage: Stage, kills: int = KILLS) -> Outcome:
    """SIGKILL at random moments, and a start after each as systemd makes it."""
    noticed: list[float] = []
    recovered: list[float] = []
    with ChildScene(stage, "killed") as scene:
        for _ in range(kills):
            scene.until_judged()
            wait_s = random.uniform(0.0, 1.0)
            time.sleep(wait_s)
            scene.look()
            at = time.monotonic()
            scene.kill()
            _start_again(scene, at, noticed, recovered)
        found, lost = scene.finish()
    return Outcome(
        fault=f"SIGKILL at random moments, {kills} times",
        happened="the heartbeat stands still; the longest of all times",
        noticed_s=max(noticed),
        recovered_s=max(recovered),
        account=found,
        messages_lost=lost,
    )


def ends_in_a_commit(stage: Stage) -> Outcome:
    """As a power cut would end it, before, in and after a commit of the spool."""
    noticed: list[float] = []
    recovered: list[float] = []
    with ChildScene(stage, "crashed") as scene:
        scene.until_judged()
        for point in CRASHES:
            scene.kill()
            scene.start({"EDGE_RESAD_CRASH_AT": f"{point}:12"})
            code = scene.wait()
            if code != CRASH_CODE:
                raise RuntimeError(f"the station ended with {code} at {point}, expected {CRASH_CODE}")
            _start_again(scene, time.monotonic(), noticed, recovered)
            scene.until_judged()
        found, lost = scene.finish()
    return Outcome(
        fault=f"process ends {', '.join(CRASHES)}",
        happened="the heartbeat stands still; the longest of all times",
        noticed_s=max(noticed),
        recovered_s=max(recovered),
        account=found,
        messages_lost=lost,
    )


def _start_again(scene: ChildScene, at: float, noticed: list[float], recovered: list[float]) -> None:
    """Note how long after its end, at a monotonic time, a process was missed and its successor's verdict came."""
    known = len(scene.fates())
    scene.start()
    scene.until(lambda: len(scene.fates()) > known)
    recovered.append(time.monotonic() - at)
    missed = scene.missing_after(at)
    noticed.append(missed - at if missed is not None else recovered[-1])


def clock_jumps(sign: int, stage: Stage) -> Outcome:
    """A day forwards or backwards."""
    fault = f"clock jumps by {'+' if sign > 0 else '-'}1 day"
    if LIBFAKETIME is None:
        return Outcome(fault=fault, skipped="no libfaketime: apt-get install faketime")
    clock = WallClock(stage.folder / f"clock{sign}.time")
    with ChildScene(stage, f"clock{sign}", environment=clock.environment) as scene:
        scene.until_judged(20)
        at = time.monotonic()
        clock.set("+1d" if sign > 0 else "-1d")
        scene.until(lambda: sign * (scene.wall - time.time()) > DAY_S / 2)
        recovered_s = time.monotonic() - at
        time.sleep(JUMP_LASTS_S)
        warned = scene.warned(at)
        found, lost = scene.finish()
    return Outcome(
        fault=fault,
        happened=warned.text if warned is not None else "nothing: order and ages are of the monotonic clock",
        noticed_s=warned.mono - at if warned is not None else None,
        recovered_s=recovered_s,
        account=found,
        messages_lost=lost,
    )


PROCESS_FAULTS: dict[str, Play] = {
    "killed": killed,
    "commit": ends_in_a_commit,
    "clock-forwards": partial(clock_jumps, 1),
    "clock-backwards": partial(clock_jumps, -1),
}
