"""Leaving out: the banks that references are judged against, each without the parts that it judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import Rows, coreset
from edge_resad.bundle import Bundle
from edge_resad.engine.matching import Features

MOST = 8
"""Folds: more references than this are left out in so many groups."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Rows that stand for more of them.

    rows: per level (R_l, C_l).
    kept: per level (R_l,), where each stood among all that were to choose from.
    """

    rows: Features
    kept: tuple[NDArray[np.intp], ...]


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Parts that are left out together, and the bank of the others."""

    group: tuple[int, ...]
    others: tuple[int, ...]  # parts in the bank
    bank: Chosen


def folds_of(bundle: Bundle, shown: Sequence[Features], held_out: int, seed: int) -> list[Fold]:
    """Every part left out once, with all its copies; a single reference is left in, to judge its variations.

    shown: what each part brings to a bank.
    """
    groups = _groups(held_out)
    if len(shown) == 1:
        bank = reduced(bundle, shown, seed)
        return [Fold(group=group, others=(0,), bank=bank) for group in groups]
    folds = []
    for group in groups:
        others = tuple(part for part in range(len(shown)) if part not in group)
        folds.append(Fold(group=group, others=others, bank=reduced(bundle, [shown[part] for part in others], seed)))
    return folds


def reduced(bundle: Bundle, shown: Sequence[Features], seed: int) -> Chosen:
    """One bank of what several parts bring: where it is too much, a coreset."""
    levels, kept = [], []
    for index, level in enumerate(bundle.manifest.levels):
        rows = np.concatenate([own[index] for own in shown])
        kept.append(coreset(rows, level.capacity, seed))
        levels.append(np.ascontiguousarray(rows[kept[-1]]))
    return Chosen(rows=tuple(levels), kept=tuple(kept))


def spreads_in(bank: Chosen, shown: Sequence[Sequence[Rows]]) -> tuple[Rows, ...]:
    """The spreads of a bank's rows, per level (R_l,), from those that every part in it brings with its rows."""
    return tuple(np.concatenate([own[level] for own in shown])[kept] for level, kept in enumerate(bank.kept))


def _groups(count: int) -> list[tuple[int, ...]]:
    folds = min(count, MOST)
    return [tuple(range(fold, count, folds)) for fold in range(folds)]
