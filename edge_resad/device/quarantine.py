"""Quarantine: a damaged outbox is set aside as it is, and what can still be read is taken out of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_resad.device.crash_points import reach

UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file raises; the second where SQLite's own sentence quotes bytes of it that are no text."""

_SUFFIXES = ("-wal", "-shm", "")  # the file itself last: while it is there, nothing new stands in its place
_PAGE = 200


@dataclass
class Salvage:
    """What a damaged outbox still tells."""

    stream_id: str | None = None
    next_seq: int | None = None
    bd_seq: int = 0
    earlier: dict[str, int] = field(default_factory=dict)  # stream -> base of its letters
    gaps: list[tuple[Any, ...]] = field(default_factory=list)  # id, reason, previous, kind, first, last
    open_alerts: dict[str, bytes] = field(default_factory=dict)  # alert -> the last that was said of it
    whole: bool = False  # every row could be read, of a tree that nobody damaged


class Quarantine:
    """The way of one damaged file out of use. It can be begun again wherever the power was cut."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._marker = path.with_name(path.name + ".quarantine")

    @property
    def is_unfinished(self) -> bool:
        """The power was cut in the middle of it."""
        return self._marker.exists()

    def move(self) -> Path:
        """Set the file and its log aside under a name that is free; where they are now."""
        aside = self._begun()
        if not aside.exists():
            for suffix in _SUFFIXES:
                part = _with(self._path, suffix)
                if part.exists():
                    part.rename(_with(aside, suffix))
                if suffix:
                    reach("quarantine-begun")
        else:  # what stands in its place holds nothing but what was salvaged; it is salvaged anew
            for suffix in _SUFFIXES:
                _with(self._path, suffix).unlink(missing_ok=True)
        _sync_folder(self._path.parent)
        reach("quarantine-moved")
        return aside

    def end(self) -> None:
        """All that could be salvaged is on the disk."""
        reach("quarantine-salvaged")
        self._marker.unlink(missing_ok=True)
        _sync_folder(self._path.parent)
        reach("quarantine-ended")

    def _begun(self) -> Path:
        with suppress(FileNotFoundError):
            name = self._marker.read_text().strip()
            if name.startswith(self._path.name + ".damaged-") and "/" not in name:
                return self._path.with_name(name)
        count = 1  # no date: a clock that begins at 1970 each time would say the same moment again
        while any(_with(self._aside(count), suffix).exists() for suffix in _SUFFIXES):
            count += 1
        aside = self._aside(count)
        with self._marker.open("w") as marker:
            marker.write(aside.name + "\n")
            marker.flush()
            os.fsync(marker.fileno())
        _sync_folder(self._path.parent)
        reach("quarantine-marked")
        return aside

    def _aside(self, count: int) -> Path:
        return self._path.with_name(f"{self._path.name}.damaged-{count}")


def salvage(aside: Path, found: Salvage) -> Iterator[tuple[Any, ...]]:
    """Every row of a letter that can be read; `found` is filled first. The file stays as it is."""
    lonely = not _with(aside, "-wal").exists()  # then SQLite needs to put nothing beside it
    try:
        db = sqlite3.connect(f"{aside.absolute().as_uri()}?{'immutable=1' if lonely else 'mode=ro'}", uri=True)
    except sqlite3.Error:
        return
    with closing(db):
        db.text_factory = any_text
        with suppress(*UNREADABLE):
            db.execute("PRAGMA writable_schema = ON")  # else SQLite reads nothing of a file that was cut off
        with suppress(*UNREADABLE):
            row = db.execute("SELECT stream_id, next_seq, bd_seq FROM stream").fetchone()
            if row is not None and isinstance(row[0], str) and isinstance(row[1], int) and isinstance(row[2], int):
                found.stream_id, found.next_seq, found.bd_seq = row
        with suppress(*UNREADABLE):
            earlier = db.execute("SELECT stream_id, base FROM earlier").fetchall()
            found.earlier = {stream: base for stream, base in earlier if isinstance(stream, str) and type(base) is int}
        with suppress(*UNREADABLE):
            found.gaps = db.execute("SELECT id, reason, previous, kind, first, last FROM gap ORDER BY id").fetchall()
        with suppress(*UNREADABLE):  # what comes before a damaged page is kept
            found.open_alerts.update(open_alerts(db))
        yield from _letters(db, found)


def any_text(written: bytes) -> str:
    """Text as SQLite holds it, whatever has become of it: one flipped bit must not hold up the rows beside it."""
    return written.decode(errors="replace")


def open_alerts(db: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
    """Every alert that is open, and the last that was said of it, row by row."""
    for alert_id, body in db.execute("SELECT alert_id, body FROM open_alert"):
        if isinstance(alert_id, str) and isinstance(body, bytes):
            yield alert_id, body


def _letters(db: sqlite3.Connection, found: Salvage) -> Iterator[tuple[Any, ...]]:
    """From the front until a page cannot be read, then from the back until there."""
    low, high = -(2**63), 2**63 - 1
    walked = 0
    for order in ("ASC", "DESC"):
        limit = _PAGE
        while True:
            try:
                page = _page(db, low, high, order, limit)
            except UNREADABLE:
                if limit == 1:
                    break
                limit = 1
                continue
            yield from page
            walked += len(page)
            if len(page) < limit:
                found.whole = order == "ASC" and _is_well(db, walked)
                return
            end = page[-1][0]
            if not (isinstance(end, int) and low < end < high):  # a damaged tree can lead in circles
                break
            low, high = (end, high) if order == "ASC" else (low, end)


def _is_well(db: sqlite3.Connection, walked: int) -> bool:
    """Whether a tree that could be walked has all its branches: a damaged one may lead past some of them."""
    try:
        (rows,) = db.execute("SELECT count(*) FROM letter NOT INDEXED").fetchone()
        return bool(rows == walked and db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except UNREADABLE:
        return False


def _page(db: sqlite3.Connection, low: int, high: int, order: str, limit: int) -> list[tuple[Any, ...]]:
    query = (
        "SELECT seq, topic, content_type, kind, body, size, crc, state, problem FROM letter "
        f"WHERE seq > ? AND seq < ? ORDER BY seq {order} LIMIT ?"
    )
    return db.execute(query, (low, high, limit)).fetchall()


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
