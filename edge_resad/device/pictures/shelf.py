"""What lies in a folder of pictures, oldest first: the folder is the index, and only the oldest are held in memory."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable

WINDOW = 256  # of the oldest are held: a station keeps hundreds of thousands


class Shelf:
    """Names in their order, each with what it takes of the disk. When the held ones are gone, the folder is asked."""

    def __init__(self, names: Callable[[], Iterable[str]], measure: Callable[[str], int]) -> None:
        """names: of all that is in the folder, in any order. measure: the bytes that one of them takes."""
        self.count = 0
        self.size = 0  # bytes on the disk
        self._names = names
        self._measure = measure
        self._oldest: deque[tuple[str, int]] = deque()

    def put(self, name: str, size: int) -> None:
        """Something newer than all that is here."""
        if len(self._oldest) == self.count < WINDOW:  # all are held
            self._oldest.append((name, size))
        self.count += 1
        self.size += size

    @property
    def oldest(self) -> str | None:
        """None where nothing is left."""
        if not self._oldest and self.count:
            self._look()
        return self._oldest[0][0] if self._oldest else None

    def take(self) -> int:
        """The oldest is gone; the bytes that it took."""
        _, size = self._oldest.popleft()
        self.count -= 1
        self.size -= size
        return size

    def _look(self) -> None:
        found = heapq.nsmallest(WINDOW, self._names())
        self._oldest.extend((name, self._measure(name)) for name in found)
        if len(found) < WINDOW:  # that is all, whatever somebody has taken out of the folder
            self.count, self.size = len(found), sum(size for _, size in self._oldest)
