"""A surface: what a part is made of and how it is formed, before any light falls on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
"""(H, W) float32, or (3, H, W) for a colour: plane by plane, which numpy computes several times faster."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The maps of one part, seen from above, in its own upright frame.

    colour: (3, H, W) float32, BGR, 0..1.
    height: (H, W) float32, pixels above the belt's level of reference.
    metal:  (H, W) float32, 0 plastic, paint or rubber .. 1 bare metal.
    polish: (H, W) float32, 0 matt .. 1 mirror.
    cover:  (H, W) float32, 1 where there is a part, 0 where one looks past it.
    groove: (H, W) uint8, direction of the machining marks, half a turn in 256 steps; None where there are none.
    """

    colour: Map
    height: Map
    metal: Map
    polish: Map
    cover: Map
    groove: NDArray[np.uint8] | None = None

    @property
    def size(self) -> int:
        """Side of the square maps, pixels."""
        return int(self.height.shape[0])

    def raised(self, by: Map) -> Surface:
        """The same surface with `by` pixels added to its height."""
        return replace(self, height=self.height + by)

    def painted(self, colour: tuple[float, float, float], amount: Map) -> Surface:
        """The same surface with a paint of this colour (BGR, 0..1) over it, as dense as `amount` (H, W)."""
        return replace(self, colour=self.colour + amount * (_planes(colour) - self.colour))

    def with_metal(self, metal: float, amount: Map) -> Surface:
        """The same surface made of this much metal where `amount` (H, W) is 1."""
        return replace(self, metal=self.metal + amount * (np.float32(metal) - self.metal))

    def with_polish(self, polish: float, amount: Map) -> Surface:
        """The same surface polished to this degree where `amount` (H, W) is 1."""
        return replace(self, polish=self.polish + amount * (np.float32(polish) - self.polish))

    def cut(self, amount: Map) -> Surface:
        """The same surface with a hole where `amount` (H, W) is 1."""
        return replace(self, cover=self.cover * (1 - amount))

    def laid(self, colour: tuple[float, float, float], metal: float, polish: float, amount: Map) -> Surface:
        """The same surface with another material laid on it where `amount` (H, W) is 1; its height stays."""
        return self.painted(colour, amount).with_metal(metal, amount).with_polish(polish, amount)


def plate(
    cover: Map, colour: tuple[float, float, float], metal: float, polish: float, groove: NDArray[np.uint8] | None = None
) -> Surface:
    """A flat part of one material in the outline `cover`."""
    tinted = np.empty((3, *cover.shape), np.float32)
    tinted[:] = _planes(colour)
    return Surface(
        colour=tinted,
        height=np.zeros_like(cover),
        metal=np.full_like(cover, metal),
        polish=np.full_like(cover, polish),
        cover=cover,
        groove=groove,
    )


def mixed(one: Surface, other: Surface, amount: Map) -> Surface:
    """`one` where amount (H, W) is 0, `other` where it is 1, and everything between."""
    return replace(
        one,
        colour=one.colour + amount * (other.colour - one.colour),
        height=one.height + amount * (other.height - one.height),
        metal=one.metal + amount * (other.metal - one.metal),
        polish=one.polish + amount * (other.polish - one.polish),
        cover=one.cover + amount * (other.cover - one.cover),
    )


def softened(amount: Map, sigma: float) -> Map:
    """`amount` blurred by this many pixels."""
    return np.asarray(cv2.GaussianBlur(amount, (0, 0), sigma), np.float32)


def _planes(colour: tuple[float, float, float]) -> Map:
    return np.asarray(colour, np.float32)[:, None, None]
