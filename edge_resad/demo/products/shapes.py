"""Shapes as signed distances: negative inside, in parts of the picture's side, so that every size looks alike."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products.surface import Map


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[Map, Map]:
    """(H, W) float32 x and y of every pixel's centre, -0.5 .. 0.5, y downwards."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    x, y = np.meshgrid(line, line)
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def disc(size: int, x: float, y: float, radius: float) -> Map:
    """Distance to a circle."""
    u, v = grid(size)
    du, dv = u - np.float32(x), v - np.float32(y)
    return np.asarray(np.sqrt(du * du + dv * dv) - np.float32(radius), np.float32)


def box(size: int, x: float, y: float, width: float, height: float, corner: float = 0.0) -> Map:
    """Distance to a rectangle with round corners, centred at x, y."""
    u, v = grid(size)
    a = np.abs(u - np.float32(x)) - np.float32(width / 2 - corner)
    b = np.abs(v - np.float32(y)) - np.float32(height / 2 - corner)
    outside = np.sqrt(np.maximum(a, 0) ** 2 + np.maximum(b, 0) ** 2)
    return np.asarray(outside + np.minimum(np.maximum(a, b), 0) - np.float32(corner), np.float32)


def stroke(size: int, points: list[tuple[float, float]], width: float) -> Map:
    """Distance to a line through these points, this wide, with round ends."""
    u, v = grid(size)
    nearest = np.full((size, size), np.float32(81))  # squared, until the last line
    for (x0, y0), (x1, y1) in pairwise(points):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((u - x0) * dx + (v - y0) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        away_x, away_y = u - x0 - along * dx, v - y0 - along * dy
        np.minimum(nearest, away_x * away_x + away_y * away_y, out=nearest)
    return np.asarray(np.sqrt(nearest) - width / 2, np.float32)


def angle(size: int) -> Map:
    """(H, W) angle of every pixel around the centre, radians, 0 to the right, clockwise."""
    u, v = grid(size)
    return np.arctan2(v, u)


def filled(distance: Map) -> Map:
    """(H, W) 1 inside, 0 outside, anti-aliased over one pixel."""
    return np.asarray(np.clip(0.5 - distance * distance.shape[0], 0, 1), np.float32)


def slope(distance: Map, width: float) -> Map:
    """A chamfer: 0 at the outline, 1 from `width` inwards on, rounded at both ends."""
    t = np.clip(-distance / np.float32(width), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def lettering(size: int, text: str, x: float, y: float, width: float, height: float, *, bold: bool = False) -> Map:
    """(H, W) ink of a line of text that just fits into a box centred at x, y.

    The text is drawn large, cut to its ink and fitted, so that a font's own metrics do not matter.
    """
    canvas = np.zeros((160, 120 + 90 * len(text)), np.uint8)
    cv2.putText(canvas, text, (30, 110), cv2.FONT_HERSHEY_DUPLEX, 2.6, 255, 9 if bold else 4, cv2.LINE_AA)
    left, top, ink_width, ink_height = cv2.boundingRect(canvas)
    ink = canvas[top : top + ink_height, left : left + ink_width]
    scale = size * min(width / ink_width, height / ink_height)
    at_x, at_y = (x + 0.5) * size - scale * ink_width / 2, (y + 0.5) * size - scale * ink_height / 2
    fitted = np.array([[scale, 0, at_x], [0, scale, at_y]], np.float32)
    room = cv2.copyMakeBorder(ink, 8, 8, 8, 8, cv2.BORDER_CONSTANT)
    fitted[:, 2] -= 8 * scale
    # Against aliasing: the ink loses what the picture cannot show.
    fine = cv2.GaussianBlur(room, (0, 0), 0.35 / scale) if scale < 1 else room
    drawn = cv2.warpAffine(fine, fitted, (size, size), flags=cv2.INTER_LINEAR)
    return np.asarray(drawn.astype(np.float32) / np.float32(255), np.float32)


def outline(cover: Map) -> NDArray[np.float32]:
    """(N, 4) points along the part's outer edge, pixels, and there the direction outwards: x, y, dx, dy."""
    contours, _ = cv2.findContours((cover > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = max(contours, key=len)[:, 0, :].astype(np.float32)
    smooth = cv2.GaussianBlur(cover, (0, 0), 3)
    inwards = np.stack((cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)), axis=-1)
    at = inwards[points[:, 1].astype(int), points[:, 0].astype(int)]
    length = np.maximum(np.linalg.norm(at, axis=1, keepdims=True), 1e-6)
    return np.asarray(np.hstack((points, -at / length)), np.float32)
