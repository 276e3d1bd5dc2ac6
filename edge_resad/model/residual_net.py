"""A small network that sees residuals as a picture: where a part differs from its references the way defects do.

It is trained on drawn defects with their masks and knows no product, only differences. By itself it is about as good
as the nearest reference's distance; the two err on different parts, so `FusedDetector` multiplies them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_resad.model.profile import Profile


@dataclass(frozen=True, kw_only=True)
class NetSettings:
    """Size of the network and how it is trained."""

    width: int = 12  # channels that a level's residuals are projected to
    hidden: int = 24  # channels of the two convolutions
    top_cells: int = 6  # cells of the map whose mean is a part's logit
    share: float = 0.2  # of the logit in the fused logarithm; chosen on held-out families
    epochs: int = 12
    batch: int = 8  # images of one product
    lr: float = 2e-3
    weight_decay: float = 1e-2  # decoupled
    shots: tuple[int, ...] = (2, 4, 4, 8)  # references, drawn for every batch
    defect_weight: float = 4.0  # of a defective cell in the loss
    part_weight: float = 0.15  # of the part's own loss against that of the cells
    least_share: float = 0.2  # of a cell that a defect must cover; what covers less is not judged


class ResidualNet(nn.Module):
    """Projects every level's residuals, adds its distance, and lets two convolutions look at all levels."""

    def __init__(self, profile: Profile, settings: NetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.grids = tuple(profile.grid(tap) for tap in profile.taps)
        self.project = nn.ModuleList(nn.Linear(tap.channels, settings.width) for tap in profile.taps)
        self.near = nn.Conv2d(len(self.grids) * (settings.width + 1), settings.hidden, 3, padding=1)
        self.far = nn.Conv2d(settings.hidden, settings.hidden, 3, padding=2, dilation=2)
        self.judge = nn.Conv2d(settings.hidden, 1, 1)
        nn.init.zeros_(self.judge.weight)

    def forward(self, residuals: Sequence[Tensor], distances: Sequence[Tensor]) -> Tensor:
        """Judge every cell.

        residuals: per level (B, N_l, C_l), see `unit_residual`.
        distances: per level (B, N_l), over what good parts have on average.
        returns:   (B, S, S) logits at the finest level's grid.
        """
        finest = self.grids[0]
        levels = []
        for grid, project, residual, distance in zip(self.grids, self.project, residuals, distances, strict=True):
            lengths = functional.relu(project(residual.abs()))
            rows = torch.cat([lengths, distance.clamp_min(1e-3).log().unsqueeze(-1)], -1)
            cells = rows.transpose(1, 2).reshape(-1, rows.shape[-1], grid, grid)
            if grid != finest:
                cells = functional.interpolate(cells, (finest, finest), mode="bilinear", align_corners=False)
            levels.append(cells)
        near = functional.relu(self.near(torch.cat(levels, 1)))
        seen = near + functional.relu(self.far(near))
        return cast(Tensor, self.judge(seen))[:, 0]

    def part_logit(self, logits: Tensor) -> Tensor:
        """Mean of a part's largest logits: (B, S, S) to (B,)."""
        return logits.flatten(1).topk(self.settings.top_cells, 1).values.mean(1)


def unit_residual(unit: Tensor, matched: Tensor) -> Tensor:
    """Difference of unit rows (..., N, C) to their references, scaled so that its length does not depend on C."""
    return (unit - matched) * math.sqrt(unit.shape[-1])
