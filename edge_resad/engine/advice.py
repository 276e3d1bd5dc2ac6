"""Advice on references: which of many good parts stand for all, and what they still leave open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import REESTIMATE, Bank, Rows
from edge_resad.bundle import Bundle, Precision
from edge_resad.engine.engine import Provider
from edge_resad.engine.enrolment import encode
from edge_resad.engine.inspector import Inspector
from edge_resad.engine.matching import Features, distance
from edge_resad.engine.open import engine_for
from edge_resad.errors import BankError

Image = NDArray[np.uint8]
Progress = Callable[[str, int, int], None]
MOST_PARTS = 64
"""Parts that are compared with each other; of more, so many are taken at even steps."""

_MOST_CELLS = 256  # of a part's patches at one level: every part is compared with every other
_EXCESS = 2.0  # so many times the false alarms aimed at, and at least two parts, are no chance


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One chosen part, and how well the picks up to it cover the others.

    How far a part lies is a ratio: its distance to the picks over that to all other parts together, so that at 1 no
    further pick would bring it closer. Distances are those of the head `nn`, between the parts as they lie:
    of parts at any angle, picks differ in their angle too.
    """

    part: int  # index into the images
    mean: float  # over the parts that are not picked; 1 where there are none
    worst: float
    worst_part: int | None


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Which parts to enrol, in the order in which they add most.

    further: the part that would add most to them; None where all are picked.
    compared: the parts that were compared.
    """

    picks: tuple[Pick, ...]
    further: Pick | None
    compared: tuple[int, ...]

    @property
    def parts(self) -> tuple[int, ...]:
        return tuple(pick.part for pick in self.picks)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What a bank makes of good parts that are not in it."""

    judged: int
    failed: tuple[int, ...]  # indices of the parts that fail
    mean: float  # of the parts' scores over the threshold
    worst: float
    warnings: tuple[str, ...]


def advise(
    bundle: Bundle,
    images: Sequence[Image],
    count: int,
    *,
    precision: Precision = "fp32",
    threads: int = 1,
    provider: Provider = "cpu",
    engines: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Advice:
    """Pick the references that leave the other parts as near as possible: greedy facility location over patches.

    images: each (H, W, 3) uint8, BGR, of good parts.

    Raises:
        BankError: fewer parts than are to be picked, or none.
    """
    if not 1 <= count <= len(images):
        raise BankError(
            f"{count} references were to be picked from {len(images)} good parts. Show more parts, or pick fewer."
        )
    compared = tuple(int(index) for index in np.linspace(0, len(images) - 1, min(len(images), MOST_PARTS)).round())
    if count > len(compared):
        raise BankError(f"{count} references were to be picked, at most {len(compared)} can be. Pick fewer.")
    features = []
    with engine_for(bundle, "encoder", precision, provider=provider, threads=threads, engines=engines) as encoder:
        for index in compared:
            features.append(encode(encoder, bundle, images[index]))
            progress("encode", len(features), len(compared))
    field = _Field(bundle, features, progress)
    order = field.greedy(min(count + 1, len(compared)))
    picks = [_pick(field, compared, order[: length + 1]) for length in range(len(order))]
    return Advice(picks=tuple(picks[:count]), further=picks[count] if len(picks) > count else None, compared=compared)


class _Field:
    """How far every part's patches lie from every other part."""

    def __init__(self, bundle: Bundle, features: Sequence[Features], progress: Progress) -> None:
        """Compare all with all; a part is no reference of its own."""
        self._levels = bundle.manifest.levels
        self._count = len(features)
        self._near: list[Rows] = []  # per level (references n, parts n, cells)
        for index, level in enumerate(self._levels):
            cells = np.linspace(0, level.cells - 1, min(level.cells, _MOST_CELLS)).round().astype(np.intp)
            parts = np.concatenate([feature[index][cells] for feature in features])
            near = np.empty((self._count, self._count, len(cells)), np.float32)
            for reference in range(self._count):
                to_reference = distance(parts, features[reference][index], bundle.manifest.match)
                near[reference] = to_reference.reshape(self._count, -1)
                near[reference, reference] = np.inf
                progress("compare", index * self._count + reference + 1, len(self._levels) * self._count)
            self._near.append(near)
        self._norm = np.ones(len(self._levels))
        if self._count > 1:
            least = [self._tops(index, near.min(0)) for index, near in enumerate(self._near)]
            self._norm = np.array([level.weight for level in self._levels]) / np.maximum(np.mean(least, 1), 1e-6)
            self._least = np.maximum(self._norm @ np.array(least), 1e-6)

    def greedy(self, count: int) -> list[int]:
        """So many parts, each the one that brings those not picked closest, given the picks before it."""
        picked: list[int] = []
        nearest = [np.full(near.shape[1:], np.inf, np.float32) for near in self._near]
        while len(picked) < count:
            left = [part for part in range(self._count) if part not in picked]
            costs = [self._cost(nearest, candidate, [part for part in left if part != candidate]) for candidate in left]
            picked.append(left[int(np.argmin(costs))])
            nearest = [np.minimum(old, near[picked[-1]]) for old, near in zip(nearest, self._near, strict=True)]
        return picked

    def ratios(self, picked: Sequence[int], parts: Sequence[int]) -> Rows:
        """Of parts that are not picked: their distance to the picks over that to all other parts."""
        to_picked = [near[list(picked)].min(0)[list(parts)] for near in self._near]
        return np.asarray(self._far(to_picked) / self._least[list(parts)], np.float32)

    def _cost(self, nearest: Sequence[Rows], candidate: int, parts: Sequence[int]) -> float:
        if not parts:
            return 0.0
        closer = [np.minimum(old[parts], near[candidate][parts]) for old, near in zip(nearest, self._near, strict=True)]
        return float(self._far(closer).sum())

    def _far(self, nearest: Sequence[Rows]) -> Rows:
        """Distances of parts, (n,), from those of their patches, per level (n, cells)."""
        tops = np.array([self._tops(index, rows) for index, rows in enumerate(nearest)])
        return np.asarray(self._norm @ tops, np.float32)

    def _tops(self, index: int, rows: Rows) -> Rows:
        return np.asarray(np.sort(rows, 1)[:, -self._levels[index].top_cells :].mean(1), np.float32)


def _pick(field: _Field, compared: Sequence[int], picked: Sequence[int]) -> Pick:
    """The last of these picks, and what they cover together."""
    others = [part for part in range(len(compared)) if part not in picked]
    if not others:
        return Pick(part=compared[picked[-1]], mean=1.0, worst=1.0, worst_part=None)
    ratios = field.ratios(picked, others)
    return Pick(
        part=compared[picked[-1]],
        mean=float(ratios.mean()),
        worst=float(ratios.max()),
        worst_part=compared[others[int(ratios.argmax())]],
    )


def coverage(
    bundle: Bundle,
    bank: Bank,
    images: Sequence[Image],
    others: Sequence[int],
    *,
    threads: int = 1,
    provider: Provider = "cpu",
    engines: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Coverage:
    """Judge good parts that are not in the bank, and say so where more of them fail than should.

    others: indices into images of the parts to judge, at least one.
    """
    threshold = bank.info.threshold
    ratios = []
    with Inspector(bundle, bank, threads=threads, provider=provider, engines=engines) as inspector:
        for part in others:
            ratios.append(inspector.inspect(images[part]).score / threshold.score)
            progress("judge", len(ratios), len(others))
    failed = tuple(part for part, ratio in zip(others, ratios, strict=True) if ratio >= 1)
    warnings = []
    if len(failed) >= 2 and len(failed) > _EXCESS * (threshold.false_alarm_rate or 0) * len(others):
        warnings.append(
            f"these references do not cover what the line shows: {len(failed)} of {len(others)} other good parts "
            f"({len(failed) / len(others):.0%}) would fail. Add references, or estimate the threshold from more good "
            f"parts: {REESTIMATE}."
        )
    return Coverage(
        judged=len(others),
        failed=failed,
        mean=float(np.mean(ratios)),
        worst=float(np.max(ratios)),
        warnings=tuple(warnings),
    )
