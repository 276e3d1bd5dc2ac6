"""Whatever is done to a spool, in whatever order, it holds what a simple list would hold."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_resad.device.spool import Kind, Spool
from edge_resad.messages import Address, Gap, Phase, Stamp, gap_message, read_message
from tests.mqtt_peers import eventually

ADDRESS = Address(site="s", line="l", device="d")
MOST = 8  # letters
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # nobody pulls the plug here: no need for a disk
KINDS = st.sampled_from(["pass", "not_inspected", "fail", "alert", "image"])


class Machine(RuleBasedStateMachine):
    """The model: which events wait and of which kind, are dead, and were given up, and which alerts are open."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.path = self.folder / "spool.db"
        self.waiting: dict[str, Kind] = {}  # in order
        self.dead: dict[str, Kind] = {}
        self.given_up: dict[str, str] = {}  # event -> kind
        self.sent = set[str]()
        self.told: dict[str, Gap] = {}  # event of a letter about gaps
        self.gone = set[str]()  # acknowledged events
        self.open_alerts = dict[str, str]()  # alert -> the event that said the last of it
        self.open()

    def open(self) -> None:
        self.spool = Spool(
            self.path,
            max_bytes=1 << 30,
            max_letters=MOST,
            gap_topic=ADDRESS.gap_topic,
            gap_letter=partial(gap_message, ADDRESS),
            commit_ms=0.0,
            reserve_bytes=0,
            retry_s=0.01,
        )
        self.spool.__enter__()
        self.spool._file._writer.execute("PRAGMA busy_timeout = 1")  # else each refusal takes 5 seconds
        self.sent.clear()
        assert self.spool.left_open == {alert: event.encode() for alert, event in self.open_alerts.items()}

    def settle(self) -> None:
        assert self.spool.flush(60)
        assert eventually(lambda: not self.spool._has_work())

    def make_room(self) -> None:
        """The oldest pictures, then passes, then what was not inspected, until so many are left as may be."""
        for kind in ("image", "pass", "not_inspected"):
            rows = [*self.waiting.items(), *self.dead.items()]
            for event, of in sorted(rows, key=self.place):
                if len(self.waiting) + len(self.dead) <= MOST:
                    return
                if of == kind:
                    self.waiting.pop(event, None)
                    self.dead.pop(event, None)
                    self.given_up[event] = kind

    def place(self, row: tuple[str, str]) -> int:
        stream, _, number = row[0].rpartition("-")
        base = 0 if stream == self.spool.stream_id else self.spool._file.earlier[stream]
        return base + int(number)

    @rule(kinds=st.lists(KINDS, min_size=2, max_size=8))
    def put(self, kinds: list[Kind]) -> None:
        for kind in kinds:
            stamp = self.spool.put("t", lambda stamp: stamp.event_id.encode(), kind=kind)
            self.settle()
            self.waiting[stamp.event_id] = kind
            self.make_room()

    @rule(alert=st.sampled_from(["a", "b", "c"]), phase=st.sampled_from(["new", "update", "end"]))
    def alert(self, alert: str, phase: Phase) -> None:
        stamp = self.spool.put("t", lambda stamp: stamp.event_id.encode(), alert=(alert, phase))
        self.settle()
        self.waiting[stamp.event_id] = "alert"
        self.make_room()
        self.open_alerts.pop(alert, None)
        if phase != "end":
            self.open_alerts[alert] = stamp.event_id

    @rule(kinds=st.lists(KINDS, min_size=1, max_size=8), kill=st.booleans())
    def put_while_the_disk_refuses(self, kinds: list[Kind], kill: bool) -> None:
        """What is put then waits in memory, unseen, until the disk takes it or the station is killed."""
        before = [self.spool.event_id(letter) for letter in self.spool.oldest(1000)]
        put: dict[str, Kind] = {}
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for kind in kinds:
                put[self.spool.put("t", lambda stamp: stamp.event_id.encode(), kind=kind).event_id] = kind
            assert eventually(lambda: "cannot be written" in str(self.spool.health()))
            assert [self.spool.event_id(letter) for letter in self.spool.oldest(1000)] == before
            if kill:
                self.killed()
        if kill:
            self.open()
            return
        self.settle()
        for event, kind in put.items():
            self.waiting[event] = kind
            self.make_room()
        assert self.spool.health() is None or "more than its budget" in str(self.spool.health())

    @rule(count=st.integers(1, 8))
    def send(self, count: int) -> None:
        for letter in self.spool.oldest(count):
            self.spool.sent(letter)
            self.sent.add(self.spool.event_id(letter))

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 9), first=st.integers(1, 30), more=st.integers(0, 10))
    def acknowledge(self, which: int, first: int, more: int) -> None:
        streams = [*dict.fromkeys(event.rpartition("-")[0] for event in self.waiting), "another"]
        stream, last = streams[which % len(streams)], first + more  # by place: names are others in every run
        self.spool.acknowledged(stream, [(first, last)])
        self.settle()
        for number in range(first, last + 1):
            event = f"{stream}-{number}"
            if event in self.sent:
                self.waiting.pop(event, None)
                self.dead.pop(event, None)
                self.gone.add(event)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 19))
    def refuse(self, which: int) -> None:
        letters = self.spool.oldest(100)
        letter = letters[which % len(letters)]
        event = self.spool.event_id(letter)
        self.spool.refused(letter, "never")
        self.settle()
        kind = self.waiting.pop(event)
        if kind == "image":
            self.given_up[event] = kind
        else:
            self.dead[event] = kind

    @rule(count=st.integers(1, 4))
    def publish(self, count: int) -> None:
        """What the broker has confirmed, where that is enough."""
        letters = self.spool.oldest(count)
        self.spool.published(letters)
        self.settle()
        for letter in letters:
            event = self.spool.event_id(letter)
            self.waiting.pop(event, None)  # a letter about gaps may not be known yet
            if letter.kind == "gap":
                gap = read_message(letter.body).data
                assert isinstance(gap, Gap)
                self.told[event] = gap
            self.gone.add(event)

    @rule(kind=KINDS)
    def put_what_cannot_be_composed(self, kind: Kind) -> None:
        def broken(stamp: Stamp) -> bytes:
            raise ValueError(f"no message {stamp.seq}")

        stamp = self.spool.put("t", broken, kind=kind)
        self.settle()
        self.given_up[stamp.event_id] = kind

    @rule(kinds=st.lists(KINDS, min_size=1, max_size=4), moment=st.sampled_from(["before-insert", "after-commit"]))
    def stumble(self, kinds: list[Kind], moment: str) -> None:
        """Something that nobody foresaw goes wrong in the middle of a commit, or right after it."""
        stumbled: list[str] = []

        def reach(point: str) -> None:
            if point == moment and not stumbled:
                stumbled.append(point)
                raise RuntimeError("nobody foresaw this")

        with patch("edge_resad.device.spoolfile.reach", reach):
            for kind in kinds:
                event = self.spool.put("t", lambda stamp: stamp.event_id.encode(), kind=kind).event_id
                self.settle()
                self.waiting[event] = kind
                self.make_room()
        assert stumbled

    @rule()
    def tell(self) -> None:
        self.spool.tell_gaps()
        assert eventually(lambda: self.spool._totals.gaps == 0 and not self.spool._has_work())
        self.look_for_gaps()

    def look_for_gaps(self) -> None:
        for letter in self.spool.oldest(100):
            event = self.spool.event_id(letter)
            if letter.kind == "gap" and event not in self.waiting:
                self.waiting[event] = "gap"
                gap = read_message(letter.body).data
                assert isinstance(gap, Gap)
                self.told[event] = gap

    @rule(kill=st.booleans())
    def reopen(self, kill: bool) -> None:
        """Close it, or look at its files as they would be after kill -9."""
        if not kill:
            self.spool.__exit__(None, None, None)
        else:
            self.killed()
        self.open()

    def killed(self) -> None:
        copy = Path(tempfile.mkdtemp(dir=MEMORY))
        for suffix in ("", "-wal", ".lock"):
            with suppress(FileNotFoundError):
                shutil.copy(self.path.with_name(f"spool.db{suffix}"), copy)
        self.spool.__exit__(None, None, None)
        shutil.rmtree(self.folder)
        self.folder, self.path = copy, copy / "spool.db"

    @rule()
    def lose_the_end(self) -> None:
        """The note beside the file knows of more than the file: all that is there is taken over into a new stream."""
        self.spool.__exit__(None, None, None)
        note = self.path.with_name("spool.db.lock")
        pid, stream, next_seq, bd_seq = note.read_text().split()
        note.write_text(f"{pid}\n{stream} {int(next_seq) + 1} {bd_seq}\n")
        before = self.spool.stream_id
        self.open()
        assert self.spool.stream_id != before

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "spool"):
            return
        letters = self.spool.oldest(1000)
        events = [self.spool.event_id(letter) for letter in letters]
        known = [event for event in events if event in self.waiting]
        assert sorted(known, key=lambda event: self.place((event, ""))) == known
        assert set(self.waiting) == set(known)
        assert {letter.kind for letter in letters if self.spool.event_id(letter) not in self.waiting} <= {"gap"}
        assert all(
            letter.body == event.encode() for letter, event in zip(letters, events, strict=True) if letter.kind != "gap"
        )
        assert self.spool.dead == len(self.dead)
        assert not self.gone & set(events)

    @invariant()
    def what_was_told_was_given_up(self) -> None:
        for event, gap in getattr(self, "told", {}).items():
            of = gap.previous_stream_id or event.rpartition("-")[0]
            if gap.reason == "corruption":
                continue
            numbers = {f"{of}-{number}" for first, last in gap.ranges for number in range(first, last + 1)}
            assert numbers <= set(self.given_up)
            assert sum(gap.counts.values()) == len(numbers)

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.tell()
            untold = set(self.given_up)
            for event, gap in self.told.items():
                of = gap.previous_stream_id or event.rpartition("-")[0]
                untold -= {f"{of}-{number}" for first, last in gap.ranges for number in range(first, last + 1)}
            assert untold == set()
            self.spool.__exit__(None, None, None)
            shutil.rmtree(self.folder)


# `HYPOTHESIS_PROFILE=thorough` looks where nobody has looked yet; without it every run looks at the same.
settings.register_profile(
    "every-run", max_examples=30, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck),
    derandomize=True,
)  # fmt: skip
settings.register_profile("thorough", settings.get_profile("every-run"), max_examples=2000, derandomize=False)
TestSpool = pytest.mark.timeout(7200)(Machine.TestCase)
TestSpool.settings = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "every-run"))
