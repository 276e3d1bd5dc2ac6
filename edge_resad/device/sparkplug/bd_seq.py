"""The number of a connection: the broker's word that a node is gone says which of its births it ends."""

from __future__ import annotations

import logging
from pathlib import Path

from edge_resad.device.sparkplug.edge_node import NUMBERS
from edge_resad.whole_file import write_whole

log = logging.getLogger(__name__)


class BdSeq:
    """Counts connections from 0 to 255 and around, over restarts: a late death must not end the run after its own."""

    def __init__(self, path: Path) -> None:
        """path: a small file that holds the last number."""
        self._path = path
        self._last: int | None = None
        self._is_used = True
        self._said = False

    def used(self) -> None:
        """Somebody may have heard the number: the next connection has another."""
        self._is_used = True

    def next(self) -> int:
        """The number of a new connection, the same until it is used; the file has it before the broker.

        A disk that fails costs the memory of it, nothing else.
        """
        if self._last is not None and not self._is_used:
            return self._last
        last = self._read() if self._last is None else self._last
        self._last = 0 if last is None else (last + 1) % NUMBERS
        self._is_used = False
        try:
            write_whole(self._path, f"{self._last}\n".encode(), durable=False)
        except OSError as error:
            if not self._said:
                log.warning("%s cannot be written (%s); the next start counts from 0", self._path, error.strerror)
            self._said = True
        return self._last

    def _read(self) -> int | None:
        try:
            return int(self._path.read_text(encoding="ascii")) % NUMBERS
        except (OSError, ValueError):  # the first start, or a file that somebody else wrote
            return None
