"""Pictures from results: the anomaly map as heat over the photograph, every defect's outline, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.decision import Verdict

Polygon = Sequence[tuple[int, int]]
"""An outline, (x, y) in pixels of the image."""

CLEAR = 0.70  # share of the threshold up to which nothing is laid over the photograph
FULL = 1.25  # times the threshold: as dense as it gets from there on
DENSE = 0.54  # opacity of the strongest heat: the defect must shine through
CALM = 0.30  # opacity of the most that a passed part shows
COOL = (190, 150, 60)  # BGR; what a passed part shows is no heat
COLDEST, HOTTEST = 0.38, 0.92  # piece of the colour map in use: its ends look like shadow and like glare
MOST = 6.0  # times the threshold: hotter than this is not told apart
LINE = (255, 245, 90)  # BGR; cyan, which the heat never is
SUBPIXEL_BITS = 3

STRIP = 0.06  # of the picture's shorter side: height of the strip with the verdict
LEAST_STRIP, MOST_STRIP = 18, 64  # pixels
PASS_COLOUR, FAIL_COLOUR, INK = (84, 110, 34), (40, 40, 190), (255, 255, 255)  # BGR
FONT, LETTER = cv2.FONT_HERSHEY_SIMPLEX, 22  # pixels that a capital of this font has at scale 1

BEST_QUALITY, WORST_QUALITY = 88, 35  # of a JPEG
SMALLEST_SIDE = 32  # pixels


def heat_overlay(
    image: NDArray[np.uint8],
    score_map: NDArray[np.float32],
    *,
    threshold: float,
    polygons: Sequence[Polygon],
    passed: bool = False,
) -> NDArray[np.uint8]:
    """The image with heat where the map comes near the threshold, and these outlines.

    image:     (H, W, 3) uint8, BGR; it is not changed.
    score_map: (h, w) float32, any size that covers the whole image.
    passed:    lay a cool shade where the map comes near the threshold, no heat: nothing is wrong with this part.
    Returns (H, W, 3) uint8, BGR. A part whose map stays below 70 % of the threshold looks as it was photographed.
    """
    _check(image, score_map, threshold)
    return _outlined(_heated(image, score_map, threshold, passed), polygons)


def with_verdict(image: NDArray[np.uint8], verdict: Verdict) -> NDArray[np.uint8]:
    """The image (H, W, 3), BGR, on top of a strip that says the verdict: places in the image stay where they were."""
    height, width = image.shape[:2]
    failed = verdict.status == "fail"
    says = f"{verdict.status.upper()}  {verdict.score:.3f} / {verdict.threshold:.3f}"
    says += f"  {verdict.severity}" if failed else ""
    tall = round(min(max(STRIP * min(height, width), LEAST_STRIP), MOST_STRIP))
    strip = np.full((tall, width, 3), FAIL_COLOUR if failed else PASS_COLOUR, np.uint8)
    scale, margin = 0.48 * tall / LETTER, tall // 3
    wide = cv2.getTextSize(says, FONT, scale, 1)[0][0]
    scale *= min(1.0, max(width - 2 * margin, 1) / wide)  # a narrow picture has small letters
    base = round((tall + LETTER * scale) / 2)
    cv2.putText(strip, says, (margin, base), FONT, scale, INK, max(1, round(1.6 * scale)), cv2.LINE_AA)
    return np.vstack([image, strip])


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
        picture = small_overlay(image, score_map, threshold=threshold, polygons=polygons, side=side)
        for quality in range(BEST_QUALITY, WORST_QUALITY - 1, -8):
            jpeg = encoded(picture, quality)
            if len(jpeg) <= max_bytes:
                return jpeg
        side = side * 3 // 4
    raise ValueError(f"no picture of {SMALLEST_SIDE} pixels or more fits into max_bytes={max_bytes}")


def small_overlay(
    image: NDArray[np.uint8],
    score_map: NDArray[np.float32],
    *,
    threshold: float,
    polygons: Sequence[Polygon],
    side: int,
) -> NDArray[np.uint8]:
    """The overlay of the image reduced to at most `side` pixels: it costs what the small picture costs."""
    small, scale = _reduced(image, side)
    moved = [[(round(x * scale), round(y * scale)) for x, y in polygon] for polygon in polygons]
    return heat_overlay(small, score_map, threshold=threshold, polygons=moved)


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


def _heated(
    image: NDArray[np.uint8], score_map: NDArray[np.float32], threshold: float, passed: bool
) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    ratio = np.nan_to_num(score_map.astype(np.float32) / np.float32(threshold), nan=0.0, posinf=MOST, neginf=0.0)
    if ratio.max() <= CLEAR:
        return np.array(image)
    top = min(max(2.0, float(ratio.max())), MOST)  # a worse defect still shows where it is worst
    full = cv2.resize(np.clip(ratio, 0, top), (width, height), interpolation=cv2.INTER_LINEAR)
    strength = np.clip((full - CLEAR) / (FULL - CLEAR), 0, 1)
    opacity = (CALM if passed else DENSE) * strength * strength * (3 - 2 * strength)  # no edge where it begins
    if passed:
        return _blended(image, np.full_like(image, COOL), np.asarray(opacity, np.float32))
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
