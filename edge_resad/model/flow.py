"""A conditional normalising flow over rows of features: affine coupling, scale and offset, rotation.

Its blocks compute what FrEIA's AllInOneBlock computes (clamp 1.9, softplus scale, fixed rotation), which ResAD uses.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

CLAMP = 1.9  # of the log-scale of a coupling
DAMPING = 0.1  # of what a coupling's network says
_SOFTPLUS_BETA = 0.5
_UNIT_SCALE = 2 * math.log(math.exp(5) - 1)  # raw scale at which the scale is 1


def random_rotation(channels: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw a rotation (C, C) uniformly from SO(C)."""
    normal = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(normal)
    q = q * r.diagonal().sign()  # makes the draw uniform over O(C)
    if torch.linalg.slogdet(q).sign < 0:
        q[:, 0] = -q[:, 0]
    return cast(Tensor, q.to(torch.float32))


class FlowBlock(nn.Module):
    """One invertible step on rows (R, C).

    The first ceil(C / 2) channels and the condition say how the others are scaled and shifted; then every channel is
    scaled and shifted once more, and a fixed rotation mixes them.

    condition: width D of the condition, 0 for none.
    """

    def __init__(self, channels: int, condition: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.kept = math.ceil(channels / 2)
        self.moved = channels - self.kept
        inputs = self.kept + condition
        self.hidden = nn.Linear(inputs, 2 * inputs)
        self.out = nn.Linear(2 * inputs, 2 * self.moved)
        self.raw_scale = nn.Parameter(torch.full((channels,), _UNIT_SCALE))
        self.offset = nn.Parameter(torch.zeros(channels))
        self.register_buffer("rotation", random_rotation(channels, generator))

    def forward(
        self, x: Tensor, condition: Tensor | None = None, position: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map x (R, C) to y (R, C) and log |det dy/dx| (R,); condition and position as in `Flow`."""
        kept, moved = torch.split(x, [self.kept, self.moved], 1)
        log_scale, shift = self._coupling(kept, condition, position)
        joined = torch.cat([kept, moved * log_scale.exp() + shift], 1)
        scale = self.scale()
        y = functional.linear(joined * scale + self.offset, cast(Tensor, self.rotation))
        return y, log_scale.sum(1) + scale.log().sum()

    def inverse(self, y: Tensor, condition: Tensor | None = None, position: Tensor | None = None) -> Tensor:
        """Map y (R, C) back to x (R, C)."""
        joined = (y @ cast(Tensor, self.rotation) - self.offset) / self.scale()
        kept, moved = torch.split(joined, [self.kept, self.moved], 1)
        log_scale, shift = self._coupling(kept, condition, position)
        return torch.cat([kept, (moved - shift) * (-log_scale).exp()], 1)

    def scale(self) -> Tensor:
        """The channels' own scale (C,), positive."""
        return 0.1 * functional.softplus(self.raw_scale, beta=_SOFTPLUS_BETA)

    def _coupling(self, kept: Tensor, condition: Tensor | None, position: Tensor | None) -> tuple[Tensor, Tensor]:
        if condition is None:
            inner = self.hidden(kept)
        else:  # the condition's part of the layer, once for every position and not for every row
            own, given = torch.split(self.hidden.weight, [self.kept, condition.shape[1]], 1)
            bias = functional.linear(condition, given, self.hidden.bias)
            inner = functional.linear(kept, own) + (bias if position is None else functional.embedding(position, bias))
        raw, shift = (DAMPING * self.out(functional.relu(inner))).chunk(2, 1)
        return CLAMP * raw.tanh(), shift


class Flow(nn.Module):
    """Blocks in a row: normal rows to a standard normal, abnormal ones to a normal around the ones.

    condition: width D of the condition, 0 for none. The rotations are drawn once and kept with the weights.
    """

    def __init__(self, channels: int, condition: int, blocks: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.channels = channels
        self.condition = condition
        self.blocks = nn.ModuleList(FlowBlock(channels, condition, generator) for _ in range(blocks))

    def forward(
        self, x: Tensor, condition: Tensor | None = None, position: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map x (R, C) to z (R, C) and log |det dz/dx| (R,).

        condition: (R, D), one for every row; or (P, D) with `position`.
        position:  (R,) int64, which condition is a row's.
        """
        log_det = x.new_zeros(len(x))
        for block in self.blocks:
            x, more = block(x, condition, position)
            log_det = log_det + more
        return x, log_det

    def inverse(self, z: Tensor, condition: Tensor | None = None, position: Tensor | None = None) -> Tensor:
        """Map z (R, C) back to x (R, C)."""
        for block in reversed(self.blocks):
            z = cast(FlowBlock, block).inverse(z, condition, position)
        return z
