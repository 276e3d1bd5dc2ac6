"""A piece under the camera: its surface in the picture's frame, what it lies on, and where things belong on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edge_resad.demo.products import shapes
from edge_resad.demo.products.family import Design
from edge_resad.demo.products.surface import Map, Surface


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One part in the picture's frame, before light falls on it.

    surface:  the good part.
    bare:     the same part with none of its features.
    features: each (H, W) 0..1, where a hole, a print or a component belongs.
    ground:   (3, H, W) what it lies on.
    """

    surface: Surface
    bare: Surface
    features: tuple[Map, ...]
    ground: Map


Making = Callable[[np.random.Generator], Piece]
"""Makes the next part of one product."""


def as_design(piece: Piece) -> Design:
    """Where a defect may lie on this piece: anywhere on it but on its very edge and the picture's."""
    cover = piece.surface.cover
    size = cover.shape[0]
    by = max(3, round(0.022 * size))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    inner = cv2.erode((cover > 0.5).astype(np.uint8), kernel)
    margin = round(0.05 * size)
    framed = np.zeros_like(inner)
    framed[margin:-margin, margin:-margin] = inner[margin:-margin, margin:-margin]
    if not framed.any():
        framed = (cover > 0.5).astype(np.uint8)
    y, x = np.nonzero(framed)
    return Design(
        surface=piece.surface,
        bare=piece.bare,
        features=piece.features,
        face=np.stack((x, y), axis=1).astype(np.int32),
        rim=_rim(cover),
    )


def _rim(cover: Map) -> Map:
    """Points of the edge that lie inside the picture; those of the picture's frame where there are no others."""
    size = cover.shape[0]
    points = shapes.outline(cover)
    inside = ((points[:, :2] > 0.04 * size) & (points[:, :2] < 0.96 * size)).all(axis=1)
    return points[inside] if inside.any() else points


def warped(surface: Surface, matrix: Map, size: int, *, edge: int = cv2.BORDER_CONSTANT) -> Surface:
    """The surface in a picture of this size; `matrix` (2, 3) leads from its own frame to the picture."""
    colours, makes = _stacked(surface)
    first = cv2.warpAffine(colours, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=edge)
    second = cv2.warpAffine(makes, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=edge)
    groove = surface.groove
    if groove is not None:
        groove = np.asarray(cv2.warpAffine(groove, matrix, (size, size), flags=cv2.INTER_NEAREST), np.uint8)
    return Surface(
        colour=np.ascontiguousarray(first[..., :3].transpose(2, 0, 1)),
        height=np.ascontiguousarray(first[..., 3]),
        metal=np.ascontiguousarray(second[..., 0]),
        polish=np.ascontiguousarray(second[..., 1]),
        cover=np.ascontiguousarray(second[..., 2]),
        groove=groove,
    )


def _stacked(surface: Surface) -> tuple[Map, Map]:
    """The maps pixel by pixel, as OpenCV moves them: (H, W, 4) colour and height, (H, W, 3) metal, polish, cover."""
    colours = np.stack((*surface.colour, surface.height), axis=-1)
    return colours, np.stack((surface.metal, surface.polish, surface.cover), axis=-1)


def remapped(surface: Surface, x: Map, y: Map) -> Surface:
    """The surface with every pixel taken from another place, x and y (H, W), pixels."""
    colours, makes = _stacked(surface)
    x, y = x.astype(np.float32), y.astype(np.float32)
    first = cv2.remap(colours, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    second = cv2.remap(makes, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return replace(
        surface,
        colour=np.ascontiguousarray(first[..., :3].transpose(2, 0, 1)),
        height=np.ascontiguousarray(first[..., 3]),
        metal=np.ascontiguousarray(second[..., 0]),
        polish=np.ascontiguousarray(second[..., 1]),
        cover=np.ascontiguousarray(second[..., 2]),
    )


def pose(size: int, turn: float, zoom: float, x: float, y: float, side: int = 0) -> Map:
    """(2, 3) from a frame of `side` pixels (as the picture's, without it) to the picture, its middle moved by x, y."""
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    own, middle = ((side or size) - 1) / 2, (size - 1) / 2
    return np.array(
        [
            [cos, -sin, x + middle - cos * own + sin * own],
            [sin, cos, y + middle - sin * own - cos * own],
        ],
        np.float32,
    )


def laid_over(below: Surface, above: Surface) -> Surface:
    """One surface lying on another, both in the same frame; its height counts from the one below."""
    over = above.cover
    return replace(
        below,
        colour=below.colour + over * (above.colour - below.colour),
        height=below.height + over * above.height,
        metal=below.metal + over * (above.metal - below.metal),
        polish=below.polish + over * (above.polish - below.polish),
        cover=np.maximum(below.cover, over),
    )


def empty(size: int) -> Surface:
    """Nothing, in a picture of this size."""
    zero = np.zeros((size, size), np.float32)
    return Surface(colour=np.zeros((3, size, size), np.float32), height=zero, metal=zero, polish=zero, cover=zero)
