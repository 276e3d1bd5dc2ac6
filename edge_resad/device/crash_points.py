"""Crash points: places where a test may end the process as a power cut would."""

from __future__ import annotations

import os
from typing import Literal, get_args

CrashPoint = Literal[
    "before-insert",
    "before-commit",
    "after-commit",
    "after-publish",
    "after-ack",
    "quarantine-begun",
    "quarantine-moved",
    "salvage-written",
    "quarantine-salvaged",
    "reserve-released",
    "before-shed",
    "after-shed",
    "before-settle",
    "after-settle",
]
CommandCrashPoint = Literal["command-heard", "command-begun", "command-carried-out", "command-noted", "command-audited"]
ConfigCrashPoint = Literal["config-applied", "config-remembered"]
CRASH_POINTS: tuple[CrashPoint, ...] = get_args(CrashPoint)
COMMAND_CRASH_POINTS: tuple[CommandCrashPoint, ...] = get_args(CommandCrashPoint)
CONFIG_CRASH_POINTS: tuple[ConfigCrashPoint, ...] = get_args(ConfigCrashPoint)
CRASH_CODE = 70  # the exit code of a process that ended at one

_NAME, _, _TIMES = os.environ.get("EDGE_RESAD_CRASH_AT", "").partition(":")
_left = int(_TIMES or 1)


def reach(point: CrashPoint | CommandCrashPoint | ConfigCrashPoint) -> None:
    """End the process here where EDGE_RESAD_CRASH_AT names this point; `before-commit:3` means the third time."""
    global _left
    if point != _NAME:
        return
    _left -= 1
    if _left <= 0:
        os._exit(CRASH_CODE)  # no handler, no flush, no goodbye
