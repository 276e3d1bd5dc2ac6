"""The feature constraintor: brings normal residuals of all products into one shell (ResAD section 3.3, ResAD++)."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_EXPANSION = 4
_GATE_REDUCTION = 16


class ConvConstraintor(nn.Module):
    """A 3x3 convolution, batch norm and ReLU, channels kept: ResAD, and ResAD++ on WideResNet50."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, rows: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map (B, H * W, C) to the same shape; the grid (H, W) says who is whose neighbour."""
        image = rows.transpose(1, 2).reshape(rows.shape[0], rows.shape[2], *grid)  # (B, C, H, W)
        out = functional.relu(self.norm(self.conv(image)))
        return out.flatten(2).transpose(1, 2)  # (B, N, C)


class TokenConstraintor(nn.Module):
    """A wide layer per patch, gated by the image's mean, and back: ResAD++ on ImageBind, signed output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = _EXPANSION * channels
        gate = max(8, int(wide / _GATE_REDUCTION + 4) // 8 * 8)
        self.expand = nn.Linear(channels, wide)
        self.gate_in = nn.Linear(wide, gate)
        self.gate_out = nn.Linear(gate, wide)
        self.project = nn.Linear(wide, channels)

    def forward(self, rows: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map (B, N, C) to the same shape. The gate joins all patches of an image, wherever they are."""
        wide = self.expand(rows)  # (B, N, 4 C)
        gate = torch.sigmoid(self.gate_out(functional.relu(self.gate_in(wide.mean(1, keepdim=True)))))
        return cast(Tensor, self.project(functional.gelu(wide * gate)))


class NoConstraintor(nn.Module):
    """The ablation without a constraintor."""

    def forward(self, rows: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the rows (B, N, C) as they are."""
        return rows


def build_constraintor(kind: Literal["conv", "ortho_mlp"] | None, channels: int) -> nn.Module:
    """Make the constraintor of one level."""
    if kind is None:
        return NoConstraintor()
    return ConvConstraintor(channels) if kind == "conv" else TokenConstraintor(channels)
