"""The file behind the outbox: SQLite, made for one process, written by one thread."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sqlite3
import threading
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Literal

from edge_resad.errors import SpoolError

Kind = Literal["pass", "fail", "alert", "image"]
_SACRIFICE: tuple[Kind, ...] = ("pass", "image")  # what may be given up, in this order; never a failed part or an alert

_APPLICATION_ID = 0x45525350  # "ERSP": the file is ours
_SCHEMA_VERSION = 1
_SQLITE_HEADER = b"SQLite format 3\0"  # of every SQLite file that is not empty
_WAITING, _AT_BROKER, _DEAD = 0, 1, 2
# `_AT_BROKER` and its two times are the place for a fleet that acknowledges what its database holds: letters then stay
# after the broker's PUBACK and leave with the fleet's acknowledgement. Without a fleet they leave with the PUBACK.
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
CREATE TABLE letter (
    seq INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    content_type TEXT NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    size INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT {_WAITING},
    at_broker_wall REAL,
    acknowledged_wall REAL,
    problem TEXT
);
CREATE INDEX letter_by_kind ON letter (kind, seq, size, state);
CREATE TABLE stream (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    stream_id TEXT NOT NULL,
    next_seq INTEGER NOT NULL,
    bd_seq INTEGER NOT NULL,
    dropped INTEGER NOT NULL
);
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One message as it goes out."""

    seq: int
    topic: str
    content_type: str
    kind: Kind
    body: bytes

    @property
    def size(self) -> int:
        """Bytes that it counts for in budgets."""
        return len(self.body) + len(self.topic) + 64  # a row's and its index entry's own weight


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What one transaction does."""

    new: Sequence[Letter] = ()
    gone: Collection[int] = ()
    dead: Mapping[int, str] = field(default_factory=dict)  # seq -> what the broker said
    next_seq: int
    bd_seq: int
    dropped: int = 0  # given up before they came here


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What the file holds."""

    waiting: int = 0  # letters
    dead: int = 0  # letters
    size: int = 0  # bytes of all letters
    dropped: int = 0  # letters given up for want of room, over the life of the stream


class SpoolFile:
    """Letters on the disk. Every write is one transaction that survives a power cut once it returned."""

    def __init__(self, path: Path, *, max_bytes: int, reserve_bytes: int) -> None:
        self.path = path
        self.stream_id = ""
        self.next_seq = 1
        self.bd_seq = 0
        self.totals = Totals()
        self._max_bytes = max_bytes
        self._ceiling = max_bytes  # lower once the disk itself is full
        self._reserve_bytes = min(reserve_bytes, max_bytes // 8)
        self.batch_bytes = self._reserve_bytes // 8 or 1 << 20  # of letters in one transaction; one may be larger
        self._read_lock = threading.Lock()
        self._no_room_said = False

    def __enter__(self) -> SpoolFile:
        self._refuse_foreign()
        self._take_lock()
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._read_lock:
            self._reader.close()
        self._writer.close()
        os.close(self._lock)

    @property
    def over_budget(self) -> bool:
        """More than allowed is here and none of it may be given up."""
        return self.totals.size > self._max_bytes

    @property
    def reserve_in_use(self) -> bool:
        """The disk is full; the file lives on what was kept for that day."""
        return self._ceiling < self._max_bytes

    def write(self, changes: Changes) -> None:
        """Do all of it or, with `sqlite3.Error`, nothing."""
        try:
            self._write(changes)
        except sqlite3.OperationalError:
            if not self._release_reserve():
                raise
            # From here on something old goes for something new.
            self._ceiling = min(self._max_bytes - 1, self.totals.size + self._reserve_bytes // 4)
            self._empty_log()
            self._write(changes)
        else:
            self._restore_reserve()

    def read(self, limit: int, after_seq: int) -> list[Letter]:
        """The first waiting letters after `after_seq`, in order."""
        query = (
            "SELECT seq, topic, content_type, kind, body FROM letter WHERE state = ? AND seq > ? ORDER BY seq LIMIT ?"
        )
        try:
            with self._read_lock:
                rows = self._reader.execute(query, (_WAITING, after_seq, limit)).fetchall()
        except sqlite3.Error as error:
            raise SpoolError(f"the spool {self.path} cannot be read: {error}. Check its disk.") from error
        return [Letter(seq=s, topic=t, content_type=c, kind=k, body=b) for s, t, c, k, b in rows]

    def _refuse_foreign(self) -> None:
        """A file that never was a spool must not be set aside as a damaged one."""
        try:
            if self._lock_path.exists():  # it was a spool, whatever happened to it
                return
            with self.path.open("rb") as file:
                begins = file.read(len(_SQLITE_HEADER))
        except (FileNotFoundError, NotADirectoryError):  # the second is said where the folder is made
            return
        except OSError as error:
            raise SpoolError(
                f"the spool {self.path} cannot be opened: {error.strerror}. "
                "Give the station a file it may read and write, or set [spool] path."
            ) from error
        if begins not in (b"", _SQLITE_HEADER):
            raise SpoolError(
                f"{self.path} is no spool and stays as it is. Set [spool] path to a file of its own, such as spool.db."
            )

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def _take_lock(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise SpoolError(
                f"the spool {self.path} cannot be made: {error.strerror} ({error.filename}). "
                "Give the station a folder it may write, or set [spool] path."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._lock, 20, 0).decode(errors="replace").strip()
            os.close(self._lock)
            raise SpoolError(
                f"the spool {self.path} is in use by process {owner or '(unknown)'}. "
                "One station, one spool: stop the other station, or set another [spool] path."
            ) from error
        with suppress(OSError):  # the number is only for the sentence above; a full disk may refuse it
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _open(self) -> None:
        try:
            try:
                self._connect()
            except sqlite3.OperationalError:
                if not self._release_reserve():
                    raise
                self._connect()
        except _Damaged as damage:
            aside = self._set_aside()
            log.error("the spool %s is damaged (%s): set aside as %s, a new stream begins", self.path, damage, aside)
            self._connect()
        except sqlite3.Error as error:
            raise SpoolError(
                f"the spool {self.path} cannot be opened: {error}. "
                "Check that its folder can be written and its disk has room, or set [spool] path."
            ) from error

    def _connect(self) -> None:
        writer = self._writer = sqlite3.connect(
            self.path, timeout=5.0, isolation_level=None, check_same_thread=False
        )  # opened here, then used by the writing thread alone
        try:
            self._prepare(writer)
            self._reader = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        except BaseException:
            writer.close()
            raise

    def _prepare(self, writer: sqlite3.Connection) -> None:
        try:
            self._check(writer)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:  # "file is not a database", "disk image is malformed"
            raise _Damaged(str(error)) from error
        row = writer.execute("SELECT stream_id, next_seq, bd_seq, dropped FROM stream").fetchone()
        self.stream_id, self.next_seq, self.bd_seq, dropped = row
        counts = writer.execute("SELECT state, count(*), sum(size) FROM letter GROUP BY state").fetchall()
        self.totals = Totals(
            waiting=sum(count for state, count, _ in counts if state == _WAITING),
            dead=sum(count for state, count, _ in counts if state == _DEAD),
            size=sum(size for _, _, size in counts),
            dropped=dropped,
        )
        self._ceiling = self._max_bytes
        self._restore_reserve()

    def _check(self, writer: sqlite3.Connection) -> None:
        tables = {name for (name,) in writer.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            writer.execute("PRAGMA auto_vacuum = INCREMENTAL")  # a file that held a week's backlog shrinks again
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA synchronous = FULL")  # a power cut must not lose a committed alert
        log_bytes = self._reserve_bytes // 4 or 1 << 22  # what is in the log must fit into the reserve once more
        writer.execute(f"PRAGMA journal_size_limit = {log_bytes}")
        writer.execute(f"PRAGMA wal_autocheckpoint = {max(16, min(1000, log_bytes // 4096))}")
        if not tables:
            writer.executescript(f"BEGIN IMMEDIATE; {_SCHEMA}")
            writer.execute("INSERT INTO stream VALUES (1, ?, 1, 0, 0)", (str(uuid.uuid4()),))
            writer.execute("COMMIT")
            return
        if _pragma(writer, "application_id") != _APPLICATION_ID:
            raise SpoolError(
                f"{self.path} is a database of another program and stays as it is. Set [spool] path to another file."
            )
        version = _pragma(writer, "user_version")
        if version != _SCHEMA_VERSION:
            raise SpoolError(
                f"the spool {self.path} has format {version}, this program knows {_SCHEMA_VERSION}. "
                "Run the version of edge-resad that wrote it until it is empty, or set another [spool] path."
            )
        said = writer.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok" or not {"letter", "stream"} <= tables:
            raise _Damaged(str(said))
        if writer.execute("SELECT count(*) FROM stream").fetchone()[0] != 1:
            raise _Damaged("it does not know its stream")

    def _set_aside(self) -> Path:
        moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        aside = self.path.with_name(f"{self.path.name}.damaged-{moment}")
        count = 1
        while aside.exists():  # a clock that begins at 1970 each time says the same moment again
            count += 1
            aside = self.path.with_name(f"{self.path.name}.damaged-{moment}-{count}")
        for suffix in ("-wal", "-shm", ""):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        return aside

    def _write(self, changes: Changes) -> None:
        writer = self._writer
        totals = self.totals
        waiting, dead, held, dropped = totals.waiting, totals.dead, totals.size, totals.dropped + changes.dropped
        writer.execute("BEGIN IMMEDIATE")
        try:
            for seq in changes.gone:
                for state, size in writer.execute("DELETE FROM letter WHERE seq = ? RETURNING state, size", (seq,)):
                    waiting, dead, held = waiting - (state == _WAITING), dead - (state == _DEAD), held - size
            for seq, problem in changes.dead.items():
                change = "UPDATE letter SET state = ?, problem = ? WHERE seq = ? AND state = ?"
                count = writer.execute(change, (_DEAD, problem, seq, _WAITING)).rowcount
                waiting, dead = waiting - count, dead + count
            incoming = sum(new.size for new in changes.new)
            freed = self._make_room(
                held + incoming - self._ceiling
            )  # before they come: a full disk has no page to spare
            writer.executemany(
                "INSERT INTO letter (seq, topic, content_type, kind, body, size) VALUES (?, ?, ?, ?, ?, ?)",
                [(new.seq, new.topic, new.content_type, new.kind, new.body, new.size) for new in changes.new],
            )
            waiting, held = waiting + len(changes.new), held + incoming
            freed += self._make_room(held - sum(size for _, size in freed) - self._ceiling)
            for state, size in freed:
                waiting, dead, held = waiting - (state == _WAITING), dead - (state == _DEAD), held - size
                dropped += 1
            writer.execute(
                "UPDATE stream SET next_seq = ?, bd_seq = ?, dropped = ?", (changes.next_seq, changes.bd_seq, dropped)
            )
            writer.execute("COMMIT")
        except sqlite3.Error:
            with suppress(sqlite3.Error):  # SQLite itself may have rolled back
                writer.execute("ROLLBACK")
            raise
        self.totals = Totals(waiting=waiting, dead=dead, size=held, dropped=dropped)
        self.next_seq, self.bd_seq = changes.next_seq, changes.bd_seq
        if self.reserve_in_use:
            self._empty_log()
        elif changes.gone:
            self._give_back_pages()

    def _make_room(self, excess: int) -> list[tuple[int, int]]:
        """Delete the oldest letters that may be given up: (state, size) of each."""
        freed: list[tuple[int, int]] = []
        if excess <= 0:
            return freed
        for kind in _SACRIFICE:
            while excess > 0:
                query = "SELECT seq, size, state FROM letter WHERE kind = ? ORDER BY seq LIMIT 256"
                rows = self._writer.execute(query, (kind,)).fetchall()
                if not rows:
                    break
                for seq, size, state in rows:
                    self._writer.execute("DELETE FROM letter WHERE seq = ?", (seq,))
                    freed.append((state, size))
                    excess -= size
                    if excess <= 0:
                        return freed
        return freed

    def _empty_log(self) -> None:
        with suppress(sqlite3.Error):  # else the log alone would eat the reserve
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _give_back_pages(self) -> None:
        with suppress(sqlite3.Error):  # a courtesy to the disk; the letters are safe without it
            if _pragma(self._writer, "freelist_count") > 1024:
                self._writer.executescript("PRAGMA incremental_vacuum(512)")  # `execute` would give back one page

    @property
    def _reserve(self) -> Path:
        return self.path.with_name(self.path.name + ".reserve")

    def _release_reserve(self) -> bool:
        """Give the disk back what was kept for this: when it is full, SQLite cannot even delete."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        log.warning("no room on the disk of the spool %s: its reserve is in use now", self.path)
        return True

    def _restore_reserve(self) -> None:
        if self._reserve_bytes == 0 or self._reserve.exists():
            return
        try:
            if shutil.disk_usage(self.path.parent).free < 4 * self._reserve_bytes:
                self._say_no_reserve()
                return
            with open(self._reserve, "wb") as reserve:
                os.posix_fallocate(reserve.fileno(), 0, self._reserve_bytes)
            self._ceiling = self._max_bytes
            self._no_room_said = False
        except OSError:
            with suppress(OSError):
                self._reserve.unlink()
            self._say_no_reserve()

    def _say_no_reserve(self) -> None:
        if not self._no_room_said and not self.reserve_in_use:
            log.warning(
                "the disk of the spool %s has less than %.0f MiB free: no reserve is kept for the day it is full, "
                "when only memory is left. Free disk space",
                self.path,
                4 * self._reserve_bytes / 2**20,
            )
        self._no_room_said = True


class _Damaged(Exception):
    """The file is ours but cannot be trusted."""


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
