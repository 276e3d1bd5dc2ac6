"""A station on a stage: the real one, a belt with a camera above it, a real Modbus server as its PLC."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.faults.account import (
    AFTER_S,
    ALIVE,
    HALF_PERIOD_S,
    PULSE_S,
    REJECT,
    Account,
    Fate,
    Part,
    account,
    fates,
)
from benchmarks.faults.belt import POLL_S, Belt, BeltCamera
from edge_resad.bench.line import Parts
from edge_resad.device.frame import FrameSource
from edge_resad.device.judges import OpenJudge
from edge_resad.device.pipeline import Inspection
from edge_resad.device.settings import StationFile
from edge_resad.device.spool import Spool
from edge_resad.device.station import run_station
from edge_resad.device.summary import StationSummary
from edge_resad.device.v4l2 import V4L2Camera
from tests.plc import Plc

RATE = 10.0  # parts a second
WAIT_S = 60.0  # a deadline, not a pause
LAST_PICTURE_S = 1.0  # that a camera may be late for the last part
FIRST_PARTS = 10  # judged before anything goes wrong
FIRST = "cam0"  # the camera whose parts are followed


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What all scenes share."""

    folder: Path
    bank: Path
    fp32_bank: Path
    parts: Parts


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a fault did."""

    fault: str
    happened: str = ""
    noticed_s: float | None = None  # from its beginning
    recovered_s: float | None = None  # from its end
    account: Account | None = None
    messages_lost: int = 0  # that are nowhere, and of which no gap tells
    given_up: int = 0  # messages about good parts, for want of room; a gap tells of them
    skipped: str | None = None  # why it could not be tried here


@dataclass(frozen=True)
class Said:
    """A line of the station's log."""

    mono: float
    level: int
    text: str


@dataclass(frozen=True)
class Judged:
    """What became of a picture."""

    mono: float
    part: int
    is_true: bool
    fate: Fate


class Scene:
    """Entered, the station runs; left, it is stopped. Everything that it says and does is noted with its moment."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        *,
        sections: Mapping[str, Mapping[str, Any]] | None = None,
        open_judge: OpenJudge | None = None,
        open_camera: Callable[[BeltCamera, threading.Event], FrameSource] | None = None,
        has_second: bool = False,
    ) -> None:
        """has_second: a second camera above the same belt; the outputs are those of the first alone."""
        self.folder = stage.folder / name
        self.plc = Plc()
        self.said: list[Said] = []
        self.judged: list[Judged] = []
        self.began_at = self.ended_at = 0.0  # the fault
        self.given_up = 0  # messages
        self.summary: StationSummary | None = None
        self._stage = stage
        self._sections = sections or {}
        self._open_judge = open_judge
        self._open_camera = open_camera or _v4l2
        self._has_second = has_second
        self._stop = threading.Event()
        self._news = threading.Condition()
        self._error: BaseException | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Scene:
        self.folder.mkdir(exist_ok=True)
        self._stack.enter_context(self.plc)
        self._stack.enter_context(listening(self._hear))
        self.belt = Belt(self._stage.parts, RATE)
        self.camera, self.second = BeltCamera(self.belt), BeltCamera(self.belt)
        self._thread = threading.Thread(target=self._run, name="station")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.belt.end()
        self._stop.set()
        self.camera.release()
        self.second.release()
        self._thread.join(WAIT_S)
        self._stack.close()

    def until_judged(self, count: int = FIRST_PARTS) -> None:
        """Wait for so many verdicts."""
        self.until(lambda: sum(one.fate != "not inspected" for one in self.judged) >= count)

    def until(self, happened: Callable[[], bool], within_s: float = WAIT_S) -> None:
        """Wait until something is so; whatever the station says or does makes it look again, and so does time."""
        end = time.monotonic() + within_s
        with self._news:
            while not happened():
                if self._error is not None:
                    raise RuntimeError("the station ended before its time") from self._error
                if time.monotonic() > end:
                    last = "; ".join(said.text for said in self.said[-4:])
                    raise RuntimeError(f"nothing happened within {within_s:.0f} s. The station said last: {last}")
                self._news.wait(0.1)

    def last_for(self, seconds: float) -> None:
        """Let the fault last."""
        time.sleep(seconds)

    def begin(self) -> None:
        """From now on something is wrong."""
        self.began_at = time.monotonic()

    def end(self) -> None:
        """From now on nothing is wrong."""
        self.ended_at = time.monotonic()

    def until_recovered(self) -> float:
        """Wait for the next verdict; seconds from the end of the fault."""
        self.until(lambda: self._verdict_after(self.ended_at) is not None)
        found = self._verdict_after(self.ended_at)
        assert found is not None
        return found - self.ended_at

    def warned(self, *words: str) -> Said | None:
        """The first warning since the fault began, with any of these words; None where there is none."""
        for said in list(self.said):
            is_it = said.level >= logging.WARNING and said.mono >= self.began_at
            if is_it and (not words or any(word in said.text for word in words)):
                return said
        return None

    def until_said(self, words: str) -> float:
        """Wait for a line of the log since the end of the fault; seconds from there."""
        found: list[Said] = []

        def is_said() -> bool:
            found[:] = [said for said in list(self.said) if said.mono >= self.ended_at and words in said.text]
            return bool(found)

        self.until(is_said)
        return found[0].mono - self.ended_at

    def outcome(
        self,
        fault: str,
        *,
        recovered_s: float | None,
        words: tuple[str, ...] = (),
        happened: str = "",
        stored: Callable[[], int] | None = None,
    ) -> Outcome:
        """Let the belt run a moment longer, stop everything, and count.

        words: of the warning that says the fault. happened: instead of what the log says. stored: how many parts'
        messages are not lost; without it those in the spool are counted.
        """
        seen = len(self.judged)
        self.until(lambda: len(self.judged) >= seen + 5)
        self.belt.end()
        moments = [self.belt.moment(part) for part in range(self.belt.shown)]
        self._until_last_seen(len(moments) - 1)
        self.until(lambda: not self.camera.seen or self.judged[-1].part >= self.camera.seen[-1].part)
        time.sleep(AFTER_S + PULSE_S)  # the last pulse
        until = time.monotonic()
        self._stop.set()
        self.camera.release()
        self._thread.join(WAIT_S)
        if self._error is not None:
            raise RuntimeError(f"the station failed while it was stopped: {self._error}") from self._error
        warned = self.warned(*words)
        blind = next(
            (one.mono for one in self.judged if one.mono >= self.began_at and one.fate == "not inspected"), None
        )
        noticed = min((at for at in (warned.mono if warned else None, blind) if at is not None), default=None)
        return Outcome(
            fault=fault,
            happened=happened or (warned.text if warned else "nothing was said"),
            noticed_s=None if noticed is None else noticed - self.began_at,
            recovered_s=recovered_s,
            account=account(fates(self._parts(), moments), self.plc.writes, until),
            messages_lost=len(self.judged) - (stored or self.stored)(),
            given_up=self.given_up,
        )

    def stored(self) -> int:
        """How many parts' messages are in the spool, or were given up and are told by a gap."""
        with Spool(self.folder / "spool.db", max_bytes=10**9) as spool:
            self.given_up = spool.dropped
            return self.given_up + sum(f"/evt/{FIRST}" in letter.topic for letter in spool.oldest(100_000))

    def _until_last_seen(self, part: int) -> None:
        """Give a camera that sees the moment that a busy machine may take; one that does not see has it too."""
        end = time.monotonic() + LAST_PICTURE_S
        while not (self.camera.seen and self.camera.seen[-1].part >= part) and time.monotonic() < end:
            time.sleep(POLL_S)

    def _parts(self) -> dict[int, Part]:
        parts: dict[int, Part] = {}
        judged = {one.part: one for one in list(self.judged) if one.is_true}
        for seen in self.camera.seen:
            moment = self.belt.moment(seen.part)
            one = judged.get(seen.part)
            if one is not None:
                parts[seen.part] = Part(moment=moment, fate=one.fate, told_at=one.mono)
            elif seen.is_true:  # a newer picture came first
                parts[seen.part] = Part(moment=moment, fate="not inspected")
        return parts

    def _verdict_after(self, mono: float) -> float | None:
        return next((one.mono for one in list(self.judged) if one.mono >= mono and one.fate != "not inspected"), None)

    def _run(self) -> None:
        try:
            self.summary = run_station(
                self._settings(),
                stop=self._stop,
                on_inspection=self._inspected,
                open_source=lambda told, halt: self._open_camera(
                    self.camera if told.camera.name == FIRST else self.second, halt
                ),
                open_judge=self._open_judge,
            )
        except BaseException as error:
            self._error = error
        with self._news:
            self._news.notify_all()

    def _settings(self) -> StationFile:
        plc = {"kind": "modbus", "host": self.plc.server.host, "port": self.plc.server.port}
        raw: dict[str, Any] = {
            "station": {"device": "press-7", "product": "flange"},
            "camera": {"source": "/dev/video0", "name": FIRST},
            "inspection": {"bank": str(self._stage.bank)},
            "output": [
                {**plc, "name": "reject", "coil": REJECT, "pulse_ms": 1e3 * PULSE_S},
                {**plc, "name": "alive", "coil": ALIVE, "on": ["heartbeat"], "pulse_ms": 1e3 * HALF_PERIOD_S},
            ],
            "spool": {"path": str(self.folder / "spool.db"), "ack": "broker"},
            "log": {"verdicts": str(self.folder / "verdicts.jsonl")},
            "pictures": {"folder": str(self.folder / "pictures"), "min_free_mb": 0},
            "machine": {"watch": False},
            "control": {"socket": False},
        }
        for section, keys in self._sections.items():
            raw[section] = {**raw.get(section, {}), **keys}
        if self._has_second:
            raw["camera"] = [raw["camera"], {"source": "/dev/video1", "name": "second"}]
            for output in raw["output"]:
                output["cameras"] = [FIRST]
        return StationFile.model_validate(raw)

    def _inspected(self, inspection: Inspection) -> None:
        seen = self.camera.part_of(inspection.frame.captured_mono)
        if seen is None or inspection.camera != FIRST:
            return
        verdict = inspection.verdict
        fate: Fate = "not inspected" if verdict is None else verdict.status
        with self._news:
            self.judged.append(Judged(time.monotonic(), seen.part, seen.is_true, fate))
            self._news.notify_all()

    def _hear(self, said: Said) -> None:
        with self._news:
            self.said.append(said)
            self._news.notify_all()


@dataclass
class listening:
    """Hears what the product's modules log."""

    hear: Callable[[Said], None]
    _handler: logging.Handler = field(init=False)

    def __enter__(self) -> None:
        hear = self.hear

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                hear(Said(time.monotonic(), record.levelno, record.getMessage()))

        logger = logging.getLogger("edge_resad")
        self._handler, self._before = Handler(), (logger.level, logger.propagate)
        logger.addHandler(self._handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        logger = logging.getLogger("edge_resad")
        logger.removeHandler(self._handler)
        logger.level, logger.propagate = self._before


def _v4l2(camera: BeltCamera, halt: threading.Event) -> FrameSource:
    return V4L2Camera("/dev/video0", open_device=camera.opened(halt), stop=halt)
