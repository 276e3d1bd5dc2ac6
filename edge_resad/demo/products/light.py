"""Light: what makes a picture of a surface. A key lamp, an overhead dome and two light bars that metal mirrors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from edge_resad.demo.products import shapes
from edge_resad.demo.products.surface import Map, Surface

STUDIO = 129  # pixels a side of the picture of the lamps


@dataclass(frozen=True, kw_only=True)
class Light:
    """Where the lamps stand around one part."""

    turn: float  # radians by which the lamps are turned against the part
    lift: float  # sine of the key lamp's distance from the vertical; 0 is straight above
    ambient: float = 0.42  # share of light that comes from everywhere

    @staticmethod
    def drawn(rng: np.random.Generator, pose_turn: float) -> Light:
        """Lamps as they hang, give or take a little; `pose_turn` is how far the part is turned under them, radians."""
        return Light(turn=float(-2.2 + rng.normal(0, 0.04)) - pose_turn, lift=float(0.55 + rng.normal(0, 0.015)))


def shade(surface: Surface, light: Light) -> Map:
    """The surface as these lamps show it: (3, H, W) float32, BGR, about 0..1, still sharp and upright."""
    gx = cv2.Sobel(surface.height, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    gy = cv2.Sobel(surface.height, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    nz = 1 / np.sqrt(gx * gx + gy * gy + 1)
    cos, sin = np.float32(-np.cos(light.turn)), np.float32(-np.sin(light.turn))
    toward = (gx * cos + gy * sin) * nz  # how far the surface leans to the key lamp
    across = (gy * cos - gx * sin) * nz
    key = np.maximum(toward * np.float32(light.lift) + nz * np.float32(np.sqrt(1 - light.lift**2)), 0)
    open_sky = _openness(surface.height, light)
    diffuse = (np.float32(light.ambient) + np.float32(1.05 - light.ambient) * key) * open_sky
    reflection = _reflection(surface, light, toward * (2 * nz), across * (2 * nz)) * np.sqrt(open_sky)
    plastic = 1 - surface.metal
    lit = surface.colour * (diffuse * plastic + reflection * surface.metal)
    lit += np.float32(0.30) * plastic * surface.polish * reflection
    return np.asarray(lit, np.float32)


def _reflection(surface: Surface, light: Light, rx: Map, ry: Map) -> Map:
    """(H, W) what the surface mirrors of the studio: blurred where it is matt, streaked where it is machined."""
    x, y = shapes.grid(surface.size)
    cos, sin = np.float32(np.cos(light.turn)), np.float32(np.sin(light.turn))
    half = np.float32((STUDIO - 1) / 2)
    # The lamps are near: each place on a flat part mirrors another piece of them.
    mx = half + half * (rx + np.float32(0.34) * (x * cos + y * sin))
    my = half + half * (ry + np.float32(0.34) * (y * cos - x * sin))
    sharp = cv2.remap(_studio(1), mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    soft = cv2.remap(_studio(9), mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen = soft + surface.polish * (sharp - soft)
    if surface.groove is not None:
        steps = np.arange(256) / 256 * np.pi
        lean = np.abs(np.sin(steps - light.turn))  # grooves that lie across the lamp catch it
        sheen = (0.42 * lean**10 + 0.22 * lean**2 - 0.12).astype(np.float32)
        seen = seen + (1 - surface.polish) * sheen[surface.groove] * _flatness(rx, ry)
    return np.asarray(seen, np.float32)


def _flatness(rx: Map, ry: Map) -> Map:
    """(H, W) 1 where the surface lies flat, falling to 0 where it is steep."""
    return np.asarray(np.maximum(1 - np.float32(2) * (rx * rx + ry * ry), 0), np.float32)


def _openness(height: Map, light: Light) -> Map:
    """(H, W) 0..1: darker in corners and behind what stands up towards the lamp."""
    size = height.shape[0]
    near = cv2.blur(height, (9, 9)) - height
    far = cv2.blur(height, (25, 25)) - height
    scale = np.float32(320 / size)
    dark = np.maximum(near, 0) * (np.float32(0.10) * scale) + np.maximum(far, 0) * (np.float32(0.05) * scale)
    reach = 0.012 * size
    shift = np.array([[1, 0, -np.cos(light.turn) * reach], [0, 1, -np.sin(light.turn) * reach]], np.float32)
    towards = cv2.warpAffine(height, shift, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shadow = np.clip((towards - height) * (scale * np.float32(0.16)), 0, np.float32(0.45))
    return np.asarray((1 - shadow) / (1 + dark), np.float32)


@lru_cache(maxsize=4)
def _studio(blur: int) -> Map:
    """(STUDIO, STUDIO) brightness that comes from every direction above, the key lamp to the right."""
    line = np.linspace(-1, 1, STUDIO, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    out = np.hypot(x, y)
    lamps = 0.76 - 0.36 * out + 0.12 * x
    lamps += 1.25 * np.exp(-((np.maximum(np.abs(x - 0.62) - 0.10, 0) / 0.08) ** 2)) * (np.abs(y) < 0.62)
    lamps += 0.75 * np.exp(-((np.maximum(np.abs(x + 0.72) - 0.05, 0) / 0.07) ** 2)) * (np.abs(y) < 0.5)
    lamps += 0.35 * np.exp(-(((y + 0.75) / 0.12) ** 2))
    lamps = np.where(out > 0.95, 0.12, lamps).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(lamps, (0, 0), blur), np.float32)
