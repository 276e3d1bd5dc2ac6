"""One product of an image set: what was good at training, what is to be judged, where the defects are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GOOD = "good"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One photographed part of the test set."""

    path: Path
    defect: str  # the folder's name; "good" where there is none
    mask: Path | None = None  # where the defect is; None for good parts and for defects nobody outlined
    more_masks: tuple[Path, ...] = ()  # of the same part, where each of its defects has a mask of its own

    @property
    def is_defective(self) -> bool:
        return self.defect != GOOD

    @property
    def masks(self) -> tuple[Path, ...]:
        """All of them; together they say where the part is defective."""
        return (self.mask, *self.more_masks) if self.mask else ()


@dataclass(frozen=True, kw_only=True)
class InspectionClass:
    """One product: good parts to learn from, good and defective parts to judge."""

    name: str
    train: tuple[Path, ...]
    test: tuple[Part, ...]  # empty where there are only good parts to learn from
    validation: tuple[Path, ...] = ()  # more good parts, that an image set keeps for choosing thresholds

    @property
    def has_masks(self) -> bool:
        return any(part.mask for part in self.test)


def subset(parts: tuple[Part, ...], max_good: int | None, max_defect: int | None) -> tuple[Part, ...]:
    """At most so many good and so many defective parts, always the same ones, each defect with its share."""
    good = [part for part in parts if not part.is_defective]
    defective = [part for part in parts if part.is_defective]
    kept = {part.path for part in [*_share(good, max_good), *_share(defective, max_defect)]}
    return tuple(part for part in parts if part.path in kept)


def _share(parts: list[Part], most: int | None) -> list[Part]:
    if most is None or len(parts) <= most:
        return parts
    random = np.random.default_rng(0)
    seen: Counter[str] = Counter()
    of_kind = Counter(part.defect for part in parts)
    places = []
    for index in random.permutation(len(parts)):
        part = parts[index]
        places.append(((seen[part.defect] + 0.5) / of_kind[part.defect], index))  # spreads each kind evenly over 0..1
        seen[part.defect] += 1
    return [parts[index] for _, index in sorted(places)[:most]]
