"""The ledger of commands: what was asked for by its id, and what was answered, so that nothing is done twice."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from edge_resad.clock_floor import is_set
from edge_resad.device.crash_points import reach
from edge_resad.device.quarantine import UNREADABLE, Quarantine, any_text
from edge_resad.errors import ControlError
from edge_resad.messages import Moment, Status

log = logging.getLogger(__name__)

MOST = 100_000  # commands that are remembered one by one
LARGE = 4096  # bytes of a result, such as a picture's, that is remembered for the newest commands alone
LARGE_KEPT = 100
_SCHEMA = """
CREATE TABLE IF NOT EXISTS command (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    command_id TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    command TEXT NOT NULL,
    issued_by TEXT NOT NULL,
    issued_wall_s REAL NOT NULL,
    role TEXT,
    arguments TEXT NOT NULL,
    status TEXT,
    sentence TEXT,
    result TEXT,
    audited INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS unsettled ON command (number) WHERE status IS NULL OR audited = 0;
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = "command_id, digest, command, issued_by, issued_wall_s, role, arguments, status, sentence, result"
_UNSETTLED = f"SELECT {_COLUMNS} FROM command WHERE status IS NULL OR audited = 0 ORDER BY number"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a command."""

    status: Status
    sentence: str | None = None
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """A command in the ledger."""

    command_id: str
    digest: str  # of the command and its arguments
    command: str
    issued_by: str
    issued_wall_s: float
    role: str | None  # whose key signed it; None where nobody's did
    arguments: Mapping[str, Any]
    answer: Answer | None = None  # None: it is being done


class Ledger:
    """One SQLite file. What `begin` and `finish` have returned from is on the disk. For any thread."""

    def __init__(self, path: Path, *, most: int = MOST) -> None:
        self._path = path
        self._most = most
        self._lock = threading.Lock()
        self._quarantine = Quarantine(path)
        self.lost_mono: float | None = None  # before this run what was known was lost, and no clock has said when

    def __enter__(self) -> Ledger:
        self._opened_mono = time.monotonic()  # damage is found here alone: what was lost is older
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            written_s = _written_s(self._path)  # before it is opened, which may write
            try:
                if self._quarantine.is_unfinished:
                    raise sqlite3.DatabaseError("the power was cut while it was set aside")
                self._db = self._opened()
            except sqlite3.OperationalError:
                raise
            except UNREADABLE as broken:
                self._set_aside(broken, written_s)
            self.lost_mono = None if self.fact("set_aside_s") is None else self._opened_mono
        except sqlite3.Error as refused:
            raise ControlError(
                f"the ledger of commands {self._path} cannot be opened: {refused}. Check [commands] ledger, space "
                "and rights."
            ) from refused
        except OSError as refused:
            raise ControlError(
                f"the ledger of commands {self._path} cannot be made: {refused.strerror}. Check [commands] ledger."
            ) from refused
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        with self._lock:
            self._db.close()

    def find(self, command_id: str) -> Record | None:
        """What is known of a command."""
        with self._lock:
            row = self._db.execute(f"SELECT {_COLUMNS} FROM command WHERE command_id = ?", (command_id,)).fetchone()
        return None if row is None else _record(row)

    def begin(self, record: Record) -> None:
        """Note a command that is about to be done, or with its answer one that is not going to be."""
        answer = record.answer
        values = (
            *(record.command_id, record.digest, record.command, record.issued_by, record.issued_wall_s, record.role),
            *(json.dumps(dict(record.arguments)), *_columns(answer)),
        )
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(f"INSERT INTO command ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", values)
            self._forget_old()
            reach("command-beginning")

    def finish(self, command_id: str, answer: Answer) -> None:
        """Note what became of a command."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "UPDATE command SET status = ?, sentence = ?, result = ? WHERE command_id = ?",
                (*_columns(answer), command_id),
            )
            reach("command-noting")

    def audited(self, command_id: str) -> None:
        """Note that a command's end is written down for people."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("UPDATE command SET audited = 1 WHERE command_id = ?", (command_id,))
            reach("audit-settling")

    def unsettled(self) -> list[Record]:
        """Commands that an earlier run of the station began and did not end, or ended and did not write down."""
        with self._lock:
            return [_record(row) for row in self._db.execute(_UNSETTLED)]

    @property
    def horizon_s(self) -> float:
        """Of commands issued until then the ledger does not remember each: one that it does not know may be done."""
        return float(self.fact("horizon_s") or 0.0)

    def note_horizon(self, now: Moment) -> bool:
        """Say until when a ledger that was set aside knows nothing, as soon as a clock can tell; False until then.

        A clock that says less than when the damaged file was written last is behind, unless it is known to be right.
        """
        aside_s = self.fact("set_aside_s")
        if aside_s is None:
            return True
        if not is_set(now.wall) or (now.wall < aside_s and not now.clock_synced):
            return False
        horizon_s = max(self.horizon_s, now.wall - max(0.0, now.mono - self._opened_mono))
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._put_fact("horizon_s", horizon_s)
            self._db.execute("DELETE FROM fact WHERE name = 'set_aside_s'")
            reach("horizon-noting")
        reach("horizon-noted")
        return True

    def fact(self, name: str) -> Any:
        """Anything else that is remembered."""
        with self._lock:
            row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def remember(self, name: str, value: object) -> None:
        """Remember something else."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._put_fact(name, value)
            reach("config-remembering")

    def _put_fact(self, name: str, value: object) -> None:
        self._db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, json.dumps(value)))

    def _forget_old(self) -> None:
        newest = int(self._db.execute("SELECT max(number) FROM command").fetchone()[0])
        going = "number <= ? AND status IS NOT NULL AND audited = 1"
        (until,) = self._db.execute(
            f"SELECT max(issued_wall_s) FROM command WHERE {going}", (newest - self._most,)
        ).fetchone()
        if until is not None:
            row = self._db.execute("SELECT value FROM fact WHERE name = 'horizon_s'").fetchone()
            self._put_fact("horizon_s", max(until, 0.0 if row is None else float(json.loads(row[0]))))
            self._db.execute(f"DELETE FROM command WHERE {going}", (newest - self._most,))
        self._db.execute(
            "UPDATE command SET result = NULL WHERE number BETWEEN ? AND ? AND length(result) > ? AND audited = 1",
            (newest - 3 * LARGE_KEPT, newest - LARGE_KEPT, LARGE),
        )

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5.0)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")  # a power cut must not lose that something was begun
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA}")
            reach("ledger-making")
            db.execute("COMMIT")
            reach("ledger-made")
            db.text_factory = any_text
            # Not the quick one: a command that is missing in the index alone would be done once more.
            (said,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            if said != "ok":
                raise sqlite3.DatabaseError(said)
            _check_readable(db)
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, broken: Exception, written_s: float) -> None:
        aside = self._quarantine.move()
        log.warning("the ledger of commands %s is damaged (%s); it is kept as %s", self._path, broken, aside.name)
        self._db = self._opened()
        try:
            self.remember("set_aside_s", max(written_s, _written_s(aside)))
            self._quarantine.end()  # not before: what is done already would be done once more
        except BaseException:
            self._db.close()
            raise


def _check_readable(db: sqlite3.Connection) -> None:
    """Raise DatabaseError where what every start reads makes no sense: no command would be looked at before it."""
    try:
        for row in db.execute(_UNSETTLED):
            _record(row)
        for (value,) in db.execute("SELECT value FROM fact"):
            json.loads(value)
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(f"a row is no longer what was written: {error}") from error


def _written_s(path: Path) -> float:
    """When a database was written last, by the clock of that time; 0 where there is none."""
    found = (path, path.with_name(path.name + "-wal"))
    return max((file.stat().st_mtime for file in found if file.exists()), default=0.0)


def _columns(answer: Answer | None) -> tuple[str | None, str | None, str | None]:
    if answer is None:
        return None, None, None
    result = None if answer.result is None else json.dumps(dict(answer.result))
    return answer.status, answer.sentence, result


def _record(row: tuple[Any, ...]) -> Record:
    command_id, digest, command, issued_by, issued_wall_s, role, arguments, status, sentence, result = row
    answer = None
    if status is not None:
        answer = Answer(status=status, sentence=sentence, result=None if result is None else json.loads(result))
    return Record(
        command_id=command_id,
        digest=digest,
        command=command,
        issued_by=issued_by,
        issued_wall_s=issued_wall_s,
        role=role,
        arguments=json.loads(arguments),
        answer=answer,
    )
