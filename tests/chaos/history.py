"""The truth about a station: every letter that was committed, written down outside of its spool."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_resad.device.spool import Letter, Spool
from edge_resad.device.spoolfile import STRIDE, Changes


@dataclass(frozen=True)
class Committed:
    """A letter that was on the disk."""

    stream_id: str
    seq: int
    kind: str
    digest: str  # of its bytes
    year: str = "-"  # in which it was written, as it says itself; a picture does not


class WitnessedSpool(Spool):
    """A spool whose commits are written down by a witness. For a process of one station."""

    history: Path  # set before it is used
    only: WitnessedSpool | None = None

    def __enter__(self) -> WitnessedSpool:
        super().__enter__()
        WitnessedSpool.only = self
        return self

    def _end(self, changes: Changes, done: Sequence[tuple[int, int]]) -> None:
        _append(self.history, [self._line(letter) for letter in changes.new])
        super()._end(changes, done)

    def _line(self, letter: Letter) -> str:
        rows = {self._stream_id: 0, **self._earlier}  # below zero are letters of a file that was set aside meanwhile
        stream_id, row = next((name, row) for name, row in rows.items() if row < letter.seq <= row + STRIDE)
        year = letter.body.partition(b'"time":"')[2][:4].decode() or "-"
        return f"\n{stream_id} {letter.seq - row} {letter.kind} {digest(letter.body)} {year} ."


def _append(path: Path, lines: Iterable[str]) -> None:
    """One write, which outlives the process that made it."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, "".join(lines).encode())
    finally:
        os.close(file)


def read(path: Path) -> Iterator[Committed]:
    """Every letter, as they were committed. A line that a kill cut off has no full stop and is passed over."""
    if not path.exists():
        return
    with path.open() as lines:
        for line in lines:
            words = line.split()
            if len(words) == 6 and words[5] == ".":
                yield Committed(words[0], int(words[1]), words[2], words[3], words[4])


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:20]
