"""Where a part is defective: finding its masks by its name, reading them, and fitting them to another resolution."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.datasets.folder import folders_in, images_in
from edge_resad.datasets.inspection_class import Part
from edge_resad.errors import ImageError


def read_mask(*paths: Path) -> NDArray[np.bool_]:
    """(H, W), True where the part is defective: wherever any channel but transparency of any mask is not zero.

    Raises:
        ImageError: a file is no image, or two masks of one part differ in size.
    """
    mask, *others = (_read_one(path) for path in paths)
    for path, other in zip(paths[1:], others, strict=True):
        if other.shape != mask.shape:
            raise ImageError(
                f"the mask {path} has {other.shape[1]} x {other.shape[0]} pixels, {paths[0]} of the same part has "
                f"{mask.shape[1]} x {mask.shape[0]}. Expected masks of one size. Copy both again, or remove one."
            )
        mask |= other
    return mask


def fit_mask(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """The mask at another resolution, nearest pixel; a region too small to be hit still marks the pixels it lies in.

    mask: (H, W).
    returns: (size, size).
    """
    height, width = mask.shape
    found, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    regions = np.asarray(labels)
    rows = (2 * np.arange(size) + 1) * height // (2 * size)
    columns = (2 * np.arange(size) + 1) * width // (2 * size)
    small = regions[rows[:, None], columns]  # (size, size)
    fitted: NDArray[np.bool_] = small > 0
    lost = np.setdiff1d(np.arange(1, found), small)
    y, x = np.nonzero(np.isin(regions, lost))
    fitted[y * size // height, x * size // width] = True
    return fitted


def with_masks(parts: Sequence[Part], folder: Path) -> list[Part]:
    """The parts of one defect, each with what its folder of masks holds for it.

    Of part `7.jpg` that is `7_mask.png`, or `7.png`, or everything in a folder `7`, whatever the suffix; a part
    of which it holds nothing stays without mask.
    """
    if not folder.is_dir():
        return list(parts)
    files = {_spelling(file.stem): file for file in images_in(folder)}
    several = {_spelling(inside.name): inside for inside in folders_in(folder)}
    return [_with_mask(part, files, several) for part in parts]


def _with_mask(part: Part, files: dict[str, Path], several: dict[str, Path]) -> Part:
    stem = _spelling(part.path.stem)
    file = files.get(f"{stem}_mask") or files.get(stem)
    if file:
        return replace(part, mask=file)
    masks = images_in(several[stem]) if stem in several else []
    return replace(part, mask=masks[0], more_masks=tuple(masks[1:])) if masks else part


def _spelling(stem: str) -> str:
    return unicodedata.normalize("NFC", stem)  # some systems store ü as u and two dots


def _read_one(path: Path) -> NDArray[np.bool_]:
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
        pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    except (OSError, cv2.error):
        pixels = None
    if pixels is None:
        raise ImageError(f"{path} cannot be read as a mask. Expected an image that is zero where the part is good.")
    channels = np.asarray(pixels).reshape(*pixels.shape[:2], -1)[:, :, :3]
    return np.asarray(channels.any(axis=2))
