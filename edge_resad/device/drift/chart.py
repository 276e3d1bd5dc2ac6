"""A chart of one figure of a line, such as the scores of good parts: learns what is usual, then says when it shifts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edge_resad.device.drift.cusum import Cusum, limit_for, normal_of_t
from edge_resad.device.drift.history import History

LEARN_GROUPS = 50  # from so many groups a chart learns what is usual; even
CORRELATED = 0.3  # correlation of neighbouring groups from which groups are made larger: two deviations beyond chance
ALIKE = 0.1  # correlation of neighbouring parts, or of groups as it lets expect, from which groups are made larger
LARGEST = 64  # times the first size that groups may grow to
LEAST_RUN = 50.0  # groups between false alarms, however few are asked for
ODD = 4.0  # deviations beyond which a group does not move what is usual any further

Way = Literal["up", "down"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a chart is of."""

    name: str
    fault: str  # what it is called when it drifts
    is_ratio: bool  # its logarithm is charted: what counts is by what factor it changes
    floor: float  # the least deviation of groups that is taken for usual: steadier lines are not watched more closely
    up: str  # what it is when it rises, in words
    down: str
    unit: str = ""


@dataclass(kw_only=True)
class Chart:
    """A self-starting cumulative sum of the means of neighbouring parts (Hawkins and Olwell, 1998, chapter 7).

    Every group's mean is measured against all groups before it by Student's t, so that the false-alarm rate holds
    although what is usual is itself only estimated. A group that is part of a shift does not become usual.
    """

    group_parts: int
    arm_parts: float  # parts between two false alarms of either side
    parts: int = 0  # taken so far
    learning: list[float] = field(default_factory=list)  # means of groups, while it learns
    count: int = 0  # groups that say what is usual; 0 while it learns
    mean: float = 0.0
    squares: float = 0.0  # of the groups' distances from their mean, summed up
    stretch: float = 1.0  # by how much sums of groups spread more for neighbours' being alike
    up: Cusum = field(default_factory=Cusum)
    down: Cusum = field(default_factory=Cusum)
    last: float | None = None  # mean of the newest group
    history: History = field(default_factory=History)
    group_sum: float = 0.0
    in_group: int = 0
    first_parts: int = 0
    first: float = 0.0  # of the values, from which the sums below are taken
    value_sum: float = 0.0  # while it learns
    square_sum: float = 0.0
    pair_sum: float = 0.0  # of each value times the one before it
    before: float = 0.0

    def add(self, value: float, figure: Figure) -> bool:
        """Take one part's value; whether it made a group whole."""
        value = math.log(max(value, 1e-9)) if figure.is_ratio else value
        if not self.count:
            self._compare(value)
        self.parts += 1
        self.group_sum += value
        self.in_group += 1
        if self.in_group < self.group_parts:
            return False
        mean, self.group_sum, self.in_group = self.group_sum / self.in_group, 0.0, 0
        self.last = mean
        if self.count:
            self._judge(mean, figure)
        else:
            self._learn(mean, figure)
        limit = self.limit
        self.history.add(mean, max(self.up.sum, self.down.sum) / limit)
        return True

    @property
    def limit(self) -> float:
        """Of each sum."""
        return limit_for(max(self.arm_parts / self.group_parts, LEAST_RUN))

    @property
    def way(self) -> Way | None:
        """Where the figure has gone; None where it is as usual."""
        if self.up.is_on:
            return "up"
        return "down" if self.down.is_on else None

    @property
    def since(self) -> int:
        """How many parts ago the shift began, about."""
        return self.parts - (self.up if self.up.is_on else self.down).since

    def spread(self, figure: Figure) -> float:
        """Usual deviation of a group's mean."""
        return max(math.sqrt(self.squares / max(self.count - 1, 1)), figure.floor)

    def change(self, figure: Figure) -> float | None:
        """The newest group against what is usual: a factor, or a difference; None while it learns."""
        if not self.count or self.last is None:
            return None
        return math.exp(self.last - self.mean) if figure.is_ratio else self.last - self.mean

    def _compare(self, value: float) -> None:
        """Gather what says how much parts are like the ones before them."""
        if not self.parts:
            self.first = value
        value -= self.first
        self.value_sum += value
        self.square_sum += value * value
        self.pair_sum += value * self.before
        self.before = value

    def _parts_alike(self) -> float:
        """Correlation of neighbouring parts, -1..1."""
        mean = self.value_sum / self.parts
        power = self.square_sum / self.parts - mean * mean
        return (self.pair_sum / max(self.parts - 1, 1) - mean * mean) / power if power > 0 else 0.0

    def _learn(self, mean: float, figure: Figure) -> None:
        self.learning.append(mean)
        if len(self.learning) < LEARN_GROUPS:
            return
        self.first_parts = self.first_parts or self.group_parts
        means = np.array(self.learning)
        steady = float(means.std()) <= figure.floor  # then it is the floor that is charted by
        alike = 0.0 if steady else neighbours_alike(self.learning)
        expected = 0.0 if steady else groups_alike(self._parts_alike(), self.group_parts)
        if (alike > CORRELATED or expected > ALIKE) and self.group_parts < LARGEST * self.first_parts:
            self.learning = [(one + two) / 2 for one, two in zip(self.learning[::2], self.learning[1::2], strict=True)]
            self.group_parts *= 2
            self.history = History(values=list(self.learning), sums=[0.0] * len(self.learning))
            return
        if self.group_parts > self.first_parts:  # parts are alike: allow for what so few groups may hide of it
            alike = max(alike, expected, 0.0) + 1 / math.sqrt(LEARN_GROUPS)
        alike = min(max(alike, 0.0), 0.9)
        self.stretch = math.sqrt((1 + alike) / (1 - alike))
        self.count, self.mean = len(means), float(means.mean())
        self.squares = float(np.square(means - self.mean).sum())
        self.learning = []

    def _judge(self, mean: float, figure: Figure) -> None:
        spread = self.spread(figure)
        t = (mean - self.mean) / (spread * math.sqrt(1 + 1 / self.count))
        z = normal_of_t(t, self.count - 1) / self.stretch
        limit = self.limit
        self.up.step(z, limit, self.parts - self.group_parts)
        self.down.step(-z, limit, self.parts - self.group_parts)
        if self.way is None:
            taken = min(max(mean, self.mean - ODD * spread), self.mean + ODD * spread)
            self.count += 1
            away = taken - self.mean
            self.mean += away / self.count
            self.squares += away * (taken - self.mean)


def groups_alike(alike: float, size: int) -> float:
    """Correlation of neighbouring groups' means that parts let expect, if it falls off evenly from part to part.

    alike: correlation of neighbouring parts.
    """
    if alike < ALIKE:
        return 0.0
    alike = min(alike, 0.999)
    left = 1 - alike**size
    return alike * left**2 / (size * (1 - alike**2) - 2 * alike * left)


def neighbours_alike(means: Sequence[float]) -> float:
    """Correlation of neighbouring groups, -1..1, apart from a steady rise or fall."""
    steps = np.arange(len(means), dtype=np.float64)
    slope, height = np.polyfit(steps, np.asarray(means, np.float64), 1)
    rest = np.asarray(means) - (slope * steps + height)
    power = float(rest @ rest)
    return float(rest[1:] @ rest[:-1]) / power if power > 0 else 0.0
