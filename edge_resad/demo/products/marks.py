"""Marks on a part: where a defect lies, and lines and shapes that are drawn there."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products import shapes
from edge_resad.demo.products.family import Design
from edge_resad.demo.products.surface import Map

FINE = 4  # sub-pixels a side, for lines thinner than a pixel


def place(design: Design, rng: np.random.Generator) -> tuple[float, float]:
    """Any place on the face of the part, pixels."""
    x, y = design.face[int(rng.integers(len(design.face)))]
    return float(x), float(y)


def seen_from(size: int, x: float, y: float, turn: float) -> tuple[Map, Map]:
    """Pixels along and across a direction, counted from a point."""
    u, v = shapes.grid(size)
    u, v = (u + 0.5) * size - np.float32(x + 0.5), (v + 0.5) * size - np.float32(y + 0.5)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return u * cos + v * sin, v * cos - u * sin


def bared(design: Design, x: float, y: float) -> tuple[float, float, float]:
    """The colour that damage lays bare here: bright metal, or plastic gone pale."""
    surface = design.surface
    at = np.s_[int(np.clip(round(y), 0, surface.size - 1)), int(np.clip(round(x), 0, surface.size - 1))]
    if surface.metal[at] > 0.5:
        return (1.25, 1.25, 1.25)  # fresh metal mirrors more than the dull skin around it
    blue, green, red = (float(0.30 * v + 0.62) for v in surface.colour[:, at[0], at[1]])
    return (blue, green, red)


def line_through(size: int, points: NDArray[np.float64], width: float, *, taper: bool) -> Map:
    """(H, W) 0..1: a line through (N, 2) points, this many pixels wide, thinner to its ends."""
    canvas = np.zeros((size * FINE, size * FINE), np.uint8)
    at = np.round((points + 0.5) * FINE).astype(int)
    for k, (start, end) in enumerate(pairwise(at)):
        swell = 1 - abs(2 * (k + 0.5) / (len(at) - 1) - 1) ** 3 if taper else 1.0
        thick = max(1, round(width * FINE * (0.45 + 0.55 * swell)))
        cv2.line(canvas, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 255, thick, cv2.LINE_AA)
    return _coarse(canvas, size)


def wandered(
    start: tuple[float, float], heading: float, length: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(N, 2) points of a path that keeps its direction by and large."""
    steps = max(8, int(length / 4))
    turns = heading + np.clip(np.cumsum(rng.normal(0, 0.28, steps)), -0.9, 0.9) + rng.normal(0, 0.25, steps)
    hops = np.stack((np.cos(turns), np.sin(turns)), axis=1) * (length / steps)
    return np.asarray(np.vstack((np.zeros(2), np.cumsum(hops, axis=0))) + np.asarray(start), np.float64)


def jagged(size: int, x: float, y: float, radius: float, rng: np.random.Generator) -> Map:
    """(H, W) 0..1: a shape with corners around a point, about this many pixels in radius."""
    corners = 13
    turns = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = radius * rng.uniform(0.72, 1.12, corners)
    polygon = np.stack((x + reach * np.cos(turns), y + reach * np.sin(turns)), axis=1)
    canvas = np.zeros((size * FINE, size * FINE), np.uint8)
    cv2.fillPoly(canvas, [np.round((polygon + 0.5) * FINE).astype(np.int32)], 255)
    return _coarse(canvas, size)


def _coarse(canvas: NDArray[np.uint8], size: int) -> Map:
    """A fine drawing (0..255) as the shares of every pixel that it covers."""
    small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small.astype(np.float32) / np.float32(255), np.float32)
