"""How long the charts of drift wait before they are wrong, and how soon they see what has really changed.

`python -m benchmarks.drift` simulates lines whose truth is known; `--pictures` also lets the detector inspect drawn
parts while the light dims, the focus is lost, the camera shifts, and with the bank of another lot.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge_resad.bank import Bank
from edge_resad.bundle import open_bundle
from edge_resad.demo.products import draw
from edge_resad.device.drift.chart import LEARN_GROUPS, Chart
from edge_resad.device.drift.drift import Drift
from edge_resad.device.drift.figures import ARMS, FIGURES
from edge_resad.device.drift.product_charts import Enrolled
from edge_resad.device.drift.rejects import RejectChart
from edge_resad.device.frame import Frame
from edge_resad.device.pipeline import Inspection, Latency
from edge_resad.device.watch import Limits, Watch
from edge_resad.engine.alignment import Aligner
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.inspector import Inspector
from edge_resad.recipe import Alignment

SPREAD = 0.15  # of the logarithm of good parts' scores
SCORES = FIGURES["scores"]
FAMILY, SIZE, REFERENCES = "flange", 320, 4
Image = NDArray[np.uint8]
Change = Callable[[Image, float], Image]
"""A picture, and how far the change has come, 0..1."""

CHANGES: dict[str, tuple[str, Change]] = {
    "light dims": ("to 80 %", lambda image, far: _dimmed(image, 1 - 0.2 * far)),
    "focus is lost": ("to a blur of 3 px", lambda image, far: _blurred(image, 3.0 * far)),
    "camera shifts": ("by 16 px", lambda image, far: _moved(image, 16.0 * far)),
}


def main(
    lines: Annotated[int, typer.Option(min=10, help="Simulated lines for every row.")] = 200,
    learn_parts: Annotated[int, typer.Option(min=100, help="Parts that a chart learns from.")] = 1000,
    pictures: Annotated[bool, typer.Option(help="Inspect drawn parts too, which takes minutes.")] = False,
    parts: Annotated[int, typer.Option(min=200, help="Drawn parts over which a change comes.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the false alarms of the charts of drift and how soon they see a change."""
    found: dict[str, Any] = {"false_alarms": [], "delays": [], "rejects": []}
    stated = (1e4, 1e5, 1e6)
    for false_alarm_parts in track(stated, "false alarms", console=Console(stderr=True), transient=True):
        for alike in (0.0, 0.9):
            found["false_alarms"].append(_false_alarms(false_alarm_parts, alike, lines, learn_parts))
    for false_alarm_parts in track(stated, "delays", console=Console(stderr=True), transient=True):
        found["delays"].append(_delays(false_alarm_parts, max(lines // 5, 10), learn_parts))
        found["rejects"].append(_reject_delays(false_alarm_parts, max(lines // 5, 10)))
    if pictures:
        found["pictures"] = _on_pictures(learn_parts, parts)
    if as_json:
        print(json.dumps(found))
        return
    for name, rows in found.items():
        _print(name.replace("_", " "), rows)


def _false_alarms(stated: float, alike: float, lines: int, learn_parts: int) -> dict[str, Any]:
    """Both sides of one chart, on lines to which nothing happens; `alike` is the correlation of neighbouring parts."""
    arm_parts = ARMS * stated
    horizon = int(min(0.3 * arm_parts / 2, 100_000))
    alarms, watched = 0, 0
    for seed in range(lines):
        chart = _chart(learn_parts, stated)
        scores = np.exp(SPREAD * _noise(seed, learn_parts * 8 + horizon, alike)).tolist()
        began = None
        for score in scores:
            chart.add(score, SCORES)
            if chart.count and began is None:
                began = chart.parts
            if began is not None and (chart.way is not None or chart.parts - began >= horizon):
                break
        alarms += chart.way is not None
        watched += chart.parts - (began or chart.parts)
    return {
        "parts between false alarms of all charts": f"{stated:g}",
        "neighbours' correlation": alike,
        "of one chart, stated": f"{arm_parts / 2:.3g}",
        "measured": f"{watched / alarms:.3g}" if alarms else f"over {watched:.3g}",
        "alarms": alarms,
        "expected": round(2 * watched / arm_parts, 1),
    }


def _delays(stated: float, lines: int, learn_parts: int) -> dict[str, Any]:
    """Parts until a chart of scores says so, median over lines that ran 5000 parts before."""
    row: dict[str, Any] = {"parts between false alarms": f"{stated:g}"}
    rises: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
        "0.5 sd": lambda part: 0.5 + 0.0 * part,
        "1 sd": lambda part: 1.0 + 0.0 * part,
        "2 sd": lambda part: 2.0 + 0.0 * part,
        "1 sd in 10 000": lambda part: part / 1e4,
        "1 sd in 100 000": lambda part: part / 1e5,
    }
    for name, rise in rises.items():
        most = 100_000 if "100 000" in name else 20_000
        delays: list[float] = []
        for seed in range(lines):
            chart = _chart(learn_parts, stated)
            noise = _noise(seed, 5000 + most, 0.0)
            noise[5000:] += rise(np.arange(most, dtype=np.float64))
            delay = math.inf
            for index, score in enumerate(np.exp(SPREAD * noise).tolist()):
                chart.add(score, SCORES)
                if index >= 5000 and chart.way == "up":
                    delay = index - 5000 + 1
                    break
            delays.append(delay)
        row[name] = float(np.median(delays))
    return row


def _reject_delays(stated: float, lines: int) -> dict[str, Any]:
    """Parts until the chart of rejects says so, median over lines with 1 % rejects for 10 000 parts before."""
    row: dict[str, Any] = {"parts between false alarms": f"{stated:g}"}
    for rate in (0.03, 0.05, 0.1, 0.5):
        delays: list[float] = []
        for seed in range(lines):
            dice = np.random.default_rng(seed)
            chart = RejectChart(arm_parts=ARMS * stated)
            fails = np.concatenate((dice.random(10_000) < 0.01, dice.random(20_000) < rate)).tolist()
            delay = math.inf
            for index, is_reject in enumerate(fails):
                chart.add(is_reject)
                if index >= 10_000 and chart.sum.is_on:
                    delay = index - 10_000 + 1
                    break
            delays.append(delay)
        row[f"from 1 % to {rate:.0%}"] = float(np.median(delays))
    return row


def _chart(learn_parts: int, stated: float) -> Chart:
    return Chart(group_parts=learn_parts // LEARN_GROUPS, arm_parts=ARMS * stated)


def _noise(seed: int, count: int, alike: float) -> NDArray[np.float64]:
    """Standard normal values, neighbours correlated."""
    fresh = np.random.default_rng(seed).standard_normal(count)
    if not alike:
        return fresh
    fresh *= math.sqrt(1 - alike**2)
    values = np.empty(count)
    last = 0.0
    for index, step in enumerate(fresh.tolist()):
        last = alike * last + step
        values[index] = last
    return values


def _on_pictures(learn_parts: int, parts: int) -> list[dict[str, Any]]:
    """The whole way: pictures, detector, watch, alignment, charts."""
    bundle = open_bundle()
    references = [draw(FAMILY, 10**6 + index, size=SIZE).image for index in range(REFERENCES)]
    bank = enrol(bundle, references, product=FAMILY).bank
    other = enrol(bundle, [_other_lot(image) for image in references], product=FAMILY).bank
    rows: list[dict[str, Any]] = []
    with Inspector(bundle, bank) as inspector:
        line = _Line(inspector, bank, references[0], learn_parts)
        steps = [*range(learn_parts)]
        before = [line.seen(draw(FAMILY, part, size=SIZE).image) for part in _told(steps, "a steady line")]
        for name, (far, change) in CHANGES.items():
            said: dict[str, int] = {}
            with line.drift() as drift:
                for seen in before:
                    drift.add(*seen)
                early = list(drift.said)
                for part in _told(range(parts), name):
                    image = change(draw(FAMILY, learn_parts + part, size=SIZE).image, (part + 1) / parts)
                    drift.add(*line.seen(image))
                    for fault in drift.said:
                        said.setdefault(fault, part + 1)
            rows.append({"change": f"{name} {far} over {parts} parts", "before": _words(early), "said": said})
        inspector.load(other)
        line = _Line(inspector, other, references[0], learn_parts)
        said = {}
        with line.drift() as drift:
            for part in _told(steps, "the bank of another lot"):
                drift.add(*line.seen(draw(FAMILY, part, size=SIZE).image))
                for fault in drift.said:
                    said.setdefault(fault, part + 1)
        rows.append({"change": "the bank of another lot", "before": "", "said": said})
    for row in rows:
        row["said"] = ", ".join(f"{fault} after {count}" for fault, count in row["said"].items()) or "nothing"
    return rows


class _Line:
    """A line that is inspected as a station does."""

    def __init__(self, inspector: Inspector, bank: Bank, reference: Image, learn_parts: int) -> None:
        self._inspector = inspector
        self._threshold = bank.info.threshold
        self._learn_parts = learn_parts
        self._watch = Watch(Limits())
        self._aligner = Aligner(reference, Alignment(max_shift_px=60, max_turn_deg=20, min_likeness=0.3))

    def drift(self) -> Drift:
        drift = Drift("cam0", None, false_alarm_parts=1e6, learn_parts=self._learn_parts)
        told = self._threshold
        drift.use(Enrolled(product=FAMILY, of="", good=told.good, false_alarm_rate=told.false_alarm_rate))
        return drift

    def seen(self, image: Image) -> tuple[Inspection, Any, Any]:
        frame = Frame(image=image, frame_id=0, captured_mono=0.0, captured_wall=0.0)
        self._watch.look(frame, 0.0)
        self._aligner.align(image)
        verdict = self._inspector.inspect(image)
        sight = _Sight(self._watch.brightness, self._watch.sharpness)
        latency = Latency(waiting_ms=0.0, inspecting_ms=0.0)
        inspection = Inspection(frame=frame, verdict=verdict, not_inspected=None, latency=latency)
        return inspection, sight, self._aligner.place


class _Sight:
    def __init__(self, brightness: float | None, sharpness: float | None) -> None:
        self.brightness = brightness
        self.sharpness = sharpness


def _told(steps: Any, says: str) -> Iterator[int]:
    yield from track(steps, says, console=Console(stderr=True), transient=True)


def _words(faults: list[str]) -> str:
    return ", ".join(faults) or "nothing"


def _dimmed(image: Image, gain: float) -> Image:
    return np.asarray(np.clip(image * gain, 0, 255), np.uint8)


def _blurred(image: Image, sigma: float) -> Image:
    return image if sigma < 0.1 else np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def _moved(image: Image, right_px: float) -> Image:
    move = np.array([[1, 0, round(right_px)], [0, 1, 0]], np.float64)
    return np.asarray(cv2.warpAffine(image, move, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _other_lot(image: Image) -> Image:
    """The same part of a warmer metal."""
    return np.asarray(np.clip(image * np.array([0.7, 1.0, 1.25]), 0, 255), np.uint8)


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{value:g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=160).print(table)


if __name__ == "__main__":
    typer.run(main)
