"""Which machine this is, as far as its board and its system say: an outbox that was copied to another is found out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_BOARD = ("proc/device-tree/serial-number", "sys/firmware/devicetree/base/serial-number")  # a Jetson has one
_SYSTEM = "etc/machine-id"


def machine_ids(root: Path = Path("/")) -> dict[str, str]:
    """What is known of `board`, its serial number, and `system`, its machine-id; neither word for word.

    A container has no board and often no machine-id, or that of its image.
    """
    found: dict[str, str] = {}
    for place in _BOARD:
        with suppress(OSError):
            serial = (root / place).read_bytes().rstrip(b"\0").strip()
            if serial.strip(b"0"):  # some boards were given none
                found.setdefault("board", _hidden(serial))
    with suppress(OSError):
        path = root / _SYSTEM
        system = path.read_bytes().strip()
        lasts = not os.path.ismount(path)  # over a system that cannot be written each boot has its own
        if lasts and len(system) == 32:  # not "uninitialized"
            found["system"] = _hidden(system)
    return found


def are_of_others(known: Mapping[str, str], here: Mapping[str, str]) -> bool:
    """Whether these are ids of two machines. The board's decides where both have one; unknown is no difference."""
    for name in ("board", "system"):
        if name in known and name in here:
            return known[name] != here[name]
    return False


def _hidden(said: bytes) -> str:
    return hashlib.sha256(b"edge-resad " + said).hexdigest()[:16]
