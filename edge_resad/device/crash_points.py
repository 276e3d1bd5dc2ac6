"""Crash points: places where a test may end the process as a power cut would."""

from __future__ import annotations

import os
from typing import Literal, get_args

CrashPoint = Literal[
    "before-made",
    "after-made",
    "before-migration",
    "after-migration",
    "before-machine-noted",
    "after-machine-noted",
    "before-insert",
    "before-commit",
    "after-commit",
    "after-publish",
    "after-ack",
    "quarantine-marked",
    "quarantine-begun",
    "quarantine-moved",
    "salvage-begun",
    "salvage-written",
    "salvage-told",
    "quarantine-salvaged",
    "quarantine-ended",
    "stranger-told",
    "reserve-released",
    "before-shed",
    "after-shed",
    "before-settle",
    "after-settle",
    "before-pages-go",
    "after-pages-go",
]
CommandCrashPoint = Literal[
    "command-heard",
    "command-beginning",
    "command-begun",
    "command-carried-out",
    "command-noting",
    "command-noted",
    "audit-put",
    "audit-written",
    "audit-settling",
    "command-audited",
]
ConfigCrashPoint = Literal["config-applied", "config-remembering", "config-remembered"]
LedgerCrashPoint = Literal["ledger-making", "ledger-made", "horizon-noting", "horizon-noted", "audit-rotated"]
CRASH_POINTS: tuple[CrashPoint, ...] = get_args(CrashPoint)
COMMAND_CRASH_POINTS: tuple[CommandCrashPoint, ...] = get_args(CommandCrashPoint)
CONFIG_CRASH_POINTS: tuple[ConfigCrashPoint, ...] = get_args(ConfigCrashPoint)
LEDGER_CRASH_POINTS: tuple[LedgerCrashPoint, ...] = get_args(LedgerCrashPoint)
CRASH_CODE = 70  # the exit code of a process that ended at one

_NAME, _, _TIMES = os.environ.get("EDGE_RESAD_CRASH_AT", "").partition(":")
_left = int(_TIMES or 1)


def reach(point: CrashPoint | CommandCrashPoint | ConfigCrashPoint | LedgerCrashPoint) -> None:
    """End the process here where EDGE_RESAD_CRASH_AT names this point; `before-commit:3` means the third time."""
    global _left
    if point != _NAME:
        return
    _left -= 1
    if _left <= 0:
        os._exit(CRASH_CODE)  # no handler, no flush, no goodbye
