"""A chart of rejects: whether they come more often than enrolment aimed at and than they did so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist

from edge_resad.device.drift.cusum import Cusum, limit_for
from edge_resad.device.drift.history import History

PRIOR = 8  # rejects that what enrolment aimed at weighs
USUAL_RATE = 0.05  # where a bank's threshold does not say what it aims at
SHARE_PARTS = 100  # over so many parts a share of rejects is shown
_NORMAL = NormalDist()


@dataclass(kw_only=True)
class RejectChart:
    """A self-starting cumulative sum of the parts between rejects.

    If rejects come by chance with a steady rate and there were r of them among T parts, the next gap exceeds x parts
    with probability (1 + x / T) ** -r (the ratio of exponential times is F distributed): a value of which the normal
    quantile is charted. Enrolment's aim counts as PRIOR rejects that came at that rate.
    """

    arm_parts: float  # parts between two false alarms
    rate: float = USUAL_RATE  # what enrolment aims at
    parts: int = 0
    rejects: int = 0
    calm_parts: float = 0.0  # T and r: while the chart raised no alarm
    calm_rejects: int = 0
    gap: int = 0  # parts since the last reject
    sum: Cusum = field(default_factory=Cusum)
    lately: int = 0  # rejects since the sum last stood at 0
    share: float | None = None  # of rejects among the newest SHARE_PARTS
    history: History = field(default_factory=History)
    in_share: int = 0
    rejects_in_share: int = 0

    def add(self, is_reject: bool) -> bool:
        """Take one more part; whether the chart has news."""
        self.parts += 1
        self.gap += 1
        self.in_share += 1
        self.rejects_in_share += is_reject
        whole = self.in_share == SHARE_PARTS
        if whole:
            self.share = self.rejects_in_share / SHARE_PARTS
            self.history.add(self.share, self.sum.sum / self.limit)
            self.in_share = self.rejects_in_share = 0
        if not is_reject:
            return self._calmed(whole)
        self.rejects += 1
        total, seen = self.calm_parts + PRIOR / self.rate, self.calm_rejects + PRIOR
        within = 1 - (1 + (self.gap - 0.5) / total) ** -seen  # the middle of the step that whole parts make
        self.lately = 1 if self.sum.sum <= 0 else self.lately + 1
        self.sum.step(-_NORMAL.inv_cdf(min(max(within, 1e-9), 1 - 1e-9)), self.limit, self.parts - self.gap)
        if not self.sum.is_on:
            self.calm_parts += self.gap
            self.calm_rejects += 1
        self.gap = 0
        return True

    @property
    def limit(self) -> float:
        """Of the sum; a run is counted in rejects."""
        return limit_for(max(self.arm_parts * self.rate, 50.0))

    @property
    def usual(self) -> float:
        """Share of rejects that is usual here."""
        return (self.calm_rejects + PRIOR) / (self.calm_parts + PRIOR / self.rate)

    def _calmed(self, whole: bool) -> bool:
        """A long time without rejects ends an alarm although no reject tells so."""
        if not (whole and self.sum.is_on):
            return whole
        if self.gap * self.usual > 3:  # by chance one gap in twenty is so long
            self.sum = Cusum(since=self.parts)
        return True
