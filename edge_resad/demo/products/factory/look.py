"""A look: lamps, camera and the tone of its pictures, one for a variant, a little different for every shot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products import shapes
from edge_resad.demo.products.factory.palette import between, chance, pick
from edge_resad.demo.products.factory.piece import Piece
from edge_resad.demo.products.light import Light, shade
from edge_resad.demo.products.surface import Map, Surface


@dataclass(frozen=True, kw_only=True)
class Look:
    """How all parts of a variant are photographed."""

    lamp: float  # radians, where the key lamp stands
    lift: float  # sine of the lamp's distance from the vertical
    ambient: float  # share of light that comes from everywhere
    exposure: float
    tint: tuple[float, float, float]  # BGR gains of the white balance
    grey: bool  # a monochrome camera
    gamma: float
    vignette: float
    blur: float  # sigma of the optics, pixels of a picture 256 wide
    noise: float  # deviation of the sensor's noise, grey levels
    quality: int  # of the JPEG between camera and disk; 0 for none
    uneven: float  # how much the light differs over the picture from shot to shot
    slant: tuple[float, float] = (0.0, 0.0)  # brightness per picture width and height, in every shot
    threshold: float = 0.0  # level at which the picture is made black and white; 0 for never

    @staticmethod
    def drawn(rng: np.random.Generator) -> Look:
        """The camera of one variant."""
        return Look(
            lamp=between(rng, 0, 2 * np.pi),
            lift=between(rng, 0.25, 0.72),
            ambient=between(rng, 0.35, 0.62),
            exposure=between(rng, 0.9, 1.25),
            tint=(between(rng, 0.93, 1.06), 1.0, between(rng, 0.93, 1.06)),
            grey=chance(rng, 0.22),
            gamma=between(rng, 0.85, 1.2),
            vignette=between(rng, 0, 0.35),
            blur=between(rng, 0.25, 0.95) if chance(rng, 0.8) else between(rng, 0.9, 1.7),
            noise=between(rng, 0.6, 2.6),
            quality=pick(rng, (0, 0, 75, 88, 94)),
            uneven=between(rng, 0.01, 0.05),
            slant=(float(rng.normal(0, 0.16)), float(rng.normal(0, 0.16))),
        )


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One photograph: what of it does not depend on whether the part is good."""

    look: Look
    light: Light
    gain: float
    gradient: tuple[float, float]  # brightness per picture width and height
    grain: tuple[int, int]  # which window of the stored noise

    @staticmethod
    def drawn(look: Look, size: int, rng: np.random.Generator) -> Shot:
        """The next photograph with this look."""
        return Shot(
            look=look,
            light=Light(
                turn=look.lamp + float(rng.normal(0, 0.04)),
                lift=look.lift + float(rng.normal(0, 0.012)),
                ambient=look.ambient,
            ),
            gain=look.exposure * float(rng.uniform(0.96, 1.04)),
            gradient=(
                look.slant[0] + float(rng.normal(0, look.uneven)),
                look.slant[1] + float(rng.normal(0, look.uneven)),
            ),
            grain=(int(rng.integers(size + 1)), int(rng.integers(size + 1))),
        )

    def taken(self, piece: Piece, surface: Surface) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 BGR: what the lens shows of this surface in the piece's place, without the sensor's noise."""
        look, size = self.look, surface.size
        gain = self._exposure(size)
        lit = shade(surface, self.light)
        cover = surface.cover
        there = 1 - cover
        if there.any():
            around = there * (1 - np.float32(0.5) * _shadow(cover, self.light))
            lit = lit * cover + piece.ground * around
        flat = cv2.merge(list(lit * gain))
        sigma = look.blur * size / 256
        if sigma > 0.3:
            flat = cv2.GaussianBlur(flat, (0, 0), sigma)
        flat = flat * np.asarray(look.tint, np.float32)
        if look.grey:
            flat = np.repeat(flat.mean(axis=2, keepdims=True), 3, axis=2)
        if look.threshold:
            flat = 0.5 + 0.5 * np.tanh((flat - np.float32(look.threshold)) * np.float32(9))
        flat = np.clip(flat, 0, 1) ** np.float32(look.gamma)
        return np.asarray(np.rint(255 * flat), np.uint8)

    def developed(self, clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture (H, W, 3) as the sensor and the disk give it: with noise, and the marks of a JPEG where used."""
        x, y = self.grain
        size = clean.shape[0]
        grain = _noise(size)[y : y + size, x : x + size]
        if self.look.grey:
            grain = grain[..., :1]
        noisy = np.asarray(np.clip(clean + np.float32(self.look.noise) * grain, 0, 255), np.uint8)
        if self.look.quality:
            _, packed = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, self.look.quality])
            noisy = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
        return noisy

    def _exposure(self, size: int) -> Map:
        x, y = shapes.grid(size)
        tilt = np.float32(self.gain) + np.float32(self.gradient[0]) * x + np.float32(self.gradient[1]) * y
        return np.asarray(tilt * (1 - np.float32(self.look.vignette) * (x * x + y * y)), np.float32)


def _shadow(cover: Map, light: Light) -> Map:
    """(H, W) 0..1: soft, on the side away from the lamp."""
    size = cover.shape[0]
    half = cv2.resize(cover, (size // 2, size // 2), interpolation=cv2.INTER_AREA)
    reach = 0.012 * size
    away = np.array([[1, 0, -np.cos(light.turn) * reach], [0, 1, -np.sin(light.turn) * reach]], np.float32)
    moved = np.maximum(cv2.warpAffine(half, away, (size // 2, size // 2)), half)
    soft = cv2.blur(cv2.blur(moved, (5, 5)), (7, 7))
    return np.asarray(cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


@lru_cache(maxsize=2)
def _noise(size: int) -> Map:
    return np.random.default_rng(17).standard_normal((2 * size, 2 * size, 3), np.float32)
