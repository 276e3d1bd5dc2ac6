"""How the papers bring an image to the network: shorter side resized by Pillow's bicubic filter, the middle kept.

Pillow is not needed: what its resize computes on 8 bit, weights in fixed point and rounding after each direction
included, is computed here, value for value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FIXED_POINT_BITS = 22
_BICUBIC_A = -0.5
_BICUBIC_REACH = 2.0


def paper_crop(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize the shorter side, bicubic with antialiasing, and cut out the middle.

    image: (H, W, 3) uint8, channels in any order. returns: (size, size, 3) uint8.
    """
    height, width = _shape_for(image.shape[0], image.shape[1], size)
    across = _resample(image, width, axis=1)
    return np.ascontiguousarray(_middle(_resample(across, height, axis=0), size))


def paper_crop_mask(mask: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The same geometry for a mask (H, W), nearest pixel: (size, size) uint8."""
    height, width = _shape_for(mask.shape[0], mask.shape[1], size)
    rows, columns = _nearest(mask.shape[0], height), _nearest(mask.shape[1], width)
    return np.ascontiguousarray(_middle(mask[rows[:, None], columns], size))


def _shape_for(height: int, width: int, size: int) -> tuple[int, int]:
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def _middle(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    top, left = (round((side - size) / 2) for side in image.shape[:2])
    return image[top : top + size, left : left + size]


def _nearest(before: int, after: int) -> NDArray[np.intp]:
    centers = (np.arange(after) + 0.5) * (before / after)
    return np.asarray(np.floor(centers), np.intp)


def _resample(image: NDArray[np.uint8], after: int, axis: int) -> NDArray[np.uint8]:
    """Resize one axis (0 or 1) of (H, W, C) to `after` pixels."""
    before = image.shape[axis]
    if before == after:
        return image
    weights = _weights(before, after)
    moved = np.moveaxis(image.astype(np.int64), axis, 0)
    sums = np.tensordot(weights, moved, axes=(1, 0)) + (1 << (_FIXED_POINT_BITS - 1))
    return np.moveaxis(np.clip(sums >> _FIXED_POINT_BITS, 0, 255).astype(np.uint8), 0, axis)


def _weights(before: int, after: int) -> NDArray[np.int64]:
    """The matrix (after, before) of weights, fixed point."""
    scale = before / after
    stretch = max(scale, 1.0)  # widens the filter where the image shrinks
    reach = _BICUBIC_REACH * stretch
    matrix = np.zeros((after, before), np.int64)
    for pixel in range(after):
        center = (pixel + 0.5) * scale
        first, last = max(int(center - reach + 0.5), 0), min(int(center + reach + 0.5), before)
        weights = _bicubic((np.arange(first, last) - center + 0.5) / stretch)
        fixed = weights / weights.sum() * (1 << _FIXED_POINT_BITS)
        matrix[pixel, first:last] = np.trunc(fixed + np.copysign(0.5, fixed)).astype(np.int64)
    return matrix


def _bicubic(x: NDArray[np.floating]) -> NDArray[np.float64]:
    x, a = np.abs(x), _BICUBIC_A
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < _BICUBIC_REACH, far, 0.0))
