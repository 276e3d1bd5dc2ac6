"""Outlines of defects: blobs, strips and clusters with irregular edges, as amounts 0..1 over the picture."""

from __future__ import annotations

import cv2
import numpy as np

from edge_resad.demo.products.factory.patterns import clouds
from edge_resad.demo.products.marks import seen_from
from edge_resad.demo.products.surface import Map


def blob(
    size: int, x: float, y: float, radius: float, rng: np.random.Generator, *, ripple: float = 0.3, soft: float = 0.15
) -> Map:
    """(H, W) an irregular patch around a point. ripple: how irregular; soft: how wide its edge, in radii."""
    u, v = seen_from(size, x, y, rng.uniform(0, np.pi))
    flat = rng.uniform(0.55, 1.0)
    cells = int(np.clip(size / max(radius, 1) * 0.9, 3, 40))
    edge = np.hypot(u / radius, v / (radius * flat)) + np.float32(ripple) * clouds(size, cells, rng, 3)
    return np.asarray(np.clip((1 - edge) / max(soft, 1.2 / radius) + 0.5, 0, 1), np.float32)


def oriented(size: int, x: float, y: float, turn: float, length: float, width: float, soft: float = 1.2) -> Map:
    """(H, W) a straight strip through a point, with edges `soft` pixels wide."""
    u, v = seen_from(size, x, y, turn)
    away = np.maximum(np.abs(u) - length / 2, np.abs(v) - width / 2)
    return np.asarray(np.clip(0.5 - away / soft, 0, 1), np.float32)


def specks(size: int, x: float, y: float, reach: float, radius: float, count: int, rng: np.random.Generator) -> Map:
    """(H, W) small spots scattered around a point."""
    fine = 4
    canvas = np.zeros((size * fine, size * fine), np.uint8)
    for at_x, at_y in rng.normal((x, y), reach, (count, 2)):
        middle = (int((at_x + 0.5) * fine), int((at_y + 0.5) * fine))
        axes = [max(2, round(fine * radius * v)) for v in rng.uniform(0.5, 1.5, 2)]
        cv2.ellipse(canvas, middle, (axes[0], axes[1]), rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small.astype(np.float32) / np.float32(255), np.float32)
