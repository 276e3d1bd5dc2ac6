"""The demo's own products in other colours and other light, as further variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from edge_resad.demo.products.factory.bench import Freedom, table
from edge_resad.demo.products.factory.palette import any_colour, between, chance, pick
from edge_resad.demo.products.factory.piece import Making, Piece, pose, warped
from edge_resad.demo.products.family import Family
from edge_resad.demo.products.surface import Map, Surface


def recoloured(family: Family) -> Callable[[np.random.Generator, int], Making]:
    """How variants of a demo product are designed."""

    def design(rng: np.random.Generator, size: int) -> Making:
        drawn = family.design(size)
        order = rng.permutation(3)
        dye = np.asarray(any_colour(rng, 0.3, 0.9), np.float32)[:, None, None]
        share = np.float32(between(rng, 0, 0.5))
        power = np.float32(between(rng, 0.6, 1.5))
        ground = table(rng, size, any_colour(rng))
        freedom = Freedom(turn=pick(rng, (0.04, np.pi)), shift=0.02)
        shrunk = between(rng, 0.8, 1.1) if chance(rng, 0.6) else 1.0

        def dyed(surface: Surface) -> Surface:
            colour = np.clip(surface.colour[order], 0.01, 1) ** power
            return replace(
                surface, colour=np.asarray(colour + share * (dye * colour.mean(axis=0) * 1.6 - colour), np.float32)
            )

        full, bare = dyed(drawn.surface), dyed(drawn.bare)

        def make(rng: np.random.Generator) -> Piece:
            turn, zoom = float(rng.uniform(-1, 1)) * freedom.turn, shrunk * float(rng.uniform(0.985, 1.015))
            x, y = (float(v) for v in rng.uniform(-freedom.shift, freedom.shift, 2) * size)
            matrix = pose(size, turn, zoom, x, y)
            seed = int(rng.integers(1 << 30))

            def seen(surface: Surface) -> Surface:
                return warped(family.finish(surface, np.random.default_rng(seed)), matrix, size)

            features = tuple(_moved(area, matrix, size) for area in drawn.features)
            return Piece(surface=seen(full), bare=seen(bare), features=features, ground=ground(rng))

        return make

    return design


def _moved(area: Map, matrix: Map, size: int) -> Map:
    return np.asarray(cv2.warpAffine(area, matrix, (size, size), flags=cv2.INTER_LINEAR), np.float32)
