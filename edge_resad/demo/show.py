"""The whole product on a laptop in one go: enrol, inspect, alert over MQTT, listen, and a page that shows it all."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_resad.bank import Bank, save_bank
from edge_resad.bundle import open_bundle
from edge_resad.demo.broker import EmbeddedBroker
from edge_resad.demo.line import DemoLine, more_good, planned, shown
from edge_resad.demo.products import FAMILIES
from edge_resad.demo.report import DemoSummary, RejectCard, write
from edge_resad.demo.screen import Row, Screen
from edge_resad.demo.subscriber import Subscriber
from edge_resad.device.frame import FrameSource
from edge_resad.device.judges import open_inspector
from edge_resad.device.pipeline import Inspection, Judge
from edge_resad.device.settings import StationFile, load_station
from edge_resad.device.station import run_station
from edge_resad.device.summary import StationSummary
from edge_resad.engine.enrolment import enrol
from edge_resad.errors import EdgeResadError
from edge_resad.messages import Address
from edge_resad.overlay import heat_overlay
from edge_resad.page import Picture

GOOD_PARTS = 4
MORE_GOOD_PARTS = 16  # left behind as pictures, for a better threshold
PARTS_A_SECOND = 10  # what one core of a laptop draws and inspects one after the other
MOST_PARTS = 10_000
LAST_ALERTS_S = 5.0  # how long the subscriber waits for what the broker has taken

STATION = """\
# The station of `edge-resad demo`. It may be run again, without an end: edge-resad run {name}
# What cannot be delivered waits in the spool; the demo's own broker is gone when the demo is.

[station]
site = "{site}"
line = "{line}"
device = "{device}"
product = "{family}"

[camera]
source = "synthetic:{family}"
fps = {fps}

[inspection]
bank = "{bank}"

[broker]
host = "{host}"
port = {port}
protocol = "{protocol}"

[spool]
ack = "broker"
"""

MARK = ".edge-resad-demo"
"""The file by which a folder of the demo's is known."""


@dataclass(frozen=True, kw_only=True)
class _Broker:
    host: str
    port: int
    protocol: str  # as the station file has it
    name: str  # for people


@dataclass(frozen=True, kw_only=True, eq=False)
class _Enrolled:
    good_parts: Sequence[Picture]
    bank: Bank
    seconds: float


class _Record:
    """What happened on the line: every part's numbers, and pictures of those worth a look."""

    def __init__(self, *, seed: int, region: float) -> None:
        self.rows: list[Row] = []
        self.judge: Judge | None = None  # whose score map belongs to the part that is taken
        self._seed = seed
        self._region = region
        self._pictures: dict[int, tuple[Picture, Picture]] = {}  # frame -> photo, overlay
        self._masks: dict[int, np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None] = {}

    def take(self, inspection: Inspection) -> Row | None:
        """Remember one part; None where it was not judged."""
        frame, verdict, alert = inspection.frame, inspection.verdict, inspection.alert
        if verdict is None:
            return None
        truth = frame.truth.defect if frame.truth else None
        row = Row(
            frame_id=frame.frame_id,
            captured=frame.captured_mono,
            status=verdict.status,
            score=verdict.score,
            threshold=verdict.threshold,
            defect=truth,
            severity=planned(frame.frame_id, self._seed)[1],
            latency_ms=inspection.latency.total_ms,
            alert_id=alert.alert_id if alert is not None and alert.phase != "end" else None,
        )
        self.rows.append(row)
        if (verdict.status == "fail" or row.wrong) and self.judge is not None:
            outlines = [region.polygon for region in verdict.regions]
            overlay = heat_overlay(frame.image, self.judge.score_map, threshold=self._region, polygons=outlines)
            self._pictures[row.frame_id] = (frame.image, overlay)
            self._masks[row.frame_id] = frame.truth.mask if frame.truth else None
        return row

    @property
    def sent(self) -> set[tuple[str, int]]:
        """Every alert that began or got worse, and the frame of the part it is about."""
        return {(row.alert_id, row.frame_id) for row in self.rows if row.alert_id is not None}

    def cards(self, subscriber: Subscriber, *, rejected: bool) -> list[RejectCard]:
        """A card for every reject, or for every defective part that passed."""
        wanted = [row for row in self.rows if (row.status == "fail" if rejected else row.wrong == "missed")]
        return [self._card(row, subscriber) for row in wanted]

    def _card(self, row: Row, subscriber: Subscriber) -> RejectCard:
        photo, overlay = self._pictures[row.frame_id]
        came = subscriber.arrival(row.alert_id, row.frame_id) if row.alert_id is not None else None
        return RejectCard(
            number=row.frame_id + 1,
            photo=photo,
            overlay=overlay,
            mask=self._masks[row.frame_id],
            score=row.score,
            threshold=row.threshold,
            rejected=row.status == "fail",
            truth="good" if row.defect is None else "defective",
            defect=row.defect,
            severity=None if row.defect is None else row.severity,
            alert_id=row.alert_id,
            arrival_ms=None if came is None else 1e3 * (came - row.captured),
        )


def run_demo(
    *,
    broker: str | None,
    out: Path,
    parts: int = 60,
    family: str = "flange",
    seed: int = 1,
    console: Console | None = None,
) -> DemoSummary:
    """Show four good parts, inspect the next ones, send alerts, hear them arrive, and write a report of it all.

    broker: HOST or HOST:PORT; without it the demo brings a broker of its own.
    out:    folder for the bank, the pictures of good parts, the station file, the spool, the verdicts and the report.
    seed:   other parts for another number.

    Ctrl-C ends the line early; the report then tells of the parts so far.
    """
    _check(parts, family, seed)
    given = _given(broker) if broker else None
    _claim(out)
    console = console or Console()
    began, started = time.monotonic(), datetime.now()
    with ExitStack() as stack:
        reached = given or _own(stack.enter_context(EmbeddedBroker()))
        here = Address(site="demo", line="laptop", device=_device())
        subscriber = stack.enter_context(Subscriber(reached.host, reached.port, here))
        enrolled = _enrol(family, seed, out, console)
        settings = _station(out, family, here, reached)
        _tell(console, f"Alerts go to {reached.name}. The station file is", out / "station.toml")
        record = _Record(seed=seed, region=enrolled.bank.info.threshold.region)
        done = _run(settings, record, subscriber, console, parts=parts, seed=seed)
        summary = DemoSummary(
            product=FAMILIES[family].title,
            good_parts=enrolled.good_parts,
            enrol_s=enrolled.seconds,
            threshold=enrolled.bank.info.threshold.score,
            good_scores=[row.score for row in record.rows if row.defect is None],
            defective_scores=[row.score for row in record.rows if row.defect is not None],
            latency_ms=[row.latency_ms for row in record.rows],
            rejects=record.cards(subscriber, rejected=True),
            missed=record.cards(subscriber, rejected=False),
            alerts_sent=len(record.sent),
            alerts_arrived=sum(subscriber.arrival(*alert) is not None for alert in record.sent),
            started=started,
            duration_s=time.monotonic() - began,
            engine=f"ONNX Runtime {onnxruntime.__version__}, CPU, {settings.engine.threads} thread",
            broker=reached.name,
        )
        pictures = sum(subscriber.picture(*alert) is not None for alert in record.sent)
    page = write(summary, out / "report.html")
    console.print(_result(summary, done, pictures))
    more = _leave(out / "more-good", [part.image for part in more_good(family, MORE_GOOD_PARTS, seed=seed)])
    if summary.misses:
        hint = f"A threshold from {GOOD_PARTS} good parts is a guess on the safe side; estimate it again from"
        command = f"edge-resad threshold {shlex.quote(str(_bank_path(out, family)))} {shlex.quote(str(more))}"
        console.print(
            Text.assemble(f"{hint} {MORE_GOOD_PARTS} others: ", (command, "cyan")), soft_wrap=True, highlight=False
        )
    _tell(console, "Every reject with its pictures:", page)
    return summary


def _check(parts: int, family: str, seed: int) -> None:
    if family not in FAMILIES:
        raise EdgeResadError(f'no part of the demo is called "{family}". Choose one of {", ".join(FAMILIES)}.')
    if not 1 <= parts <= MOST_PARTS:
        raise EdgeResadError(
            f"the demo was asked for {parts} parts, it shows 1 to {MOST_PARTS}. Choose another number."
        )
    if seed < 0:
        raise ValueError(f"a seed is 0 or more, got {seed}")


def _enrol(family: str, seed: int, out: Path, console: Console) -> _Enrolled:
    """Draw good parts and make a bank of them: all that the station ever learns of this product."""
    images = [part.image for part in shown(family, GOOD_PARTS, seed=seed)]
    began = time.monotonic()
    with console.status(f"Looking at {GOOD_PARTS} good parts ..."):
        made = enrol(open_bundle(None), images, product=family)
    seconds = time.monotonic() - began
    path = _bank_path(out, family)
    save_bank(made.bank, path)
    _leave(out / "good", images)
    threshold = made.bank.info.threshold
    said = (
        f"{FAMILIES[family].title}: shown {GOOD_PARTS} good parts for {seconds:.1f} s, threshold {threshold.score:.2f}"
    )
    _tell(console, f"{said}. The bank is", path)
    for warning in made.warnings:
        console.print(Text(warning, "yellow"))
    return _Enrolled(good_parts=images, bank=made.bank, seconds=seconds)


def _claim(out: Path) -> None:
    """Make the folder the demo's, or refuse it before anything in it is touched."""
    mark = out / MARK
    if out.exists() and not out.is_dir():
        raise EdgeResadError(f"{out} is a file, a folder was expected. Name another one with --out.")
    if out.is_dir() and not mark.exists() and any(out.iterdir()):
        raise EdgeResadError(f"{out} holds files that are not a demo's: they stay. Name another folder with --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        mark.write_text("Made by edge-resad demo, which writes here again.\n", encoding="utf-8")
    except OSError as problem:
        raise EdgeResadError(
            f"cannot write into {out}: {problem.strerror or problem}. Name another folder with --out."
        ) from problem


def _leave(folder: Path, pictures: Sequence[Picture]) -> Path:
    """Write the pictures of good parts as files, for the command line to use; those of an earlier run go."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("part-*.png"):
            old.unlink()
        for number, picture in enumerate(pictures, start=1):
            _, png = cv2.imencode(".png", picture)
            (folder / f"part-{number}.png").write_bytes(png.tobytes())
    except OSError as problem:
        raise EdgeResadError(
            f"cannot write into {folder}: {problem.strerror or problem}. Name another folder with --out."
        ) from problem
    return folder


def _run(
    settings: StationFile, record: _Record, subscriber: Subscriber, console: Console, *, parts: int, seed: int
) -> StationSummary:
    """Run the station over so many parts, shown as they are judged."""
    _, _, family = settings.camera.source.partition(":")

    def open_line(told: StationFile, halt: threading.Event) -> FrameSource:
        return DemoLine(family, parts, seed=seed, fps=told.camera.fps, stop=halt)

    @contextmanager
    def open_judge(told: StationFile) -> Iterator[Judge]:
        with open_inspector(told) as record.judge:
            yield record.judge

    def on_inspection(inspection: Inspection) -> None:
        row = record.take(inspection)
        if row is not None:
            screen.show(row)

    stop = threading.Event()
    with (
        _interrupted(stop),
        Screen(console, title=FAMILIES[family].title, parts=parts, arrival=subscriber.arrival) as screen,
    ):
        done = run_station(
            settings, stop=stop, on_inspection=on_inspection, open_source=open_line, open_judge=open_judge
        )
        subscriber.wait_for(record.sent, LAST_ALERTS_S)
        return done


@contextmanager
def _interrupted(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C ends the line, a second one the program."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _own(broker: EmbeddedBroker) -> _Broker:
    return _Broker(host=broker.host, port=broker.port, protocol="3.1.1", name=f"its own broker ({broker})")


def _given(broker: str) -> _Broker:
    """A broker of the user's: HOST or HOST:PORT, an IPv6 address in brackets."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]\"\\]+)(?::(\d{1,5}))?", broker)
    port = int(found[2] or 1883) if found else 0
    if found is None or not 1 <= port <= 65535:
        raise EdgeResadError(f'the broker is given as "{broker}", expected HOST or HOST:PORT such as localhost:1883.')
    return _Broker(host=found[1].strip("[]"), port=port, protocol="auto", name=f"the broker at {broker}")


def _station(out: Path, family: str, here: Address, broker: _Broker) -> StationFile:
    """Write the station file and read it back as `edge-resad run` does."""
    path = out / "station.toml"
    text = STATION.format(
        name=path.name,
        site=here.site,
        line=here.line,
        device=here.device,
        family=family,
        fps=PARTS_A_SECOND,
        bank=_bank_path(out, family).name,
        host=broker.host,
        port=broker.port,
        protocol=broker.protocol,
    )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise EdgeResadError(
            f"cannot write {path}: {problem.strerror or problem}. Name another folder with --out."
        ) from problem
    return load_station(path)


def _device() -> str:
    """This machine's name, as far as it may stand in a topic: two laptops may share one broker."""
    return f"demo-{re.sub('[^A-Za-z0-9_-]+', '-', socket.gethostname().partition('.')[0])}"[:64]


def _bank_path(out: Path, family: str) -> Path:
    return out / f"{family}.npz"


def _tell(console: Console, said: str, path: Path) -> None:
    console.print(Text.assemble(f"{said} ", (str(path), "cyan")), soft_wrap=True, highlight=False)


def _result(summary: DemoSummary, done: StationSummary, pictures: int) -> Table:
    found = len(summary.defective_scores) - summary.misses
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", justify="right")
    table.add_column()
    judged = f"{summary.parts}, {len(summary.defective_scores)} of them defective"
    left = sum(done.not_inspected.values())
    table.add_row("parts judged", judged + (f"; {left} more were not judged" if left else ""))
    table.add_row("rejected", f"{len(summary.rejects)}, of which {found} truly defective")
    table.add_row("missed", _good_if_none(summary.misses))
    table.add_row("false rejects", _good_if_none(summary.false_rejects))
    if summary.latency_ms:
        p50, p99 = np.percentile(summary.latency_ms, (50, 99))
        table.add_row("photograph to verdict", f"{p50:.1f} ms (p50), {p99:.1f} ms (p99)")
    arrived = f"{summary.alerts_sent} sent, {summary.alerts_arrived} arrived, {pictures} with a picture"
    table.add_row(
        "alerts over MQTT", Text(arrived, "green" if summary.alerts_arrived >= summary.alerts_sent else "red")
    )
    return table


def _good_if_none(count: int) -> Text:
    return Text(str(count), "bold yellow" if count else "green")
