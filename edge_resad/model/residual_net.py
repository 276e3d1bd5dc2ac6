"""A small network that sees residuals as a picture: where a part differs from its references the way defects do.

It is trained on drawn defects with their masks and knows no product, only differences. By itself it is about as good
as the nearest reference's distance; the two err on different parts, so `FusedDetector` multiplies them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_resad.model.net_settings import NetSettings

_LEAST = 1e-3  # of a distance over its mean: 0 has no logarithm
_GROUP = 64  # columns of a bank that are searched together


class Comparison(NamedTuple):
    """What the network sees of a level's patches, N of them."""

    residual: Tensor  # (N, C), to the nearest reference, of unit rows, scaled so that its length does not depend on C
    distance: Tensor  # (N,), over what good parts have on average


def compare(unit: Tensor, bank: Tensor, typical: Tensor) -> tuple[Comparison, Tensor]:
    """Compare unit rows with a bank by their cosine.

    unit: (N, C). bank: (M, C) unit-norm rows. typical: () mean distance of good parts.
    returns: what the network sees, and the raw distances (N,), 0 to 2.
    """
    cosine, reference = _largest(unit @ bank.transpose(0, 1))
    residual = (unit - bank[reference]) * math.sqrt(unit.shape[-1])
    distance = 1 - cosine
    return Comparison(residual, distance / typical), distance


def _largest(cosines: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of every row (N, M) and its column, the first of equal ones: (N,) and (N,).

    ONNX Runtime finds a maximum many times faster than where it is. So groups of columns give theirs first, and only
    the best group is searched.
    """
    rows, columns = cosines.shape
    if columns % _GROUP:
        found = cosines.max(1)
        return found.values, found.indices
    groups = cosines.reshape(rows, columns // _GROUP, _GROUP)
    best = groups.amax(2).argmax(1)  # (N,)
    first = torch.arange(rows, device=cosines.device) * (columns // _GROUP)
    own = cosines.reshape(-1, _GROUP)[first + best].max(1)  # of (N, 64)
    return own.values, best * _GROUP + own.indices


class ResidualNet(nn.Module):
    """Projects every level's residuals, adds its distance, and lets two convolutions look at all levels.

    grids:    cells on one side, of every level, finest first.
    channels: of every level's features.
    """

    def __init__(self, grids: Sequence[int], channels: Sequence[int], settings: NetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.grids = tuple(grids)
        self.project = nn.ModuleList(nn.Linear(count, settings.width) for count in channels)
        self.near = nn.Conv2d(len(self.grids) * (settings.width + 1), settings.hidden, 3, padding=1)
        self.far = nn.Conv2d(settings.hidden, settings.hidden, 3, padding=2, dilation=2)
        self.judge = nn.Conv2d(settings.hidden, 1, 1)
        nn.init.zeros_(self.judge.weight)

    def forward(self, levels: Sequence[Comparison]) -> Tensor:
        """Judge every cell.

        levels:  of B parts in a row: (B N_l, C_l) and (B N_l,).
        returns: (B, S, S) logits at the finest level's grid.
        """
        finest = self.grids[0]
        seen = []
        for grid, project, level in zip(self.grids, self.project, levels, strict=True):
            distance = level.distance.clamp_min(_LEAST).log().unsqueeze(-1)
            rows = torch.cat([functional.relu(project(level.residual.abs())), distance], -1)
            cells = rows.reshape(-1, grid, grid, rows.shape[-1]).permute(0, 3, 1, 2)
            if grid != finest:
                cells = functional.interpolate(cells, (finest, finest), mode="bilinear", align_corners=False)
            seen.append(cells)
        near = functional.relu(self.near(torch.cat(seen, 1)))
        return cast(Tensor, self.judge(near + functional.relu(self.far(near))))[:, 0]

    def part_logit(self, logits: Tensor) -> Tensor:
        """Mean of a part's largest logits: (B, S, S) to (B,)."""
        return logits.flatten(1).topk(self.settings.top_cells, 1).values.mean(1)
