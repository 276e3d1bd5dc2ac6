"""Tiny image sets on disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def picture(path: Path, value: int = 100, size: int = 8) -> Path:
    """A gray square."""
    return write(path, np.full((size, size, 3), value, np.uint8))


def write(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, encoded = cv2.imencode(path.suffix.lower(), pixels)
    assert ok
    path.write_bytes(encoded.tobytes())
    return path


def spot(path: Path, size: int = 8, at: slice = slice(2, 4)) -> Path:
    """A mask with one square defect."""
    mask = np.zeros((size, size), np.uint8)
    mask[at, at] = 255
    return write(path, mask)


def inspection_class(folder: Path, *, train: int = 3, good: int = 2, defects: int = 2, masks: bool = True) -> Path:
    """A class whose only defect is called `scratch`."""
    for index in range(train):
        picture(folder / f"train/good/{index}.png")
    for index in range(good):
        picture(folder / f"test/good/{index}.png")
    for index in range(defects):
        picture(folder / f"test/scratch/{index}.png", value=200)
        if masks:
            spot(folder / f"ground_truth/scratch/{index}_mask.png")
    return folder
