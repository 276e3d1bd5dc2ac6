"""A rating plate: brushed steel, printed lines, a bar code, two rivet holes."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from edge_resad.demo.products import textures
from edge_resad.demo.products.camera import Belt
from edge_resad.demo.products.family import Design, Family, designed
from edge_resad.demo.products.shapes import box, disc, filled, grid, lettering, slope, stroke
from edge_resad.demo.products.surface import Map, Surface, plate

STEEL = (0.86, 0.86, 0.85)
INK = (0.07, 0.06, 0.06)
TEAL = (0.42, 0.36, 0.02)
AMBER = (0.05, 0.62, 0.95)

WIDTH, HEIGHT = 0.90, 0.62


@lru_cache(maxsize=4)
def design(size: int) -> Design:
    """The rating plate at this size."""
    bare = _body(size)
    surface, features = bare, []

    def printed(ink: Map, colour: tuple[float, float, float], area: Map | None) -> None:
        nonlocal surface
        surface = surface.laid(colour, 0.0, 0.30, ink).raised(0.25 * ink)
        if area is not None:
            features.append(area)

    banner = box(size, 0, -0.205, 0.80, 0.105, 0.012)
    title = lettering(size, "HYDRA DRIVE", -0.11, -0.205, 0.46, 0.052, bold=True)
    printed(0.97 * filled(banner) * (1 - title), TEAL, None)
    printed(_bolt(size, 0.315, -0.205), AMBER, filled(disc(size, 0.315, -0.205, 0.042)))
    rows = [("TYPE", "HD-4 / 62"), ("VOLT", "24 V DC"), ("POWER", "180 W"), ("SERIAL", "A2617-0412")]
    for k, (name, value) in enumerate(rows):
        y = -0.105 + 0.064 * k
        printed(0.9 * lettering(size, name, -0.335 if len(name) < 6 else -0.325, y, 0.10, 0.022), INK, None)
        ink = lettering(size, value, -0.125, y, 0.21, 0.032, bold=True)
        printed(0.97 * ink, INK, filled(box(size, -0.125, y, 0.23, 0.046)))
        printed(0.75 * filled(box(size, -0.20, y + 0.031, 0.38, 0.0035)), INK, None)
    printed(_bars(size, -0.20, 0.205, 0.38, 0.082), INK, filled(box(size, -0.20, 0.205, 0.40, 0.10)))
    printed(_warning(size, 0.125, 0.205), AMBER, filled(box(size, 0.125, 0.205, 0.105, 0.105)))
    mark = lettering(size, "!", 0.125, 0.217, 0.02, 0.045, bold=True)
    printed(mark, INK, None)
    printed(_squares(size, 0.27, -0.005, 0.20), INK, filled(box(size, 0.27, -0.005, 0.215, 0.215)))
    printed(
        0.9 * lettering(size, "IP 67", 0.285, 0.175, 0.11, 0.034, bold=True),
        INK,
        filled(box(size, 0.285, 0.175, 0.13, 0.05)),
    )
    printed(
        0.9 * lettering(size, "MADE TO LAST", 0.285, 0.235, 0.17, 0.021),
        INK,
        filled(box(size, 0.285, 0.235, 0.19, 0.035)),
    )
    return designed(surface, bare, features)


def finish(surface: Surface, rng: np.random.Generator) -> Surface:
    """Strokes of the brush along the steel; less of them under ink."""
    marks = textures.cropped(textures.brushed(surface.size * 2, 22.0), surface.size, rng) * surface.metal
    cloud = textures.cropped(textures.clouds(surface.size * 2, 5), surface.size, rng)
    tone = 1 + np.float32(0.040) * marks + np.float32(0.012) * cloud
    return replace(surface, colour=surface.colour * tone, height=surface.height + np.float32(0.045) * marks)


def _body(size: int) -> Surface:
    edge = box(size, 0, 0, WIDTH, HEIGHT, 0.035)
    along = np.zeros((size, size), np.uint8)  # all grooves along x
    body = plate(filled(edge), STEEL, 1.0, 0.2, along).raised(slope(edge, 0.012) * np.float32(0.010 * size))
    frame = np.abs(box(size, 0, 0, WIDTH - 0.05, HEIGHT - 0.05, 0.022)) - np.float32(0.003)
    body = body.raised(-slope(frame, 0.003) * np.float32(0.004 * size))
    for x in (-0.418, 0.418):
        sunk = slope(disc(size, x, 0, 0.020), 0.010) * np.float32(0.008 * size)
        body = body.raised(-sunk).cut(filled(disc(size, x, 0, 0.0125)))
    return body


def _bars(size: int, x: float, y: float, width: float, height: float) -> Map:
    widths = np.random.default_rng(128).integers(1, 4, 51)
    edges = np.concatenate(([0], np.cumsum(widths))) / widths.sum() * width + x - width / 2
    ink = np.zeros((size, size), np.float32)
    for left, right in zip(edges[:-1:2], edges[1::2], strict=True):
        np.maximum(ink, filled(box(size, (left + right) / 2, y, right - left, height)), out=ink)
    return np.asarray(0.97 * ink, np.float32)


def _squares(size: int, x: float, y: float, side: float, cells: int = 21) -> Map:
    """(H, W) a square code with three finders."""
    bits = np.random.default_rng(21).integers(0, 2, (cells, cells)).astype(np.float32)
    for row, column in ((0, 0), (0, cells - 7), (cells - 7, 0)):
        finder = np.zeros((9, 9), np.float32)
        finder[1:8, 1:8] = 1
        finder[2:7, 2:7] = 0
        finder[3:6, 3:6] = 1
        top, left = row - 1, column - 1
        for r in range(9):
            for c in range(9):
                if 0 <= top + r < cells and 0 <= left + c < cells:
                    bits[top + r, left + c] = finder[r, c]
    u, v = grid(size)
    # Four samples a side of every pixel: the cells are only a few pixels wide.
    ink = np.zeros((size, size), np.float32)
    for dx in (-0.375, -0.125, 0.125, 0.375):
        for dy in (-0.375, -0.125, 0.125, 0.375):
            column = np.floor((u + dx / size - x + side / 2) / side * cells).astype(int)
            row = np.floor((v + dy / size - y + side / 2) / side * cells).astype(int)
            inside = (row >= 0) & (row < cells) & (column >= 0) & (column < cells)
            ink += np.where(inside, bits[row.clip(0, cells - 1), column.clip(0, cells - 1)], 0) / 16
    return np.asarray(0.97 * ink, np.float32)


def _bolt(size: int, x: float, y: float) -> Map:
    """A flash of lightning."""
    line = [(x + 0.012, y - 0.034), (x - 0.012, y + 0.002), (x + 0.012, y + 0.000), (x - 0.012, y + 0.034)]
    return filled(stroke(size, line, 0.013))


def _warning(size: int, x: float, y: float) -> Map:
    """A triangle that stands on its side."""
    u, v = grid(size)
    reach = 0.024
    sides = np.maximum(np.abs(u - x) * 0.866 - (v - y) * 0.5, v - y) - np.float32(reach)
    return filled(sides.astype(np.float32))


NAMEPLATE = Family(
    name="nameplate",
    title="Rating plate",
    belt=Belt(colour=(0.20, 0.20, 0.21), weave=0.7, shadow=0.6),
    design=design,
    finish=finish,
)
