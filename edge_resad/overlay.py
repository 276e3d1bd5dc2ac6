"""Pictures from results: the anomaly map as heat over the photograph, and every defect's outline."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Polygon = Sequence[tuple[int, int]]
"""An outline, (x, y) in pixels of the image."""

CLEAR = 0.55  # share of the threshold up to which nothing is laid over the photograph
DENSE = 0.54  # opacity of the strongest heat: the defect must shine through
COLDEST, HOTTEST = 0.38, 0.92  # piece of the colour map in use: its ends look like shadow and like glare
MOST = 6.0  # times the threshold: hotter than this is not told apart
LINE = (255, 245, 90)  # BGR; cyan, which the heat never is
SUBPIXEL_BITS = 3

BEST_QUALITY, WORST_QUALITY = 88, 35  # of a JPEG
SMALLEST_SIDE = 32  # pixels


def heat_overlay(
    image: NDArray[np.uint8], score_map: NDArray[np.float32], *, threshold: float, polygons: Sequence[Polygon]
) -> NDArray[np.uint8]:
    """The image with heat where the map comes near the threshold, and these outlines.

    image:     (H, W, 3) uint8, BGR; it is not changed.
    score_map: (h, w) float32, any size that covers the whole image.
    Returns (H, W, 3) uint8, BGR. A part whose map stays below half of the threshold looks as it was photographed.
    """
    _check(image, score_map, threshold)
    return _outlined(_heated(image, score_map, threshold), polygons)


def thumbnail(
    image: NDArray[np.uint8],
    score_map: NDArray[np.float32],
    *,
    threshold: float,
    polygons: Sequence[Polygon],
    max_bytes: int = 65536,
    side: int = 256,
) -> bytes:
    """The overlay as a JPEG of at most `max_bytes`, its longer side at most `side` pixels.

    It gives up quality first and size second.
    """
    _check(image, score_map, threshold)
    while side >= SMALLEST_SIDE:
        small, scale = _reduced(image, side)
        moved = [[(round(x * scale), round(y * scale)) for x, y in polygon] for polygon in polygons]
        picture = heat_overlay(small, score_map, threshold=threshold, polygons=moved)
        for quality in range(BEST_QUALITY, WORST_QUALITY - 1, -8):
            jpeg = encoded(picture, quality)
            if len(jpeg) <= max_bytes:
                return jpeg
        side = side * 3 // 4
    raise ValueError(f"no picture of {SMALLEST_SIDE} pixels or more fits into max_bytes={max_bytes}")


def encoded(image: NDArray[np.uint8], quality: int = 85) -> bytes:
    """The image (H, W, 3) BGR as a JPEG of this quality, 1..100."""
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(jpeg.tobytes())


def _check(image: NDArray[np.uint8], score_map: NDArray[np.float32], threshold: float) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"an overlay needs an image (H, W, 3) of uint8, got {image.shape} of {image.dtype}")
    if score_map.ndim != 2 or not score_map.size:
        raise ValueError(f"an overlay needs an anomaly map (h, w), got {score_map.shape}")
    if not (np.isfinite(threshold) and threshold > 0):
        raise ValueError(f"an overlay needs a threshold above 0, got {threshold}")


def _heated(image: NDArray[np.uint8], score_map: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    ratio = np.nan_to_num(score_map.astype(np.float32) / np.float32(threshold), nan=0.0, posinf=MOST, neginf=0.0)
    if ratio.max() <= CLEAR:
        return np.array(image)
    top = min(max(2.0, float(ratio.max())), MOST)  # a worse defect still shows where it is worst
    full = cv2.resize(np.clip(ratio, 0, top), (width, height), interpolation=cv2.INTER_LINEAR)
    strength = np.clip((full - CLEAR) / (1.25 - CLEAR), 0, 1)
    opacity = DENSE * strength * strength * (3 - 2 * strength)  # no edge where it begins
    warmth = COLDEST + (HOTTEST - COLDEST) * np.clip((full - CLEAR) / (top - CLEAR), 0, 1)
    heat = cv2.applyColorMap((255 * warmth).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return _blended(image, heat, np.asarray(opacity, np.float32))


def _outlined(image: NDArray[np.uint8], polygons: Sequence[Polygon]) -> NDArray[np.uint8]:
    """Every outline as a bright line on a dark halo, seen on black, on white and on heat."""
    if not any(len(polygon) for polygon in polygons):
        return image
    width = max(1, round(min(image.shape[:2]) / 220))  # pixels
    halo = _blended(image, np.zeros_like(image), 0.75 * _lines(image.shape[:2], polygons, width + 2 + width // 2))
    return _blended(halo, np.full_like(image, LINE), _lines(image.shape[:2], polygons, width))


def _lines(shape: tuple[int, ...], polygons: Sequence[Polygon], width: int) -> NDArray[np.float32]:
    """(H, W) 0..1: the outlines, anti-aliased, this many pixels wide."""
    canvas = np.zeros(shape[:2], np.uint8)
    for polygon in polygons:
        points = np.asarray(polygon, np.int32).reshape(-1, 1, 2)
        if len(points) == 1:
            x, y = (int(value) for value in points[0, 0])
            cv2.circle(canvas, (x, y), 2 + width, 255, width, cv2.LINE_AA)
        elif len(points):
            cv2.polylines(canvas, [points << SUBPIXEL_BITS], True, 255, width, cv2.LINE_AA, SUBPIXEL_BITS)
    return np.asarray(canvas.astype(np.float32) / np.float32(255), np.float32)


def _blended(below: NDArray[np.uint8], above: NDArray[np.uint8], opacity: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`above` over `below`, both (H, W, 3), as dense as `opacity` (H, W) 0..1."""
    dense = opacity[..., None]
    return np.asarray(below + dense * (above.astype(np.float32) - below) + 0.5, np.uint8)


def _reduced(image: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    """The image with its longer side at most this many pixels, and by how much it was scaled."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    if scale == 1.0:
        return image, scale
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, target, interpolation=cv2.INTER_AREA), np.uint8), scale
