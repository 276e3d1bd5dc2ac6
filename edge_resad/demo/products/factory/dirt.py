"""Defects that lie on a surface or change its colour: fibres, spots, stains, smears, ink, glue."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from edge_resad.demo.products.defects import Flaw
from edge_resad.demo.products.factory.blobs import blob, oriented, specks
from edge_resad.demo.products.factory.palette import Colour, any_colour, chance, grey, pick, tone, vivid
from edge_resad.demo.products.factory.patterns import clouds, plane
from edge_resad.demo.products.factory.piece import remapped
from edge_resad.demo.products.family import Design
from edge_resad.demo.products.marks import line_through, place, wandered
from edge_resad.demo.products.surface import Map, Surface, softened


def fibre(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A hair or a thread fell on it."""
    surface, size = design.surface, design.surface.size
    length = flaw.of(0.10, 0.20, 0.38) * size * rng.uniform(0.7, 1.2)
    steps, heading, curl = 36, rng.uniform(0, 2 * np.pi), rng.uniform(-3.5, 3.5)
    turns = heading + curl * np.linspace(0, 1, steps) + np.cumsum(rng.normal(0, 0.09, steps))
    points = np.cumsum(np.stack((np.cos(turns), np.sin(turns)), axis=1), axis=0) * (length / steps)
    points += np.asarray(place(design, rng)) - points.mean(axis=0)
    width = flaw.of(0.0030, 0.0042, 0.0060) * size * flaw.force * rng.uniform(0.8, 1.6)
    line = line_through(size, points, width, taper=False)
    colour = _contrasting(surface, line, rng)
    return _over(surface, colour, _dense(flaw, 0.6, 0.8, 0.95) * line, lift=0.006 * size * line)


def spots(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """Specks of dirt, splashes or foreign grains."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    count = int(flaw.of(1, 4, 11) * rng.uniform(0.7, 1.6)) + 1
    radius = flaw.of(0.007, 0.009, 0.012) * size * flaw.force * rng.uniform(0.7, 1.3)
    amount = specks(size, x, y, flaw.of(0.02, 0.05, 0.09) * size, radius, count, rng)
    lift = pick(rng, (0.0, 0.010)) * size * amount
    return _over(surface, _contrasting(surface, amount, rng), _dense(flaw, 0.6, 0.8, 0.95) * amount, lift=lift)


def discoloured(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A patch of the same texture in another tone: scorched, bleached, dyed."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    amount = blob(
        size, x, y, flaw.of(0.05, 0.075, 0.11) * size * rng.uniform(0.8, 1.3), rng, soft=rng.uniform(0.1, 0.6)
    )
    strength = flaw.of(0.18, 0.32, 0.55) * flaw.force
    gains = np.exp(rng.normal(0, 0.5, 3) + rng.choice((-1.0, 1.0)) * rng.uniform(0.3, 1.0))
    gains = gains if surface.colour.mean() < 0.75 else np.minimum(gains, 1 / gains)
    factor = (1 + strength * np.clip(gains - 1, -0.85, 1.5)).astype(np.float32)[:, None, None]
    changed = surface.colour * factor + np.float32(0.05 * strength) * (factor > 1)
    return _with_colour(surface, surface.colour + _on(surface, amount) * (changed - surface.colour))


def blotch(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A large, faint stain or a place that the light leaves darker."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    radius = flaw.of(0.11, 0.15, 0.20) * size * rng.uniform(0.8, 1.2)
    amount = blob(size, x, y, radius, rng, ripple=0.35, soft=rng.uniform(0.3, 0.9))
    strength = np.float32(min(flaw.of(0.15, 0.24, 0.38) * flaw.force * rng.uniform(0.8, 1.3), 0.9))
    colour = np.asarray(pick(rng, (grey(0.02), grey(0.85), tone(0.08, 0.7, 0.3), any_colour(rng))), np.float32)
    if abs(float(colour.mean()) - _level(surface, amount)) < 0.2:
        colour = np.asarray(_contrasting(surface, amount, rng), np.float32)
    film = _on(surface, amount) * strength
    return _with_colour(surface, surface.colour + film * (colour[:, None, None] - surface.colour))


def smear(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """Wiped while wet: the surface's own colours drawn out one way."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    amount = blob(size, x, y, flaw.of(0.06, 0.09, 0.13) * size, rng, soft=0.3)
    length, turn = flaw.of(0.05, 0.09, 0.15) * size * flaw.force, rng.uniform(0, np.pi)
    count = 2 * max(2, round(length / 2)) + 1
    kernel = np.zeros((count, count), np.float32)
    reach = count / 2 * np.array([np.cos(turn), np.sin(turn)])
    start, end = (tuple(int(v) for v in np.clip(count // 2 + s * reach, 0, count - 1)) for s in (-1, 1))
    cv2.line(kernel, (start[0], start[1]), (end[0], end[1]), 1.0, 1)
    kernel /= kernel.sum()
    drawn = np.stack([cv2.filter2D(c, -1, kernel, borderType=cv2.BORDER_REFLECT) for c in surface.colour])
    veil = min(flaw.of(0.12, 0.2, 0.35) * flaw.force, 0.7)  # some of what was wiped stays as a film
    drawn = drawn + np.float32(veil) * (np.float32(pick(rng, (0.03, 0.75))) - drawn)
    flat = cv2.filter2D(surface.height, -1, kernel, borderType=cv2.BORDER_REFLECT)
    on = _on(surface, amount)
    smeared = _with_colour(surface, surface.colour + on * (drawn - surface.colour))
    return smeared.raised(on * (flat - surface.height))


def ink(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A stroke of a pen, of paint or of chalk."""
    surface, size = design.surface, design.surface.size
    path = wandered(place(design, rng), rng.uniform(0, 2 * np.pi), flaw.of(0.10, 0.18, 0.32) * size, rng)
    width = flaw.of(0.008, 0.012, 0.022) * size * rng.uniform(0.7, 1.5)
    line = line_through(size, path, width, taper=chance(rng, 0.5))
    ragged = np.clip(line * (1.1 + 0.35 * clouds(size, 48, rng, 2)), 0, 1)
    colour = pick(rng, (_contrasting(surface, line, rng), vivid(rng), grey(0.05), grey(0.9)))
    if abs(sum(colour) / 3 - _level(surface, line)) < 0.2:
        colour = _contrasting(surface, line, rng)
    return _over(surface, colour, _dense(flaw, 0.4, 0.65, 0.95) * ragged)


def glue(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A drop or a strip of glue, wax or resin: clear or milky, raised and shining."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    radius = flaw.of(0.028, 0.045, 0.075) * size * rng.uniform(0.8, 1.2)
    if chance(rng, 0.3):
        amount = oriented(size, x, y, rng.uniform(0, np.pi), 4 * radius, 0.7 * radius, 2.0)
    else:
        amount = blob(size, x, y, radius, rng, ripple=0.2, soft=0.12)
    on = _on(surface, amount)
    dome = softened(on, 0.3 * radius) * on
    colour = pick(rng, (grey(0.85), tone(0.12, 0.4, 0.8), grey(0.15), tone(rng.uniform(0, 1), 0.2, 0.9)))
    veiled = _over(surface, colour, _dense(flaw, 0.20, 0.35, 0.6) * on)
    raised = veiled.raised((flaw.of(0.15, 0.28, 0.40) * flaw.force * radius * dome).astype(np.float32))
    return raised.with_polish(0.8, on).with_metal(0.0, on)


def foreign(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A foreign body lies on it: a chip of metal, plastic or wood."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    radius = flaw.of(0.016, 0.028, 0.050) * size * rng.uniform(0.8, 1.25)
    if chance(rng, 0.5):
        amount = oriented(size, x, y, rng.uniform(0, np.pi), 2.2 * radius, radius * rng.uniform(0.4, 1.4))
    else:
        amount = blob(size, x, y, radius, rng, ripple=0.25, soft=0.08)
    metal = pick(rng, (0.0, 0.0, 0.9))
    colour = grey(0.75) if metal else _contrasting(surface, amount, rng)
    solid = surface.laid(colour, metal, 0.5, amount)
    height = amount * (surface.height.max() * 0.2 + 0.25 * radius) - 0.8 * amount * surface.height * (1 - metal)
    return solid.raised(np.asarray(softened(np.asarray(height, np.float32), 0.8), np.float32))


def texture_break(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A patch where the texture runs another way or at another scale, as if mended with an offcut."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    amount = blob(size, x, y, flaw.of(0.055, 0.085, 0.13) * size * rng.uniform(0.85, 1.2), rng, ripple=0.15, soft=0.08)
    at_x, at_y = plane(size)
    turn = rng.uniform(0.35, 2.8) * rng.choice((-1, 1))
    zoom = rng.uniform(0.55, 0.85) if chance(rng, 0.5) else rng.uniform(1.25, 1.9)
    cos, sin = np.float32(zoom * np.cos(turn)), np.float32(zoom * np.sin(turn))
    dx, dy = at_x - np.float32(x), at_y - np.float32(y)
    off = rng.uniform(-0.12, 0.12, 2) * size
    other = remapped(surface, x + off[0] + cos * dx - sin * dy, y + off[1] + sin * dx + cos * dy)
    on = amount * (surface.cover > 0.5)
    shade = np.float32(1 + rng.choice((-1, 1)) * flaw.of(0.05, 0.10, 0.18) * flaw.force)
    colour = other.colour * shade
    mended = _with_colour(surface, surface.colour + on * (colour - surface.colour))
    return mended.raised(on * (other.height - surface.height))


def _over(surface: Surface, colour: Colour, amount: Map, *, lift: Map | float = 0.0) -> Surface:
    """Something of this colour that lies on the surface, and beside it where the part ends."""
    on = _on(surface, np.asarray(amount, np.float32))
    laid = surface.laid(colour, 0.0, 0.1, on)
    return laid.raised(np.asarray(lift * np.ones_like(on), np.float32))


def _on(surface: Surface, amount: Map) -> Map:
    return np.asarray(amount * (surface.cover > 0.5), np.float32)


def _with_colour(surface: Surface, colour: Map) -> Surface:
    return replace(surface, colour=np.asarray(np.clip(colour, 0.003, 1.3), np.float32))


def _dense(flaw: Flaw, subtle: float, medium: float, clear: float) -> np.float32:
    dense: np.float32 = np.float32(min(flaw.of(subtle, medium, clear) * flaw.force, 1.0))
    return dense


def _level(surface: Surface, amount: Map) -> float:
    """The mean brightness of the surface below an amount."""
    weight = float(amount.sum())
    return float((surface.colour.mean(axis=0) * amount).sum()) / weight if weight > 1e-3 else 0.5


def _contrasting(surface: Surface, amount: Map, rng: np.random.Generator) -> Colour:
    """A colour that can be told from what lies below this amount."""
    level = _level(surface, amount)
    for _ in range(20):
        colour = pick(
            rng, (grey(rng.uniform(0.02, 0.95)), any_colour(rng, 0.05, 0.95), tone(0.08, 0.6, rng.uniform(0.1, 0.6)))
        )
        if abs(sum(colour) / 3 - level) > 0.28:
            return colour
    return grey(0.95 if level < 0.5 else 0.03)
