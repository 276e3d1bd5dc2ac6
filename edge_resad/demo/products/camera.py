"""The line camera: a part lies on a belt, a little turned and shifted, and becomes pixels with noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products import shapes, textures
from edge_resad.demo.products.surface import Map


@dataclass(frozen=True, kw_only=True)
class Belt:
    """What the parts lie on."""

    colour: tuple[float, float, float]  # BGR, 0..1
    weave: float = 1.0  # 0 smooth .. 1 woven
    shadow: float = 0.6  # how dark a part's shadow is


@dataclass(frozen=True, kw_only=True)
class Scene:
    """How one photograph differs from the next."""

    turn: float  # radians, clockwise as the camera sees it
    shift: tuple[float, float]  # pixels
    zoom: float
    gain: float  # exposure
    gradient: tuple[float, float]  # brightness per picture width and height
    noise: float  # deviation of the sensor's noise, grey levels

    @staticmethod
    def drawn(rng: np.random.Generator, size: int) -> Scene:
        """A photograph as a well kept line takes it: a few pixels, a few degrees, a few percent of light."""
        return Scene(
            turn=float(np.deg2rad(np.clip(rng.normal(0, 1.3), -3, 3))),
            shift=(float(rng.uniform(-1, 1)) * 0.012 * size, float(rng.uniform(-1, 1)) * 0.012 * size),
            zoom=float(rng.uniform(0.993, 1.007)),
            gain=float(rng.uniform(0.955, 1.045)),
            gradient=(float(rng.normal(0, 0.025)), float(rng.normal(0, 0.025))),
            noise=float(rng.uniform(1.3, 2.0)),
        )

    def matrix(self, size: int, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:
        """(2, 3) from the part's own frame to the picture, moved by another dx, dy pixels."""
        cos, sin = self.zoom * np.cos(self.turn), self.zoom * np.sin(self.turn)
        middle = (size - 1) / 2
        x, y = self.shift[0] + dx + middle, self.shift[1] + dy + middle
        return np.array(
            [[cos, -sin, x - cos * middle + sin * middle], [sin, cos, y - sin * middle - cos * middle]], np.float32
        )


def photograph(lit: Map, cover: Map, belt: Belt, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR: the shaded part (3, H, W) in its outline (H, W), on the belt, through this camera."""
    size = cover.shape[0]
    matrix = scene.matrix(size)
    there = _seen(cover, matrix)
    ground = textures.belt(size * 2, belt.colour, belt.weave)
    x, y = rng.integers(0, size + 1, 2)
    noise = _sensor(size, rng)
    exposure = 255 * _exposure(size, scene)
    around = (1 - np.float32(belt.shadow) * _shadow(there, size)) * (1 - there) * exposure
    planes = []
    for channel in range(3):
        plane = _seen(lit[channel] * cover, matrix) * exposure
        plane += ground[channel, y : y + size, x : x + size] * around
        plane += np.float32(scene.noise) * noise[channel]
        planes.append(np.clip(plane, 0, 255, out=plane).astype(np.uint8))
    return np.asarray(cv2.merge(planes), np.uint8)


def _seen(flat: Map, matrix: NDArray[np.float32]) -> Map:
    return np.asarray(cv2.warpAffine(flat, matrix, flat.shape[::-1], flags=cv2.INTER_LINEAR), np.float32)


def _shadow(there: Map, size: int) -> Map:
    """(H, W) 0..1: the part's shadow on the belt, soft, away from the key lamp, and its contact all around."""
    half = cv2.resize(there, (size // 2, size // 2), interpolation=cv2.INTER_AREA)
    reach = 0.008 * size
    away = np.array([[1, 0, reach], [0, 1, reach * 1.3]], np.float32)
    moved = cv2.warpAffine(half, away, (size // 2, size // 2))
    soft = cv2.blur(cv2.blur(np.maximum(moved, half), (7, 7)), (7, 7))
    return np.asarray(cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def _exposure(size: int, scene: Scene) -> Map:
    x, y = shapes.grid(size)
    tilt = np.float32(scene.gain) + np.float32(scene.gradient[0]) * x + np.float32(scene.gradient[1]) * y
    return np.asarray(tilt * _vignette(size), np.float32)


@lru_cache(maxsize=8)
def _vignette(size: int) -> Map:
    x, y = shapes.grid(size)
    return np.asarray(1.02 - 0.20 * (x * x + y * y), np.float32)


def _sensor(size: int, rng: np.random.Generator) -> Map:
    """(3, H, W) noise of unit deviation: a window of a stored field, for drawing it anew would cost most of a frame."""
    field = _noise(size)
    y, x = rng.integers(0, size + 1, 2)
    return field[:, y : y + size, x : x + size]


@lru_cache(maxsize=4)
def _noise(size: int) -> Map:
    return np.random.default_rng(11).standard_normal((3, 2 * size, 2 * size), np.float32)
