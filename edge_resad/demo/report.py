"""The demo's report: one HTML page that shows what the station saw, decided and said, with all its pictures inside."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo import charts
from edge_resad.errors import EdgeResadError

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8, BGR."""

PHOTO_QUALITY = 84  # of the page's JPEGs
STRIP_SIDE = 150  # pixels of an enrolled part's picture


@dataclass(frozen=True, kw_only=True, eq=False)
class RejectCard:
    """One part worth a look: a reject, or a defect that was missed."""

    number: int  # the part's number in this run, from 1
    photo: Picture
    overlay: Picture  # the photo with heat and outlines
    mask: NDArray[np.bool_] | None = None  # (H, W) where the defect truly is; None where nobody knows
    score: float
    threshold: float
    rejected: bool = True  # what the station decided: besides the score, the smallest defect that counts plays a part
    truth: Literal["good", "defective", "unknown"] = "unknown"
    defect: str | None = None  # what is truly wrong with it
    severity: int | None = None  # 1 subtle .. 3 clear, of the true defect
    alert_id: str | None = None  # None where no alert was sent
    arrival_ms: float | None = None  # from the photograph to the subscriber; None where it did not arrive

    @property
    def verdict(self) -> Literal["right", "wrong", "unknown"]:
        """Whether the station was right about this part."""
        if self.truth == "unknown":
            return "unknown"
        return "right" if self.rejected == (self.truth == "defective") else "wrong"


@dataclass(frozen=True, kw_only=True, eq=False)
class DemoSummary:
    """Everything that one run of the demo has to show."""

    product: str  # as people call it: "Machined flange"
    good_parts: Sequence[Picture]  # what was enrolled
    enrol_s: float  # seconds that enrolment took
    threshold: float
    good_scores: Sequence[float]  # of every judged part that was good
    defective_scores: Sequence[float]  # of every judged part that was not
    latency_ms: Sequence[float]  # from the photograph to the verdict, every part
    rejects: Sequence[RejectCard]  # all of them, in the order of the line
    missed: Sequence[RejectCard] = ()  # every defective part that passed
    alerts_sent: int
    alerts_arrived: int
    started: datetime
    duration_s: float
    engine: str  # what computed: "ONNX Runtime, CPU, 1 thread"
    broker: str  # what carried the alerts: "amqtt 0.12.1, MQTT 3.1.1"

    @property
    def parts(self) -> int:
        """How many parts were judged."""
        return len(self.good_scores) + len(self.defective_scores)

    @property
    def false_rejects(self) -> int:
        """How many good parts were sorted out."""
        return sum(card.truth == "good" for card in self.rejects)

    @property
    def misses(self) -> int:
        """How many defective parts were let through."""
        return len(self.missed)


def write(summary: DemoSummary, path: Path) -> Path:
    """Write the page to this path, whole or not at all, and return the path."""
    page = render(summary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(page)
            os.chmod(name, 0o644)  # mkstemp's own mode would keep the page from everybody else
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise EdgeResadError(
            f"cannot write the report to {path}: {problem.strerror or problem}. It needs {len(page) / 1e6:.1f} MB "
            "in a folder that may be written to; free some space there or name another folder."
        ) from problem
    return path


def render(summary: DemoSummary) -> str:
    """The whole page as HTML."""
    parts = [_header(summary), _tiles(summary), _enrolled(summary), _charts(summary)]
    shown = [*summary.missed, *summary.rejects]
    full = 1.06 * max((max(card.score, card.threshold) for card in shown), default=1.0)  # every bar has the same scale
    if summary.missed:
        note = "Defective parts that the station let through, their scores below the threshold."
        parts.append(_cards("Missed", note, summary.missed, full))
    note = "Every part that was sorted out, in the order of the line." if summary.rejects else "No part was sorted out."
    parts.append(_cards("Rejects", note, summary.rejects, full))
    parts.append(_footer(summary))
    return PAGE.format(title=escape(summary.product), style=STYLE, body="\n".join(parts))


def _header(summary: DemoSummary) -> str:
    wrong = summary.misses + summary.false_rejects
    lost = summary.alerts_sent - summary.alerts_arrived
    if not summary.parts:
        mood, says = "mixed", "No part was judged in this run."
    elif wrong or lost:
        mood, says = "mixed", "; ".join(_troubles(summary)) + "."
    else:
        mood, says = "fine", "Every verdict right, every alert delivered."
    shown = len(summary.good_parts)
    return (
        f'<header><p class="brand">edge-resad <span>demo run</span></p><h1>{escape(summary.product)}</h1>'
        f'<p class="lead">Shown {shown} good {_plural("part", shown)} for {_seconds(summary.enrol_s)}. '
        f"Judged the next {summary.parts} without having seen a single defect.</p>"
        f'<p class="mood {mood}">{_sign(mood == "fine")} {escape(says)}</p></header>'
    )


def _troubles(summary: DemoSummary) -> list[str]:
    said = []
    if summary.misses:
        said.append(f"{summary.misses} {_plural('defect', summary.misses)} missed")
    if summary.false_rejects:
        said.append(f"{summary.false_rejects} good {_plural('part', summary.false_rejects)} sorted out")
    if summary.alerts_sent > summary.alerts_arrived:
        late = summary.alerts_sent - summary.alerts_arrived
        said.append(f"{late} {_plural('alert', late)} still on the way")
    return said


def _tiles(summary: DemoSummary) -> str:
    p50, p99 = _percentiles(summary.latency_ms)
    found = len(summary.defective_scores) - summary.misses
    arrived = f"{summary.alerts_arrived}<small> / {summary.alerts_sent}</small>"
    return (
        '<section class="tiles">'
        + "".join(
            (
                _tile("parts judged", str(summary.parts)),
                _tile("defects found", f"{found}<small> / {len(summary.defective_scores)}</small>"),
                _tile("rejects", str(len(summary.rejects))),
                _tile("missed", str(summary.misses), "fine" if not summary.misses else "alarm"),
                _tile("false rejects", str(summary.false_rejects), "fine" if not summary.false_rejects else "alarm"),
                _tile("latency p50", p50),
                _tile("latency p99", p99),
                _tile(
                    "alerts over MQTT", arrived, "fine" if summary.alerts_arrived >= summary.alerts_sent else "alarm"
                ),
            )
        )
        + "</section>"
    )


def _tile(name: str, value: str, mood: str = "") -> str:
    return f'<div class="tile {mood}"><b>{value}</b><span>{escape(name)}</span></div>'


def _enrolled(summary: DemoSummary) -> str:
    figures = "".join(
        f'<img src="{_data_uri(_fitted(part, STRIP_SIDE))}" alt="good part {k + 1}">'
        for k, part in enumerate(summary.good_parts)
    )
    return (
        "<section><h2>What it was shown</h2><p>The good parts it learned this product from. "
        f'Nothing was trained.</p><div class="strip">{figures}</div></section>'
    )


def _charts(summary: DemoSummary) -> str:
    marks = []
    if summary.latency_ms:
        p50, p99 = np.percentile(summary.latency_ms, (50, 99))
        marks = [("p50", float(p50)), ("p99", float(p99))]
    rows = [("good parts", summary.good_scores, "good"), ("defective parts", summary.defective_scores, "bad")]
    return (
        '<section class="pair"><figure><figcaption><h2>Scores</h2><p>One dot a part. Right of the line it is sorted '
        f"out; a ringed dot is on the wrong side.</p></figcaption>"
        f"{charts.strips(rows, summary.threshold, unit='score')}</figure>"
        "<figure><figcaption><h2>Latency</h2><p>From the photograph to the verdict, every part.</p></figcaption>"
        f"{charts.histogram(summary.latency_ms, marks, unit='ms')}</figure></section>"
    )


def _cards(title: str, note: str, cards: Sequence[RejectCard], full: float) -> str:
    count = f' <span class="count">{len(cards)}</span>' if cards else ""
    inside = "".join(_card(card, full) for card in cards)
    return f'<section><h2>{title}{count}</h2><p>{note}</p><div class="cards">{inside}</div></section>'


def _card(card: RejectCard, full: float) -> str:
    pictures = [("photograph", card.photo), ("what it found" if card.rejected else "what it saw", card.overlay)]
    if card.mask is not None and card.mask.any():
        pictures.append(("what is wrong", _marked(card.photo, card.mask)))
    figures = "".join(
        f'<figure><img src="{_data_uri(picture)}" alt="{name}, part {card.number}">'
        f"<figcaption>{name}</figcaption></figure>"
        for name, picture in pictures
    )
    return (
        f'<article class="card {card.verdict}"><div class="top"><h3>Part {card.number}</h3>{_badge(card)}</div>'
        f'<div class="shots">{figures}</div>{_gauge(card, full)}<dl>{_facts(card)}</dl></article>'
    )


def _badge(card: RejectCard) -> str:
    if card.verdict == "unknown":
        return '<span class="badge">rejected</span>' if card.rejected else '<span class="badge">passed</span>'
    if card.verdict == "right":
        return f'<span class="badge fine">{_sign(True)} rightly {"rejected" if card.rejected else "passed"}</span>'
    return f'<span class="badge alarm">{_sign(False)} {"false reject" if card.rejected else "missed"}</span>'


def _gauge(card: RejectCard, full: float) -> str:
    """The score as a bar that is full at `full`, the threshold as a line across it."""
    filled, line = (float(np.clip(100 * value / full, 0, 100)) for value in (card.score, card.threshold))
    look = "over" if card.rejected else "under"
    return (
        f'<div class="gauge {look}" role="img" aria-label="score {card.score:.3g}, threshold {card.threshold:.3g}">'
        f'<i style="width:{filled:.1f}%"></i><u style="left:{line:.1f}%"></u></div>'
        f'<p class="reading"><b>{card.score:.3g}</b> score <span>threshold {card.threshold:.3g}, '
        f"{card.score / card.threshold:.2f} times</span></p>"
    )


def _facts(card: RejectCard) -> str:
    facts = []
    if card.truth == "defective":
        how = ("", ", subtle", ", plain", ", clear")[card.severity or 0]
        facts.append(("defect", f"{card.defect or 'unnamed'}{how}"))
    elif card.truth == "good":
        facts.append(("defect", "none"))
    if card.alert_id is not None:
        facts.append(("alert", card.alert_id))
        came = f"{card.arrival_ms:.0f} ms after the photograph" if card.arrival_ms is not None else "not yet"
        facts.append(("arrived", came))
    return "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)


def _footer(summary: DemoSummary) -> str:
    started = summary.started.strftime("%d %B %Y, %H:%M")
    return (
        f"<footer><p>{escape(started)}, {_seconds(summary.duration_s)}. {escape(summary.engine)}. "
        f"Alerts through {escape(summary.broker)}.</p><p>Parts and defects of this demo are drawn, not photographed: "
        "that is how the true defect of every part is known to the pixel.</p></footer>"
    )


def _marked(photo: Picture, mask: NDArray[np.bool_]) -> Picture:
    """The photo, dimmed where it is good, and a line around where it is not."""
    light = cv2.GaussianBlur(cv2.dilate(mask.astype(np.float32), np.ones((9, 9), np.uint8)), (0, 0), 3)[..., None]
    dimmed = np.asarray(photo * (0.30 + 0.70 * light), np.uint8)
    around = cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11)))
    contours, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(dimmed, contours, -1, (255, 255, 255), 1, cv2.LINE_AA)
    return dimmed


def _fitted(picture: Picture, side: int) -> Picture:
    scale = min(1.0, 2 * side / max(picture.shape[:2]))  # twice as fine as shown, for dense screens
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _data_uri(picture: Picture) -> str:
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, PHOTO_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii")


def _percentiles(latency_ms: Sequence[float]) -> tuple[str, str]:
    if not latency_ms:
        return "&ndash;", "&ndash;"
    p50, p99 = (f"{value:.3g}" if value < 100 else f"{value:.0f}" for value in np.percentile(latency_ms, (50, 99)))
    return f"{p50}<small> ms</small>", f"{p99}<small> ms</small>"


def _seconds(value: float) -> str:
    return f"{value:.1f} seconds" if value < 10 else f"{value:.0f} seconds"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else noun + "s"


def _sign(fine: bool) -> str:
    path = "M3.5 8.5l3 3 6-7" if fine else "M8 3.5v5.5M8 12v.4"
    return f'<svg class="sign" viewBox="0 0 16 16" aria-hidden="true"><path d="{path}"/></svg>'


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}: edge-resad demo run</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

STYLE = """
:root {
  --paper: #f5f6f4; --sheet: #ffffff; --ink: #16201d; --quiet: #5d6a66; --line: #dfe4e1; --lane: #f0f3f1;
  --fine: #0b7a55; --fine-paper: #e2f4ec; --alarm: #b3261e; --alarm-paper: #fce8e6; --heat: #d9580d; --bar: #2d6f8e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #0e1413; --sheet: #171f1d; --ink: #e9f0ed; --quiet: #97a5a0; --line: #2a3532; --lane: #1e2826;
    --fine: #4fd3a2; --fine-paper: #123328; --alarm: #ff8a80; --alarm-paper: #43191a; --heat: #ff9350; --bar: #62b4d8;
  }
}
* { box-sizing: border-box; margin: 0; }
body {
  background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1200px; margin: 0 auto; padding: 40px 28px 48px; }
h1 { font-size: clamp(32px, 5vw, 52px); line-height: 1.08; letter-spacing: -0.025em; font-weight: 700; }
h2 { font-size: 20px; letter-spacing: -0.01em; font-weight: 650; }
h3 { font-size: 16px; font-weight: 650; font-variant-numeric: tabular-nums; }
section { margin-top: 44px; }
section > p, figcaption > p, .nothing { color: var(--quiet); }
.brand { font-weight: 650; letter-spacing: 0.01em; margin-bottom: 18px; }
.brand span { color: var(--quiet); font-weight: 400; }
.lead { font-size: 19px; color: var(--quiet); margin-top: 10px; max-width: 44em; }
.mood {
  display: inline-flex; align-items: center; gap: 8px; margin-top: 18px; padding: 7px 14px 7px 10px;
  border-radius: 99px; font-weight: 600;
}
.mood.fine, .badge.fine { background: var(--fine-paper); color: var(--fine); }
.mood.mixed, .badge.alarm { background: var(--alarm-paper); color: var(--alarm); }
.sign { width: 16px; height: 16px; flex: none; }
.sign path { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linecap: round; stroke-linejoin: round; }
.tiles {
  display: grid; grid-template-columns: repeat(8, 1fr); margin-top: 32px; overflow: hidden;
  background: var(--line); gap: 1px; border: 1px solid var(--line); border-radius: 14px;
}
.tile { background: var(--sheet); padding: 18px 10px 16px 16px; display: flex; flex-direction: column; gap: 3px; }
.tile b {
  font-size: 30px; line-height: 1.1; letter-spacing: -0.03em; font-weight: 680;
  font-variant-numeric: tabular-nums; white-space: nowrap;
}
.tile small { font-size: 16px; font-weight: 500; color: var(--quiet); letter-spacing: 0; }
.tile span { color: var(--quiet); font-size: 13px; }
.tile.fine b { color: var(--fine); }
.tile.alarm b { color: var(--alarm); }
.strip { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 14px; }
.strip img { width: 150px; border-radius: 10px; display: block; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 18px; }
.pair > figure {
  background: var(--sheet); border: 1px solid var(--line); border-radius: 14px; padding: 20px 20px 10px;
}
.chart { width: 100%; height: auto; display: block; margin-top: 12px; overflow: visible; }
.chart text { font-size: 12px; fill: var(--quiet); }
.chart .mark-name { fill: var(--ink); font-weight: 600; }
.bar { fill: var(--bar); }
.lane { fill: var(--lane); }
.axis { stroke: var(--line); }
.mark { stroke: var(--ink); stroke-width: 1.4; }
.dot { fill-opacity: 0.72; stroke: transparent; stroke-width: 2; }
.dot.good { fill: var(--fine); }
.dot.bad { fill: var(--heat); }
.dot.wrong { stroke: var(--alarm); fill-opacity: 1; }
.count {
  font-size: 14px; font-weight: 600; color: var(--quiet); background: var(--lane); padding: 2px 10px;
  border-radius: 99px; vertical-align: 2px; margin-left: 4px;
}
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(520px, 1fr)); gap: 18px; margin-top: 16px; }
.card {
  background: var(--sheet); border: 1px solid var(--line); border-radius: 14px; padding: 16px 18px 14px;
  break-inside: avoid;
}
.card.wrong { border-color: var(--alarm); box-shadow: 0 0 0 1px var(--alarm); }
.top { display: flex; justify-content: space-between; align-items: center; margin-bottom: 12px; }
.badge {
  display: inline-flex; align-items: center; gap: 6px; font-size: 13px; font-weight: 600; padding: 3px 11px 3px 8px;
  border-radius: 99px; background: var(--lane); color: var(--quiet);
}
.shots { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; }
.shots img { width: 100%; display: block; border-radius: 8px; }
.shots figcaption { font-size: 12px; color: var(--quiet); margin-top: 4px; }
.gauge { position: relative; height: 10px; border-radius: 99px; background: var(--lane); margin-top: 14px; }
.gauge i { position: absolute; inset: 0 auto 0 0; border-radius: 99px; background: var(--heat); }
.gauge.under i { background: var(--quiet); }
.gauge u { position: absolute; top: -4px; bottom: -4px; width: 2px; background: var(--ink); }
.reading { font-size: 13px; color: var(--quiet); margin-top: 7px; display: flex; gap: 6px; align-items: baseline; }
.reading b { color: var(--ink); font-size: 15px; font-variant-numeric: tabular-nums; }
.reading span { margin-left: auto; font-variant-numeric: tabular-nums; }
dl {
  display: flex; flex-wrap: wrap; gap: 6px 22px; border-top: 1px solid var(--line); margin-top: 10px;
  padding-top: 9px;
}
dl:empty { display: none; }
dt { font-size: 12px; color: var(--quiet); }
dd { font-size: 14px; overflow-wrap: anywhere; }
footer { margin-top: 48px; padding-top: 16px; border-top: 1px solid var(--line); color: var(--quiet); font-size: 13px; }
footer p + p { margin-top: 4px; }
@media (max-width: 1080px) { .tiles { grid-template-columns: repeat(4, 1fr); } }
@media (max-width: 720px) {
  main { padding: 24px 16px; }
  .pair, .cards { grid-template-columns: 1fr; }
  .tiles { grid-template-columns: repeat(2, 1fr); }
  .strip img { width: calc(50% - 5px); }
}
@media print {
  :root {
    --paper: #fff; --sheet: #fff; --ink: #111; --quiet: #555; --line: #ccc; --lane: #eee;
    --fine: #0b7a55; --fine-paper: #e2f4ec; --alarm: #b3261e; --alarm-paper: #fce8e6; --heat: #d9580d; --bar: #2d6f8e;
  }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { padding: 0; max-width: none; }
  section { margin-top: 26px; }
  .tiles { grid-template-columns: repeat(8, 1fr); }
  .tile { padding: 10px; }
  .tile b { font-size: 20px; }
  .cards { grid-template-columns: 1fr 1fr; gap: 10px; }
  .strip img { width: 100px; }
  .pair, .tiles, .card { break-inside: avoid; }
  h2, section > p { break-after: avoid; }
}
"""
