"""A durable outbox: what a publisher could not yet deliver, in the order it was written."""

from __future__ import annotations

import ctypes
import logging
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from types import TracebackType

from edge_resad.device.spoolfile import Changes, Kind, Letter, SpoolFile
from edge_resad.messages import JSON_TYPE, Stamp

__all__ = ["Kind", "Letter", "Spool", "Stamp"]

_BATCH = 1000  # letters in one transaction; fewer while the disk refuses, for a part of a backlog may still fit
_CLOSE_S = 5.0
_HARD_BOUND = 4  # times `ram_bytes`: where a disk stays full so long that alerts alone would eat the memory

log = logging.getLogger(__name__)


class Spool:
    """Letters on their way out. `put` never waits for the disk: one thread writes, many letters in one commit.

    Only what is committed is ever handed to a publisher, so nothing is sent that a power cut could make unwritten.
    Where room runs out the oldest verdicts of good parts go first, then pictures; never a failed part, never an alert.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        commit_ms: float = 10.0,
        ram_bytes: int = 64 << 20,
        reserve_bytes: int = 16 << 20,
        retry_s: float = 1.0,
    ) -> None:
        """Remember what to open.

        max_bytes:     of letters in the file.
        commit_ms:     how long a commit gathers letters.
        ram_bytes:     of letters that wait in memory while the disk refuses them.
        reserve_bytes: kept beside the file for the day the disk is full.
        retry_s:       between two tries to write to a disk that refused.
        """
        self._file = SpoolFile(path, max_bytes=max_bytes, reserve_bytes=reserve_bytes)
        self._path = path
        self._commit_s = commit_ms / 1000
        self._ram_max = ram_bytes
        self._retry_s = retry_s
        self._changed = threading.Condition(threading.Lock())  # guards everything below, never held over disk work
        self._closing = threading.Event()
        self._listeners: list[Callable[[], None]] = []

    def __enter__(self) -> Spool:
        self._file.__enter__()
        self.boot_id = _boot_id()
        self._next_seq = self._file.next_seq
        self._bd_seq = self._file.bd_seq
        self._totals = self._file.totals
        self._pending: dict[int, Letter] = {}  # put, not yet in a transaction
        self._writing: dict[int, Letter] = {}  # in the transaction that runs now
        self._expendable: dict[Kind, deque[int]] = {"pass": deque(), "image": deque()}  # of the pending ones
        self._ram_bytes = 0  # of pending and writing
        self._gone: set[int] = set()  # delivered, not yet deleted
        self._dead: dict[int, str] = {}  # refused for ever, not yet marked
        self._stream_changed = False
        self._dropped_here = 0  # in memory, not yet counted in the file
        self._lost = 0
        self._batch = _BATCH
        self._trouble: sqlite3.Error | None = None
        self._closing.clear()
        self._thread = threading.Thread(target=self._write_all, name="spool", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(_CLOSE_S)
        with self._changed:
            left = len(self._pending) + len(self._writing)
            self._pending, self._writing = {}, {}
            self._lost += left
        if left:
            log.error("the spool %s could not be written: %d messages are lost", self._path, left)
        if self._thread.is_alive():  # the disk hangs; closing under the thread would only hang us too
            return
        self._file.__exit__(kind, error, trace)

    @property
    def stream_id(self) -> str:
        """The name of this file's stream of letters; a new file begins a new one."""
        return self._file.stream_id

    @property
    def next_seq(self) -> int:
        """The number that the next letter gets."""
        with self._changed:
            return self._next_seq

    @property
    def dropped(self) -> int:
        """Letters given up for want of room, over the life of the stream."""
        with self._changed:
            return self._totals.dropped + self._dropped_here

    @property
    def lost(self) -> int:
        """Letters of this run that are nowhere: the disk refused them until memory was full too, or until the end."""
        with self._changed:
            return self._lost

    @property
    def dead(self) -> int:
        """Letters that the broker refuses for ever; they stay in the file for a person to look at."""
        with self._changed:
            return self._totals.dead + len(self._dead)

    def put(
        self, topic: str, compose: Callable[[Stamp], bytes], *, content_type: str = JSON_TYPE, kind: Kind = "alert"
    ) -> Stamp:
        """Take one letter: `compose` makes its bytes from its stamp, `kind` says if it may go when room runs out."""
        synced = _clock_synced()
        with self._changed:
            if self._closing.is_set():
                raise ValueError(f"the spool {self._path} is closed")
            stamp = Stamp(self.stream_id, self._next_seq, self.boot_id, time.time(), time.monotonic(), synced)
            letter = Letter(seq=stamp.seq, topic=topic, content_type=content_type, kind=kind, body=compose(stamp))
            self._next_seq += 1
            self._keep(letter)
            self._bound_memory(letter)
            self._changed.notify_all()
        return stamp

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was put so far is committed; False where the time was too short."""
        with self._changed:
            last = self._next_seq - 1
            return self._changed.wait_for(lambda: self._committed(last), timeout_s)

    def waiting(self) -> int:
        """Letters that are not delivered yet, in the file and in memory."""
        with self._changed:
            undelivered = self._totals.waiting + len(self._pending) + len(self._writing)
            return max(0, undelivered - len(self._gone) - len(self._dead))

    def oldest(self, limit: int, after_seq: int = 0) -> list[Letter]:
        """The first committed letters after `after_seq` that still wait, in order."""
        with self._changed:
            settled = self._gone | self._dead.keys()
        letters: list[Letter] = []
        while len(letters) < limit:
            page = self._file.read(limit, after_seq)
            letters += [letter for letter in page if letter.seq not in settled]
            if len(page) < limit:
                break
            after_seq = page[-1].seq
        return letters[:limit]

    def published(self, seqs: Iterable[int]) -> None:
        """The broker has these, which `oldest` handed out: they leave with the next commit."""
        with self._changed:
            self._gone.update(seqs)
            self._changed.notify_all()

    def refused(self, letter: Letter, problem: str) -> None:
        """The broker will never take this one: a picture is dropped, anything else is kept as a dead letter."""
        with self._changed:
            if letter.kind == "image":
                self._gone.add(letter.seq)
                self._dropped_here += 1
            else:
                self._dead[letter.seq] = problem
            self._changed.notify_all()

    def begin_session(self) -> int:
        """The number of the next connection to the broker: it grows over restarts too."""
        with self._changed:
            self._bd_seq += 1
            self._stream_changed = True
            self._changed.notify_all()
            return self._bd_seq

    def listen(self, on_commit: Callable[[], None]) -> Callable[[], None]:
        """Have `on_commit` called, by the writing thread, whenever new letters are committed; the answer ends that."""
        self._listeners = [*self._listeners, on_commit]

        def stop() -> None:
            self._listeners = [listener for listener in self._listeners if listener is not on_commit]

        return stop

    def health(self) -> str | None:
        """What is wrong with the outbox, in a sentence; None when all is well."""
        with self._changed:
            if not self._thread.is_alive() and not self._closing.is_set():
                return f"the spool {self._path} has stopped writing. Restart the station; its log says why."
            if self._trouble is not None:
                full = isinstance(self._trouble, sqlite3.OperationalError)
                todo = "Free disk space" if full else "Restart the station, which sets a damaged file aside"
                lost = f" Memory is full too: {self._lost} alerts are lost." if self._lost else ""
                return (
                    f"the spool {self._path} cannot be written ({self._trouble}): "
                    f"{len(self._pending) + len(self._writing)} messages wait in memory.{lost} "
                    f"{todo}; the line goes on and writing is tried again every {self._retry_s:g} s."
                )
            if self._file.reserve_in_use:
                return (
                    f"the disk of the spool {self._path} is full: its reserve is in use, and the oldest verdicts of "
                    "good parts make room for new ones. Free disk space."
                )
            if self._file.over_budget:
                return (
                    f"the spool {self._path} holds {self._totals.size / 1e6:.1f} MB of alerts and failed parts, "
                    "more than its budget. Bring the broker back, or raise [spool] max_mb."
                )
            return None

    def _keep(self, letter: Letter) -> None:
        self._pending[letter.seq] = letter
        self._ram_bytes += letter.size
        if letter.kind in self._expendable:
            self._expendable[letter.kind].append(letter.seq)

    def _bound_memory(self, newest: Letter) -> None:
        for expendable in self._expendable.values():
            while expendable and self._ram_bytes > self._ram_max:
                self._drop(expendable.popleft())
        if self._ram_bytes > _HARD_BOUND * self._ram_max and newest.seq in self._pending:
            self._drop(newest.seq)
            self._lost += 1

    def _drop(self, seq: int) -> None:
        letter = self._pending.pop(seq, None)
        if letter is not None:
            self._ram_bytes -= letter.size
            self._dropped_here += 1

    def _committed(self, last: int) -> bool:
        first = next(iter(self._writing or self._pending), None)
        return (first is None or first > last) and not self._stream_changed

    def _has_work(self) -> bool:
        return bool(self._pending or self._gone or self._dead or self._stream_changed)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing.is_set() or self._has_work())
                if not self._has_work():
                    return
            self._closing.wait(self._commit_s)
            if self._commit():
                continue
            if self._closing.wait(self._retry_s) and not self._commit():  # the last try
                return

    def _commit(self) -> bool:
        """One transaction; False where the disk refused it."""
        changes = self._begin()
        try:
            self._file.write(changes)
        except sqlite3.Error as error:
            self._put_back(error)
            return False
        self._end(changes)
        if changes.new:
            for listener in self._listeners:
                listener()
        return True

    def _begin(self) -> Changes:
        with self._changed:
            size = 0
            for letter in list(islice(self._pending.values(), self._batch)):
                size += letter.size
                if self._writing and size > self._file.batch_bytes:
                    break
                self._writing[letter.seq] = self._pending.pop(letter.seq)
            for expendable in self._expendable.values():
                while expendable and expendable[0] not in self._pending:
                    expendable.popleft()
            self._stream_changed = False
            return Changes(
                new=list(self._writing.values()),
                gone=frozenset(self._gone),
                dead=dict(self._dead),
                next_seq=self._next_seq,
                bd_seq=self._bd_seq,
                dropped=self._dropped_here,
            )

    def _end(self, changes: Changes) -> None:
        with self._changed:
            self._totals = self._file.totals
            self._batch = min(_BATCH, 2 * self._batch)
            self._writing.clear()
            self._ram_bytes -= sum(letter.size for letter in changes.new)
            self._gone -= set(changes.gone)
            for seq in changes.dead:
                self._dead.pop(seq, None)
            self._dropped_here -= changes.dropped
            if self._trouble is not None:
                log.warning("the spool %s can be written again", self._path)
                self._trouble = None
            self._changed.notify_all()

    def _put_back(self, error: sqlite3.Error) -> None:
        with self._changed:
            self._pending = {**self._writing, **self._pending}
            self._writing = {}
            for kind, expendable in self._expendable.items():
                expendable.clear()
                expendable.extend(letter.seq for letter in self._pending.values() if letter.kind == kind)
            self._stream_changed = True
            self._batch = max(1, self._batch // 2)
            if self._trouble is None:
                log.error("the spool %s cannot be written: %s; messages wait in memory", self._path, error)
            self._trouble = error


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(uuid.uuid4())  # not Linux: the monotonic clock is then comparable within this process


_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronized
_libc = ctypes.CDLL(None)


def _clock_synced() -> bool | None:
    """What the kernel says of its clock; None where it does not say."""
    adjtimex = getattr(_libc, "adjtimex", None)
    if adjtimex is None:
        return None
    said = int(adjtimex(ctypes.create_string_buffer(512)))  # a zeroed `struct timex` asks and changes nothing
    return None if said < 0 else said != _TIME_ERROR
