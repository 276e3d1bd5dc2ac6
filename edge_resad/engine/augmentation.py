"""Augmentation: copies of a reference, turned or mirrored, for parts that lie at any angle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import Augmentation, AugmentationMode
from edge_resad.image import check_frame

Image = NDArray[np.uint8]
Wish = Literal["off", "on", "auto"]
Turn = tuple[int, bool]  # degrees counter-clockwise, then mirrored left to right or not

TURNS: dict[AugmentationMode, tuple[Turn, ...]] = {
    "none": ((0, False),),
    "flips": ((0, False), (180, False), (0, True), (180, True)),
    "rotations": tuple((angle, False) for angle in range(0, 360, 45)),
}
"""The copies of a reference that go into a bank, itself the first."""

_MODES: dict[Wish, tuple[AugmentationMode, ...]] = {
    "off": ("none",),
    "on": ("rotations",),
    "auto": ("none", "flips", "rotations"),
}
_CANDIDATES: tuple[AugmentationMode, ...] = ("rotations", "flips")
_WORDS = {"flips": "mirrored copies", "rotations": "turned copies"}
_MARGIN = 0.01  # measured on the factory's products: docs/notes/augmentation.md


def modes_of(wish: Wish, references: int) -> tuple[AugmentationMode, ...]:
    """What comes into question; a single reference has no other by which to choose."""
    return ("none",) if wish == "auto" and references < 2 else _MODES[wish]


def shrunk(image: Image, side: int) -> Image:
    """The picture with its shorter side at most so long, its shape kept: a large frame is turned in no time."""
    height, width = image.shape[:2]
    scale = side / min(height, width)
    if scale >= 1:
        return image
    size = (round(width * scale), round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def turned(image: Image, turn: Turn) -> Image:
    """The picture about its centre, in its own frame, the corners filled with its reflection.

    image: (H, W, 3) uint8, as is the copy; the picture itself where nothing is to be done.
    """
    check_frame(image)
    angle, mirrored = turn
    if angle:
        height, width = image.shape[:2]
        about = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        image = np.asarray(cv2.warpAffine(image, about, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8)
    return np.ascontiguousarray(image[:, ::-1]) if mirrored else image


def decide(wish: Wish, tops: Mapping[AugmentationMode, NDArray[np.float32]], weights: Sequence[float]) -> Augmentation:
    """Which copies go into the bank: the first of rotations and flips that brings left-out references closer.

    All banks have one capacity: copies that show no pose of a real part take room from those that do, and what was left
    out lies farther off. Distances are compared part by part and level by level, on the logarithm.

    tops:    for each mode in question (n, L), what every reference's largest distances to the others' bank are.
    weights: (L,) of the levels.
    """
    if wish != "auto":
        return Augmentation(mode="rotations" if wish == "on" else "none", reason=f"as asked for: {wish}")
    if len(tops) == 1:
        return Augmentation(mode="none", reason="one reference cannot tell whether parts lie at any angle")
    ratios = {mode: _ratio(tops[mode], tops["none"], weights) for mode in _CANDIDATES}
    said = ", ".join(f"{ratios[mode]:.2f} times as far where their {_WORDS[mode]} count too" for mode in _CANDIDATES)
    reason = f"left out one by one, a reference lies from the others {said}"
    chosen: AugmentationMode = next((mode for mode in _CANDIDATES if ratios[mode] < 1 - _MARGIN), "none")
    return Augmentation(mode=chosen, reason=reason)


def _ratio(tops: NDArray[np.float32], plain: NDArray[np.float32], weights: Sequence[float]) -> float:
    logs = np.log(np.maximum(tops, 1e-6) / np.maximum(plain, 1e-6)).mean(0)
    return math.exp(float(np.average(logs, weights=weights)))
