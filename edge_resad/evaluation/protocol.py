"""The few-shot protocol: learn a product from a few good parts, judge all test parts, do it again with others."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.datasets.inspection_class import InspectionClass, Part, subset
from edge_resad.datasets.masks import fit_mask, read_mask
from edge_resad.evaluation import metrics
from edge_resad.evaluation.cases import Case, PartScore, heat_level, pick_cases, reduced
from edge_resad.evaluation.pimo import BOUNDS, aupimo
from edge_resad.evaluation.severity import SeverityAlignment, read_severities, severity_alignment
from edge_resad.image import read_image

METRICS = (
    "image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "aupro", "aupimo",
)  # fmt: skip
SEVERITY_METRICS = ("concordance", "kendall_tau_b", "concordance_defective")
"""Of parts that somebody graded; see `SeverityAlignment`."""

PIXEL_SIZE = 256
"""Side at which maps and masks meet, pixels."""

FEWEST_PIXELS = 10
"""Of good parts at AUPIMO's lower bound; with fewer, single pixels decide, and a note says so."""


class Scorer(Protocol):
    """What is judged: learns a product from references, then scores parts."""

    def enrol(self, references: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Forget the last product and learn this one. references: each (H, W, 3) uint8 BGR, good parts."""

    def score(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """The anomaly map (h, w), possibly a view that the next call overwrites, and the part's score.

        image: (H, W, 3) uint8 BGR.
        """


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """One draw of references. Metrics are fractions; None where they are not defined."""

    seed: int
    image_auroc: float | None
    image_ap: float | None
    image_f1max: float | None
    pixel_auroc: float | None
    pixel_ap: float | None
    aupro: float | None
    pixel_f1max: float | None = None
    aupimo: float | None = None  # mean over the defective images with a mask
    severity: SeverityAlignment | None = None  # None where nobody graded the parts
    parts: tuple[PartScore, ...] = ()  # every test image, in the order of the class
    overlap: tuple[float, ...] = ()  # the curve under which AUPRO is the area; see `PixelMetrics`
    seconds: float | None = None  # that enrolment and all test images took, with reading them

    def metric(self, name: str) -> float | None:
        """One of `METRICS` or of `SEVERITY_METRICS`."""
        if name in SEVERITY_METRICS:
            return self.severity.metric(name) if self.severity else None
        value: float | None = getattr(self, name)
        return value


@dataclass(frozen=True, kw_only=True)
class ClassResult:
    """All draws for one product, and how many images stand behind the numbers."""

    name: str
    references: int  # good parts shown before each run
    good: int  # test images
    defective: int  # test images
    with_mask: int  # defective test images that count for pixel metrics
    seeds: tuple[SeedResult, ...]
    notes: tuple[str, ...] = ()  # what a reader of the numbers has to know
    cases: tuple[Case, ...] = ()  # parts of the first draw that a report shows
    heat_from: float | None = None  # value of their maps that half of the good parts reach somewhere

    def mean(self, metric: str) -> float | None:
        """Over the draws."""
        return mean(draw.metric(metric) for draw in self.seeds)

    def spread(self, metric: str) -> float | None:
        """Standard deviation over the draws; None with fewer than two."""
        return spread(draw.metric(metric) for draw in self.seeds)


@dataclass(frozen=True, kw_only=True)
class Results:
    """All products."""

    shots: int  # references asked for
    seeds: tuple[int, ...]
    classes: tuple[ClassResult, ...]

    def mean(self, metric: str) -> float | None:
        """Over the products that have the metric, each counted once."""
        return mean(one.mean(metric) for one in self.classes)

    def spread(self, metric: str) -> float | None:
        """Standard deviation over the draws of the mean over products."""
        by_draw = zip(*(one.seeds for one in self.classes), strict=True)
        return spread(mean(draw.metric(metric) for draw in draws) for draws in by_draw)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(f"{one.name}: {note}" for one in self.classes for note in one.notes)


def evaluate(
    classes: Sequence[InspectionClass],
    scorer: Scorer,
    *,
    shots: int,
    seeds: Sequence[int],
    max_good: int | None = None,
    max_defect: int | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Results:
    """Judge every product once per seed, from references drawn with that seed.

    shots:      references per product; a product with fewer training images gives all it has.
    max_good, max_defect: judge only so many test images of a product, always the same ones.
    progress:   called after every image with the product's name, images done and images in all.
    """
    if shots < 1 or not seeds:
        raise ValueError(f"the protocol needs at least one reference and one seed, got shots={shots}, seeds={seeds}")
    results = []
    for one in classes:
        judged = replace(one, test=subset(one.test, max_good, max_defect))
        results.append(_evaluate_class(judged, scorer, shots, seeds, progress))
    return Results(shots=shots, seeds=tuple(seeds), classes=tuple(results))


def draw_references(train: Sequence[Path], shots: int, seed: int) -> list[Path]:
    """Which good parts a seed shows, in the order it shows them: no part twice, all of them where they are too few."""
    drawn = np.random.default_rng(seed).choice(len(train), size=min(shots, len(train)), replace=False)
    return [train[index] for index in drawn]


def _evaluate_class(
    one: InspectionClass,
    scorer: Scorer,
    shots: int,
    seeds: Sequence[int],
    progress: Callable[[str, int, int], None],
) -> ClassResult:
    masks, grades = _masks(one.test), read_severities(one)
    draws: list[SeedResult] = []
    cases: tuple[Case, ...] = ()
    heat_from = None
    for run, seed in enumerate(seeds):
        start = time.perf_counter()
        scorer.enrol([read_image(path) for path in draw_references(one.train, shots, seed)], seed)
        scores = np.empty(len(one.test))
        maps: dict[Path, NDArray[np.float32]] = {}
        small_maps: list[NDArray[np.float32]] = []
        for index, part in enumerate(one.test):
            anomaly_map, scores[index] = scorer.score(read_image(part.path))
            if not (np.isfinite(scores[index]) and np.isfinite(anomaly_map).all()):
                raise ValueError(f"the score or the map of {part.path} is not finite (score {scores[index]})")
            if part.path in masks:
                maps[part.path] = _fit_map(anomaly_map)
            if not draws:
                small_maps.append(reduced(anomaly_map))
            progress(one.name, run * len(one.test) + index + 1, len(seeds) * len(one.test))
        if not draws:
            cases, heat_from = pick_cases(one.test, scores, small_maps), heat_level(one.test, small_maps)
        seconds = time.perf_counter() - start
        draws.append(replace(_measure(seed, scores, one.test, maps, masks, grades), seconds=seconds))
    return replace(_class_result(one, shots, masks, grades, draws), cases=cases, heat_from=heat_from)


def _fit_map(anomaly_map: NDArray[np.float32]) -> NDArray[np.float32]:
    """A bilinear copy, (PIXEL_SIZE, PIXEL_SIZE): the original may be a buffer that the next part overwrites."""
    fitted = cv2.resize(anomaly_map, (PIXEL_SIZE, PIXEL_SIZE), interpolation=cv2.INTER_LINEAR)
    return np.array(fitted, dtype=np.float32)


def _masks(parts: Sequence[Part]) -> dict[Path, NDArray[np.bool_]]:
    """The mask of every image that counts for pixel metrics; none at all where no defect is outlined."""
    outlined = {part.path: fit_mask(read_mask(*part.masks), PIXEL_SIZE) for part in parts if part.masks}
    outlined = {path: mask for path, mask in outlined.items() if mask.any()}  # an empty mask outlines nothing
    if not outlined:
        return {}
    nothing = np.zeros((PIXEL_SIZE, PIXEL_SIZE), bool)
    return outlined | {part.path: nothing for part in parts if not part.is_defective}


def _measure(
    seed: int,
    scores: NDArray[np.float64],
    parts: Sequence[Part],
    maps: dict[Path, NDArray[np.float32]],
    masks: dict[Path, NDArray[np.bool_]],
    grades: dict[Path, int] | None,
) -> SeedResult:
    defective = [part.is_defective for part in parts]
    outlined, outlines = list(maps.values()), [masks[path] for path in maps]
    pixels = metrics.pixel_metrics(outlined, outlines)
    found = dict(zip(maps, aupimo(outlined, outlines), strict=True))
    return SeedResult(
        seed=seed,
        image_auroc=metrics.auroc(scores, defective),
        image_ap=metrics.average_precision(scores, defective),
        image_f1max=metrics.f1_max(scores, defective),
        pixel_auroc=pixels.auroc,
        pixel_ap=pixels.average_precision,
        pixel_f1max=pixels.f1_max,
        aupro=pixels.aupro,
        aupimo=mean(found.values()),
        severity=_severity(scores, parts, grades),
        parts=tuple(
            PartScore(
                path=part.path,
                defect=part.defect,
                score=float(score),
                aupimo=found.get(part.path),
                severity=grades.get(part.path) if grades else None,
            )
            for part, score in zip(parts, scores, strict=True)
        ),
        overlap=pixels.overlap,
    )


def _severity(
    scores: NDArray[np.float64], parts: Sequence[Part], grades: dict[Path, int] | None
) -> SeverityAlignment | None:
    if grades is None:
        return None
    graded = [k for k, part in enumerate(parts) if part.path in grades]
    return severity_alignment(scores[graded], [grades[parts[k].path] for k in graded])


def _class_result(
    one: InspectionClass,
    shots: int,
    masks: dict[Path, NDArray[np.bool_]],
    grades: dict[Path, int] | None,
    draws: list[SeedResult],
) -> ClassResult:
    defective = [part for part in one.test if part.is_defective]
    good, with_mask = len(one.test) - len(defective), sum(part.path in masks for part in defective)
    notes = []
    if len(one.train) < shots:
        notes.append(f"{len(one.train)} training images, all of them shown, where {shots} were asked for")
    if not defective or not good:
        notes.append(f"no {'good' if defective else 'defective'} test image, so detection cannot be measured")
    if defective and not with_mask:
        notes.append("no masks, so localisation cannot be measured")
    elif with_mask < len(defective):
        notes.append(
            f"{len(defective) - with_mask} of {len(defective)} defective images have no mask "
            "and are left out of the pixel metrics"
        )
    if with_mask and good * PIXEL_SIZE**2 * BOUNDS[0] < FEWEST_PIXELS:
        notes.append(
            f"{good} good test images are few for AUPIMO: its lower bound is less than {FEWEST_PIXELS} of their pixels"
        )
    elif with_mask and good and all(draw.aupimo is None for draw in draws):
        notes.append("AUPIMO is not defined: too many pixels of good images share the highest value of their maps")
    ungraded = sum(part.path not in grades for part in defective) if grades else 0
    if ungraded:
        notes.append(f"{ungraded} of {len(defective)} defective images have no severity and are left out of its order")
    return ClassResult(
        name=one.name,
        references=min(shots, len(one.train)),
        good=good,
        defective=len(defective),
        with_mask=with_mask,
        seeds=tuple(draws),
        notes=tuple(notes),
    )


def mean(values: Iterable[float | None]) -> float | None:
    """Of the values that are there; None where none is."""
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there else None


def spread(values: Iterable[float | None]) -> float | None:
    """Sample standard deviation of the values that are there; None with fewer than two."""
    there = [value for value in values if value is not None]
    return statistics.stdev(there) if len(there) > 1 else None
