"""What is odd about reference images: told at enrolment, when it is still easy to take another picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

_SAME_GREY = 0.75  # mean difference of 64 x 64 thumbnails, grey levels: sensor noise averages out below this
_LEAST_SHARPNESS = 4.0  # variance of the Laplacian of the 256 x 256 picture
_LEAST_SHARE = 0.25  # of the references' median sharpness
_MOST_WHITE, _MOST_BLACK = 0.05, 0.25  # shares of the pixels


def warnings_about(images: Sequence[NDArray[np.uint8]]) -> list[str]:
    """Sizes that differ, near-duplicates, blur and clipping, one sentence each, references counted from 1."""
    grays = [_gray(image) for image in images]
    return [*_sizes(images), *_duplicates(grays), *_blurred(grays), *_clipped(grays)]


def nonsense(size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What no good part looks like: a flat grey picture and one of noise, each (height, width, 3)."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    return np.full((*size, 3), 128, np.uint8), noise


def cannot_tell(passed: Sequence[bool]) -> list[str]:
    """Said where a bank lets all nonsense pass: passed says it of each picture."""
    if not all(passed):
        return []
    return [
        "these references differ so much that even a plain grey picture and one of noise pass at this threshold: show "
        "more parts that are alike, enrol each kind of part by itself, or set the threshold by hand."
    ]


def _gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(gray, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)


def _sizes(images: Sequence[NDArray[np.uint8]]) -> list[str]:
    sizes = sorted({f"{image.shape[1]} x {image.shape[0]}" for image in images})
    if len(sizes) == 1:
        return []
    return [
        f"references differ in size ({', '.join(sizes)}): all are stretched to the same square. Use one camera setting."
    ]


def _duplicates(grays: Sequence[NDArray[np.uint8]]) -> list[str]:
    small = [cv2.resize(gray, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32) for gray in grays]
    return [
        f"references {first + 1} and {second + 1} are almost the same picture: the bank learns nothing from the "
        "second. Show different parts."
        for first, second in combinations(range(len(small)), 2)
        if float(np.abs(small[first] - small[second]).mean()) < _SAME_GREY
    ]


def _blurred(grays: Sequence[NDArray[np.uint8]]) -> list[str]:
    sharpness = [float(cv2.Laplacian(gray, cv2.CV_64F).var()) for gray in grays]
    median = float(np.median(sharpness))
    return [
        f"reference {index + 1} is blurred or empty (sharpness {sharp:.0f}, the median is {median:.0f}). "
        "Check focus and motion."
        for index, sharp in enumerate(sharpness)
        if sharp < _LEAST_SHARPNESS or sharp < _LEAST_SHARE * median
    ]


def _clipped(grays: Sequence[NDArray[np.uint8]]) -> list[str]:
    shares = [(float((gray >= 254).mean()), float((gray <= 1).mean())) for gray in grays]
    return [
        f"reference {index + 1} is clipped ({white:.0%} white, {black:.0%} black): defects are invisible there. "
        "Change exposure or light."
        for index, (white, black) in enumerate(shares)
        if white > _MOST_WHITE or black > _MOST_BLACK
    ]
