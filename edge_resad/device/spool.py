"""A durable outbox: what a publisher could not yet deliver, in the order it was written."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edge_resad.device.crash_points import reach
from edge_resad.device.kernel_clock import clock_state
from edge_resad.device.ranges import Ranges
from edge_resad.device.spoolfile import (
    DRAFT_BYTES,
    EXPENDABLE,
    STRIDE,
    Changes,
    GivenUp,
    Kind,
    Letter,
    SpoolFile,
)
from edge_resad.device.worker import Worker
from edge_resad.errors import SpoolError
from edge_resad.messages import JSON_TYPE, MAX_RANGES, GapReason, Moment, Phase, Stamp

__all__ = ["GapLetter", "Kind", "Letter", "Spool", "Stamp"]

_BATCH = 1000  # letters in one transaction; fewer while the disk refuses, for a part of a backlog may still fit
_CLOSE_S = 5.0
_HARD_BOUND = 4  # times `ram_bytes`: where a disk stays full so long that alerts alone would eat the memory
_SLOW_S = 10.0  # a disk that takes longer for a commit is said
_MOST_SENT = 10_000  # ranges of letters that were sent and not acknowledged; what is forgotten is sent again

log = logging.getLogger(__name__)


class GapLetter(Protocol):
    """Writes the letter that says what was given up."""

    def __call__(
        self,
        stamp: Stamp,
        *,
        ranges: Sequence[tuple[int, int]],
        counts: Mapping[str, int],
        reason: GapReason,
        previous_stream_id: str | None,
    ) -> bytes: ...


class Spool:
    """Letters on their way out. `put` waits for nothing: one thread composes and writes, many letters in one commit.

    Only what is committed is ever handed to a publisher, so nothing is sent that a power cut could make unwritten.
    Where room runs out the oldest pictures go first, then verdicts of good parts, then of parts not inspected; never a
    failed part, never an alert that is in the file. Where the disk refuses until memory is full, new ones go too.
    What goes is noted in the same transaction, and a letter tells it.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        max_letters: int = 2**62,
        gap_topic: str = "",
        gap_letter: GapLetter | None = None,
        commit_ms: float = 10.0,
        ram_bytes: int = 64 << 20,
        reserve_bytes: int = 16 << 20,
        retry_s: float = 1.0,
        machine: Mapping[str, str] | None = None,
    ) -> None:
        """Remember what to open.

        max_bytes:     of letters in the file.
        max_letters:   in the file.
        gap_letter:    who writes what was given up, for `gap_topic`; without it nobody is told.
        commit_ms:     how long a commit gathers letters.
        ram_bytes:     of letters that wait in memory while the disk refuses them.
        reserve_bytes: kept beside the file for the day the disk is full.
        retry_s:       between two tries to write to a disk that refused.
        machine:       ids of this one; a file of another is taken over into a new stream.
        """
        self._file = SpoolFile(
            path, max_bytes=max_bytes, reserve_bytes=reserve_bytes, max_rows=max_letters, machine=machine
        )
        self._gap_topic, self._gap_letter = gap_topic, gap_letter
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
        self._stream_id, self._earlier = self._file.stream_id, dict(self._file.earlier)
        self._next_seq = self._file.next_seq
        self._bd_seq = self._file.bd_seq
        self._totals = self._file.totals
        self._left_open = dict(self._file.open_alerts)
        self._pending: dict[int, Letter] = {}  # put, not yet in a transaction
        self._drafts: OrderedDict[int, None] = OrderedDict()  # of the pending ones, not yet composed
        self._writing: dict[int, Letter] = {}  # in the transaction that runs now
        self._expendable: dict[Kind, deque[int]] = {kind: deque() for kind in EXPENDABLE}  # of the pending ones
        self._ram_bytes = 0  # of pending and writing
        self._gone: set[int] = set()  # delivered, not yet deleted
        self._stored = Ranges()  # a collector has them, not yet deleted
        self._sent = Ranges(most=_MOST_SENT)  # went to the broker in this run: only these may be acknowledged
        self._dead: dict[int, str] = {}  # refused for ever, not yet marked
        self._left = 0  # commits with which letters left
        self._stream_changed = False
        self._given_up: dict[tuple[GapReason, str], Ranges] = {}  # in memory, not yet noted in the file
        self._telling: dict[int, list[int]] = {}  # letter that tells gaps -> their ids, until it is written
        self._untellable: list[int] = []  # ids of gaps that make no letter
        self._tell_wanted = False
        self._lost = 0
        self._batch = _BATCH
        self._trouble: Exception | None = None
        self._in_flight: Changes | None = None  # what the writing thread is at
        self._stumbled = False  # it did, over something that nobody foresaw
        self._busy_since: float | None = None  # the writing thread, with the disk
        self._closing.clear()
        self._thread = Worker(self._write_all, name="spool", closing=self._closing, first_pause_s=self._retry_s)
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
        return self._stream_id

    @property
    def next_seq(self) -> int:
        """The number that the next letter gets."""
        with self._changed:
            return self._next_seq

    @property
    def dropped(self) -> int:
        """Letters given up for want of room, over the life of the stream."""
        with self._changed:
            return self._totals.dropped + sum(len(ranges) for ranges in self._given_up.values())

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

    @property
    def left_open(self) -> Mapping[str, bytes]:
        """The last that was said of each alert that was open when the run before this one was killed."""
        return self._left_open

    def put(
        self,
        topic: str,
        compose: Callable[[Stamp], bytes],
        *,
        content_type: str = JSON_TYPE,
        kind: Kind = "alert",
        alert: tuple[str | None, Phase] | None = None,
        holds_bytes: int = DRAFT_BYTES,
    ) -> Stamp:
        """Take one letter: `compose` makes its bytes from its stamp, `kind` says if it may go when room runs out.

        compose: called soon and once, by the writing thread. Where it fails its letter is given up, which a gap tells.
        alert: the alert that it speaks of, None being the one that it gives its own name, and what becomes of that.
        holds_bytes: about what `compose` keeps in memory until then.
        """
        with self._changed:
            if self._closing.is_set():
                raise ValueError(f"the spool {self._path} is closed")
            stamp = self._stamp()
            alert_id, ends = (alert[0] or stamp.event_id, alert[1] == "end") if alert is not None else (None, False)
            letter = Letter(
                seq=stamp.seq,
                topic=topic,
                content_type=content_type,
                kind=kind,
                body=b"",
                alert_id=alert_id,
                ends=ends,
                compose=partial(compose, stamp),
                holds_bytes=holds_bytes,
            )
            self._drafts[stamp.seq] = None
            self._keep(letter)
            self._bound_memory(letter)
            self._changed.notify_all()
        return stamp

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was put so far is committed; False where the time was too short."""
        with self._changed:
            last = self._next_seq - 1
            return self._changed.wait_for(lambda: self._committed(last), timeout_s)

    def moment(self) -> Moment:
        """Now, as a message says it that is no letter."""
        synced, error_s = clock_state()
        return Moment(
            boot_id=self.boot_id,
            wall=time.time(),
            mono=time.monotonic(),
            clock_synced=synced,
            clock_error_s=error_s,
        )

    @property
    def committed_seq(self) -> int:
        """Every letter up to this number is on the disk, or gone."""
        with self._changed:
            return next(iter(self._writing or self._pending), self._next_seq) - 1

    def is_committed(self, seq: int) -> bool:
        """Whether every letter up to this one is on the disk, or gone."""
        return self.committed_seq >= seq

    def waiting(self) -> int:
        """Letters that are not delivered yet, in the file and in memory."""
        with self._changed:
            undelivered = self._totals.waiting + len(self._pending) + len(self._writing)
            return max(0, undelivered - len(self._gone) - len(self._dead))

    def oldest(
        self, limit: int, after_seq: int = -(2**63), until_seq: int = 2**63 - 1, kinds: Sequence[Kind] = ()
    ) -> list[Letter]:
        """The first committed letters after `after_seq`, up to `until_seq`, that still wait, in order.

        kinds: only those; all where none is named.
        """
        letters: list[Letter] = []
        while len(letters) < limit:
            left = self._left
            try:
                page = self._file.read(limit, after_seq, kinds)
            except SpoolError:
                with self._changed:
                    self._changed.notify_all()  # the writing thread looks what is the matter
                raise
            with self._changed:
                if page.stream_id != self._stream_id:  # the file is being replaced
                    return []
                if self._left != left:  # some of these may have left the file and our lists since they were read
                    continue
                letters += [letter for letter in page.letters if self._waits(letter.seq) and letter.seq <= until_seq]
                for seq, kind in page.broken:
                    self._give_up(seq, kind, "corruption")
            if page.last is None or page.last >= until_seq:
                break
            after_seq = page.last
        return letters[:limit]

    def event_id(self, letter: Letter) -> str:
        """The letter's name, unique in the world."""
        return f"{letter.stream_id}-{letter.number}"

    def sent(self, letter: Letter) -> None:
        """This letter goes to the broker now: from here on it may be acknowledged."""
        with self._changed:
            seq = self._row(letter)
            if seq is not None:
                self._sent.add(seq, seq)

    def acknowledged(self, stream_id: str, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """A collector has these for good, by their numbers in a stream of ours; those that leave for it.

        Only letters that were sent leave, whatever the ranges say.
        """
        with self._changed:
            base = self._base(stream_id)
            if base is None:
                return []
            leaving = [piece for first, last in ranges for piece in self._sent.within(first + base, last + base)]
            for first, last in leaving:
                self._stored.add(first, last)
                self._sent.remove(first, last)
        if leaving:
            reach("after-ack")
            with self._changed:
                self._changed.notify_all()
        return leaving

    def published(self, letters: Iterable[Letter]) -> None:
        """These, which `oldest` handed out, need not be kept: they leave with the next commit."""
        with self._changed:
            rows = [self._row(letter) for letter in letters]
            self._gone.update(row for row in rows if row is not None)
            self._changed.notify_all()

    def refused(self, letter: Letter, problem: str) -> None:
        """The broker will never take this one: a picture is dropped, anything else is kept as a dead letter."""
        with self._changed:
            seq = self._row(letter)
            if seq is None:
                return
            if letter.kind == "image":
                self._give_up(seq, letter.kind, "refused")
            else:
                self._dead[seq] = problem
            self._changed.notify_all()

    def tell_gaps(self) -> None:
        """Write a letter about what was given up so far and nobody was told."""
        with self._changed:
            if self._gap_letter is not None and (self._totals.gaps or self._given_up):
                self._tell_wanted = True
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
            waits = f"{len(self._pending) + len(self._writing)} messages wait in memory."
            waits += f" Memory is full too: {self._lost} new messages are lost." if self._lost else ""
            if self._trouble is not None:
                todo = "Free disk space"
                return (
                    f"the spool {self._path} cannot be written ({self._trouble}): {waits} "
                    f"{todo}; the line goes on and writing is tried again every {self._retry_s:g} s."
                )
            busy_since = self._busy_since
            slow_s = 0.0 if busy_since is None else time.monotonic() - busy_since
            if slow_s > _SLOW_S:
                return (
                    f"the spool {self._path} has waited for its disk for {slow_s:.0f} s: {waits} Check the disk; the "
                    "line goes on."
                )
            if self._file.reserve_in_use:
                return (
                    f"the disk of the spool {self._path} is full: its reserve is in use, and the oldest pictures and "
                    "verdicts of good parts make room for new ones. Free disk space."
                )
            if self._file.over_budget:
                return (
                    f"the spool {self._path} holds {self._totals.waiting + self._totals.dead} messages of "
                    f"{self._totals.size / 1e6:.1f} MB, alerts and failed parts, more than its budget. Bring the "
                    "broker or the collector back, or raise [spool] max_mb and max_messages."
                )
            return None

    def _stamp(self) -> Stamp:
        """The next number, here and now."""
        wall, mono = time.time(), time.monotonic()
        stamp = Stamp(self.stream_id, self._next_seq, self.boot_id, wall, mono, *clock_state())
        self._next_seq += 1
        return stamp

    def _compose_drafts(self) -> None:
        """Make the bytes of what was put. The thread that judges parts has no time for it."""
        for _ in range(_BATCH):
            with self._changed:
                first = next(iter(self._drafts), None)
                letter = None if first is None else self._pending[first]
            if letter is None:
                return
            assert letter.compose is not None
            try:
                whole = replace(letter, body=letter.compose(), compose=None)
            except Exception:
                log.exception("the message %d for %s cannot be composed", letter.seq, letter.topic)
                whole = None
            with self._changed:
                self._settle_draft(letter, whole)

    def _settle_draft(self, draft: Letter, whole: Letter | None) -> None:
        if whole is None:
            self._drop(draft.seq, "refused")
        elif draft.seq in self._pending:  # there was room for it until now
            del self._drafts[draft.seq]
            self._pending[draft.seq] = whole
            self._ram_bytes += whole.size - draft.size

    def _base(self, stream_id: str | None) -> int | None:
        """What is added to a stream's numbers here; None where it is none of ours."""
        return 0 if stream_id == self._stream_id else self._earlier.get(stream_id or "")

    def _row(self, letter: Letter) -> int | None:
        """Where a letter is now: the file may have been replaced since it was read."""
        base = self._base(letter.stream_id)
        return None if base is None else base + letter.number

    def _waits(self, seq: int) -> bool:
        return not (seq in self._gone or seq in self._dead or seq in self._stored)

    def _give_up(self, seq: int, kind: str, reason: GapReason) -> None:
        """A letter of the file that has no use any more."""
        if seq not in self._gone:
            self._gone.add(seq)
            self._given_up.setdefault((reason, kind), Ranges()).add(seq, seq)

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

    def _drop(self, seq: int, reason: GapReason = "memory_full") -> None:
        letter = self._pending.pop(seq, None)
        if letter is not None:
            self._drafts.pop(seq, None)
            self._ram_bytes -= letter.size
            self._given_up.setdefault((reason, letter.kind), Ranges()).add(seq, seq)

    def _committed(self, last: int) -> bool:
        first = next(iter(self._writing or self._pending), None)
        return (first is None or first > last) and not self._stream_changed

    def _has_work(self) -> bool:
        waits = self._pending or self._gone or self._stored or self._dead or self._given_up or self._untellable
        return bool(waits or self._stream_changed or self._tell_wanted or self._file.suspect)

    def _write_all(self) -> None:
        try:
            if self._stumbled:
                self._take_up_again()
            self._write_until_closed()
        except Exception as error:  # the worker says it in the log and begins anew
            self._stumble(error)
            raise

    def _stumble(self, error: Exception) -> None:
        """Whatever it was that nobody foresaw: the file knows whether the transaction was done."""
        changes = self._in_flight
        done = self._file.done(changes) if changes is not None else None
        if changes is not None and done is not None:
            self._end(changes, done)
        self._put_back(error)
        self._stumbled = True

    def _take_up_again(self) -> None:
        try:
            self._file.take_up_again()
        except sqlite3.Error:
            self._file.suspect = True  # the next commit looks what is the matter, and sets it aside if need be
        with self._changed:
            self._totals = self._file.totals
            self._stumbled = False

    def _write_until_closed(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing.is_set() or self._has_work())
                if not self._has_work():
                    return
            self._closing.wait(self._commit_s)
            if self._commit_in_time():
                continue
            if self._closing.wait(self._retry_s) and not self._commit_in_time():  # the last try
                return

    def _commit_in_time(self) -> bool:
        self._busy_since = time.monotonic()
        try:
            return self._commit()
        finally:
            self._busy_since = None

    def _commit(self) -> bool:
        """One transaction; False where the disk refused it."""
        try:
            if self._file.suspect and self._file.is_damaged():
                self._begin_anew("it cannot be read")
            self._compose_drafts()
            self._compose_gaps()
        except (sqlite3.Error, OSError) as error:
            self._put_back(error)
            return False
        changes = self._in_flight = self._begin()
        try:
            done = self._file.write(changes)
        except sqlite3.Error as error:
            self._put_back(error)
            try:
                if self._file.is_damaged(error):
                    self._begin_anew(str(error))
            except (sqlite3.Error, OSError) as refused:
                self._put_back(refused)
            return False
        self._end(changes, done)
        if changes.new:
            for listener in self._listeners:
                listener()
        return True

    def _begin_anew(self, why: str) -> None:
        """The file is damaged: the line goes on with a new stream, and what waits here belongs to the old one."""
        told = [id for ids in self._telling.values() for id in ids]
        self._file.replace(why, told)  # takes its time: what is put meanwhile is of the old stream still
        with self._changed:
            self._stream_id, self._earlier = self._file.stream_id, dict(self._file.earlier)
            below = [replace(letter, seq=letter.seq - STRIDE) for letter in self._pending.values()]
            self._pending = {letter.seq: letter for letter in below}
            self._drafts = OrderedDict.fromkeys(seq - STRIDE for seq in self._drafts)
            self._list_expendable()
            self._given_up = {about: _below(ranges) for about, ranges in self._given_up.items()}
            self._gone = {seq - STRIDE for seq in self._gone}
            self._dead = {seq - STRIDE: problem for seq, problem in self._dead.items()}
            self._stored, self._sent = _below(self._stored), _below(self._sent, most=_MOST_SENT)
            self._next_seq, self._totals = self._file.next_seq, self._file.totals
            self._bd_seq = max(self._bd_seq, self._file.bd_seq)
            self._telling = {seq - STRIDE: [] for seq in self._telling}  # their gaps are not in the new file
            self._stream_changed = True
            self._tell_wanted = self._gap_letter is not None

    def _compose_gaps(self) -> None:
        """Put a letter about gaps that nobody was told of, where one is wanted or has as many as it can hold."""
        if self._gap_letter is None or self._telling:
            return
        if not (self._tell_wanted or self._totals.gaps >= MAX_RANGES):
            return
        rows = self._file.untold()
        with self._changed:
            self._tell_wanted = bool(self._given_up)  # those are not in the file yet
            self._untellable += [id for id, row in rows.items() if not row.is_sound and id not in self._untellable]
        rows = {id: row for id, row in rows.items() if id not in self._untellable}
        if not rows:
            return
        gap = next(iter(rows.values()))
        counts: dict[str, int] = {}
        for row in rows.values():
            if row.kind:
                counts[row.kind] = counts.get(row.kind, 0) + row.last - row.first + 1

        def compose(stamp: Stamp) -> bytes:
            assert self._gap_letter is not None
            ranges = Ranges((row.first, row.last) for row in rows.values() if row.first > 0)
            about = {"ranges": tuple(ranges), "counts": counts, "reason": gap.reason}
            return self._gap_letter(stamp, **about, previous_stream_id=gap.previous)  # type: ignore[arg-type]

        with self._changed:
            stamp = self._stamp()
            try:
                body = compose(stamp)
            except Exception:
                log.exception("the spool %s has gaps that no message can tell: they are forgotten", self._path)
                self._next_seq = stamp.seq
                self._untellable += rows
            else:
                self._keep(Letter(seq=stamp.seq, topic=self._gap_topic, content_type=JSON_TYPE, kind="gap", body=body))
                self._telling[stamp.seq] = list(rows)
            self._tell_wanted = self._tell_wanted or self._totals.gaps > len(rows)

    def _begin(self) -> Changes:
        with self._changed:
            size = 0
            for letter in list(islice(self._pending.values(), self._batch)):
                size += letter.size
                if letter.compose is not None or (self._writing and size > self._file.batch_bytes):
                    break  # a draft came meanwhile: it goes with the next commit
                self._writing[letter.seq] = self._pending.pop(letter.seq)
            for expendable in self._expendable.values():
                while expendable and expendable[0] not in self._pending:
                    expendable.popleft()
            self._stream_changed = False
            return Changes(
                new=list(self._writing.values()),
                gone=frozenset(self._gone),
                stored=list(islice(self._stored, 1000)),
                dead=dict(self._dead),
                given_up=[
                    GivenUp(reason=reason, kind=kind, first=first, last=last)
                    for (reason, kind), ranges in self._given_up.items()
                    for first, last in ranges
                ],
                told=[*self._untellable, *(id for seq in self._writing for id in self._telling.get(seq, ()))],
                next_seq=self._after_these(),
                bd_seq=self._bd_seq,
            )

    def _after_these(self) -> int:
        """The number that the next run begins with if this commit is the last: those behind it were never there."""
        given_up = [last for ranges in self._given_up.values() for _, last in ranges]
        first = next((seq for seq in self._pending if seq > 0), self._next_seq)
        return max([first, *(last + 1 for last in given_up)])

    def _end(self, changes: Changes, done: Sequence[tuple[int, int]]) -> None:
        self._in_flight = None
        with self._changed:
            self._totals = self._file.totals
            self._batch = min(_BATCH, 2 * self._batch)
            self._writing.clear()
            self._ram_bytes -= sum(letter.size for letter in changes.new)
            self._left += bool(changes.gone or done or changes.dead)
            self._gone -= set(changes.gone)
            for first, last in done:
                self._stored.remove(first, last)
            for seq in changes.dead:
                self._dead.pop(seq, None)
            for letter in changes.new:
                self._telling.pop(letter.seq, None)
            self._untellable = [id for id in self._untellable if id not in changes.told]
            for gap in changes.given_up:
                self._given_up[gap.reason, gap.kind].remove(gap.first, gap.last)
            self._given_up = {about: ranges for about, ranges in self._given_up.items() if ranges}
            if self._trouble is not None:
                log.warning("the spool %s can be written again", self._path)
                self._trouble = None
            self._changed.notify_all()

    def _put_back(self, error: Exception) -> None:
        with self._changed:
            self._pending = {**self._writing, **self._pending}
            self._writing = {}
            self._list_expendable()
            self._stream_changed = True
            self._batch = max(1, self._batch // 2)
            if self._trouble is None:
                log.error("the spool %s cannot be written: %s; messages wait in memory", self._path, error)
            self._trouble = error

    def _list_expendable(self) -> None:
        for kind, expendable in self._expendable.items():
            expendable.clear()
            expendable.extend(letter.seq for letter in self._pending.values() if letter.kind == kind)


def _below(ranges: Ranges, *, most: int | None = None) -> Ranges:
    """The same letters, now of the stream before this one."""
    return Ranges(((first - STRIDE, last - STRIDE) for first, last in ranges), most=most)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(uuid.uuid4())  # not Linux: the monotonic clock is then comparable within this process
