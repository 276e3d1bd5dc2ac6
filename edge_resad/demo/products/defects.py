"""Defects: what goes wrong with a surface, before light falls on it, so that each looks as its cause would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from edge_resad.demo.products import textures
from edge_resad.demo.products.family import Design
from edge_resad.demo.products.marks import bared, jagged, line_through, place, seen_from, wandered
from edge_resad.demo.products.surface import Surface, mixed, softened


@dataclass(frozen=True, kw_only=True)
class Flaw:
    """How bad one defect is."""

    severity: int  # 1 subtle .. 3 clear
    force: float = 1.0  # grows until the camera can see it

    def of(self, subtle: float, medium: float, clear: float) -> float:
        """The value for this severity."""
        return (subtle, medium, clear)[self.severity - 1]


Spoil = Callable[[Design, Flaw, np.random.Generator], Surface]


def scratch(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """Something hard was dragged across: a groove with bright, raised lips."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    length, heading, bend = flaw.of(0.09, 0.17, 0.30) * size, rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
    steps = np.linspace(-0.5, 0.5, 24)
    turns = heading + bend * steps
    points = np.stack((x + steps * length * np.cos(turns), y + steps * length * np.sin(turns)), axis=1)
    width = flaw.of(0.0026, 0.0038, 0.0058) * size * flaw.force
    line = line_through(size, points, width, taper=True) * (surface.cover > 0.5)
    lips = np.clip(softened(line, 0.004 * size) - line, 0, 1)
    depth = np.float32(flaw.of(0.9, 1.4, 2.2) * flaw.force)
    dug = surface.raised(depth * (np.float32(1.2) * lips - line)).with_polish(0.1, line)
    return dug.painted(bared(design, x, y), np.float32(min(flaw.of(0.40, 0.60, 0.85) * flaw.force, 1)) * line)


def dent(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """Something struck it: a shallow bowl with a soft rim."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    radius = flaw.of(0.024, 0.034, 0.048) * size
    u, v = seen_from(size, x, y, rng.uniform(0, np.pi))
    away = (u / radius) ** 2 + (v / (radius * rng.uniform(0.6, 0.95))) ** 2
    bowl = np.exp(-1.6 * away) - 0.28 * np.exp(-1.2 * (np.sqrt(away) - 1.45) ** 2 * 4)
    yields = 1.4 - 0.95 * float(surface.metal[round(y), round(x)])  # metal mirrors: a slight slope shows already
    depth = flaw.of(0.26, 0.42, 0.62) * radius * flaw.force * yields
    return surface.raised((-depth * bowl).astype(np.float32)).with_polish(0.5, (0.6 * np.exp(-away)).astype(np.float32))


def stain(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """Oil or coolant that dried: a brown film, darker where its edge was."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    radius = flaw.of(0.040, 0.058, 0.082) * size
    u, v = seen_from(size, x, y, rng.uniform(0, np.pi))
    ripple = textures.cropped(textures.clouds(size * 2, 10, 21), size, rng)
    edge = (np.hypot(u / radius, v / (radius * 0.72)) + 0.20 * ripple).astype(np.float32)
    film = np.clip((1 - edge) * 4, 0, 1)
    ring = np.exp(-(((edge - 0.92) / 0.10) ** 2)).astype(np.float32)
    dense = np.clip(0.75 * film + 0.35 * ring * film, 0, 1) * np.float32(
        min(flaw.of(0.34, 0.52, 0.76) * flaw.force, 0.95)
    )
    dark = float(surface.colour[:, round(y), round(x)].mean()) < 0.22
    film_colour = (0.34, 0.42, 0.46) if dark else (0.05, 0.13, 0.21)  # on black only a pale film shows
    return surface.laid(film_colour, 0.0, 0.35, dense * (surface.cover > 0.5))


def missing(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A step was left out: a hole not drilled, a print or a component not there; when subtle, done by halves."""
    surface, size = design.surface, design.surface.size
    area = design.features[int(rng.integers(len(design.features)))]
    if flaw.severity == 3:
        return mixed(surface, design.bare, area)
    x, y, width, height = cv2.boundingRect((area > 0.5).astype(np.uint8))
    if flaw.severity == 2:  # most of it is missing
        u, _ = seen_from(size, x + width / 2, y + height / 2, rng.uniform(0, 2 * np.pi))
        kept = np.clip((u - 0.18 * min(width, height)) * 0.8 + 0.5, 0, 1).astype(np.float32)
        return mixed(surface, design.bare, area * (1 - kept))
    return mixed(surface, design.bare, area * np.float32(min(0.5 * flaw.force, 1)))


def chip(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A piece broke off the edge: a bite, and inside it the rough fracture."""
    surface, size = design.surface, design.surface.size
    x, y, dx, dy = design.rim[int(rng.integers(len(design.rim)))]
    radius = flaw.of(0.022, 0.034, 0.052) * size * flaw.force
    bite = jagged(size, x + dx * radius * 0.25, y + dy * radius * 0.25, radius, rng)
    fracture = jagged(size, x + dx * radius * 0.1, y + dy * radius * 0.1, radius * 1.32, rng)
    rough = textures.cropped(textures.clouds(size * 2, 60, 31), size, rng)
    torn = surface.painted(bared(design, x - 4 * dx, y - 4 * dy), np.float32(0.8) * fracture).with_polish(
        0.05, fracture
    )
    return torn.raised(fracture * (np.float32(0.9) * rough - np.float32(0.010 * size))).cut(bite)


def crack(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A thin dark line that wanders, branches, and leaves one side a little higher."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    length = flaw.of(0.10, 0.17, 0.27) * size
    heading = rng.uniform(0, 2 * np.pi)
    width = flaw.of(0.0024, 0.0034, 0.0048) * size * flaw.force
    trunk = wandered((x, y), heading, length, rng)
    line = line_through(size, trunk, width, taper=True)
    for at in (0.45, 0.7)[: flaw.severity - 1]:
        start = trunk[int(at * len(trunk))]
        branch = wandered((float(start[0]), float(start[1])), heading + rng.choice((-0.8, 0.8)), length * 0.35, rng)
        line = np.maximum(line, line_through(size, branch, width * 0.75, taper=True))
    line *= surface.cover > 0.5
    _, v = seen_from(size, x, y, heading)
    lift = np.clip(v / (0.02 * size), -1, 1) * softened(line, 0.012 * size)
    opened = surface.raised((0.8 * lift - 2.0 * line).astype(np.float32))
    dark = float(surface.colour[:, round(y), round(x)].mean()) < 0.2
    gap = (0.30, 0.31, 0.32) if dark else (0.02, 0.02, 0.02)  # black plastic shows white where it tears
    return opened.laid(gap, 0.0, 0.0, np.float32(min(flaw.of(0.60, 0.80, 0.95) * flaw.force, 1)) * line)


KINDS: dict[str, Spoil] = {
    "scratch": scratch,
    "dent": dent,
    "stain": stain,
    "missing": missing,
    "chip": chip,
    "crack": crack,
}
