"""Stations that run while their product changes: by command, by the clock, and by the code on the part."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.changeover.parts import SHOWN, Kind, Picture, Size, Stocked, codes_of, part, stock, stocked
from edge_resad.bundle import open_bundle
from edge_resad.device.changeover import HELD, Changeover
from edge_resad.device.control import ControlClient
from edge_resad.device.frame import Clock, Frame, Pace
from edge_resad.device.pipeline import Inspection
from edge_resad.device.settings import StationFile
from edge_resad.device.station import run_station
from edge_resad.engine.open import engine_for
from edge_resad.errors import ControlError
from edge_resad.recipe import Shelf

PATIENCE_S = 60.0  # for a changeover on a machine that has much else to do
CLEAR_S = 5.0  # before the clock changes the product nobody else does
PAUSE_S = (0.3, 1.0)  # between a changeover and the next one: at no moment that the station's look could know
ALIKE = 3  # parts in a row with the same code: of the first the product changes

WAYS = ("command", "program", "schedule")
"""A command to the running station; `edge-resad product use` from its start; the full minute of a schedule."""


@dataclass(kw_only=True)
class Run:
    """What became of a station's parts and of its changeovers."""

    took_s: dict[str, list[float]] = field(default_factory=dict)  # way -> request to the first part of the new product
    old_meanwhile: list[int] = field(default_factory=list)  # parts that the product before judged after a request
    in_line_s: list[float] = field(default_factory=list)  # of the line's thread between two parts
    shown: int = 0
    judged: int = 0
    not_inspected: dict[str, int] = field(default_factory=dict)
    wrong_product: int = 0  # judged by another product than the last one that was asked for or that its code names
    engines: int = 0  # that were opened

    @property
    def lost(self) -> int:
        """Parts that nobody knows of."""
        return self.shown - self.judged - sum(self.not_inspected.values())


class Belt:
    """A camera past which parts come; free of drawing, for its pictures were drawn beforehand."""

    live = True
    unreadable = 0

    def __init__(self, shows: Callable[[int], Picture | None], rate: float, halt: threading.Event) -> None:
        """shows: the picture of a part by its number; None at the end. rate: parts a second."""
        self.shown = 0
        self._shows = shows
        self._clock = Clock()
        self._pace = Pace(rate, halt, self._clock)

    def __enter__(self) -> Belt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def read(self) -> Frame | None:
        picture = self._shows(self.shown) if self._pace.wait() else None
        if picture is None:
            return None
        self.shown += 1
        return Frame(
            image=picture,
            frame_id=self.shown - 1,
            captured_mono=self._clock.monotonic(),
            captured_wall=self._clock.wall(),
        )


class TimedChangeover(Changeover):
    """Notes what the line's thread takes to change, between two parts."""

    in_line_s: list[float]

    def before(self, frame: Picture | None) -> bool:
        began = time.perf_counter()
        changed = super().before(frame)
        if changed:
            self.in_line_s.append(time.perf_counter() - began)
        return changed


class Seen:
    """The products that judged, part after part. Somebody may wait for the first part of one."""

    def __init__(self) -> None:
        self._verdicts: list[tuple[float, str]] = []  # when, by the wall clock and not set back; and which product
        self._changed = threading.Condition()

    def told(self, inspection: Inspection) -> None:
        """Of every part, by the station."""
        verdict = inspection.verdict
        with self._changed:
            if verdict is not None and verdict.product is not None:
                self._verdicts.append((time.time(), verdict.product))
                self._changed.notify_all()

    def count(self) -> int:
        """How many parts were judged."""
        with self._changed:
            return len(self._verdicts)

    def first_of(self, product: str, since: int) -> tuple[float, int]:
        """When the first part was judged as of this product, and how many before it were not, from a count on."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: any(name == product for _, name in self._verdicts[since:]), PATIENCE_S
            ):
                raise RuntimeError(f"the product did not change to {product} within {PATIENCE_S:g} s")
            index = next(index for index, (_, name) in enumerate(self._verdicts[since:]) if name == product)
            return self._verdicts[since + index][0], index

    @property
    def products(self) -> list[str]:
        """Of all parts that were judged, in their order."""
        return [product for _, product in self._verdicts]


def asked(scratch: Path, *, size: Size, rate: float, changes: int, minutes: int) -> Run:
    """Two products take turns at a station that runs.

    changes: by a command, and as many by the program.
    minutes: for so many full minutes the schedule has a change.
    """
    kinds = stocked(2)
    pictures = {one.name: [part(one.family, seed, size) for seed in SHOWN] for one in kinds}
    shelf = _shelf(scratch, kinds, size)
    names = [one.name for one in kinds]
    shelf.use(shelf.find(names[0]))
    first = 60 * (time.time() // 60 + 1 + (time.time() % 60 > 60 - 2 * CLEAR_S))  # a start takes seconds
    dues = [(first + 60 * index, names[index % 2]) for index in range(minutes)]
    schedule = [{"at": f"{datetime.fromtimestamp(due):%H:%M}", "use": name} for due, name in dues]
    run, seen, ended = Run(took_s={way: [] for way in WAYS}), Seen(), threading.Event()
    on_belt = [names[0]]

    def shows(number: int) -> Picture | None:
        return None if ended.is_set() else pictures[on_belt[0]][number % len(SHOWN)]

    def operate() -> None:
        client = ControlClient(scratch / "control.sock", timeout_s=PATIENCE_S)
        try:
            _wait_for_the_line(client, seen)
            _operate(client, shelf, seen, run, on_belt, names, changes, dues)
        finally:
            ended.set()

    settings = _settings(scratch, {"schedule": schedule})
    with _failing_here(operate) as operator:
        _run(settings, shows, rate, seen, run, start=operator.start)
    turns = sum(one != before for before, one in zip(seen.products, seen.products[1:], strict=False))
    run.wrong_product = max(0, turns - len(run.old_meanwhile))  # each request is one turn and never back
    return run


def coded(scratch: Path, kind: Kind, *, size: Size, rate: float, changes: int) -> Run:
    """Products are named by the codes on their parts: more than a station holds ready, then two that it does."""
    kinds = stocked(HELD + 2)
    says = codes_of(kinds, kind)
    shelf = _shelf(scratch, kinds, size)
    shelf.use(shelf.find(kinds[-1].name))
    turns = [*kinds * -(-changes // len(kinds)), *kinds[-2:] * -(-changes // 2)]
    cold = ALIKE * len(kinds) * -(-changes // len(kinds))  # parts until the products that take turns are held ready
    order = [one for one in turns for _ in range(ALIKE)]

    def shows(number: int) -> Picture | None:
        if number >= len(order):
            return None
        one = order[number]
        return part(one.family, SHOWN[number % len(SHOWN)], size, says[one.name], kind)

    for number in range(len(order)):
        shows(number)  # drawn now, not while parts pass
    run, seen = Run(took_s={"same": [], "read": [], "ready": []}), Seen()
    before = [kinds[-1].name]

    def told(inspection: Inspection) -> None:
        verdict, number = inspection.verdict, inspection.frame.frame_id
        if verdict is None or verdict.product is None:
            return
        way = "same" if verdict.product == before[0] else "read" if number < cold else "ready"
        before[0] = verdict.product
        run.took_s[way].append(1e-3 * inspection.latency.total_ms)
        run.wrong_product += verdict.product != order[number].name

    _run(_settings(scratch, {"code": kind}), shows, rate, seen, run, also=told)
    return run


def _operate(
    client: ControlClient,
    shelf: Shelf,
    seen: Seen,
    run: Run,
    on_belt: list[str],
    names: list[str],
    changes: int,
    dues: list[tuple[float, str]],
) -> None:
    dice = random.Random(1)
    waiting = [way for _ in range(changes) for way in ("command", "program")]
    for due, scheduled in [*dues, (float("inf"), "")]:
        while waiting and time.time() < due - CLEAR_S:
            _change(waiting.pop(0), client, shelf, seen, run, on_belt, names)
            time.sleep(dice.uniform(*PAUSE_S))
        if due == float("inf"):
            return
        if on_belt[0] == scheduled:
            _change("command", client, shelf, seen, run, on_belt, names)
        time.sleep(max(0.0, due - time.time()))
        since = seen.count()
        on_belt[0] = scheduled
        at, old = seen.first_of(scheduled, since)
        run.took_s["schedule"].append(at - due)
        run.old_meanwhile.append(old)


def _change(
    way: str, client: ControlClient, shelf: Shelf, seen: Seen, run: Run, on_belt: list[str], names: list[str]
) -> None:
    new = names[1 - names.index(on_belt[0])]
    since, began = seen.count(), time.time()
    on_belt[0] = new
    if way == "command":
        client.ask("product", use=new)
    else:
        subprocess.run(
            [sys.executable, "-m", "edge_resad", "product", "use", new, "--products", str(shelf.folder)],
            check=True,
            capture_output=True,
        )
    at, old = seen.first_of(new, since)
    run.took_s[way].append(at - began)
    run.old_meanwhile.append(old)


def _run(
    settings: StationFile,
    shows: Callable[[int], Picture | None],
    rate: float,
    seen: Seen,
    run: Run,
    *,
    start: Callable[[], None] = lambda: None,
    also: Callable[[Inspection], None] = lambda _: None,
) -> None:
    belts = []

    def open_source(_told: object, halt: threading.Event) -> Belt:
        belts.append(Belt(shows, rate, halt))
        return belts[-1]

    def open_judge(told: StationFile) -> Changeover:
        assert told.products is not None
        judge = TimedChangeover(open_bundle(), told.products, told.engine)
        judge.in_line_s = run.in_line_s
        return judge

    def on_inspection(inspection: Inspection) -> None:
        seen.told(inspection)
        also(inspection)

    with mock.patch("edge_resad.engine.inspector.engine_for", wraps=engine_for) as opened:
        start()
        summary = run_station(
            settings,
            stop=threading.Event(),
            open_source=open_source,
            open_judge=open_judge,
            on_inspection=on_inspection,
        )
        run.engines = opened.call_count
    run.shown = sum(belt.shown for belt in belts)
    run.judged = summary.passed + summary.failed
    run.not_inspected = dict(Counter({reason: count for reason, count in summary.not_inspected.items() if count}))


@contextmanager
def _failing_here(work: Callable[[], None]) -> Iterator[threading.Thread]:
    """A thread for this work, not started yet; at the end what went wrong in it is raised here."""
    wrong: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # whatever it is, the other thread says it
            wrong.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    yield thread
    thread.join(PATIENCE_S)
    if wrong:
        raise wrong[0]


def _wait_for_the_line(client: ControlClient, seen: Seen) -> None:
    """Until the station answers and has judged a part."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            client.ask("products")
            if seen.count():
                return
        except ControlError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the station did not begin")


def _shelf(scratch: Path, kinds: list[Stocked], size: Size) -> Shelf:
    shelf = Shelf(scratch / "products")
    stock(shelf, kinds, size, align=False)  # drawn parts lie at any angle, which is another test
    return shelf


def _settings(scratch: Path, products: dict[str, Any]) -> StationFile:
    return StationFile.model_validate(
        {
            "station": {"device": "bench"},
            "camera": {"source": "synthetic", "trigger": {"kind": "camera"}},  # every picture is a part
            "products": {"folder": str(scratch / "products"), **products},
            "spool": {"path": str(scratch / "spool.db")},
            "control": {"socket": str(scratch / "control.sock"), "labels": str(scratch / "labels.jsonl")},
            "log": {"verdicts": str(scratch / "verdicts.jsonl")},
            "pictures": {"folder": str(scratch / "pictures"), "min_free_mb": 0},
        }
    )


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """Count, shortest, p50, p99 and longest."""
    if not seconds:
        return {"count": 0}
    found = 1e3 * np.array(seconds)
    p50, p99 = np.percentile(found, (50, 99))
    return {
        "count": len(seconds),
        "min": round(float(found.min()), 2),
        "p50": round(float(p50), 2),
        "p99": round(float(p99), 2),
        "longest": round(float(found.max()), 2),
    }
