"""Faults of the disk: full, under everything that a station writes."""

from __future__ import annotations

import errno
import subprocess
from dataclasses import replace
from pathlib import Path

from benchmarks.faults.camera_faults import Play
from benchmarks.faults.scene import Outcome, Scene, Stage

SIZE = "8m"
FULL_S = 5.0


def is_full(stage: Stage) -> Outcome:
    """Nothing more goes onto the disk of spool, pictures and log; then there is room again."""
    fault = f"disk full for {FULL_S:.0f} s under spool, pictures and log"
    disk = stage.folder / "disk-full"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        return Outcome(fault=fault, skipped="no mount on PATH")
    if mounted.returncode:
        return Outcome(fault=fault, skipped="a small disk can be mounted by root alone")
    try:
        with Scene(stage, disk.name) as scene:
            scene.until_judged()
            ballast = disk / "ballast"
            fill(ballast)
            scene.begin()
            scene.last_for(FULL_S)
            ballast.unlink()
            scene.end()
            recovered_s = scene.until_said("can be written again")
            found = scene.outcome(fault, recovered_s=recovered_s, words=("spool",))
            if not found.given_up:
                return found
            says = f"{found.given_up} messages about good parts made room, which a gap tells"
            return replace(found, happened=f"{found.happened.partition(';')[0]}; {says}")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill(path: Path) -> None:
    """Write until the disk takes no more."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError as full:
                if full.errno != errno.ENOSPC:
                    raise


DISK_FAULTS: dict[str, Play] = {"disk-full": is_full}
