"""Which products training learns from and which ones, that it never learns from, choose the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from edge_resad.datasets.inspection_class import InspectionClass
from edge_resad.errors import TrainingError


@dataclass(frozen=True)
class Split:
    """Products in two parts. Those that somebody will report figures of are in neither."""

    seen: tuple[InspectionClass, ...]  # learned from
    held_out: tuple[InspectionClass, ...]  # judged after every epoch

    @property
    def held_out_names(self) -> list[str]:
        return [one.name for one in self.held_out]


def split_classes(
    classes: Sequence[InspectionClass],
    *,
    hold_out: Sequence[str] = (),
    share: float = 0.2,
    leave_out: Sequence[str] = (),
    seed: int = 0,
) -> Split:
    """Hold out products by name, or a share of them by a seeded draw.

    hold_out:  patterns of names, such as `*/bottle`; without any, `share` decides.
    share:     of the products, at least one unless it is 0; only products with good and defective parts to judge.
    leave_out: patterns of names that are used for nothing at all, whatever else says so.

    Raises:
        TrainingError: a pattern that no product has, nothing left to learn from, or a held out product that has no
                       good or no defective part to judge.
    """
    left = [one for one in classes if one.name not in _matching(classes, leave_out)]
    names = _matching(left, hold_out) if hold_out else _drawn(left, share, seed)
    held_out = tuple(one for one in left if one.name in names)
    seen = tuple(one for one in left if one.name not in names)
    for one in held_out:
        if not _can_judge(one):
            raise TrainingError(
                f"{one.name} is held out to choose the model, but has no good or no defective part in its test set. "
                "Hold out a product that has both."
            )
    if not seen:
        raise TrainingError(
            f"of {len(classes)} products none is left to learn from: {len(held_out)} are held out, "
            f"{len(classes) - len(left)} are left out. Give more products, or hold out fewer."
        )
    return Split(seen, held_out)


def _matching(classes: Sequence[InspectionClass], patterns: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        named = {one.name for one in classes if fnmatchcase(one.name, pattern)}
        if not named:
            known = ", ".join(one.name for one in classes[:12]) + (", ..." if len(classes) > 12 else "")
            raise TrainingError(f"no product is called {pattern}. There are {known or 'none left'}.")
        found |= named
    return found


def _drawn(classes: Sequence[InspectionClass], share: float, seed: int) -> set[str]:
    able = [one.name for one in classes if _can_judge(one)]
    count = min(max(1, round(share * len(classes))), len(able)) if share else 0
    if share and not able:
        raise TrainingError(
            "no product has good and defective parts to judge, so none can choose the model. Give one, or hold out "
            "none."
        )
    return {able[index] for index in np.random.default_rng(seed).choice(len(able), size=count, replace=False)}


def _can_judge(one: InspectionClass) -> bool:
    return {part.is_defective for part in one.test} == {True, False}
