"""A family of products: how one good part is made, and where something could be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products import shapes
from edge_resad.demo.products.camera import Belt
from edge_resad.demo.products.surface import Map, Surface


@dataclass(frozen=True, kw_only=True)
class Design:
    """What all parts of a family have in common at one size, made once."""

    surface: Surface  # the good part, before the marks of its making
    bare: Surface  # the same part with none of its features
    features: tuple[Map, ...]  # each (H, W) 0..1: where a hole, a print or a component belongs
    face: NDArray[np.int32]  # (N, 2) x, y: pixels where something may lie on the surface
    rim: NDArray[np.float32]  # (N, 4) x, y, dx, dy: the outer edge and the way out


@dataclass(frozen=True, kw_only=True)
class Family:
    """One product of the line."""

    name: str  # the key in FAMILIES
    title: str  # as people call it
    belt: Belt
    design: Callable[[int], Design]  # for a picture of this side in pixels; remembers what it has made
    finish: Callable[[Surface, np.random.Generator], Surface]  # adds the marks that differ from part to part


def designed(surface: Surface, bare: Surface, features: list[Map]) -> Design:
    """A design whose defects may lie anywhere on the part but on its very edge."""
    size = surface.size
    eroded = _eroded(surface.cover, max(3, round(0.035 * size)))
    y, x = np.nonzero(eroded)
    return Design(
        surface=surface,
        bare=bare,
        features=tuple(features),
        face=np.stack((x, y), axis=1).astype(np.int32),
        rim=shapes.outline(bare.cover),
    )


def _eroded(cover: Map, by: int) -> NDArray[np.bool_]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    return np.asarray(cv2.erode((cover > 0.5).astype(np.uint8), kernel) > 0)
