"""A moment as a person reads it: the clock on the wall, and how long ago that is."""

from __future__ import annotations

from datetime import datetime


def ago(seconds: float) -> str:
    """How long that is, in one unit: `3 s`, `5 min`, `2 h`, `4 d`."""
    whole = max(0, int(seconds))
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= 2 * size:
            return f"{whole // size} {name}"
    return f"{whole} s"


def local(wall: float) -> str:
    """The date and time of this machine's zone. wall: seconds since 1970."""
    return datetime.fromtimestamp(wall).strftime("%Y-%m-%d %H:%M:%S")
