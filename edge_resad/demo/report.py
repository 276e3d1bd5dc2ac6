"""The demo's report: one HTML page that shows what the station saw, decided and said, with all its pictures inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_resad import charts
from edge_resad.page import Picture, data_uri, fitted, marked, plural, sign, whole, write_page

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
    return write_page(render(summary), path)


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
    return whole(f"{summary.product}: edge-resad demo run", "\n".join(parts))


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
        f'<p class="lead">Shown {shown} good {plural("part", shown)} for {_seconds(summary.enrol_s)}. '
        f"Judged the next {summary.parts} without having seen a single defect.</p>"
        f'<p class="mood {mood}">{sign(mood == "fine")} {escape(says)}</p></header>'
    )


def _troubles(summary: DemoSummary) -> list[str]:
    said = []
    if summary.misses:
        said.append(f"{summary.misses} {plural('defect', summary.misses)} missed")
    if summary.false_rejects:
        said.append(f"{summary.false_rejects} good {plural('part', summary.false_rejects)} sorted out")
    if summary.alerts_sent > summary.alerts_arrived:
        late = summary.alerts_sent - summary.alerts_arrived
        said.append(f"{late} {plural('alert', late)} still on the way")
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
        f'<img src="{data_uri(fitted(part, STRIP_SIDE))}" alt="good part {k + 1}">'
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
        pictures.append(("what is wrong", marked(card.photo, card.mask)))
    figures = "".join(
        f'<figure><img src="{data_uri(picture)}" alt="{name}, part {card.number}">'
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
        return f'<span class="badge fine">{sign(True)} rightly {"rejected" if card.rejected else "passed"}</span>'
    return f'<span class="badge alarm">{sign(False)} {"false reject" if card.rejected else "missed"}</span>'


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


def _percentiles(latency_ms: Sequence[float]) -> tuple[str, str]:
    if not latency_ms:
        return "&ndash;", "&ndash;"
    p50, p99 = (f"{value:.3g}" if value < 100 else f"{value:.0f}" for value in np.percentile(latency_ms, (50, 99)))
    return f"{p50}<small> ms</small>", f"{p99}<small> ms</small>"


def _seconds(value: float) -> str:
    return f"{value:.1f} seconds" if value < 10 else f"{value:.0f} seconds"
