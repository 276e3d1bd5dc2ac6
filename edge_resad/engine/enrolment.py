"""Enrolment: from a handful of good parts to a reference bank with its threshold."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad import __version__
from edge_resad.bank import REESTIMATE, AugmentationMode, Bank, BankInfo, GoodScores, Rows, Threshold, coreset
from edge_resad.bundle import Bundle, HeadName, Precision
from edge_resad.engine.augmentation import TURNS, Wish, decide, modes_of, shrunk, turned
from edge_resad.engine.engine import Engine, Provider
from edge_resad.engine.folds import MOST, Fold, folds_of, reduced
from edge_resad.engine.fusion import calibrated, head_named, judged, uncalibrated
from edge_resad.engine.inspector import write_bank
from edge_resad.engine.matching import Features, far_from
from edge_resad.engine.open import engine_for
from edge_resad.engine.references import cannot_tell, nonsense, warnings_about
from edge_resad.errors import BankError
from edge_resad.image import check_frame, fit

Image = NDArray[np.uint8]

_GUESS = (
    "One reference says nothing of how good parts differ: this threshold is a guess. "
    f"Show more good parts, or re-estimate it: {REESTIMATE}."
)
_USUAL_SPREAD: dict[HeadName, float] = {"nn": 0.15, "resad": 0.15, "fused": 0.2}
"""Of the logarithm of good parts' scores: from drawn products, see docs/notes/threshold.md."""

_ROOM = 2  # times its share of the bank, so many rows one reference brings: 8 found no more, in twice the time
_USUAL_WEIGHT = 8  # so many degrees of freedom does that experience weigh against the references' own spread


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """A bank, and what its maker should know of the references."""

    bank: Bank
    warnings: tuple[str, ...]


def enrol(
    bundle: Bundle,
    images: Sequence[Image],
    *,
    product: str,
    digests: Sequence[str] | None = None,
    precision: Precision = "fp32",
    threads: int = 1,
    provider: Provider = "cpu",
    engines: Path | None = None,
    false_alarm_rate: float = 0.05,
    seed: int = 0,
    augment: Wish = "auto",
    head: HeadName | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Enrolment:
    """Make a bank from images of good parts, on the engine and in the precision that will inspect.

    Every reference is judged against the others (left out one by one, or in 8 groups where there are more): what they
    give chooses the augmentation and fixes the levels' constants, the fusion's and the threshold. A single reference is
    judged against itself, moved and relit.

    images:           each (H, W, 3) uint8, BGR.
    engines:          where TensorRT's engines lie, if not where they lie by default.
    digests:          sha256 of each image's file; computed from the pixels where not given.
    false_alarm_rate: share of good parts that may fail, aimed at by the threshold.
    augment:          whether turned copies of the references go into the bank; auto asks the references.
    head:             what judges; the bundle's own choice where not given.

    Raises:
        BankError: no images, or the bundle lacks the head.
    """
    if not images:
        raise BankError("no reference images were given. Show at least one good part; four or more make a better bank.")
    warnings = warnings_about(images)
    names = list(digests or (hashlib.sha256(image.tobytes()).hexdigest() for image in images))
    images, names = _distinct(images, names)
    named = head_named(bundle.manifest, head)
    fusion = uncalibrated(bundle.manifest, named)
    alone = len(images) == 1
    held_out = _variations(images[0]) if alone else list(images)
    steps = len(images) + len(held_out)
    modes = modes_of(augment, len(images))
    with (
        engine_for(bundle, "encoder", precision, provider=provider, threads=threads, engines=engines) as encoder,
        engine_for(bundle, "detector", precision, provider=provider, threads=threads, engines=engines) as detector,
    ):
        seen, shown = [], []
        for image in images:
            own, copies = _encoded_copies(encoder, bundle, image, modes, len(images), seed)
            seen.append(own)
            shown.append(copies)
            progress("encode", len(shown), steps)
        if alone:
            seen = [encode(encoder, bundle, part) for part in held_out]
        folds = {mode: folds_of(bundle, [own[mode] for own in shown], len(held_out), seed) for mode in modes}
        far = {mode: _farness(bundle, folds[mode], seen) for mode in modes}
        tops = {mode: far[mode][:, :, 1] for mode in modes}
        augmentation = decide(augment, tops, [level.weight for level in bundle.manifest.levels])
        mode = augmentation.mode
        features = [own[mode] for own in shown]
        level_norm = _level_norm(bundle, far[mode])
        found = []
        for fold in folds[mode]:
            write_bank(detector, bundle, fold.bank, level_norm, fusion)
            for index in fold.group:
                found.append(judged(detector, held_out[index], bundle.manifest.image_size, fusion))
                progress("judge", len(images) + len(found), steps)
        fusion, scores, peaks = calibrated(fusion, found)
        if 3 <= len(images) <= MOST:
            closer = _closer_with_one_more(bundle, features, seen, tops[mode], level_norm, seed) ** fusion[0]
            scores = [score * closer for score in scores]
        threshold = threshold_from(scores, region=max(peaks), rate=false_alarm_rate, how="references", head=named)
        if alone:
            threshold = threshold.model_copy(update={"promise": _GUESS})
        levels = reduced(bundle, features, seed)
        write_bank(detector, bundle, levels, level_norm, fusion)
        passed = [_score(detector, bundle, image) < threshold.score for image in nonsense(images[0].shape[:2])]
    info = BankInfo(
        product=product,
        bundle_id=bundle.manifest.bundle_id,
        precision=precision,
        references=tuple(names),
        augmentation=augmentation,
        level_norm=tuple((float(mean), float(top)) for mean, top in level_norm),
        head=named,
        fusion=fusion,
        threshold=threshold,
        made_by=f"edge-resad {__version__}",
    )
    return Enrolment(bank=Bank(info=info, levels=levels), warnings=(*warnings, *cannot_tell(passed)))


def _distinct(images: Sequence[Image], names: Sequence[str]) -> tuple[list[Image], list[str]]:
    """Every picture once: left out, a second copy would find itself, and promise that parts are all alike."""
    pixels: dict[str, int] = {}
    for index, image in enumerate(images):
        pixels.setdefault(f"{image.shape} {hashlib.sha256(image.tobytes()).hexdigest()}", index)
    return [images[index] for index in pixels.values()], [names[index] for index in pixels.values()]


def threshold_from(
    scores: Sequence[float],
    *,
    region: float,
    rate: float,
    how: Literal["references", "good parts"],
    head: HeadName,
) -> Threshold:
    """Estimate the threshold from scores of good parts that a head gave.

    With enough of them it is the conformal quantile: of n scores the ceil((n + 1)(1 - rate))-th, which a further good
    part exceeds with probability at most `rate` (Vovk et al., split conformal prediction). With fewer, no method can
    promise less than 1 / (n + 1); then it is the upper prediction bound of a log-normal model (Student's t), whose
    spread is the scores' own pooled with what is usual: the spread of four numbers alone says next to nothing.
    """
    count = len(scores)
    ordered = sorted(scores)
    logs = np.log(np.maximum(ordered, 1e-6))
    freedom = count - 1 + _USUAL_WEIGHT
    squares = float(np.square(logs - logs.mean()).sum()) + _USUAL_WEIGHT * _USUAL_SPREAD[head] ** 2
    spread = math.sqrt(squares / freedom)
    good = GoodScores(mean=float(logs.mean()), spread=spread, freedom=freedom, samples=count)
    rank = math.ceil((count + 1) * (1 - rate))
    if rank <= count:
        return Threshold(
            score=ordered[rank - 1], region=region, how=how, samples=count, false_alarm_rate=rate, good=good,
            promise=(
                f"{count} good parts promise at most {rate:.1%} false alarms on parts like them."
                if how == "good parts"
                else f"Aims at {rate:.1%} false alarms; judged against each other, {count} references come close to a "
                f"promise. Parts that are not in the bank give one: {REESTIMATE}."
            ),
        )  # fmt: skip
    bound = float(logs.mean()) + _student_t(1 - rate, freedom) * spread * math.sqrt(1 + 1 / count)
    return Threshold(
        score=math.exp(bound), region=region, how=how, samples=count, false_alarm_rate=rate, good=good,
        promise=(
            f"Aims at {rate:.1%} false alarms, if good parts' scores spread as is usual. "
            f"{count} good parts alone can promise no fewer than 1 in {count + 1} ({1 / (count + 1):.0%}); "
            f"a promise of {rate:.1%} takes {math.ceil(1 / rate) - 1}: {REESTIMATE}."
        ),
    )  # fmt: skip


def encode(encoder: Engine, bundle: Bundle, image: Image) -> Features:
    """What the encoder sees in a picture, per level (N_l, C_l), a copy."""
    check_frame(image)
    fit(image, bundle.manifest.image_size, encoder.inputs["image"])
    encoder.run()
    return tuple(encoder.outputs[f"feature_{index}"].copy() for index in range(len(bundle.manifest.levels)))


def _encoded_copies(
    encoder: Engine, bundle: Bundle, image: Image, modes: Sequence[AugmentationMode], references: int, seed: int
) -> tuple[Features, dict[AugmentationMode, Features]]:
    """The picture's features, and for each mode those of its copies, reduced to what one reference may bring.

    A coreset of coresets is one of all (composable k-centre coresets): so time and memory stay within bounds, and what
    one reference brings is the same in every bank that leaves another one out.
    """
    small = shrunk(image, 2 * bundle.manifest.image_size)
    seen = {(0, False): encode(encoder, bundle, image)}
    for mode in modes:
        for turn in TURNS[mode]:
            if turn not in seen:
                seen[turn] = encode(encoder, bundle, turned(small, turn))
    copies: dict[AugmentationMode, Features] = {}
    for mode in modes:
        levels = []
        for index, level in enumerate(bundle.manifest.levels):
            rows = np.concatenate([seen[turn][index] for turn in TURNS[mode]])
            room = min(level.capacity, max(level.cells, _ROOM * level.capacity // references))
            levels.append(rows[coreset(rows, room, seed)])
        copies[mode] = tuple(levels)
    return seen[0, False], copies


def _score(detector: Engine, bundle: Bundle, image: Image) -> float:
    """Of a picture, with the bank and the fusion that are in the detector."""
    fit(image, bundle.manifest.image_size, detector.inputs["image"])
    detector.run()
    return float(detector.outputs["score"])


def _closer_with_one_more(
    bundle: Bundle,
    shown: Sequence[Features],
    seen: Sequence[Features],
    tops: Rows,
    level_norm: NDArray[np.float32],
    seed: int,
) -> float:
    """By what factor scores shrink from a bank of n - 1 references, as in leaving one out, to one of all n.

    Nearest distances fall with the bank's size as a power of it: the power is read off from leaving two out, so that
    (d(n - 1) / d(n - 2)) ** (log(n / (n - 1)) / log((n - 1) / (n - 2))) carries on to n.

    shown: what each part brings to a bank. seen: each part as it is.
    tops:  (n, L) top distances with one part left out.
    """
    count = len(shown)
    logs = []
    for part in range(count):
        others = [own for other, own in enumerate(shown) if other not in (part, (part + 1) % count)]
        fewer = reduced(bundle, others, seed)
        one_out = float(tops[part] @ level_norm[:, 1])
        two_out = float(far_from(bundle, fewer, seen[part])[:, 1] @ level_norm[:, 1])
        logs.append(math.log(max(one_out, 1e-6) / max(two_out, 1e-6)))
    power = math.log(count / (count - 1)) / math.log((count - 1) / (count - 2))
    return math.exp(min(float(np.mean(logs)), 0.0) * power)


def _farness(bundle: Bundle, folds: Sequence[Fold], seen: Sequence[Features]) -> Rows:
    """How far every part lies from the bank that it is left out of: mean and top distance at each level. (n, L, 2)."""
    far = np.empty((len(seen), len(bundle.manifest.levels), 2), np.float32)
    for fold in folds:
        for part in fold.group:
            far[part] = far_from(bundle, fold.bank, seen[part])
    return far


def _level_norm(bundle: Bundle, far: Rows) -> NDArray[np.float32]:
    """Per level: its share over the held-out parts' mean distance, its share over their mean top distance. (L, 2).

    Shares are the levels' weights, 1 on average: the graph's mean over levels becomes their weighted mean.
    far: (n, L, 2).
    """
    weights = np.array([level.weight for level in bundle.manifest.levels])
    shares = weights / weights.mean()
    return np.asarray(shares[:, None] / np.maximum(far.mean(0), 1e-6), np.float32)


def _variations(image: Image) -> list[Image]:
    """The one reference, moved by a hundredth of its size and relit by a twentieth: four stand-ins for other parts."""
    height, width = image.shape[:2]
    step = max(1, round(0.01 * max(height, width)))
    varied = []
    for dx, dy, gain in ((step, 0, 1.05), (-step, 0, 0.95), (0, step, 1.05), (0, -step, 0.95)):
        move = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
        moved = cv2.warpAffine(image, move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        varied.append(np.asarray(np.clip(moved * gain, 0, 255), np.uint8))
    return varied


def _student_t(probability: float, freedom: int) -> float:
    """Quantile of Student's t, by bisection of its distribution function (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, freedom) < 2 * probability - 1 else (low, middle)
    return (low + high) / 2


def _t_within(t: float, freedom: int) -> float:
    """Probability of |T| < t."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    series = math.sin(angle) * total
    return 2 / math.pi * (angle + series) if odd else series
