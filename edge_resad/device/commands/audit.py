"""The audit: one line of JSON for each command that came, in files of bounded size that are only ever added to."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from edge_resad.device.crash_points import reach


class Audit:
    """Appends lines and has each on the disk when it returns. Belongs to one thread; OSErrors come through."""

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        """keep: older files that stay beside it, `NAME.1` the newest of them."""
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep

    def append(self, record: Mapping[str, object]) -> None:
        """Add one line, all of it or nothing of it."""
        line = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._size() + len(line) > self._max_bytes and self._size():
            self._rotate()
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            before = os.fstat(handle).st_size
            if before and os.pread(handle, 1, before - 1) != b"\n":
                line = b"\n" + line  # a power cut left half a line; it must not swallow this one
            try:
                while line:
                    line = line[os.write(handle, line) :]
                os.fsync(handle)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, before)
                raise
        finally:
            os.close(handle)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _rotate(self) -> None:
        # Where the power was cut in the middle of this there is a hole: what is older than that stays where it is.
        free = (number for number in range(1, self._keep) if not self._numbered(number).exists())
        for number in range(next(free, self._keep), 0, -1):
            younger = self._path if number == 1 else self._numbered(number - 1)
            with contextlib.suppress(FileNotFoundError):
                younger.replace(self._numbered(number))
                reach("audit-rotated")

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
