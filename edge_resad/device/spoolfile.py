"""The file behind the outbox: SQLite, made for one process, written by one thread."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import sqlite3
import threading
import uuid
import weakref
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

from edge_resad.device.crash_points import reach
from edge_resad.device.machine_ids import are_of_others
from edge_resad.device.quarantine import Quarantine, Salvage, any_text, open_alerts, salvage
from edge_resad.device.ranges import Ranges
from edge_resad.errors import SpoolError
from edge_resad.messages import MAX_RANGES, MAX_SEQ, GapReason

Kind = Literal["pass", "not_inspected", "fail", "alert", "image", "gap"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# What may be given up, in this order; never a failed part or an alert.
EXPENDABLE: tuple[Kind, ...] = ("image", "pass", "not_inspected")
STRIDE = MAX_SEQ + 1  # letters of the stream before this one lie so far below their own numbers
_SHED_TIMES = 8
DRAFT_BYTES = 1024  # about what the verdict of a part takes in memory until a letter is made of it
MOST_DELETED = 5000  # rows that one transaction deletes for what a collector has stored

_APPLICATION_ID = 0x45525350  # "ERSP": the file is ours
_SCHEMA_VERSION = 4
_SQLITE_HEADER = b"SQLite format 3\0"  # of every SQLite file that is not empty
_WAITING, _DEAD = 0, 2
_OF_THE_FILE = ("no such ", "unsupported file format")  # what SQLite says of what is in it, not of the disk or a lock
_NEWER = """
CREATE TABLE gap (
    id INTEGER PRIMARY KEY,
    reason TEXT NOT NULL,
    previous TEXT,
    kind TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
);
CREATE TABLE earlier (
    stream_id TEXT PRIMARY KEY,
    base INTEGER NOT NULL
);
"""
_NEWEST = """
CREATE TABLE open_alert (
    alert_id TEXT PRIMARY KEY,
    body BLOB NOT NULL
);
"""
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
    crc INTEGER,
    state INTEGER NOT NULL DEFAULT {_WAITING},
    problem TEXT
);
CREATE INDEX letter_by_kind ON letter (kind, seq, size, state);
CREATE TABLE stream (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    stream_id TEXT NOT NULL,
    next_seq INTEGER NOT NULL,
    bd_seq INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    machine TEXT NOT NULL DEFAULT '{{}}'
);
{_NEWER}
{_NEWEST}
"""
_INSERT = (
    "INSERT INTO letter (seq, topic, content_type, kind, body, size, crc, state, problem) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One message as it goes out."""

    seq: int  # below zero: of an earlier stream, saved from a damaged file
    topic: str
    content_type: str
    kind: Kind
    body: bytes
    stream_id: str | None = None  # and its number there, where it comes from the file
    number: int = 0
    alert_id: str | None = None  # the alert that it speaks of, while it is on its way into the file
    ends: bool = False  # that alert
    compose: Callable[[], bytes] | None = None  # makes the body, which is empty until then
    holds_bytes: int = 0  # by what composes it

    @property
    def size(self) -> int:
        """Bytes that it counts for in budgets."""
        body = len(self.body) if self.compose is None else self.holds_bytes
        return body + len(self.topic) + 64  # a row's and its index entry's own weight


@dataclass(frozen=True, kw_only=True)
class GivenUp:
    """Letters of one kind that were given up for one reason, by number."""

    reason: GapReason
    kind: str  # empty where nobody knows
    first: int
    last: int
    previous: str | None = None  # the stream that they are of, where it is an earlier one

    @property
    def is_sound(self) -> bool:
        """Whether a message can tell it: rows of gaps have no checksum, and a bit of theirs may have turned."""
        known = self.reason in get_args(GapReason) and self.kind in ("", *KINDS)
        numbers = isinstance(self.first, int) and isinstance(self.last, int)
        return known and numbers and 0 <= self.first <= self.last <= MAX_SEQ


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What one transaction does."""

    new: Sequence[Letter] = ()
    gone: Collection[int] = ()
    stored: Sequence[tuple[int, int]] = ()  # ranges that a collector has
    dead: Mapping[int, str] = field(default_factory=dict)  # seq -> what the broker said
    given_up: Sequence[GivenUp] = ()  # before they came here
    told: Collection[int] = ()  # gaps whose letters are among the new ones
    next_seq: int
    bd_seq: int


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What the file holds."""

    waiting: int = 0  # letters
    dead: int = 0  # letters
    size: int = 0  # bytes of all letters
    dropped: int = 0  # letters given up, over the life of the stream
    gaps: int = 0  # ranges of letters given up of which no letter tells yet


@dataclass(frozen=True)
class Page:
    """Letters in order, and those whose bytes are no longer what was written."""

    letters: list[Letter]
    broken: list[tuple[int, str]]  # seq and kind, which is empty where nobody knows it any more
    last: int | None  # seq up to which was read; None at the end
    stream_id: str | None  # of the file; None while it is being replaced


class SpoolFile:
    """Letters on the disk. Every write is one transaction that survives a power cut once it returned."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        reserve_bytes: int,
        max_rows: int = 2**62,
        machine: Mapping[str, str] | None = None,
    ) -> None:
        """machine: ids of the one that writes it; without them nobody looks whether the file is of another."""
        self.path = path
        self._machine = machine or {}
        self._home: dict[str, str] = {}  # ids of the machine that the file is of
        self.stream_id = ""
        self.next_seq = 1
        self.bd_seq = 0
        self.totals = Totals()
        self.over_budget = False  # more than allowed is here and none of it may be given up
        self.earlier: dict[str, int] = {}  # stream -> what is added to its numbers here
        self.open_alerts: dict[str, bytes] = {}  # alert -> the last that was said of it; over streams and kills
        self.suspect = False  # a read found what should not be
        self._found: sqlite3.Error | None = None  # and what it said
        self._done: tuple[weakref.ref[Changes], Sequence[tuple[int, int]]] | None = None  # the last; keeps no letters
        self._max_bytes = max_bytes
        self._max_rows = max_rows
        self._ceiling = max_bytes  # lower once the disk itself is full
        self._reserve_bytes = min(reserve_bytes, max_bytes // 8)
        self.batch_bytes = self._reserve_bytes // 8 or 1 << 20  # of letters in one transaction; one may be larger
        self._read_lock = threading.Lock()
        self._no_room_said = False
        self._is_open = False
        self._tails: dict[tuple[str, str], tuple[int, int]] = {}  # reason, kind -> gap that may grow: its id and end
        self._quarantine = Quarantine(path)

    def __enter__(self) -> SpoolFile:
        self._refuse_foreign()
        self._take_lock()
        self.open_alerts = {}
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        os.close(self._lock)

    @property
    def reserve_in_use(self) -> bool:
        """The disk is full; the file lives on what was kept for that day."""
        return self._ceiling < self._max_bytes

    def write(self, changes: Changes) -> Sequence[tuple[int, int]]:
        """Do all of it or, with `sqlite3.Error`, nothing; which ranges of `stored` need no other transaction."""
        try:
            done = self._write(changes)
        except sqlite3.OperationalError as error:
            if not self._is_open:
                raise
            if "full" not in str(error) and not self._reserve.exists():
                raise
            if self._release_reserve():
                self._stop_growing()
            done = self._write_shedding(changes)
        self._restore_reserve()
        return done

    def _stop_growing(self) -> None:
        """From here on something old goes for something new: what the reserve leaves is for the log."""
        self._ceiling = min(self._max_bytes - 1, self.totals.size + self._reserve_bytes // 4)
        self._empty_log()
        with suppress(sqlite3.Error):  # counted in pages too: rows leave holes in them
            most = _pragma(self._writer, "page_count") + self._reserve_bytes // 4 // 4096
            self._writer.execute(f"PRAGMA max_page_count = {most}").fetchall()

    def _write_shedding(self, changes: Changes) -> Sequence[tuple[int, int]]:
        """Write to a full disk: as long as there is no page left, old letters go."""
        for _ in range(_SHED_TIMES):
            try:
                return self._write(changes)
            except sqlite3.OperationalError as error:
                if "full" not in str(error) or not self._shed():
                    raise
        return self._write(changes)

    def read(self, limit: int, after_seq: int, kinds: Sequence[Kind] = ()) -> Page:
        """The first waiting letters after `after_seq`, in order; of these kinds alone, where any are named."""
        chosen = f"letter WHERE state = {_WAITING} AND seq > :after ORDER BY seq LIMIT :limit"
        if kinds:  # each kind by the index: a million letters of others must not be walked past
            of_kind = (
                f"SELECT * FROM (SELECT seq FROM letter INDEXED BY letter_by_kind WHERE kind = :kind{number} "
                f"AND state = {_WAITING} AND seq > :after ORDER BY seq LIMIT :limit)"
                for number in range(len(kinds))
            )
            chosen = f"({' UNION ALL '.join(of_kind)}) LEFT JOIN letter USING (seq) ORDER BY seq LIMIT :limit"
        query = f"SELECT seq, topic, content_type, kind, body, crc FROM {chosen}"
        values = {"after": after_seq, "limit": limit, **{f"kind{number}": kind for number, kind in enumerate(kinds)}}
        try:
            with self._read_lock:
                if not self._is_open:
                    return Page([], [], None, None)
                rows = self._reader.execute(query, values).fetchall()
                if any(row[1] is None for row in rows):  # no letter is without a topic
                    raise sqlite3.DatabaseError("its index names a message that is not there")
                stream_id, origins = self.stream_id, [self.origin(row[0]) for row in rows]
        except sqlite3.Error as error:
            self.suspect, self._found = True, error
            raise SpoolError(f"the spool {self.path} cannot be read: {error}. Check its disk.") from error
        letters, broken = [], []
        for (seq, topic, content_type, kind, body, crc), (stream, number) in zip(rows, origins, strict=True):
            about = {"topic": topic, "content_type": content_type, "stream_id": stream, "number": number}
            letter = Letter(seq=seq, kind=kind, body=body, **about)
            if _is_letter(letter) and (crc is None or crc == _crc(letter)):
                letters.append(letter)
            else:
                broken.append((seq, kind if kind in KINDS else ""))
        return Page(letters, broken, rows[-1][0] if len(rows) == limit else None, stream_id)

    def origin(self, seq: int) -> tuple[str, int]:
        """The stream that a letter is of, and its number in it."""
        if seq > 0:
            return self.stream_id, seq
        number = seq % STRIDE
        return next((stream for stream, base in self.earlier.items() if base == seq - number), ""), number

    def untold(self) -> dict[int, GivenUp]:
        """Gaps of one reason and stream of which no letter tells yet, as many as go into one: id -> gap."""
        query = (
            "SELECT id, reason, kind, first, last, previous FROM gap WHERE (reason, previous IS NULL, "
            "ifnull(previous, '')) = (SELECT reason, previous IS NULL, ifnull(previous, '') FROM gap ORDER BY id "
            "LIMIT 1) ORDER BY id LIMIT ?"
        )
        try:
            rows = self._writer.execute(query, (MAX_RANGES,)).fetchall()
        except sqlite3.Error as error:
            self.suspect, self._found = True, error
            raise
        self._tails.clear()  # what is being told grows no more
        return {
            id: GivenUp(reason=reason, kind=kind, first=first, last=last, previous=previous)
            for id, reason, kind, first, last, previous in rows
        }

    def is_damaged(self, error: sqlite3.Error | None = None) -> bool:
        """Whether the file can no longer be trusted. error: what a write said; without it what a read did."""
        error, self.suspect, self._found = error or self._found, False, None
        if not self._is_open:
            return True
        if isinstance(error, sqlite3.IntegrityError) or type(error) is sqlite3.DatabaseError:
            return True
        if isinstance(error, sqlite3.OperationalError) and not str(error).startswith(("disk I/O", *_OF_THE_FILE)):
            return False
        try:
            with self._read_lock:
                self._reader.execute("SELECT 1 FROM letter, stream LIMIT 1")  # SQLite calls an emptied file whole
                return bool(self._reader.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
        except sqlite3.Error as found:
            return "locked" not in str(found)

    def replace(self, why: str, told: Collection[int] = (), *, damaged: bool = True) -> None:
        """Set the file aside, begin another stream and take over what can be read. told: gaps that letters tell.

        damaged: which a gap tells in any case; otherwise only if something cannot be read.
        Raises:
            sqlite3.Error, OSError: the disk does not allow it now; it may be tried again.
        """
        self.suspect = True  # until another one is there: what fails here is tried again
        self._close()
        aside = self._quarantine.move()
        state = f"damaged ({why})" if damaged else why
        log.error("the spool %s is %s: set aside as %s, a new stream begins", self.path, state, aside)
        self._connect()
        try:
            self._take_over(aside, told, damaged=damaged)
        except BaseException:
            self._close()  # it is begun again from the file that was set aside
            raise
        self._quarantine.end()
        self.suspect = False
        self._testify()  # not before: begun again, it must know of which stream the file that was set aside is

    def done(self, changes: Changes) -> Sequence[tuple[int, int]] | None:
        """What `write` of these last changes said, or would have, once they were written; None where they were not."""
        return self._done[1] if self._done is not None and self._done[0]() is changes else None

    def take_up_again(self) -> None:
        """After an error that nobody foresaw: undo what it left begun, and count anew what is here."""
        if not self._is_open:  # it is being replaced, which goes on
            return
        writer = self._writer
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        self.next_seq, self.bd_seq = writer.execute("SELECT next_seq, bd_seq FROM stream").fetchone()
        self.open_alerts = dict(open_alerts(writer))
        self._tails.clear()
        self._count()
        self._testify()

    def retry_dead(self, seqs: Collection[int]) -> int:
        """Let dead letters wait again; how many. An empty collection means all."""
        return self._settle_dead(seqs, f"UPDATE letter SET state = {_WAITING}, problem = NULL", reason=None)

    def drop_dead(self, seqs: Collection[int]) -> int:
        """Give dead letters up, which a gap tells; how many. An empty collection means all."""
        return self._settle_dead(seqs, "DELETE FROM letter", reason="operator")

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
    def _log_bytes(self) -> int:
        """What is in SQLite's log must fit into the reserve once more."""
        return self._reserve_bytes // 4 or 1 << 22

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    @property
    def _earlier_path(self) -> Path:
        """Beside the file: the streams before its own, of which letters may be in it."""
        return self.path.with_name(self.path.name + ".earlier")

    def _read_earlier(self) -> list[str]:
        try:
            return self._earlier_path.read_text().split()
        except (OSError, ValueError):
            return []

    def _take_lock(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise SpoolError(
                f"the spool {self.path} cannot be made: {error.strerror} ({error.filename}). "
                "Give the station a folder it may write, or set [spool] path."
            ) from error
        said = os.pread(self._lock, 200, 0).decode(errors="replace").splitlines()
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise SpoolError(
                f"the spool {self.path} is in use by process {said[0] if said else '(unknown)'}. "
                "One station, one spool: stop the other station, or set another [spool] path."
            ) from error
        self._witness = _Witness.read(said[1]) if len(said) > 1 else None

    def _testify(self) -> None:
        """Note beside the file how far its stream has come, so that a file that lost its end is found out.

        Not synced: after a power cut the note may be older than the file, never newer.
        """
        self._witness = _Witness(self.stream_id, self.next_seq, self.bd_seq)
        said = f"{os.getpid()}\n{self.stream_id} {self.next_seq} {self.bd_seq}\n"
        with suppress(OSError):  # a full disk may refuse it
            os.pwrite(self._lock, said.ljust(120, "\n").encode(), 0)

    def _open(self) -> None:
        try:
            try:
                if self._quarantine.is_unfinished:
                    raise _Damaged("the power was cut while it was set aside")
                self._connect()
            except sqlite3.OperationalError:
                if not self._release_reserve():
                    raise
                self._connect()
            if are_of_others(self._home, self._machine):
                raise _Moved("of another machine")
        except _Damaged as damage:
            is_damaged = not isinstance(damage, _Moved)
            try:
                try:
                    self.replace(str(damage), damaged=is_damaged)
                except (OSError, sqlite3.Error):
                    if not self._release_reserve():
                        raise
                    self.replace(str(damage), damaged=is_damaged)
            except (OSError, sqlite3.Error) as error:
                raise SpoolError(
                    f"the spool {self.path} is not one to go on with ({damage}) and cannot be set aside: {error}. "
                    "Check that its folder can be written and its disk has room."
                ) from error
        except sqlite3.Error as error:
            raise SpoolError(
                f"the spool {self.path} cannot be opened: {error}. "
                "Check that its folder can be written and its disk has room, or set [spool] path."
            ) from error
        witness = self._witness
        if witness is not None and witness.stream_id not in (self.stream_id, *self.earlier):
            last = witness.next_seq - 1
            first = min(1, last)  # 0 and 0 where it had said nothing
            lost = GivenUp(reason="corruption", kind="", first=first, last=last, previous=witness.stream_id)
            log.error("the spool %s is not the one that was here: a new stream begins", self.path)
            with suppress(sqlite3.Error):
                self._say_given_up([lost, *_unknown_of(self._read_earlier())])
                reach("stranger-told")
                self._count()
            with suppress(OSError):
                self._earlier_path.unlink(missing_ok=True)
        if self._machine and self._machine != self._home:  # the first time, or its system is new
            self._home = {**self._home, **self._machine}
            reach("before-machine-noted")
            with suppress(sqlite3.Error):
                self._writer.execute("UPDATE stream SET machine = ?", (json.dumps(self._home),))
            reach("after-machine-noted")
        self._testify()

    def _connect(self) -> None:
        writer = self._writer = sqlite3.connect(
            self.path, timeout=5.0, isolation_level=None, check_same_thread=False
        )  # opened here, then used by the writing thread alone
        writer.text_factory = any_text
        try:
            self._prepare(writer)
            reader = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        except BaseException:
            writer.close()
            raise
        reader.text_factory = any_text
        with self._read_lock:
            self._reader = reader
        self._is_open = True

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            with self._read_lock:
                self._reader.close()
            self._writer.close()

    def _prepare(self, writer: sqlite3.Connection) -> None:
        try:
            self._check(writer)
            row = writer.execute("SELECT stream_id, next_seq, bd_seq, machine FROM stream").fetchone()
            self.stream_id, self.next_seq, self.bd_seq = row[:3]
            self._home = _read_ids(row[3])
            self.earlier = dict(writer.execute("SELECT stream_id, base FROM earlier"))
            # Of a new file, which knows none, those that were open in the one before it stay.
            self.open_alerts = {**self.open_alerts, **dict(open_alerts(writer))}
            self._tails.clear()
            self._count()
        except sqlite3.OperationalError as error:
            if str(error).startswith(_OF_THE_FILE):
                raise _Damaged(str(error)) from error
            raise
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # "file is not a database", and SQLite quotes it
            raise _Damaged(str(error)) from error
        self._ceiling = self._max_bytes
        self._restore_reserve()
        witness = self._witness
        if witness is not None and witness.stream_id == self.stream_id and witness.next_seq > self.next_seq:
            raise _Damaged(f"it ends at {self.next_seq - 1} and had come to {witness.next_seq - 1}")

    def _count(self) -> None:
        writer = self._writer
        counts = writer.execute("SELECT state, count(*), sum(size) FROM letter GROUP BY state").fetchall()
        self.totals = Totals(
            waiting=sum(count for state, count, _ in counts if state == _WAITING),
            dead=sum(count for state, count, _ in counts if state == _DEAD),
            size=sum(size for _, _, size in counts),
            dropped=writer.execute("SELECT dropped FROM stream").fetchone()[0],
            gaps=writer.execute("SELECT count(*) FROM gap").fetchone()[0],
        )
        self.over_budget = self._is_too_much(self.totals.waiting + self.totals.dead, self.totals.size)

    def _is_too_much(self, letters: int, size: int) -> bool:
        """Letters about gaps are beside the budget: what tells a loss must be neither one nor a complaint."""
        if size <= self._max_bytes and letters <= self._max_rows:
            return False
        query = "SELECT count(*), ifnull(sum(size), 0) FROM letter WHERE kind = 'gap'"
        gaps, of_gaps = self._writer.execute(query).fetchone()
        return bool(size - of_gaps > self._max_bytes or letters - gaps > self._max_rows)

    def _check(self, writer: sqlite3.Connection) -> None:
        tables = {name for (name,) in writer.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            writer.execute("PRAGMA auto_vacuum = INCREMENTAL")  # a file that held a week's backlog shrinks again
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA synchronous = FULL")  # a power cut must not lose a committed alert
        writer.execute(f"PRAGMA journal_size_limit = {self._log_bytes}")
        writer.execute(f"PRAGMA wal_autocheckpoint = {max(16, min(1000, self._log_bytes // 4096))}")
        if not tables:
            writer.executescript(f"BEGIN IMMEDIATE; {_SCHEMA}")
            values = (str(uuid.uuid4()), json.dumps(dict(self._machine)))
            writer.execute("INSERT INTO stream VALUES (1, ?, 1, 0, 0, ?)", values)
            reach("before-made")
            writer.execute("COMMIT")
            reach("after-made")
            return
        if _pragma(writer, "application_id") != _APPLICATION_ID:
            raise SpoolError(
                f"{self.path} is a database of another program and stays as it is. Set [spool] path to another file."
            )
        version = _pragma(writer, "user_version")
        if not 1 <= version <= _SCHEMA_VERSION:
            raise SpoolError(
                f"the spool {self.path} has format {version}, this program knows {_SCHEMA_VERSION}. "
                "Run the version of edge-resad that wrote it until it is empty, or set another [spool] path."
            )
        # Not the quick one: what is missing in the index is never sent.
        said = writer.execute("PRAGMA integrity_check(1)").fetchone()[0]
        needed = {"letter", "stream"} | ({"gap", "earlier", "open_alert"} if version >= 3 else set())
        if said != "ok" or not needed <= tables:
            raise _Damaged(str(said))
        if writer.execute("SELECT count(*) FROM stream").fetchone()[0] != 1:
            raise _Damaged("it does not know its stream")
        if version == 1:  # before there were checksums and gaps
            _migrate(writer, f"ALTER TABLE letter ADD COLUMN crc INTEGER; {_NEWER}", 2)
        if version <= 2:  # before it knew which alerts are open
            _migrate(writer, _NEWEST, 3)
        if version <= 3:  # before it knew of which machine it is
            _migrate(writer, "ALTER TABLE stream ADD COLUMN machine TEXT NOT NULL DEFAULT '{}';", 4)
        if lacks := _columns_needed() - _columns(writer):
            raise _Damaged(f"it lacks {' '.join(map(str, min(lacks)))}")
        (next_seq,) = writer.execute("SELECT next_seq FROM stream").fetchone()
        (last,) = writer.execute("SELECT ifnull(max(seq), 0) FROM letter").fetchone()
        if last >= next_seq:  # else a number would be given twice
            raise _Damaged(f"it holds the message {last} and says that {next_seq} is the next")

    def _take_over(self, aside: Path, told: Collection[int], *, damaged: bool) -> None:
        """Bring what can be read of a damaged file into this new one, below every number of this stream."""
        found, writer, witness = Salvage(), self._writer, self._witness
        batch: list[tuple[Any, ...]] = []
        there, spoilt = Ranges(), Ranges()

        def write() -> None:
            writer.execute("BEGIN IMMEDIATE")
            try:
                writer.executemany(
                    _INSERT.replace("INSERT", "INSERT OR IGNORE"), batch
                )  # a damaged tree repeats itself
                reach("salvage-begun")
                writer.execute("COMMIT")
                reach("salvage-written")
            except sqlite3.Error:
                with suppress(sqlite3.Error):
                    writer.execute("ROLLBACK")
                raise
            batch.clear()

        for row in salvage(aside, found):
            if found.stream_id is None and witness is not None:
                found.stream_id, found.next_seq, found.bd_seq = witness.stream_id, witness.next_seq, witness.bd_seq
            if found.stream_id is None:
                log.error("%s does not say of which stream it is: its letters stay in it", aside)
                break
            if not isinstance(row[0], int) or row[0] < -(2**62):  # of the five hundredth stream before this
                continue
            if not _is_sound(row):
                spoilt.add(row[0], row[0])
                continue
            batch.append(_taken_over(row))
            there.add(row[0], row[0])
            if len(batch) >= 500:
                write()
        previous = found.stream_id or (witness.stream_id if witness is not None else None)
        next_seq = max(found.next_seq or 1, witness.next_seq if witness and witness.stream_id == previous else 1)
        next_seq = min(next_seq, STRIDE)  # a flipped bit can make any number of it
        given_up = [
            GivenUp(reason=reason, previous=of or previous, kind=kind, first=first, last=last)
            for id, reason, of, kind, first, last in found.gaps
            if id not in told
        ]
        # Of a tree that was damaged nobody can say which of the letters that are not there were delivered before.
        lost = Ranges(spoilt.within(1, next_seq - 1)) if found.whole else Ranges()
        begins = (found.next_seq or 1) if found.whole else 1  # it lost its end: what came after that
        if begins < next_seq:
            lost.add(begins, next_seq - 1)
        for first, last in there:
            lost.remove(first, last)
        pieces = list(lost) or ([(0, 0)] if damaged else [])
        given_up += [GivenUp(reason="corruption", kind="", first=a, last=b, previous=previous) for a, b in pieces]
        given_up += _lost_of_earlier(found, spoilt)
        if not found.whole:
            given_up += _unknown_of(stream for stream in self._read_earlier() if stream not in found.earlier)
        write()
        self._say_given_up(gap for gap in given_up if gap.is_sound)  # else the new file might refuse it
        reach("salvage-told")
        earlier = {stream: base - STRIDE for stream, base in found.earlier.items()}
        if previous is not None:
            earlier[previous] = -STRIDE
        writer.executemany("INSERT OR REPLACE INTO earlier VALUES (?, ?)", list(earlier.items()))
        self.bd_seq = max(found.bd_seq, witness.bd_seq if witness is not None else 0)
        writer.execute("UPDATE stream SET bd_seq = ?", (self.bd_seq,))
        self.open_alerts = self.open_alerts or found.open_alerts  # what was known while it ran is surer
        writer.executemany("INSERT OR REPLACE INTO open_alert VALUES (?, ?)", list(self.open_alerts.items()))
        self.earlier = earlier
        with suppress(OSError):  # for the day that this file is lost as well
            self._earlier_path.write_text("".join(f"{stream}\n" for stream in earlier))
        self._count()
        log.warning("%d messages were saved from %s", len(there), aside)

    def _write(self, changes: Changes) -> Sequence[tuple[int, int]]:
        writer = self._writer
        totals = self.totals
        waiting, dead, held = totals.waiting, totals.dead, totals.size
        tails = dict(self._tails)
        writer.execute("BEGIN IMMEDIATE")
        try:
            # A commit that was said to fail may have left a letter in a file that was set aside then.
            again = [new.seq for new in changes.new if new.seq < 0]
            for seq in (*changes.gone, *again):
                for state, size in writer.execute("DELETE FROM letter WHERE seq = ? RETURNING state, size", (seq,)):
                    waiting, dead, held = waiting - (state == _WAITING), dead - (state == _DEAD), held - size
            deleted, done = self._delete_stored(changes.stored)
            for state, size in deleted:
                waiting, dead, held = waiting - (state == _WAITING), dead - (state == _DEAD), held - size
            for seq, problem in changes.dead.items():
                change = "UPDATE letter SET state = ?, problem = ? WHERE seq = ? AND state = ?"
                count = writer.execute(change, (_DEAD, problem, seq, _WAITING)).rowcount
                waiting, dead = waiting - count, dead + count
            incoming = sum(new.size for new in changes.new)
            rows = waiting + dead + len(changes.new)
            costs = any(new.kind != "gap" for new in changes.new)  # to tell a loss must not make the next
            freed: list[tuple[int, str, int, int]] = []
            if costs:  # before they come: a full disk has no page to spare
                freed += self._make_room(held + incoming - self._ceiling, rows - self._max_rows, changes.new)
            reach("before-insert")
            writer.executemany(_INSERT, [_row(new) for new in changes.new])
            now_open = self._note_alerts(changes.new)
            waiting, held = waiting + len(changes.new), held + incoming
            if costs:
                over = held - sum(size for _, _, _, size in freed) - self._ceiling
                freed += self._make_room(over, rows - len(freed) - self._max_rows)
            for _, _, state, size in freed:
                waiting, dead, held = waiting - (state == _WAITING), dead - (state == _DEAD), held - size
            for id in changes.told:
                writer.execute("DELETE FROM gap WHERE id = ?", (id,))
            reason: GapReason = "disk_full" if self.reserve_in_use else "budget"
            given_up = [self._located(gap) for gap in (*changes.given_up, *_as_gaps(freed, reason))]
            dropped = totals.dropped + sum(gap.last - gap.first + 1 for gap in given_up if gap.previous is None)
            gaps = totals.gaps - len(changes.told) + self._say_given_up(given_up)
            writer.execute(
                "UPDATE stream SET next_seq = ?, bd_seq = ?, dropped = ?", (changes.next_seq, changes.bd_seq, dropped)
            )
            over_budget = self._is_too_much(waiting + dead, held)
            reach("before-commit")
            writer.execute("COMMIT")
            self._done = weakref.ref(changes), done
        except sqlite3.Error:
            self._tails = tails
            with suppress(sqlite3.Error):  # SQLite itself may have rolled back
                writer.execute("ROLLBACK")
            raise
        self.totals = Totals(waiting=waiting, dead=dead, size=held, dropped=dropped, gaps=gaps)
        self.over_budget = over_budget
        self.next_seq, self.bd_seq = changes.next_seq, changes.bd_seq
        self.open_alerts = now_open
        reach("after-commit")
        self._testify()
        if self.reserve_in_use:
            self._empty_log()
        elif changes.gone or changes.stored:
            self._give_back_pages()
        return done

    def _note_alerts(self, letters: Iterable[Letter]) -> dict[str, bytes]:
        """Note which alerts these letters begin, change and end; those that are open then."""
        now_open = dict(self.open_alerts)
        for letter in letters:
            if letter.alert_id is None:
                continue
            if letter.ends:
                self._writer.execute("DELETE FROM open_alert WHERE alert_id = ?", (letter.alert_id,))
                now_open.pop(letter.alert_id, None)
            else:
                self._writer.execute("INSERT OR REPLACE INTO open_alert VALUES (?, ?)", (letter.alert_id, letter.body))
                now_open[letter.alert_id] = letter.body
        return now_open

    def _delete_stored(
        self, ranges: Sequence[tuple[int, int]]
    ) -> tuple[list[tuple[int, int]], Sequence[tuple[int, int]]]:
        """Delete what is stored elsewhere, not too much at once: state and size of each, and which ranges are done."""
        deleted: list[tuple[int, int]] = []
        for at, (first, last) in enumerate(ranges):
            left = MOST_DELETED - len(deleted)
            if left <= 0:
                return deleted, ranges[:at]
            query = (
                "DELETE FROM letter WHERE seq IN (SELECT seq FROM letter WHERE seq BETWEEN ? AND ? LIMIT ?) "
                "RETURNING state, size"
            )
            rows = self._writer.execute(query, (first, last, left)).fetchall()
            deleted += rows
            if len(rows) == left:
                return deleted, ranges[:at]
        return deleted, ranges

    def _make_room(
        self, bytes_over: int, rows_over: int, coming: Sequence[Letter] = ()
    ) -> list[tuple[int, str, int, int]]:
        """Delete the oldest letters that may be given up: seq, kind, state and size of each.

        coming: what is written next, of which some may have to go before what is here.
        """
        freed: list[tuple[int, str, int, int]] = []
        for kind in EXPENDABLE:
            while bytes_over > 0 or rows_over > 0:
                query = "SELECT seq, kind, state, size FROM letter WHERE kind = ? ORDER BY seq LIMIT 256"
                rows = self._writer.execute(query, (kind,)).fetchall()
                if not rows:
                    break
                for row in rows:
                    self._writer.execute("DELETE FROM letter WHERE seq = ?", (row[0],))
                    freed.append(row)
                    bytes_over, rows_over = bytes_over - row[3], rows_over - 1
                    if bytes_over <= 0 and rows_over <= 0:
                        return freed
            sizes = [letter.size for letter in coming if letter.kind == kind]
            bytes_over, rows_over = bytes_over - sum(sizes), rows_over - len(sizes)
        return freed

    def _located(self, gap: GivenUp) -> GivenUp:
        """The gap in the numbers of the stream that it is of."""
        if gap.first > 0:
            return gap
        stream, first = self.origin(gap.first)
        return replace(gap, previous=stream, first=first, last=first + gap.last - gap.first)

    def _shed(self) -> bool:
        """Give old letters up in steps so small that the log has room for them; False where there are none."""
        self._empty_log()
        count = 64
        while count:
            writer, tails = self._writer, dict(self._tails)
            try:
                writer.execute("BEGIN IMMEDIATE")
                query = "SELECT seq, kind, state, size FROM letter WHERE kind = ? ORDER BY seq LIMIT ?"
                rows: list[tuple[int, str, int, int]] = []
                for kind in EXPENDABLE:
                    rows = rows or writer.execute(query, (kind, count)).fetchall()
                writer.executemany("DELETE FROM letter WHERE seq = ?", [(row[0],) for row in rows])
                self._say_given_up([self._located(gap) for gap in _as_gaps(rows, "disk_full")])
                own = sum(row[0] > 0 for row in rows)
                writer.execute("UPDATE stream SET dropped = dropped + ?", (own,))
                reach("before-shed")
                writer.execute("COMMIT")
                reach("after-shed")
            except sqlite3.Error:
                self._tails = tails
                with suppress(sqlite3.Error):
                    writer.execute("ROLLBACK")
                count //= 2
                continue
            self._count()
            self._empty_log()
            return bool(rows)
        return False

    def _say_given_up(self, gaps: Iterable[GivenUp]) -> int:
        """Note what was given up, until a letter tells it; how many rows that took."""
        writer, new = self._writer, 0
        for gap in gaps:
            key = gap.reason, gap.kind
            id, end = self._tails.get(key, (0, 0))
            if gap.previous is None and gap.kind and id and gap.first == end + 1:
                writer.execute("UPDATE gap SET last = ? WHERE id = ?", (gap.last, id))
            else:
                row = (gap.reason, gap.previous, gap.kind, gap.first, gap.last)
                added = writer.execute(
                    "INSERT INTO gap (reason, previous, kind, first, last) VALUES (?, ?, ?, ?, ?)", row
                ).lastrowid
                new += 1
                id = added or 0
            if gap.previous is None and gap.kind:
                self._tails[key] = (id, gap.last)
        return new

    def _settle_dead(self, seqs: Collection[int], change: str, reason: GapReason | None) -> int:
        writer = self._writer
        writer.execute("BEGIN IMMEDIATE")
        try:
            dead = writer.execute("SELECT seq, kind, state, size FROM letter WHERE state = ?", (_DEAD,)).fetchall()
            chosen = [row for row in dead if not seqs or row[0] in seqs]
            writer.executemany(f"{change} WHERE seq = ?", [(row[0],) for row in chosen])
            if reason is not None:
                self._say_given_up([self._located(gap) for gap in _as_gaps(chosen, reason)])
                own = sum(row[0] > 0 for row in chosen)
                writer.execute("UPDATE stream SET dropped = dropped + ?", (own,))
            reach("before-settle")
            writer.execute("COMMIT")
            reach("after-settle")
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                writer.execute("ROLLBACK")
            raise
        self._count()
        return len(chosen)

    def _empty_log(self) -> None:
        with suppress(sqlite3.Error):  # else the log alone would eat the reserve
            # Where it is no longer than it has to be it keeps its length: on a full disk that is room to delete with.
            log_file = self.path.with_name(self.path.name + "-wal")
            with suppress(OSError):
                short = log_file.stat().st_size <= self._log_bytes
                self._writer.execute(f"PRAGMA wal_checkpoint({'RESTART' if short else 'TRUNCATE'})").fetchall()

    def _give_back_pages(self) -> None:
        with suppress(sqlite3.Error):  # a courtesy to the disk; the letters are safe without it
            if _pragma(self._writer, "freelist_count") > 1024:
                reach("before-pages-go")
                self._writer.executescript("PRAGMA incremental_vacuum(512)")  # `execute` would give back one page
                reach("after-pages-go")

    @property
    def _reserve(self) -> Path:
        return self.path.with_name(self.path.name + ".reserve")

    def _release_reserve(self) -> bool:
        """Give the disk back what was kept for this: when it is full, SQLite cannot even delete."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        reach("reserve-released")
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
            self._writer.execute("PRAGMA max_page_count = 4294967294").fetchall()
            self._no_room_said = False
        except (OSError, sqlite3.Error):
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


class _Moved(_Damaged):
    """Nothing is wrong with the file, but another machine may go on with its stream."""


@dataclass(frozen=True)
class _Witness:
    """How far a stream had come, as the file beside the outbox says."""

    stream_id: str
    next_seq: int
    bd_seq: int

    @classmethod
    def read(cls, line: str) -> _Witness | None:
        words = line.split()
        if len(words) != 3 or not (words[1].isdecimal() and words[2].isdecimal()):
            return None
        return cls(words[0], int(words[1]), int(words[2]))


def _read_ids(said: object) -> dict[str, str]:
    try:
        found = json.loads(str(said))
    except ValueError:
        return {}
    return {str(name): str(id) for name, id in found.items()} if isinstance(found, dict) else {}


def _is_letter(letter: Letter) -> bool:
    """Whether what was read is of the types that were written."""
    return isinstance(letter.body, bytes) and all(
        isinstance(said, str) for said in (letter.topic, letter.content_type, letter.kind)
    )


def _crc(letter: Letter) -> int:
    return zlib.crc32(letter.body, zlib.crc32(f"{letter.topic} {letter.content_type} {letter.kind}".encode()))


def _row(letter: Letter) -> tuple[Any, ...]:
    about = (letter.seq, letter.topic, letter.content_type, letter.kind, letter.body)
    return (*about, letter.size, _crc(letter), _WAITING, None)


def _is_sound(row: tuple[Any, ...]) -> bool:
    """Whether a salvaged row is what was written."""
    seq, topic, content_type, kind, body, size, crc, state, _problem = row
    kinds = [type(value) for value in (seq, topic, content_type, kind, body, size, state)]
    if kinds != [int, str, str, str, bytes, int, int]:
        return False
    return crc is None or crc == _crc(Letter(seq=seq, topic=topic, content_type=content_type, kind=kind, body=body))


def _taken_over(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row of a letter that is sound in the file of the next stream. No checksum says that size and state are."""
    seq, topic, content_type, kind, body, _size, crc, state, problem = row
    letter = Letter(seq=seq - STRIDE, topic=topic, content_type=content_type, kind=kind, body=body)
    return (letter.seq, *row[1:5], letter.size, crc, _DEAD if state == _DEAD else _WAITING, problem)


def _unknown_of(streams: Iterable[str]) -> list[GivenUp]:
    """Something of these may be lost, and nobody knows what."""
    return [GivenUp(reason="corruption", kind="", first=0, last=0, previous=stream) for stream in streams]


def _lost_of_earlier(found: Salvage, spoilt: Ranges) -> list[GivenUp]:
    """What a damaged file lost of the streams before its own: letters that are not sound, or nobody knows which."""
    if not found.whole:
        return _unknown_of(found.earlier)
    return [
        GivenUp(reason="corruption", kind="", first=first - base, last=last - base, previous=of)
        for of, base in found.earlier.items()
        for first, last in spoilt.within(base + 1, base + MAX_SEQ)
    ]


def _as_gaps(freed: Iterable[tuple[int, str, int, int]], reason: GapReason) -> list[GivenUp]:
    """Ranges of what was given up: seq, kind, state and size of each letter in."""
    by_kind: dict[str, Ranges] = {}
    for seq, kind, _state, _size in freed:
        by_kind.setdefault(kind, Ranges()).add(seq, seq)
    return [
        GivenUp(reason=reason, kind=kind, first=first, last=last)
        for kind, ranges in by_kind.items()
        for first, last in ranges
    ]


def _migrate(writer: sqlite3.Connection, script: str, version: int) -> None:
    """Bring the tables one version further, all of it or nothing."""
    writer.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {version}")
    reach("before-migration")
    writer.execute("COMMIT")
    reach("after-migration")


def _columns_needed() -> set[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(_SCHEMA)
        return _columns(fresh)


def _columns(db: sqlite3.Connection) -> set[tuple[str, ...]]:
    """Tables, their columns and what these hold, and the columns of indexes: a file's words for them may turn too."""
    tables = "SELECT m.name, p.name, p.type, p.pk FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = ?"
    indexes = "SELECT m.name, p.name, p.seqno FROM sqlite_master m, pragma_index_info(m.name) p WHERE m.type = ?"
    return {*db.execute(tables, ("table",)), *db.execute(indexes, ("index",))}


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
