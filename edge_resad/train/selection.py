"""How good a head is on products it never learned from: what chooses the model."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_resad.errors import TrainingError
from edge_resad.evaluation.metrics import auroc
from edge_resad.model.head import ResADHead
from edge_resad.model.scoring import image_scores, level_maxima
from edge_resad.train.batches import Images, bank_of, images_of, rows_of
from edge_resad.train.features import ClassFeatures

_IMAGES_AT_A_TIME = 8

T = TypeVar("T")


class HeldOutScore(NamedTuple):
    """Means over the held out products that have the metric; fractions."""

    image_auroc: float
    pixel_auroc: float | None  # None where nobody outlined a defect

    @property
    def score(self) -> float:
        """What is to be as large as possible: the mean of both."""
        return self.image_auroc if self.pixel_auroc is None else (self.image_auroc + self.pixel_auroc) / 2


Judge = Callable[[ClassFeatures, Images, Images], tuple[Tensor, Tensor]]
"""Of a product, given references and the images to judge: maps (T, s, s) and scores (T,)."""


def judge_held_out(head: ResADHead, features: Sequence[ClassFeatures], *, shots: int, seed: int) -> HeldOutScore:
    """Judge a `ResADHead` as on a line: a product's constants come from its references, not from its test set.

    The head is in eval mode afterwards.

    Raises:
        TrainingError: a score is no number.
    """
    head.eval()
    return judge_with(lambda *of_one: _judged(head, *of_one), features, shots=shots, seed=seed)


@torch.no_grad()
def judge_with(judge: Judge, features: Sequence[ClassFeatures], *, shots: int, seed: int) -> HeldOutScore:
    """Enrol every product with references that the seed and its name draw, always the same ones, judge its test parts.

    Raises:
        TrainingError: a score is no number.
    """
    images, pixels = zip(*(_measured(judge, one, _references_of(one, shots, seed)) for one in features), strict=True)
    outlined = [value for value in pixels if value is not None]
    return HeldOutScore(float(np.mean(images)), float(np.mean(outlined)) if outlined else None)


def _references_of(one: ClassFeatures, shots: int, seed: int) -> Images:
    """Good parts of a product that a seed and its name draw."""
    random = np.random.default_rng([seed, zlib.crc32(one.name.encode())])
    good = images_of(one, 1)
    return np.asarray(random.choice(good, size=min(shots, len(good)), replace=False))


def _measured(judge: Judge, one: ClassFeatures, references: Images) -> tuple[float, float | None]:
    tested = np.arange(one.train.stop, len(one.paths))
    maps, scores = judge(one, references, tested)
    if not maps.isfinite().all() or not scores.isfinite().all():
        raise TrainingError(
            f"what the head says of {one.name} is no number. Expected finite scores. Start anew with a smaller --lr."
        )
    by_image = auroc(scores.cpu().numpy(), one.is_defective[tested])
    if by_image is None:
        raise ValueError(f"{one.name} has no good or no defective part to judge")
    return by_image, _pixel_auroc(maps.cpu().numpy(), one, tested)


def _judged(head: ResADHead, one: ClassFeatures, references: Images, tested: Images) -> tuple[Tensor, Tensor]:
    device = next(head.parameters()).device
    bank, level_max = bank_of(one, references, device), _level_max(head, one, references)
    maps = []
    for start in range(0, len(tested), _IMAGES_AT_A_TIME):
        levels = rows_of(one, tested[start : start + _IMAGES_AT_A_TIME], device)
        scores = head.scorer(*head(levels, [bank]), level_max)
        maps.append(scores.likelihood if head.settings.score == "v1" else scores.merged)
    found = torch.cat(maps)
    return found, image_scores(found, head.settings.top_cells)


def _pixel_auroc(maps: NDArray[np.float32], one: ClassFeatures, tested: Images) -> float | None:
    """Over the pixels at the middle of the map's cells, of parts that are good or outlined. maps: (T, s, s)."""
    stride = one.masks.shape[1] // maps.shape[1]
    masks = one.masks[tested, stride // 2 :: stride, stride // 2 :: stride]
    known = one.outlined[tested]
    return auroc(maps[known], masks[known])


def _level_max(head: ResADHead, one: ClassFeatures, references: Images) -> Tensor:
    """(L,) what is typical of the product: each reference against the others, a single one against itself."""
    device = next(head.parameters()).device
    found = []
    for own, others in left_out(references.tolist()):
        judged = head(rows_of(one, np.array([own]), device), [bank_of(one, np.array(others), device)])
        found.append(level_maxima(judged.log_likelihood))
    return torch.stack(found).amax(0)


def left_out(parts: Sequence[T]) -> list[tuple[T, list[T]]]:
    """Each part with all others; a single one with itself."""
    return [(own, [*parts[:at], *parts[at + 1 :]] or [own]) for at, own in enumerate(parts)]
