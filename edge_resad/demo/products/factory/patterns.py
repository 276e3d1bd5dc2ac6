"""Patterns that textures are built of: noise, clouds, cells and threads, drawn from a generator of the caller."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products.surface import Map


def unit(texture: Map) -> Map:
    """The texture with mean 0 and deviation 1."""
    return np.asarray((texture - texture.mean()) / max(float(texture.std()), 1e-6), np.float32)


def noise(side: int, x: float, y: float, rng: np.random.Generator) -> Map:
    """(side, side) noise of unit deviation, as soft as these sigmas along x and y, pixels."""
    drawn = rng.standard_normal((side, side), np.float32)
    kernel = [2 * max(1, round(2.5 * sigma)) + 1 for sigma in (x, y)]
    soft = cv2.GaussianBlur(
        drawn, (kernel[0], kernel[1]), sigmaX=max(x, 1e-3), sigmaY=max(y, 1e-3), borderType=cv2.BORDER_REFLECT
    )
    return unit(np.asarray(soft, np.float32))


def soft_noise(side: int, sigma: float, rng: np.random.Generator) -> Map:
    """(side, side) noise of unit deviation with no direction, as soft as this sigma, pixels."""
    return noise(side, sigma, sigma, rng)


def clouds(side: int, cells: int, rng: np.random.Generator, octaves: int = 4) -> Map:
    """(side, side) slow noise of unit deviation: `cells` blobs a side, and finer ones upon them."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        count = min(cells << octave, side)
        fine = cv2.resize(rng.standard_normal((count, count), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        if count < side / 12:  # the bare interpolation shows its squares
            fine = cv2.blur(fine, (2 * (side // count // 3) + 1,) * 2)
        total += fine / (1 << octave)
    return unit(total)


def plane(side: int) -> tuple[Map, Map]:
    """(side, side) x and y of every pixel, pixels."""
    line = np.arange(side, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def turned_plane(side: int, turn: float) -> tuple[Map, Map]:
    """(side, side) x and y of every pixel along axes turned by this many radians, pixels."""
    x, y = plane(side)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return np.asarray(x * cos + y * sin, np.float32), np.asarray(y * cos - x * sin, np.float32)


def cells(side: int, width: float, rng: np.random.Generator, order: float = 0.0) -> tuple[NDArray[np.int32], Map]:
    """Cells about `width` pixels wide: (side, side) the cell of every pixel, and its distance to the cell's wall.

    order: 0 anywhere .. 1 in a lattice.
    """
    count = max(2, round(side / width))
    line = (np.arange(count) + 0.5) / count
    spread = (1 - order) * 0.9
    x = np.clip(line[None, :] + rng.uniform(-spread, spread, (count, count)) / count, 0, 0.9999)
    y = np.clip(line[:, None] + rng.uniform(-spread, spread, (count, count)) / count, 0, 0.9999)
    seeds = np.full((side, side), 255, np.uint8)
    seeds[(y * side).astype(int), (x * side).astype(int)] = 0
    _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    wall = np.zeros((side, side), bool)
    wall[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    wall[1:, :] |= labels[1:, :] != labels[:-1, :]
    away = cv2.distanceTransform((~wall).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(labels, np.int32), np.asarray(away, np.float32)


def by_cell(labels: NDArray[np.int32], values: NDArray[np.float32]) -> Map:
    """(H, W) or (3, H, W) the value of every pixel's cell; values (N,) or (3, N) are used in turn."""
    return np.asarray(values[..., labels % values.shape[-1]], np.float32)


def swayed(texture: Map, x: Map, y: Map) -> Map:
    """The texture (H, W) seen through a glass that displaces it by x and y (H, W), pixels."""
    at_x, at_y = plane(texture.shape[0])
    return np.asarray(
        cv2.remap(texture, at_x + x, at_y + y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32
    )


def step(value: Map, at: float, width: float) -> Map:
    """(H, W) 0 below `at`, 1 above, with a ramp this wide."""
    return np.asarray(np.clip((value - np.float32(at)) / np.float32(width) + 0.5, 0, 1), np.float32)
