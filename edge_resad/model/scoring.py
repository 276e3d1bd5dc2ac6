"""From likelihoods and probabilities of patches to an anomaly map and a score (ResAD++; ResAD equation 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class Scores:
    """Maps (B, S, S), higher is more anomalous."""

    likelihood: Tensor  # S1: how much less likely than the likeliest patches
    abnormal: Tensor  # S2: mean probability of the abnormal centre
    merged: Tensor  # their mean, what ResAD++ reports


class MapScorer(nn.Module):
    """Bring every level to the map's size, corners aligned, add them up and smooth.

    Scaling and smoothing are linear, so each is one matrix from the left and its transpose from the right.

    grids: cells on one side, of every level.
    size:  cells on one side of the map.
    sigma: of the Gaussian, cells of the map, cut at 4 sigma; edges are mirrored (d c b a | a b c d). 0: none.
    """

    def __init__(self, grids: Sequence[int], size: int, sigma: float) -> None:
        super().__init__()
        self.grids = tuple(grids)
        for level, grid in enumerate(grids):
            self.register_buffer(f"scale_{level}", _as_tensor(_scaling(grid, size)))
        self.register_buffer("blur", _as_tensor(_blurring(size, sigma)))
        self.blurs = sigma > 0

    def scale(self, level: int, cells: Tensor) -> Tensor:
        """Bring one level's cells (B, N_l) to the map's size (B, S, S), bilinear."""
        matrix = cast(Tensor, getattr(self, f"scale_{level}"))
        grid = self.grids[level]
        return matrix @ cells.reshape(-1, grid, grid) @ matrix.T

    def smooth(self, maps: Tensor) -> Tensor:
        """Blur maps (B, S, S)."""
        blur = cast(Tensor, self.blur)
        return blur @ maps @ blur.T if self.blurs else maps

    def typicality(self, log_likelihood: Sequence[Tensor], level_max: Sequence[Tensor | float] | Tensor) -> Tensor:
        """Sum over levels of exp(log-likelihood - its maximum): (B, S, S), L where everything is as likely as can be.

        log_likelihood: per level (B, N_l), nats per channel.
        level_max:      per level the log-likelihood that counts as typical.
        """
        levels = enumerate(zip(log_likelihood, level_max, strict=True))
        return torch.stack([self.scale(level, (cells - top).exp()) for level, (cells, top) in levels]).sum(0)

    def forward(
        self, log_likelihood: Sequence[Tensor], abnormal: Sequence[Tensor], level_max: Sequence[Tensor] | Tensor
    ) -> Scores:
        """Score images one by one, with constants that were frozen when the product was enrolled.

        The form for a line: S1 = L - sum of levels, which ranks as the papers' max - sum does.

        log_likelihood, abnormal: per level (B, N_l).
        level_max:                (L,), see `level_maxima`.
        """
        typical = self.typicality(log_likelihood, level_max)
        return self._scores(len(self.grids) - typical, abnormal)

    def of_a_set(self, log_likelihood: Sequence[Tensor], abnormal: Sequence[Tensor]) -> Scores:
        """Score a whole test set as the papers do: its own maxima are the constants. For comparisons alone.

        log_likelihood, abnormal: per level (B, N_l) of all images of a product.
        """
        typical = self.typicality(log_likelihood, level_maxima(log_likelihood))
        return self._scores(typical.max() - typical, abnormal)

    def _scores(self, unlikely: Tensor, abnormal: Sequence[Tensor]) -> Scores:
        unlikely = self.smooth(unlikely)
        scaled = torch.stack([self.scale(level, cells) for level, cells in enumerate(abnormal)])
        suspected = self.smooth(scaled.mean(0))
        return Scores(likelihood=unlikely, abnormal=suspected, merged=(unlikely + suspected) / 2)


def level_maxima(log_likelihood: Sequence[Tensor]) -> Tensor:
    """The largest log-likelihood of every level (L,), over all images and patches.

    For a line: of the references, each matched to the others.
    """
    return torch.stack([cells.max() for cells in log_likelihood])


def image_scores(maps: Tensor, top_cells: int = 1) -> Tensor:
    """Score images (B,) by the mean of the largest cells of their maps (B, S, S); the papers take the largest."""
    return maps.flatten(1).topk(top_cells, dim=1).values.mean(1)


def _scaling(cells: int, size: int) -> NDArray[np.float64]:
    """The matrix (size, cells) of linear interpolation with aligned corners."""
    at = np.linspace(0, cells - 1, size)
    lower = np.minimum(at.astype(int), max(cells - 2, 0))
    matrix = np.zeros((size, cells))
    matrix[np.arange(size), lower] = 1 - (at - lower)
    if cells > 1:
        matrix[np.arange(size), lower + 1] = at - lower
    return matrix


def _blurring(size: int, sigma: float) -> NDArray[np.float64]:
    """The matrix (size, size) of a Gaussian with mirrored edges."""
    if sigma == 0:
        return np.eye(size)
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    folded = (np.arange(size)[:, None] + offsets) % (2 * size)
    source = np.minimum(folded, 2 * size - 1 - folded)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], source), weights / weights.sum())
    return matrix


def _as_tensor(matrix: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(matrix).to(torch.float32)
