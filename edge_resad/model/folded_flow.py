"""A trained flow in the form a device runs: what is known before the image comes is computed beforehand."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_resad.model.flow import CLAMP, DAMPING, Flow, FlowBlock
from edge_resad.model.likelihood import log_likelihood_of
from edge_resad.model.position import position_axes


class _FoldedBlock(nn.Module):
    def __init__(self, block: FlowBlock, axes: tuple[Tensor, Tensor] | None, *, is_last: bool) -> None:
        super().__init__()
        self.kept, self.moved = block.kept, block.moved
        weight, bias = block.hidden.weight.detach(), block.hidden.bias.detach().clone()
        self.register_buffer("hidden", weight[:, : self.kept].T.contiguous())
        if axes is None:
            self.register_buffer("column_bias", bias.view(1, 1, 1, -1))
            self.register_buffer("row_bias", weight.new_zeros(1, 1, 1, 1))
        else:
            columns, rows = (axis.to(weight) @ weight[:, self.kept :].T for axis in axes)
            self.register_buffer("column_bias", (columns + bias)[None, None])  # (1, 1, W, hidden)
            self.register_buffer("row_bias", rows[None, :, None])  # (1, H, 1, hidden)
        self.register_buffer("out", DAMPING * block.out.weight.detach().T.contiguous())
        self.register_buffer("out_bias", DAMPING * block.out.bias.detach())
        scale, offset, rotation = block.scale().detach(), block.offset.detach().clone(), cast(Tensor, block.rotation)
        self.log_scale = float(scale.log().sum())
        self.rotates = not is_last
        self.register_buffer("mix", (rotation * scale).T.contiguous() if self.rotates else scale)
        self.register_buffer("mix_bias", rotation @ offset if self.rotates else offset)
        self.register_buffer("mean", rotation.mean(0))  # mean over channels of the rotated is <mean, unrotated>

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (B, H, W, C) to the next x and the coupling's part of the log-determinant (B, H, W)."""
        kept, moved = torch.split(x, [self.kept, self.moved], 3)
        inner = kept @ cast(Tensor, self.hidden) + cast(Tensor, self.column_bias)
        hidden = functional.relu(inner + cast(Tensor, self.row_bias))  # the sum of both biases is a large constant
        said = hidden @ cast(Tensor, self.out) + cast(Tensor, self.out_bias)
        raw, shift = torch.split(said, [self.moved, self.moved], 3)  # sizes known to the exporter
        log_scale = CLAMP * raw.tanh()
        joined = torch.cat([kept, moved * log_scale.exp() + shift], 3)
        mix = cast(Tensor, self.mix)
        mixed = joined @ mix if self.rotates else joined * mix
        return mixed + cast(Tensor, self.mix_bias), log_scale.sum(3)


class FoldedFlow(nn.Module):
    """The same numbers as the flow it is made of, for one fixed grid.

    Folded away: the position code (a constant of every column and one of every row), the channels' scale and offset
    (into the rotation), the last rotation (lengths do not feel it, the mean becomes an inner product).
    """

    def __init__(self, flow: Flow, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.channels = flow.channels
        axes = position_axes(flow.condition, *grid) if flow.condition else None
        last = len(flow.blocks) - 1
        self.blocks = nn.ModuleList(
            _FoldedBlock(cast(FlowBlock, block), axes, is_last=index == last) for index, block in enumerate(flow.blocks)
        )
        self.log_scale = sum(cast(_FoldedBlock, block).log_scale for block in self.blocks)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Judge rows (B, N, C): log-likelihood (B, N), nats per channel, and abnormal probability (B, N)."""
        x = rows.reshape(rows.shape[0], *self.grid, self.channels)
        log_det: Tensor | float = self.log_scale
        for block in self.blocks:
            x, more = block(x)
            log_det = more + log_det
        mean = x @ cast(Tensor, self.blocks[-1].mean)  # (B, H, W)
        likelihood = log_likelihood_of(self.channels, x.square().sum(3), cast(Tensor, log_det))
        return likelihood.flatten(1), torch.sigmoid(mean - 0.5).flatten(1)
