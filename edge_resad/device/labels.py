"""What people say of verdicts, one line of JSON each: a false reject here is a good part to learn from."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path

from edge_resad.errors import ControlError

_LONGEST = 1 << 16  # bytes; no line is nearly as long


class Labels:
    """A file that lines are added to and nothing is taken from."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, said: Mapping[str, object]) -> None:
        """Add a line and wait until the disk has it: a person stands before it.

        Raises:
            ControlError: the disk does not take it.
        """
        line = json.dumps(said, separators=(",", ":")).encode() + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                size = _whole_lines(file)
                if os.write(file, line) < len(line):
                    os.ftruncate(file, size)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as refused:
            raise ControlError(
                f"{self._path} does not take the label: {refused.strerror}. Make room, or set [control] labels."
            ) from refused


def _whole_lines(file: int) -> int:
    """Bytes of the file, once the half line of a power cut is gone: nobody was told that it is there."""
    size = os.fstat(file).st_size
    tail = os.pread(file, _LONGEST, max(0, size - _LONGEST))
    half = len(tail) - (tail.rfind(b"\n") + 1)
    if half:
        os.ftruncate(file, size - half)
    return size - half
