"""What a precision costs where somebody knows the truth: the few-shot protocol for each, on the same references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edge_resad.bundle import Bundle
from edge_resad.datasets.inspection_class import InspectionClass
from edge_resad.errors import ImageError
from edge_resad.evaluation.protocol import Results, evaluate, mean
from export.bootstrap import Change, PairedScores, auroc_change, mean_change
from export.way import Way, WayScorer


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """One way on labelled parts: fractions, means over products and draws; None where no defect is outlined."""

    way: str
    image_auroc: float
    aupro: float | None
    aupimo: float | None
    auroc_change: Change | None  # to FP32's; None for FP32 itself
    aupro_change: float | None
    aupimo_change: Change | None


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """All ways on the same labelled parts, FP32 first."""

    classes: tuple[str, ...]
    images: int  # that were judged
    shots: int
    seeds: int
    rows: tuple[Accuracy, ...]


def judged_classes(classes: Sequence[InspectionClass]) -> list[InspectionClass]:
    """Those with good and defective test images.

    Raises:
        ImageError: none has both.
    """
    both = [one for one in classes if len({part.is_defective for part in one.test}) == 2]
    if not both:
        names = ", ".join(one.name for one in classes)
        raise ImageError(
            f"no class of {names} has good and defective test images. Expected both, so that detection can be "
            "measured: name another folder with --labelled, or leave it out to compare precisions without labels."
        )
    return both


def judge_labelled(
    bundle: Bundle,
    ways: Sequence[Way],
    classes: Sequence[InspectionClass],
    *,
    shots: int,
    seeds: int,
    max_good: int | None = None,
    max_defect: int | None = None,
    threads: int = 1,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Labelled:
    """Judge the classes every way, FP32 the first of them; arguments as `evaluation.protocol.evaluate` takes them.

    The banks hold no turned copies. A coreset chooses among eight times as many rows where there are any, and a last
    digit tips the choice: then FP32 itself, with another seed for that choice, moves by one to two points of the mean
    image AUROC over eight products, which would hide what is asked for here.
    """
    found: dict[str, Results] = {}
    for way in ways:
        with WayScorer(bundle, way, threads=threads, augment="off") as scorer:
            found[way.name] = evaluate(
                classes, scorer, shots=shots, seeds=range(seeds), max_good=max_good, max_defect=max_defect,
                progress=partial(_named, progress, way.name),
            )  # fmt: skip
    results = list(found.values())
    expected = results[0]
    return Labelled(
        classes=tuple(one.name for one in expected.classes),
        images=sum(one.good + one.defective for one in expected.classes),
        shots=shots,
        seeds=seeds,
        rows=tuple(_accuracy(name, one, results) for name, one in found.items()),
    )


def _named(progress: Callable[[str, int, int], None], way: str, name: str, done: int, total: int) -> None:
    progress(f"{way}, {name}", done, total)


def _accuracy(way: str, found: Results, every: Sequence[Results]) -> Accuracy:
    """every: of all ways, FP32's first."""
    expected = every[0]
    auroc, aupro = _mean(found, every, "image_auroc"), _mean(found, every, "aupro")
    assert auroc is not None, "classes without good or defective images are left out before"
    before = _mean(expected, every, "aupro")
    is_other = found is not expected
    return Accuracy(
        way=way,
        image_auroc=auroc,
        aupro=aupro,
        aupimo=_mean(found, every, "aupimo"),
        auroc_change=auroc_change(_paired(found, expected)) if is_other else None,
        aupro_change=aupro - before if is_other and aupro is not None and before is not None else None,
        aupimo_change=_aupimo_change(found, expected) if is_other else None,
    )


def _mean(found: Results, every: Sequence[Results], metric: str) -> float | None:
    """Over the products where the metric is defined every way: AUPIMO may be for one and not for another."""
    beside = zip(*(results.classes for results in every), strict=True)
    defined = [all(one.mean(metric) is not None for one in ways) for ways in beside]
    return mean(one.mean(metric) for one, there in zip(found.classes, defined, strict=True) if there)


def _paired(found: Results, expected: Results) -> list[PairedScores]:
    pairs = []
    for ours, theirs in zip(found.classes, expected.classes, strict=True):
        ours_by, theirs_by = (
            np.array([[part.score for part in draw.parts] for draw in one.seeds]) for one in (ours, theirs)
        )
        defective = np.array([part.is_defective for part in ours.seeds[0].parts])
        pairs.append(PairedScores(found=ours_by, expected=theirs_by, defective=defective))
    return pairs


def _aupimo_change(found: Results, expected: Results) -> Change | None:
    """Over the images that have one with every draw of references, both ways; None where there are none."""
    differences = []
    for ours, theirs in zip(found.classes, expected.classes, strict=True):
        draws = [[part.aupimo for part in draw.parts] for one in (ours, theirs) for draw in one.seeds]
        figures = np.array(draws, np.float64).reshape(2, len(ours.seeds), -1)  # None becomes NaN
        both = figures[:, :, np.isfinite(figures).all((0, 1))]
        if both.size:
            differences.append((both[0] - both[1]).mean(0))
    return mean_change(differences) if differences else None
