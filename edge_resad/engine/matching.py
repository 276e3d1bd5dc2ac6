"""How far patches lie from a bank's rows, as the detector measures it."""

from __future__ import annotations

import numpy as np

from edge_resad.bank import Rows
from edge_resad.bundle import Bundle

Features = tuple[Rows, ...]  # per level (N_l, C_l)


def distance(rows: Rows, bank: Rows, match: str) -> Rows:
    """From every row (N, C) to the nearest of a bank (M, C). (N,)."""
    if match == "cosine":
        return np.asarray(1 - (_unit(rows) @ _unit(bank).T).max(1), np.float32)
    nearest = (rows @ bank.T - np.square(bank).sum(1) / 2).max(1)
    return np.asarray(np.sqrt(np.maximum(np.square(rows).sum(1) - 2 * nearest, 0)), np.float32)


def far_from(bundle: Bundle, rows: Features, part: Features) -> Rows:
    """Mean and top distance of one part's patches to a bank's rows at each level. (L, 2)."""
    far = []
    for level, own, bank in zip(bundle.manifest.levels, part, rows, strict=True):
        to_nearest = distance(own, bank, bundle.manifest.match)
        far.append((to_nearest.mean(), np.sort(to_nearest)[-level.top_cells :].mean()))
    return np.array(far, np.float32)


def _unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
