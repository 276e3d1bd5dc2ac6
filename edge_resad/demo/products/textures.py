"""Textures that are made once and cropped at random for every part: noise, brushed metal, belts."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products.surface import Map


@lru_cache(maxsize=32)
def grain(side: int, sigma: float, seed: int = 0) -> Map:
    """(side, side) fine noise of unit deviation with no direction; wraps around."""
    noise = np.random.default_rng(seed).standard_normal((side, side), np.float32)
    return _unit(_blurred(noise, sigma, sigma))


@lru_cache(maxsize=32)
def brushed(side: int, length: float, width: float = 0.6, seed: int = 0) -> Map:
    """(side, side) strokes along x of unit deviation: fine and long; wraps around."""
    noise = np.random.default_rng(seed).standard_normal((side, side), np.float32)
    fine = _unit(_blurred(noise, length, width))
    broad = _unit(_blurred(noise[::-1], length * 4, width * 4))
    return _unit(fine + np.float32(0.5) * broad)


@lru_cache(maxsize=32)
def clouds(side: int, cells: int, seed: int = 0) -> Map:
    """(side, side) slow noise of unit deviation: `cells` blobs a side, and finer ones upon them."""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side), np.float32)
    for octave in range(4):
        coarse = rng.standard_normal((cells << octave, cells << octave), np.float32)
        total += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) / (1 << octave)
    return _unit(total)


@lru_cache(maxsize=32)
def turned(size: int, seed: int = 0) -> Map:
    """(size, size) marks of a lathe around the centre, unit deviation."""
    rng = np.random.default_rng(seed)
    radii = rng.standard_normal((1, size * 2), np.float32)  # one value a groove
    wander = _unit(_blurred(rng.standard_normal((720, size * 2), np.float32), 0.7, 24))
    polar = _unit(_blurred(radii, 0.7, 0.01)) + np.float32(0.8) * wander  # (angle, radius)
    centre = ((size - 1) / 2, (size - 1) / 2)
    flat = cv2.warpPolar(polar, (size, size), centre, size * 0.75, cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR)
    return _unit(np.asarray(flat, np.float32))


def cropped(texture: Map, size: int, rng: np.random.Generator) -> Map:
    """A window of this size anywhere in the texture."""
    x, y = rng.integers(0, texture.shape[0] - size + 1, 2)
    return texture[y : y + size, x : x + size]


def spun(texture: Map, rng: np.random.Generator) -> Map:
    """The texture turned about its centre by any angle, for things that are round."""
    size = texture.shape[0]
    centre = ((size - 1) / 2, (size - 1) / 2)
    turn = cv2.getRotationMatrix2D(centre, float(rng.uniform(0, 360)), float(rng.uniform(1.0, 1.12)))
    return np.asarray(
        cv2.warpAffine(texture, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32
    )


@lru_cache(maxsize=16)
def belt(side: int, colour: tuple[float, float, float], weave: float) -> NDArray[np.float32]:
    """(3, side, side) a conveyor belt of this colour (BGR, 0..1): a woven or, at weave 0, a smooth one."""
    x = np.arange(side, dtype=np.float32)
    period = np.float32(5.0)
    phase = 2 * np.pi * x / period
    threads = np.sin(phase)[None, :] * np.sin(phase)[:, None] + 0.5 * np.sin(phase / 2)[None, :]
    light = 1 + weave * 0.09 * threads + 0.035 * grain(side, 0.6, 5) + 0.03 * clouds(side, 6, 7)
    light += 0.015 * brushed(side, 40.0, 1.0, 9).T  # it has run for a while
    return np.asarray(light * np.asarray(colour, np.float32)[:, None, None], np.float32)


def _blurred(noise: Map, x: float, y: float) -> Map:
    most = int(3 * max(x, y)) + 2
    across, along = (min(most, int(4 * sigma) + 3) for sigma in (x, y))  # 4 sigma: as far as the blur reaches
    wide = cv2.copyMakeBorder(noise, along, along, across, across, cv2.BORDER_WRAP)
    blurred = cv2.GaussianBlur(wide, (0, 0), sigmaX=max(x, 1e-3), sigmaY=max(y, 1e-3))
    return np.asarray(blurred[along:-along, across:-across], np.float32)


def _unit(texture: Map) -> Map:
    return np.asarray((texture - texture.mean()) / max(float(texture.std()), 1e-6), np.float32)
