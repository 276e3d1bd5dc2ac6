"""Residual features: what a patch has that the most similar patch of a good part has not (ResAD section 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

_MOST_SIMILARITIES = 1 << 21  # of one product of matrices: 8 MB of float32, which a cache holds


def nearest(rows: Tensor, bank: Tensor, match: Literal["cosine", "l2"]) -> Tensor:
    """Find every row's nearest reference, over the whole bank.

    ResAD writes the Euclidean distance, ResAD++'s code takes the largest cosine. The row's own length changes neither.

    rows:    (R, C) features.
    bank:    (M, C) references, raw.
    returns: (R,) int64 indices into the bank.
    """
    if match == "cosine":
        keys, offset = functional.normalize(bank, dim=1, eps=1e-12), None
    else:  # min |f - p|^2 = |f|^2 - 2 max(<f, p> - |p|^2 / 2)
        keys, offset = bank, bank.square().sum(1) / -2
    return most_similar(rows, keys, offset)


def most_similar(rows: Tensor, keys: Tensor, offset: Tensor | None = None) -> Tensor:
    """Find the key with the largest <row, key> + offset for every row.

    rows: (R, C). keys: (M, C). offset: (M,). returns: (R,) int64.
    """
    step = max(1, _MOST_SIMILARITIES // len(keys))
    parts = [rows[start : start + step] for start in range(0, len(rows), step)]
    if not parts:
        return torch.zeros(0, dtype=torch.long, device=rows.device)
    found = [(part @ keys.T if offset is None else torch.addmm(offset, part, keys.T)).argmax(1) for part in parts]
    return found[0] if len(found) == 1 else torch.cat(found)


def residual(rows: Tensor, matched: Tensor, form: Literal["signed", "squared"]) -> Tensor:
    """Subtract the matched references from the features: f - p (ResAD), or (f - p)^2 in every channel (ResAD++).

    rows, matched: (..., C). returns: (..., C).
    """
    difference = rows - matched
    return difference.square() if form == "squared" else difference
