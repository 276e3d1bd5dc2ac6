"""A turned aluminium flange: hub, bore, six countersunk holes, a laser mark."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from edge_resad.demo.products import textures
from edge_resad.demo.products.camera import Belt
from edge_resad.demo.products.family import Design, Family, designed
from edge_resad.demo.products.shapes import angle, box, disc, filled, lettering, slope
from edge_resad.demo.products.surface import Map, Surface, plate, softened

ALUMINIUM = (0.90, 0.89, 0.87)
LASER = (0.17, 0.17, 0.18)


@lru_cache(maxsize=4)
def design(size: int) -> Design:
    """The flange at this size."""
    bare = _body(size)
    surface, features = bare, []
    for k in range(6):
        x, y = 0.325 * np.cos(k * np.pi / 3), 0.325 * np.sin(k * np.pi / 3)
        surface = _drilled(surface, x, y, radius=0.036, countersink=0.013)
        features.append(filled(disc(size, x, y, 0.058)))
    for k in range(3):
        x, y = 0.193 * np.cos(k * np.pi * 2 / 3 - 0.5), 0.193 * np.sin(k * np.pi * 2 / 3 - 0.5)
        surface = _drilled(surface, x, y, radius=0.0145, countersink=0.006)
        features.append(filled(disc(size, x, y, 0.028)))
    mark = lettering(size, "EF-62 A2", 0.0, 0.322, 0.17, 0.032, bold=True)
    code = _code(size, 0.0, -0.325, 0.070)
    burnt = np.float32(0.85) * np.maximum(mark, code)
    surface = surface.laid(LASER, 0.25, 0.0, burnt).raised(-np.float32(0.35) * burnt)
    features.append(filled(box(size, 0.0, 0.322, 0.20, 0.06)))
    features.append(filled(box(size, 0.0, -0.325, 0.085, 0.085)))
    return designed(surface, bare, features)


def finish(surface: Surface, rng: np.random.Generator) -> Surface:
    """Marks of the lathe, and a slow unevenness of the metal."""
    marks = textures.spun(textures.turned(surface.size, int(rng.integers(3))), rng)
    cloud = textures.cropped(textures.clouds(surface.size * 2, 7), surface.size, rng)
    tone = 1 + np.float32(0.030) * marks + np.float32(0.018) * cloud
    return replace(surface, colour=surface.colour * tone, height=surface.height + np.float32(0.045) * marks)


def _body(size: int) -> Surface:
    rim = disc(size, 0, 0, 0.437)
    way_round = ((angle(size) + np.pi / 2) % np.pi) / np.pi * 256
    body = plate(filled(rim), ALUMINIUM, 1.0, 0.25, way_round.astype(np.uint8))
    height = slope(rim, 0.016) * 0.013
    height += slope(disc(size, 0, 0, 0.243), 0.014) * 0.016  # hub
    height -= _ring(size, 0.400, 0.006) * 0.006  # seal groove
    height -= slope(disc(size, 0, 0, 0.152), 0.020) * 0.016  # chamfer of the bore
    bore = filled(disc(size, 0, 0, 0.131))
    bright = np.maximum(_band(rim, 0.008, 0.008), _band(disc(size, 0, 0, 0.1415), 0, 0.0105))
    relief = softened(np.asarray(height * size, np.float32), size / 480)  # a tool has no sharp corners
    return body.raised(relief).with_polish(0.75, bright).cut(bore)


def _band(distance: Map, inset: float, half_width: float) -> Map:
    """(H, W) 1 along an outline, this far inside of it."""
    return filled(np.abs(distance + np.float32(inset)) - np.float32(half_width))


def _ring(size: int, radius: float, half_width: float) -> Map:
    return slope(np.abs(disc(size, 0, 0, radius)) - np.float32(half_width), half_width)


def _drilled(surface: Surface, x: float, y: float, radius: float, countersink: float) -> Surface:
    size = surface.size
    chamfer = slope(disc(size, x, y, radius + countersink), countersink * 1.3) * np.float32(countersink * 0.9 * size)
    bright = filled(disc(size, x, y, radius + countersink))
    return surface.raised(-chamfer).with_polish(0.7, bright).cut(filled(disc(size, x, y, radius)))


def _code(size: int, x: float, y: float, side: float, cells: int = 10) -> Map:
    """(H, W) a data matrix: two full sides, two dotted ones, and bits."""
    bits = np.random.default_rng(62).integers(0, 2, (cells, cells)).astype(np.float32)
    bits[:, 0] = bits[-1, :] = 1
    bits[0, :] = np.arange(cells) % 2 == 0
    bits[:, -1] = np.arange(cells) % 2 == 1
    ink = np.zeros((size, size), np.float32)
    pitch = side / cells
    for row, column in zip(*np.nonzero(bits), strict=True):
        middle_x, middle_y = x + (column + 0.5) * pitch - side / 2, y + (row + 0.5) * pitch - side / 2
        np.maximum(ink, filled(box(size, middle_x, middle_y, pitch, pitch)), out=ink)
    return ink


FLANGE = Family(
    name="flange",
    title="Machined flange",
    belt=Belt(colour=(0.17, 0.155, 0.13), weave=1.0, shadow=0.65),
    design=design,
    finish=finish,
)
