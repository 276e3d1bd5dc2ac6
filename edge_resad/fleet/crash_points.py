"""Crash points: places where a test may end the collector as a power cut would, named by an environment variable."""

from __future__ import annotations

import os
from typing import Literal, get_args

CrashPoint = Literal[
    "in-migration",
    "between-migrations",
    "after-migration",
    "before-insert",
    "after-insert",
    "after-commit",
    "after-acknowledgement",
    "reread-stored",
    "in-rereading",
    "after-rereading",
    "in-backdating",
    "after-backdating",
    "in-settling",
    "after-settling",
    "in-clock-look",
    "after-clock-look",
    "in-dating-of-receipts",
    "after-dating-of-receipts",
    "in-retention",
    "after-retention",
    "in-retention-of-rejected",
    "after-retention-of-rejected",
]
"""`in-`: in a transaction, before its commit; `after-`: when it is committed."""
CRASH_POINTS: tuple[CrashPoint, ...] = get_args(CrashPoint)
EXIT_CODE = 86  # of a collector that ended itself here
_VARIABLE = "EDGE_RESAD_CRASH_AT"
_passed: dict[str, int] = {}  # name -> how often the collector came by


def crash_point(name: CrashPoint) -> None:
    """End the process at once where EDGE_RESAD_CRASH_AT is this name, or `NAME:N` and it is the N-th time."""
    wanted = os.environ.get(_VARIABLE)
    if wanted is None:
        return
    wanted_name, _, times = wanted.partition(":")
    if wanted_name == name:
        _passed[name] = _passed.get(name, 0) + 1
        if _passed[name] >= int(times or 1):
            os._exit(EXIT_CODE)
