"""A history of any length in a few hundred points: the longer it grows, the more each point gathers."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST = 240  # points kept; even


@dataclass(kw_only=True)
class History:
    """Values in order, thinned to averages of as many as it takes."""

    values: list[float] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)  # of the chart at the same points, as shares of its limit
    every: int = 1  # how many values one point gathers
    pending: float = 0.0
    pending_sum: float = 0.0
    pending_count: int = 0

    def add(self, value: float, share: float) -> None:
        """Take one more value, and the largest share of the limit that a sum has reached."""
        self.pending += value
        self.pending_sum = max(self.pending_sum, share)
        self.pending_count += 1
        if self.pending_count < self.every:
            return
        self.values.append(self.pending / self.pending_count)
        self.sums.append(self.pending_sum)
        self.pending = self.pending_sum = 0.0
        self.pending_count = 0
        if len(self.values) >= MOST:
            self.values = [(one + two) / 2 for one, two in zip(self.values[::2], self.values[1::2], strict=True)]
            self.sums = [max(pair) for pair in zip(self.sums[::2], self.sums[1::2], strict=True)]
            self.every *= 2
