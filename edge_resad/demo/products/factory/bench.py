"""A bench where parts are put together, and the table on which they lie before the camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edge_resad.demo.products.factory.palette import Colour, away_from, between, chance, grey, pick
from edge_resad.demo.products.factory.patterns import clouds, noise, plane, soft_noise
from edge_resad.demo.products.factory.piece import Making, Piece, pose, warped
from edge_resad.demo.products.shapes import filled, slope
from edge_resad.demo.products.surface import Map, Surface, plate

Ground = Callable[[np.random.Generator], Map]
"""(3, H, W) what the next part lies on."""


ALIKE = 7  # how many are drawn of a product of which no two are alike


class Bench:
    """A part that is being made: with its features, without them, and where each of them sits."""

    def __init__(self, bare: Surface) -> None:
        self.bare = bare
        self.full = bare
        self.features: list[Map] = []

    @property
    def size(self) -> int:
        """Side of the maps, pixels."""
        return self.full.size

    def lay(
        self,
        shape: Map,
        colour: Colour,
        *,
        metal: float = 0.0,
        polish: float = 0.3,
        lift: float = 0.0,
        bevel: float = 0.01,
    ) -> None:
        """Lay something on the part in the outline `shape` (a distance), `lift` picture sides high."""
        self.full = self.full.laid(colour, metal, polish, filled(shape))
        if lift:
            self.full = self.full.raised(slope(shape, bevel) * np.float32(lift * self.size))

    def bore(self, shape: Map, *, through: bool = True, depth: float = 0.01, bevel: float = 0.006) -> None:
        """Make a hole in the outline `shape`, or a hollow."""
        self.full = self.full.raised(
            -slope(np.asarray(shape - bevel, np.float32), 2 * bevel) * np.float32(depth * self.size)
        )
        if through:
            self.full = self.full.cut(filled(shape))

    def ink(self, amount: Map, colour: Colour, density: float = 0.92) -> None:
        """Print on the part."""
        self.full = self.full.laid(colour, 0.0, 0.1, np.asarray(np.float32(density) * amount, np.float32))

    def feature(self, shape: Map, margin: float = 0.012) -> None:
        """What was made last in this outline counts as a feature, which can be missing."""
        self.features.append(filled(np.asarray(shape - np.float32(margin), np.float32)))

    def both(self, change: Callable[[Surface], Surface]) -> None:
        """Change the part with and without its features."""
        self.bare, self.full = change(self.bare), change(self.full)


@dataclass(frozen=True, kw_only=True)
class Freedom:
    """How a part may lie."""

    turn: float = 0.04  # radians either way; pi for any angle
    shift: float = 0.02  # picture sides either way
    zoom: float = 0.015


def posed(bench: Bench, ground: Ground, freedom: Freedom, rng: np.random.Generator) -> Making:
    """Parts of this design on this ground, with the grain of their making; the grain's kind is the variant's."""
    size = bench.size
    full, bare, features = bench.full, bench.bare, tuple(bench.features)
    grain = soft_noise(2 * size, between(rng, 0.6, 1.4), rng)
    cloud = clouds(2 * size, int(rng.integers(4, 12)), rng)
    fine, slow = between(rng, 0.006, 0.03), between(rng, 0.004, 0.025)
    rough = between(rng, 0.02, 0.12)
    edge = cv2.BORDER_REFLECT if full.cover.min() > 0.99 else cv2.BORDER_CONSTANT  # it goes on beyond the picture

    def make(rng: np.random.Generator) -> Piece:
        turn = float(rng.uniform(-freedom.turn, freedom.turn))
        zoom = 1 + float(rng.uniform(-freedom.zoom, freedom.zoom))
        dx, dy = (float(v) for v in rng.uniform(-freedom.shift, freedom.shift, 2) * size)
        matrix = pose(size, turn, zoom, dx, dy)
        (x, y), (u, v) = rng.integers(0, size + 1, 2), rng.integers(0, size + 1, 2)
        own = grain[y : y + size, x : x + size]
        tone = 1 + np.float32(fine) * own + np.float32(slow) * cloud[v : v + size, u : u + size]
        relief = np.float32(rough) * own

        def finished(surface: Surface) -> Surface:
            seen = warped(surface, matrix, size, edge=edge)
            return replace(seen, colour=seen.colour * tone, height=seen.height + relief)

        seen = finished(full)
        return Piece(
            surface=seen,
            bare=seen if bare is full else finished(bare),
            features=tuple(
                np.asarray(cv2.warpAffine(area, matrix, (size, size), flags=cv2.INTER_LINEAR), np.float32)
                for area in features
            ),
            ground=ground(rng),
        )

    return make


def any_of(makes: Sequence[Making]) -> Making:
    """Each part as one of these makes it: for goods of which no two are alike."""
    return lambda rng: makes[int(rng.integers(len(makes)))](rng)


def table(rng: np.random.Generator, size: int, part: Colour) -> Ground:
    """A ground on which a part of this colour can be seen: plain, cloudy, grainy, woven or ribbed."""
    colour = pick(rng, (away_from(rng, part, 0.25), _neutral(rng, part)))
    side = 2 * size
    texture = between(rng, 0.0, 0.03) * clouds(side, 6, rng) + between(rng, 0.0, 0.05) * noise(side, 0.8, 0.8, rng)
    if chance(rng, 0.25):
        x, y = plane(side)
        pitch = between(rng, 4, 14) * size / 256
        texture = texture + between(rng, 0.03, 0.10) * (
            np.sin(2 * np.pi * x / pitch) + pick(rng, (0.0, 1.0)) * np.sin(2 * np.pi * y / pitch)
        )
    canvas = np.asarray(np.asarray(colour, np.float32)[:, None, None] * (1 + texture), np.float32)

    def ground(rng: np.random.Generator) -> Map:
        x, y = rng.integers(0, side - size + 1, 2)
        return canvas[:, y : y + size, x : x + size]

    return ground


def _neutral(rng: np.random.Generator, part: Colour) -> Colour:
    level = sum(part) / 3
    return grey(between(rng, 0.75, 0.97) if level < 0.45 else between(rng, 0.02, 0.15))


def blank(
    shape: Map, colour: Colour, *, metal: float = 0.0, polish: float = 0.3, thick: float = 0.02, bevel: float = 0.01
) -> Surface:
    """A plain part in the outline `shape` (a distance), `thick` picture sides high."""
    return plate(filled(shape), colour, metal, polish).raised(slope(shape, bevel) * np.float32(thick * shape.shape[0]))
