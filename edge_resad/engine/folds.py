"""Leaving out: the banks that references are judged against, each without the parts that it judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_resad.bank import coreset
from edge_resad.bundle import Bundle
from edge_resad.engine.matching import Features

MOST = 8
"""Folds: more references than this are left out in so many groups."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Parts that are left out together, and the bank of the others."""

    group: tuple[int, ...]
    bank: Features


def folds_of(bundle: Bundle, shown: Sequence[Features], held_out: int, seed: int) -> list[Fold]:
    """Every part left out once, with all its copies; a single reference is left in, to judge its variations.

    shown: what each part brings to a bank.
    """
    groups = _groups(held_out)
    if len(shown) == 1:
        bank = reduced(bundle, shown, seed)
        return [Fold(group=group, bank=bank) for group in groups]
    return [
        Fold(group=group, bank=reduced(bundle, [own for part, own in enumerate(shown) if part not in group], seed))
        for group in groups
    ]


def reduced(bundle: Bundle, shown: Sequence[Features], seed: int) -> Features:
    """One bank of what several parts bring: where it is too much, a coreset."""
    levels = []
    for index, level in enumerate(bundle.manifest.levels):
        rows = np.concatenate([own[index] for own in shown])
        levels.append(np.ascontiguousarray(rows[coreset(rows, level.capacity, seed)]))
    return tuple(levels)


def _groups(count: int) -> list[tuple[int, ...]]:
    folds = min(count, MOST)
    return [tuple(range(fold, count, folds)) for fold in range(folds)]
