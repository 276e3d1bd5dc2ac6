"""A moulded closure of blue plastic: ribbed skirt, domed top, raised emblem."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from edge_resad.demo.products import textures
from edge_resad.demo.products.camera import Belt
from edge_resad.demo.products.family import Design, Family, designed
from edge_resad.demo.products.shapes import angle, box, disc, filled, grid, lettering, slope, stroke
from edge_resad.demo.products.surface import Map, Surface, plate, softened

BLUE = (0.62, 0.30, 0.05)
RIBS = 72


@lru_cache(maxsize=4)
def design(size: int) -> Design:
    """The closure at this size."""
    bare = _body(size)
    surface, features = bare, []
    drop = _drop(size)
    surface = surface.raised(softened(slope(drop, 0.020), 0.6) * np.float32(0.016 * size))
    features.append(filled(drop - 0.018))
    for turn in (0.0, np.pi):
        arrow = _arrow(size, turn)
        surface = surface.raised(slope(arrow, 0.009) * np.float32(0.009 * size))
        features.append(filled(arrow - 0.012))
    word = lettering(size, "28 PCO", 0.0, 0.145, 0.15, 0.030, bold=True)
    surface = surface.raised(softened(word, 0.6) * np.float32(0.006 * size))
    features.append(filled(box(size, 0.0, 0.145, 0.18, 0.05)))
    return designed(surface, bare, features)


def finish(surface: Surface, rng: np.random.Generator) -> Surface:
    """The grain of the mould, and the flow of the melt from the middle."""
    grain = textures.cropped(textures.grain(surface.size * 2, 0.9, 3), surface.size, rng)
    flow = textures.cropped(textures.clouds(surface.size * 2, 5, 4), surface.size, rng)
    tone = 1 + np.float32(0.012) * grain + np.float32(0.012) * flow
    return replace(surface, colour=surface.colour * tone, height=surface.height + np.float32(0.07) * grain)


def _body(size: int) -> Surface:
    around = angle(size)
    ribs = np.cos(RIBS * around).astype(np.float32)
    rim = disc(size, 0, 0, 0.425) - np.float32(0.007) * ribs
    radius = disc(size, 0, 0, 0.0)
    skirt = np.clip((radius - 0.352) / 0.03, 0, 1)
    body = plate(filled(rim), BLUE, 0.0, 0.62)
    height = slope(disc(size, 0, 0, 0.432), 0.085) * 0.050  # the shoulder
    height += slope(disc(size, 0, 0, 0.352), 0.018) * 0.012  # the top plate
    height -= 0.10 * np.minimum(radius, 0.35) ** 2  # a dome
    height += skirt * ribs * 0.0045
    height -= _ring(size, 0.288, 0.007) * 0.008
    height -= slope(disc(size, 0.0, -0.205, 0.012), 0.006) * 0.004  # where the melt came in
    return body.raised((height * size).astype(np.float32))


def _ring(size: int, radius: float, half_width: float) -> Map:
    return slope(np.abs(disc(size, 0, 0, radius)) - np.float32(half_width), half_width)


def _drop(size: int) -> Map:
    """A drop of water: a disc and a cone to a point above it."""
    x, y = grid(size)
    body = disc(size, 0, 0.015, 0.078)
    up = -(y - 0.015)
    cone = np.maximum(np.abs(x) * 0.86 + up * 0.51 - 0.078, 0.040 - up)  # tangent to the disc
    return np.asarray(np.minimum(body, cone), np.float32)


def _arrow(size: int, turn: float) -> Map:
    """A bent arrow around the middle that says which way to turn."""
    line = [(0.238 * np.cos(turn + t), 0.238 * np.sin(turn + t)) for t in np.linspace(-0.75, 0.62, 14)]
    tip = turn + 0.80
    head = [(0.238 * np.cos(tip), 0.238 * np.sin(tip))]
    barbs = [(r * np.cos(turn + 0.60), r * np.sin(turn + 0.60)) for r in (0.208, 0.268)]
    ends = [stroke(size, [barb, *head], 0.020) for barb in barbs]
    return np.minimum(np.minimum(stroke(size, line, 0.022), ends[0]), ends[1])


CAP = Family(
    name="cap",
    title="Moulded closure",
    belt=Belt(colour=(0.60, 0.62, 0.62), weave=0.15, shadow=0.55),
    design=design,
    finish=finish,
)
