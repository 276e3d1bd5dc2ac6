"""Material by the roll: the camera sees another piece of the same endless texture each time."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from edge_resad.demo.products.factory.piece import Making, Piece, pose, warped
from edge_resad.demo.products.surface import Map, Surface

ROOM = 3.4  # sides of the roll per side of the picture


def side_of(size: int) -> int:
    """Pixels a side that a roll needs for pictures of this size."""
    return round(ROOM * size)


def rolled(surface: Surface, size: int, *, turn: float = 0.03, swing: float = 0.0, uneven: Map | None = None) -> Making:
    """Pieces of this roll: cut anywhere, turned by up to `turn` radians about `swing`.

    uneven: (side, side) a slow change of tone that is laid over the texture elsewhere each time.
    """
    side = surface.size

    def make(rng: np.random.Generator) -> Piece:
        reach = side / 2 - 0.73 * size
        zoom = float(rng.uniform(0.985, 1.02))
        x, y = (float(v) for v in rng.uniform(-reach, reach, 2) / 1.05)
        matrix = pose(size, swing + float(rng.uniform(-turn, turn)), zoom, x, y, side)
        seen = warped(surface, matrix, size, edge=cv2.BORDER_REFLECT)
        if uneven is not None:
            at_x, at_y = rng.integers(0, side - size + 1, 2)
            seen = replace(seen, colour=seen.colour * (1 + uneven[at_y : at_y + size, at_x : at_x + size]))
        ground = np.full((3, size, size), np.float32(0.03))
        return Piece(surface=seen, bare=seen, features=(), ground=ground)

    return make


def pictured(colour: Map, height: Map, metal: float = 0.0, polish: float | Map = 0.0) -> Surface:
    """A surface that covers everything, of a colour (3, H, W) and a height (H, W)."""
    shine = np.full_like(height, polish) if isinstance(polish, float) else polish
    return Surface(
        colour=np.asarray(np.clip(colour, 0.004, 1.2), np.float32),
        height=np.asarray(height, np.float32),
        metal=np.full_like(height, metal),
        polish=shine,
        cover=np.ones_like(height),
    )


def coloured(colour: tuple[float, float, float], shades: Map) -> Map:
    """(3, H, W) this colour, lighter and darker by the factor `shades` (H, W)."""
    return np.asarray(np.asarray(colour, np.float32)[:, None, None] * shades, np.float32)


def blended(one: tuple[float, float, float], other: tuple[float, float, float], share: Map) -> Map:
    """(3, H, W) from one colour, where `share` (H, W) is 0, to the other, where it is 1."""
    first, second = (np.asarray(colour, np.float32)[:, None, None] for colour in (one, other))
    return np.asarray(first + share * (second - first), np.float32)
