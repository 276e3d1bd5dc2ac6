"""What a station frees goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PIECES = 40  # of a megabyte each

_FREES_PICTURES_BETWEEN_WHAT_STAYS = f"""
import ctypes, os, sys
from edge_resad.device.heap import give_large_pieces_back
if sys.argv[1] == "given back":
    assert give_large_pieces_back()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def held():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def piece(size):
    at = libc.malloc(size)
    ctypes.memset(at, 1, size)
    return at

libc.free(piece(16 << 20))  # once freed, glibc takes pieces of this size for small
before, pictures = held(), []
for _ in range({PIECES}):
    pictures.append(piece(1 << 20))
    piece(1000)  # stays
most = held()
for picture in pictures:
    libc.free(picture)
print(most - before, held() - before)
"""


def _held_mib(how: str) -> tuple[float, float]:
    """At most, and after everything large was freed."""
    command = [sys.executable, "-c", _FREES_PICTURES_BETWEEN_WHAT_STAYS, how]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    most, after = done.stdout.split()
    return float(most), float(after)


@pytest.mark.skipif(sys.platform != "linux" or not sys.maxsize > 2**32, reason="of glibc on Linux")
def test_pictures_that_are_freed_go_back_to_the_system_and_would_not_otherwise() -> None:
    most, after = _held_mib("given back")
    assert most > 0.9 * PIECES
    assert after < 0.1 * PIECES
    most, after = _held_mib("kept")
    assert after > 0.9 * PIECES
