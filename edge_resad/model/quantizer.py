"""A codebook of normal residuals: the distribution that a new product's residuals are matched to (ResAD++)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edge_resad.model.residual import nearest

_EMA_DECAY = 0.99
_LLOYD_ROUNDS = 8
_SEEDING_ROWS = 32  # for every code, at most


class Quantizer(nn.Module):
    """One level's codes.

    As published, codes start uniform in +-1/codes and learn by gradient: `train.losses.codebook_loss`. Codes that
    nothing is assigned to fall to zero there by weight decay. The variant that is not published starts from k-means
    (`seed_from`) and follows moving averages (`follow`).

    codes:    how many.
    channels: C.
    """

    def __init__(self, codes: int, channels: int) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.empty(codes, channels).uniform_(-1 / codes, 1 / codes))
        self.register_buffer("counts", torch.zeros(codes))  # of rows that a code stands for, moving average
        self.register_buffer("is_seeded", torch.tensor(False))

    def assign(self, rows: Tensor) -> Tensor:
        """Nearest code of every row (R, C), Euclidean: (R,) int64."""
        return nearest(rows, self.codes.detach(), "l2")

    def forward(self, rows: Tensor) -> Tensor:
        """Replace every row (..., C) by its nearest code (..., C)."""
        flat = rows.reshape(-1, rows.shape[-1])
        return self.codes[self.assign(flat)].reshape(rows.shape)

    @torch.no_grad()
    def seed_from(self, rows: Tensor, generator: torch.Generator | None = None) -> None:
        """Start the codes from k-means over rows (R, C): random distinct rows, then a few of Lloyd's rounds."""
        count = len(self.codes)
        chosen = rows[torch.randperm(len(rows), generator=generator)[: _SEEDING_ROWS * count].to(rows.device)]
        self.codes.copy_(chosen[torch.arange(count) % len(chosen)])
        for _ in range(_LLOYD_ROUNDS):
            sums, sizes = self._gather(chosen)
            used = sizes > 0
            self.codes[used] = sums[used] / sizes[used, None]
        cast(Tensor, self.counts).copy_(self._gather(rows)[1])
        cast(Tensor, self.is_seeded).fill_(True)

    @torch.no_grad()
    def follow(self, rows: Tensor) -> None:
        """Move every code towards the mean of the rows (R, C) it stands for; a code without rows stays."""
        sums, sizes = self._gather(rows)
        counts = cast(Tensor, self.counts)
        total = _EMA_DECAY * counts[:, None] * self.codes + (1 - _EMA_DECAY) * sums
        counts.mul_(_EMA_DECAY).add_(sizes, alpha=1 - _EMA_DECAY)
        used = sizes > 0
        self.codes[used] = total[used] / counts[used, None]

    def _gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        codes = self.assign(rows)
        sums = torch.zeros_like(self.codes).index_add_(0, codes, rows)
        return sums, torch.bincount(codes, minlength=len(self.codes)).to(rows.dtype)


def perplexity(assigned: Tensor, codes: int) -> tuple[int, float]:
    """How many codes are in use, and how many equally used ones would be as even.

    assigned: (R,) int64, a code of every row. returns: codes used, exp(entropy), both 0 without rows.
    """
    if not len(assigned):
        return 0, 0.0
    share = torch.bincount(assigned, minlength=codes).to(torch.float64) / len(assigned)
    share = share[share > 0]
    return len(share), float(torch.exp(-(share * share.log()).sum()))
