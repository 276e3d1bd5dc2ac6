"""Several things side by side: each drawn once and laid down many times, turned, and a little unlike the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edge_resad.demo.products.factory.bench import Ground
from edge_resad.demo.products.factory.piece import Making, Piece, empty
from edge_resad.demo.products.surface import Map, Surface


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Where one thing lies."""

    x: float  # picture sides from the middle
    y: float
    turn: float  # radians
    zoom: float = 1.0


Layout = Callable[[np.random.Generator], Sequence[Spot]]


def scattered(
    things: Sequence[Surface],
    layout: Layout,
    ground: Ground,
    size: int,
    *,
    tray: Surface | None = None,
    tone: float = 0.04,
) -> Making:
    """Parts that consist of these things, each laid down where the layout says.

    tray: what they lie in, in the picture's frame. tone: how much one differs from the other in brightness.
    """

    def make(rng: np.random.Generator) -> Piece:
        spots = layout(rng)
        below = tray if tray is not None else empty(size)
        scene = _writable(below)
        features = []
        for spot in spots:
            thing = things[int(rng.integers(len(things)))]
            area = _lay_down(scene, thing, spot, 1 + float(rng.normal(0, tone)))
            if area is not None:
                features.append(area)
        return Piece(surface=scene, bare=below, features=tuple(features), ground=ground(rng))

    return make


def _writable(surface: Surface) -> Surface:
    return replace(
        surface,
        colour=surface.colour.copy(),
        height=surface.height.copy(),
        metal=surface.metal.copy(),
        polish=surface.polish.copy(),
        cover=surface.cover.copy(),
    )


def _lay_down(scene: Surface, thing: Surface, spot: Spot, tone: float) -> Map | None:
    """Put the thing into the scene's own maps; returns (H, W) where it lies, None where the picture misses it."""
    size, side = scene.size, thing.size
    reach = int(np.ceil(side * spot.zoom * 0.72)) + 1
    middle = ((spot.x + 0.5) * size, (spot.y + 0.5) * size)
    left, top = max(0, int(middle[0]) - reach), max(0, int(middle[1]) - reach)
    right, bottom = min(size, int(middle[0]) + reach), min(size, int(middle[1]) + reach)
    if right - left < 2 or bottom - top < 2:
        return None
    cos, sin = spot.zoom * np.cos(spot.turn), spot.zoom * np.sin(spot.turn)
    own = (side - 1) / 2
    x, y = middle[0] - 0.5 - left, middle[1] - 0.5 - top
    matrix = np.array([[cos, -sin, x - cos * own + sin * own], [sin, cos, y - sin * own - cos * own]], np.float32)
    window = (right - left, bottom - top)
    first = cv2.warpAffine(np.stack((*thing.colour, thing.height), axis=-1), matrix, window, flags=cv2.INTER_LINEAR)
    second = cv2.warpAffine(np.stack((thing.metal, thing.polish, thing.cover), axis=-1), matrix, window)
    at = np.s_[top:bottom, left:right]
    over = second[..., 2]
    for k in range(3):
        scene.colour[k][at] += over * (first[..., k] * np.float32(tone) - scene.colour[k][at])
    scene.height[at] += over * (first[..., 3] * np.float32(spot.zoom) - np.float32(0.3) * scene.height[at])
    scene.metal[at] += over * (second[..., 0] - scene.metal[at])
    scene.polish[at] += over * (second[..., 1] - scene.polish[at])
    scene.cover[at] = np.maximum(scene.cover[at], over)
    area = np.zeros((size, size), np.float32)
    area[at] = over
    return area


def in_rows(
    columns: int, rows: int, pitch_x: float, pitch_y: float, *, turn: float, wobble: float, shift: float = 0.02
) -> Layout:
    """In rows; each turned by up to `turn` radians and off its place by up to `wobble` picture sides."""

    def layout(rng: np.random.Generator) -> list[Spot]:
        dx, dy = rng.uniform(-shift, shift, 2)
        return [
            Spot(
                x=(i - (columns - 1) / 2) * pitch_x + dx + rng.uniform(-wobble, wobble),
                y=(j - (rows - 1) / 2) * pitch_y + dy + rng.uniform(-wobble, wobble),
                turn=float(rng.uniform(-turn, turn)),
                zoom=float(rng.uniform(0.98, 1.02)),
            )
            for j in range(rows)
            for i in range(columns)
        ]

    return layout


def loosely(count: int, radius: float, *, turn: float = np.pi, spread: float = 0.36) -> Layout:
    """`count` things thrown down so that none lies on another, as far as there is room; radius in picture sides."""

    def layout(rng: np.random.Generator) -> list[Spot]:
        spots: list[Spot] = []
        for _ in range(count * 12):
            x, y = rng.uniform(-spread, spread, 2)
            if all((x - other.x) ** 2 + (y - other.y) ** 2 > (2.05 * radius) ** 2 for other in spots):
                spots.append(Spot(x=x, y=y, turn=float(rng.uniform(-turn, turn)), zoom=float(rng.uniform(0.95, 1.05))))
            if len(spots) == count:
                break
        return spots

    return layout
