"""What the kernel says of the wall clock: whether it is synchronised, and how far it may be off."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_libc = ctypes.CDLL(None)


class ClockState(NamedTuple):
    """None where the kernel does not say, or where its bound means nothing."""

    synced: bool | None
    error_s: float | None


def clock_state() -> ClockState:
    """Ask the kernel, which changes nothing. The error's bound grows until its time daemon corrects the clock."""
    adjtimex = getattr(_libc, "adjtimex", None)
    if adjtimex is None:
        return ClockState(None, None)
    timex = _Timex()
    said = int(adjtimex(ctypes.byref(timex)))
    if said < 0:
        return ClockState(None, None)
    if said == _TIME_ERROR:
        return ClockState(False, None)  # its bound is a constant then
    return ClockState(True, max(0, timex.maxerror) / 1e6)


class _Timex(ctypes.Structure):
    """`struct timex`: its beginning, and more room than the rest of it takes. `modes` of 0 asks."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),  # microseconds
        ("rest", ctypes.c_byte * 480),
    )
