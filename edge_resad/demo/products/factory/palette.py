"""Choices that make one variant of a product unlike the next: colours, sizes, yes or no."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Colour = tuple[float, float, float]
"""BGR, 0..1."""

Choice = TypeVar("Choice")

METALS: tuple[Colour, ...] = (
    (0.72, 0.72, 0.72),  # steel
    (0.82, 0.83, 0.83),  # aluminium
    (0.42, 0.42, 0.41),  # cast iron
    (0.38, 0.62, 0.80),  # brass
    (0.40, 0.52, 0.78),  # copper
    (0.28, 0.27, 0.26),  # blackened
    (0.66, 0.68, 0.72),  # zinc
)


def pick(rng: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    """One of these."""
    return choices[int(rng.integers(len(choices)))]


def chance(rng: np.random.Generator, share: float) -> bool:
    """True in this share of all cases."""
    return bool(rng.random() < share)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from this range."""
    return float(rng.uniform(low, high))


def tone(hue: float, saturation: float, value: float) -> Colour:
    """The colour of this hue, saturation and value, all 0..1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return (blue, green, red)


def any_colour(rng: np.random.Generator, dark: float = 0.15, light: float = 0.9) -> Colour:
    """Any colour of such brightness, from grey to vivid."""
    return tone(between(rng, 0, 1), between(rng, 0, 0.85) ** 1.3, between(rng, dark, light))


def vivid(rng: np.random.Generator) -> Colour:
    """A strong colour, as plastics, paints and inks have."""
    return tone(between(rng, 0, 1), between(rng, 0.55, 0.95), between(rng, 0.35, 0.9))


def earthen(rng: np.random.Generator, dark: float = 0.2, light: float = 0.8) -> Colour:
    """A colour of wood, leather, bread or stone."""
    return tone(between(rng, 0.03, 0.13), between(rng, 0.1, 0.7), between(rng, dark, light))


def grey(value: float) -> Colour:
    """A grey of this value."""
    return (value, value, value)


def away_from(rng: np.random.Generator, colour: Colour, by: float = 0.3) -> Colour:
    """Any colour that differs from this one so much in brightness."""
    level = sum(colour) / 3
    for _ in range(30):
        other = any_colour(rng, 0.05, 0.98)
        if abs(sum(other) / 3 - level) >= by:
            return other
    return grey(0.95 if level < 0.5 else 0.05)


def near(rng: np.random.Generator, colour: Colour, by: float = 0.05) -> Colour:
    """A colour of the same kind, a little off."""
    blue, green, red = (float(np.clip(part + rng.normal(0, by), 0.01, 1)) for part in colour)
    return (blue, green, red)
