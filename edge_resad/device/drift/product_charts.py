"""All charts of one product on one camera, and what they say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_resad.bank import GoodScores
from edge_resad.device.drift.chart import LARGEST, LEARN_GROUPS, Chart
from edge_resad.device.drift.cusum import normal_of_t
from edge_resad.device.drift.figures import ADVICE, ARMS, FIGURES
from edge_resad.device.drift.rejects import USUAL_RATE, RejectChart

UNLIKE_Z = 3.09  # one line in a thousand is wrongly said to be unlike its enrolment, once
UNLIKE_LEAST = 0.5  # of good parts' deviation: less is what leaving one out may be wrong by


@dataclass(frozen=True, kw_only=True)
class Enrolled:
    """What a product's enrolment says, as far as drift asks."""

    product: str
    of: str  # changes with everything that changes scores: other banks begin other charts
    good: GoodScores | None = None  # what good parts should score
    false_alarm_rate: float | None = None  # what the threshold aims at


@dataclass(kw_only=True)
class ProductCharts:
    """Charts of one product. It may be written to a file and read again."""

    of: str
    rejects: RejectChart
    figures: dict[str, Chart] = field(default_factory=dict)  # by the figure's name, where there was a value
    unlike: float | None = None  # by what factor good parts score higher than enrolment told, where that is sure

    @classmethod
    def begun(cls, enrolled: Enrolled, *, false_alarm_parts: float) -> ProductCharts:
        """Charts that know nothing yet."""
        rate = enrolled.false_alarm_rate or USUAL_RATE
        return cls(of=enrolled.of, rejects=RejectChart(arm_parts=ARMS * false_alarm_parts, rate=rate))

    def set_false_alarm_parts(self, false_alarm_parts: float) -> None:
        """How many parts there may be between false alarms; another number than before moves the limits."""
        self.rejects.arm_parts = ARMS * false_alarm_parts
        for chart in self.figures.values():
            chart.arm_parts = self.rejects.arm_parts

    def count(self, is_reject: bool) -> bool:
        """Take one verdict; whether there may be something new to say."""
        return self.rejects.add(is_reject)

    def add(self, name: str, value: float, *, learn_parts: int, good: GoodScores | None = None) -> bool:
        """Take one part's figure; whether there may be something new to say. good: what enrolment says of scores."""
        if not math.isfinite(value):
            return False
        chart = self.figures.get(name)
        if chart is None:
            arm_parts = self.rejects.arm_parts
            chart = self.figures[name] = Chart(group_parts=group_of(learn_parts), arm_parts=arm_parts)
        was_learning = not chart.count
        news = chart.add(value, FIGURES[name])
        if news and was_learning and chart.count and name == "scores" and good is not None:
            self.unlike = unlike_enrolment(chart, good)
        return news

    def said(self) -> dict[str, str]:
        """What is wrong, by its fault: a sentence without its end."""
        says: dict[str, str] = {}
        for name, figure in FIGURES.items():
            chart = self.figures.get(name)
            if chart is None or chart.way is None:
                continue
            change = chart.change(figure) or 0.0
            by = f"{change:.3g} times the usual" if figure.is_ratio else f"by {change:+.3g} {figure.unit}".rstrip()
            what = figure.up if chart.way == "up" else figure.down
            says.setdefault(figure.fault, f"{what}, {by}, for about {chart.since} parts")
        if self.rejects.sum.is_on:
            lately = self.rejects.parts - self.rejects.sum.since
            says["reject_rate"] = (
                f"{self.rejects.lately} of the last {lately} parts fail, {self.rejects.usual:.1%} are usual"
            )
        if self.unlike is not None:
            says["unlike_enrolment"] = f"good parts score {self.unlike:.2f} times what enrolment told"
        return {fault: f"{text}. {ADVICE[fault]}" for fault, text in says.items()}

    def shares(self) -> Mapping[str, float]:
        """How far every chart is from saying something: 1 is the limit."""
        found = {name: max(chart.up.sum, chart.down.sum) / chart.limit for name, chart in self.figures.items()}
        return found | {"rejects": self.rejects.sum.sum / self.rejects.limit}


def prepare_limits(false_alarm_parts: float, learn_parts: int) -> None:
    """Compute the limits for groups of every size, which takes too long for a part to wait for."""
    size = group_of(learn_parts)
    while size <= LARGEST * group_of(learn_parts):
        Chart(group_parts=size, arm_parts=ARMS * false_alarm_parts).limit  # noqa: B018 - it is remembered
        size *= 2


def group_of(learn_parts: int) -> int:
    """Parts of the first groups."""
    return max(1, learn_parts // LEARN_GROUPS)


def unlike_enrolment(chart: Chart, good: GoodScores) -> float | None:
    """By what factor a line's good parts score higher than its references told; None where chance may explain it.

    With few references their mean is itself uncertain: four know it to half a deviation. That good parts score lower is
    no reason to say anything: left out one by one, a few references lie further from each other than from a new part.
    """
    parts = chart.count * chart.group_parts
    away = chart.mean - good.mean
    t = max(away - UNLIKE_LEAST * good.spread, 0.0) / (good.spread * math.sqrt(1 / good.samples + 1 / parts))
    return math.exp(away) if normal_of_t(t, good.freedom) > UNLIKE_Z else None
