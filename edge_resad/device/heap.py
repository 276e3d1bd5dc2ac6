"""The C library's heap of a program that runs for months: what is large goes back to the system when it is freed."""

from __future__ import annotations

import ctypes

LARGE = 128 << 10
"""Bytes of a piece that is large: where glibc itself begins, before it learns."""

_M_MMAP_THRESHOLD = -3  # of malloc.h


def give_large_pieces_back() -> bool:
    """Have the C library ask the system for each large piece by itself, and give it back at once; False if it cannot.

    Otherwise glibc takes the largest piece that was ever freed, of up to 32 MiB, for small: pictures then lie between
    what stays for ever, in a heap of each thread, and the gaps that they leave are kept.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, LARGE))
