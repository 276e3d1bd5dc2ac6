"""A cumulative sum: it tells a lasting shift from chance, and its false-alarm rate can be computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

ALLOWANCE = 0.5  # standard deviations: what is smaller never adds up; the sum is quickest for twice as much
WINSOR = 3.0  # standard deviations that one value counts for at most: a single odd one is no drift
CAP = 1.5  # times the limit, what a sum may reach: what is over is noticed soon
OVER = 0.5  # times the limit, from where down it is over

_NODES = 64  # of the quadrature


@dataclass(kw_only=True)
class Cusum:
    """One side of Page's cumulative sum, S = max(0, S + z - allowance), of values z that are standard normal by chance.

    Each z is cut to WINSOR deviations, as in the robust sums of Lucas and Crosier (1982).
    """

    sum: float = 0.0
    since: int = 0  # the count at which the sum last stood at 0: about where a shift began
    is_on: bool = False

    def step(self, z: float, limit: float, count: int) -> None:
        """Take one more value. count: whatever is to be remembered as the beginning of a shift."""
        if self.sum <= 0:
            self.since = count
        step = min(max(z, -WINSOR), WINSOR) - ALLOWANCE
        self.sum = min(max(0.0, self.sum + step), CAP * limit)
        self.is_on = self.sum > (OVER * limit if self.is_on else limit)


@lru_cache(maxsize=256)
def limit_for(run_length: float) -> float:
    """The limit at which one side gives a false alarm every `run_length` values on average, 10 or more.

    The logarithm of the run length is all but a straight line in the limit: a few secants find it.
    """
    if run_length < 10:
        raise ValueError(f"a false alarm every {run_length} values is none that a limit could be computed for")
    wanted = math.log(run_length)
    before, limit = wanted - 1.9, wanted - 1.8
    away_before, away = (math.log(average_run_length(one)) - wanted for one in (before, limit))
    while abs(away) > 1e-6 and limit != before:
        step = away * (limit - before) / (away - away_before)
        before, limit, away_before = limit, limit - step, away
        away = math.log(average_run_length(limit)) - wanted
    return limit


def average_run_length(limit: float, shift: float = 0.0, allowance: float = ALLOWANCE) -> float:
    """How many normal values pass on average until one side, starting at 0, is beyond its limit.

    From Page's integral equation L(s) = 1 + L(0) F(k - s) + integral over 0..h of L(x) f(x + k - s) dx, solved by
    Gauss-Legendre quadrature (Goel and Wu, 1971). Values are not cut here: cutting them only lengthens the run.

    shift: by how many standard deviations the values' mean has moved.
    """
    if limit <= 0:
        return 1 / (1 - NormalDist().cdf(allowance - shift))
    points, weights = np.polynomial.legendre.leggauss(_NODES)
    nodes = np.concatenate(([0.0], (points + 1) * limit / 2))  # (N + 1,): the start, and where the integral is taken
    drift = allowance - shift
    matrix = np.empty((len(nodes), len(nodes)))
    matrix[:, 0] = [NormalDist().cdf(drift - start) for start in nodes]
    step = nodes[None, 1:] - nodes[:, None] + drift
    matrix[:, 1:] = weights * (limit / 2) * np.exp(-0.5 * step**2) / math.sqrt(2 * math.pi)
    lengths = np.linalg.solve(np.eye(len(nodes)) - matrix, np.ones(len(nodes)))
    return float(lengths[0])


def normal_of_t(t: float, freedom: int) -> float:
    """The standard normal value of the same probability as Student's t, within 0.01 (Wallace, 1959)."""
    size = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t * t / freedom))
    return math.copysign(size, t)
