"""A few parts stand for all, always the same ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from edge_resad.datasets.inspection_class import Part, subset


def _parts(**kinds: int) -> tuple[Part, ...]:
    return tuple(Part(path=Path(f"{kind}/{i}.png"), defect=kind) for kind, count in kinds.items() for i in range(count))


def test_a_subset_gives_every_defect_its_share() -> None:
    kept = subset(_parts(cut=20, good=30, hole=60), max_good=7, max_defect=8)
    assert Counter(part.defect for part in kept) == {"good": 7, "cut": 2, "hole": 6}


def test_a_subset_is_always_the_same_and_in_order() -> None:
    parts = _parts(cut=20, good=30)
    kept = subset(parts, max_good=5, max_defect=5)
    assert kept == subset(parts, max_good=5, max_defect=5)
    assert list(kept) == sorted(kept, key=parts.index)
    assert [part.path.stem for part in kept[:5]] != ["0", "1", "2", "3", "4"]


def test_without_a_limit_nothing_is_left_out() -> None:
    parts = _parts(cut=3, good=4)
    assert subset(parts, max_good=None, max_defect=None) == subset(parts, max_good=99, max_defect=99) == parts
