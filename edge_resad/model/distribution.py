"""Exact feature distribution matching: give values another sample's distribution, keep their order (ResAD++)."""

from __future__ import annotations

import torch
from torch import Tensor


def match_distribution(rows: Tensor, reference: Tensor, alpha: float) -> Tensor:
    """Blend every value with the value of equal rank in the reference, per image and channel.

    Equal values rank by position, lower first, which is also the rule of ONNX's TopK. Squared residuals have many
    equal zeros, and without a rule devices would disagree.

    rows, reference: (B, N, C), sorted along N.
    alpha:           share of the own value; 1 changes nothing, 0 takes the reference's distribution whole.
    returns:         (B, N, C).
    """
    if torch.onnx.is_in_onnx_export():
        order = torch.sort(rows, dim=1).indices  # becomes TopK; the exporter has no word for stable
    else:
        order = torch.sort(rows, dim=1, stable=True).indices
    ranked = torch.sort(reference, dim=1).values
    blended = alpha * rows.gather(1, order) + (1 - alpha) * ranked
    return torch.zeros_like(rows).scatter(1, order, blended)
