"""The position code that tells a flow where on the grid a patch lies (ResAD section 3.4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def position_axes(dims: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The two halves of the code: it is the sum of what a column says and what a row says.

    returns: columns (W, D) with the second half zero, rows (H, D) with the first half zero.
    """
    if dims % 4:
        raise ValueError(f"dims must be a multiple of 4, got {dims}")
    half = dims // 2
    columns, rows = torch.zeros(width, dims), torch.zeros(height, dims)
    columns[:, :half] = _sinusoid(width, half)
    rows[:, half:] = _sinusoid(height, half)
    return columns, rows


def position_code(dims: int, height: int, width: int) -> Tensor:
    """Sines and cosines of the column, then of the row: (H * W, D), row-major over the grid."""
    columns, rows = position_axes(dims, height, width)
    return (rows[:, None] + columns[None]).reshape(height * width, dims)


def _sinusoid(count: int, dims: int) -> Tensor:
    rates = torch.exp(torch.arange(0, dims, 2, dtype=torch.float64) * (-math.log(1e4) / dims))
    angles = torch.arange(count, dtype=torch.float64)[:, None] * rates  # (count, D / 4)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1).to(torch.float32)
