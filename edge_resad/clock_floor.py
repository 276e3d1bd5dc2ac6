"""The clock's floor: a computer without a clock battery begins in 1970, which is certainly wrong."""

from __future__ import annotations

from datetime import datetime, timezone

FLOOR_S = datetime(2026, 11, 1, tzinfo=timezone.utc).timestamp()
"""When this version was made, seconds since 1970; nobody runs it earlier. Moved with every release."""


def is_set(now: float) -> bool:
    """Whether a clock that says this can be right. now: seconds since 1970."""
    return now >= FLOOR_S
