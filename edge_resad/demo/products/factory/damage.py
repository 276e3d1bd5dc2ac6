"""Defects that change a surface's form: holes, cracks, creases, blisters, wear, breaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_resad.demo.products.defects import Flaw
from edge_resad.demo.products.factory.blobs import blob, oriented
from edge_resad.demo.products.factory.palette import chance, grey, pick
from edge_resad.demo.products.factory.patterns import cells, clouds, noise, plane, soft_noise, step, swayed
from edge_resad.demo.products.factory.piece import remapped
from edge_resad.demo.products.family import Design
from edge_resad.demo.products.marks import bared, jagged, line_through, place, seen_from, wandered
from edge_resad.demo.products.surface import Map, Surface, softened


def hole(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """Punched or torn through: dark inside, with a frayed or raised edge."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    radius = flaw.of(0.013, 0.024, 0.042) * size * flaw.force * rng.uniform(0.8, 1.3)
    inside = (
        jagged(size, x, y, radius, rng) if chance(rng, 0.5) else blob(size, x, y, radius, rng, ripple=0.1, soft=0.1)
    )
    around = np.clip(softened(inside, 0.35 * radius) * 1.6, 0, 1) * (1 - inside)
    level = float(surface.colour[:, round(y), round(x)].mean())
    depth = grey(0.01) if level > 0.15 else grey(0.55)
    frayed = surface.painted(bared(design, x, y), np.float32(0.35) * around * (surface.cover > 0.5))
    opened = frayed.laid(depth, 0.0, 0.0, np.float32(0.96) * inside)
    return opened.raised((0.25 * radius * around - 0.5 * radius * softened(inside, 1.0)).astype(np.float32))


def cut(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A slit of a knife: straight, dark, its lips apart."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    turn, length = rng.uniform(0, np.pi), flaw.of(0.06, 0.11, 0.19) * size * rng.uniform(0.8, 1.3)
    u, v = seen_from(size, x, y, turn)
    gape = flaw.of(0.0035, 0.006, 0.011) * size * flaw.force
    along = np.clip(1 - (2 * u / length) ** 2, 0, 1)
    slit = np.asarray(np.clip(0.5 + gape * along - np.abs(v), 0, 1) * (along > 0), np.float32)
    lips = np.clip(softened(slit, 1.5 * gape) * 2 - slit, 0, 1)
    level = float(surface.colour[:, round(y), round(x)].mean())
    gap = grey(0.01) if level > 0.15 else grey(0.5)
    return surface.laid(gap, 0.0, 0.0, slit).raised((gape * 0.7 * lips - 2 * slit).astype(np.float32))


def crease(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """Folded once: a ridge or a furrow that runs far, and the surface leaning to it."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    turn, length = rng.uniform(0, np.pi), flaw.of(0.22, 0.38, 0.65) * size
    u, v = seen_from(size, x, y, turn)
    v = v + np.float32(rng.uniform(-0.3, 0.3) / size) * u * u
    width = flaw.of(0.010, 0.014, 0.020) * size
    fade = np.clip(1.6 * (1 - np.abs(2 * u / length)), 0, 1)
    ridge = fade * np.exp(-np.abs(v) / width)
    sign = rng.choice((-1.0, 1.0))
    worn = fade * np.exp(-((v / (0.3 * width + 0.6)) ** 2))
    height = sign * flaw.of(0.4, 0.7, 1.1) * flaw.force * width * ridge
    tone = np.float32(rng.choice((-0.35, 0.25)) * flaw.of(0.5, 0.8, 1.2)) * worn + np.float32(0.06) * np.sign(v) * ridge
    on = (surface.cover > 0.5).astype(np.float32)
    creased = replace(surface, colour=np.asarray(surface.colour * (1 + on * tone), np.float32))
    return creased.raised(np.asarray(height * on, np.float32))


def blister(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """Something swelled below: one bump or a few, smooth and round."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    radius = flaw.of(0.022, 0.032, 0.046) * size * rng.uniform(0.8, 1.3)
    total = np.zeros((size, size), np.float32)
    for k in range(1 + int(flaw.severity > 1) * int(rng.integers(0, 4))):
        dx, dy = rng.normal(0, 1.6 * radius, 2) if k else (0.0, 0.0)
        u, v = seen_from(size, x + dx, y + dy, rng.uniform(0, np.pi))
        own = radius * (rng.uniform(0.5, 0.9) if k else 1.0)
        total = np.maximum(total, own * np.exp(-1.4 * ((u / own) ** 2 + (v / (own * rng.uniform(0.6, 1))) ** 2) ** 1.4))
    on = total * (surface.cover > 0.5)
    height = flaw.of(0.5, 0.75, 1.05) * flaw.force * on
    paler = np.asarray(surface.colour * (1 + 0.12 * flaw.severity * np.minimum(on / radius, 1)), np.float32)
    return replace(surface, colour=paler).raised(np.asarray(height, np.float32))


def worn(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """Rubbed or corroded: the texture is gone in a patch, and a paler or rougher ground is seen."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    radius = flaw.of(0.045, 0.07, 0.11) * size * rng.uniform(0.8, 1.25)
    patch = blob(size, x, y, radius, rng, ripple=0.5, soft=0.25)
    eaten = step(clouds(size, int(np.clip(size / radius * 3, 6, 60)), rng, 3), rng.uniform(-1.0, 0.0), 0.6)
    amount = patch * (eaten if chance(rng, 0.6) else np.float32(1)) * (surface.cover > 0.5)
    flat = np.stack([softened(np.ascontiguousarray(c), 0.02 * size) for c in surface.colour])
    under = np.asarray(bared(design, x, y), np.float32)[:, None, None] if chance(rng, 0.6) else flat * 0.55
    strength = np.float32(min(flaw.of(0.35, 0.55, 0.85) * flaw.force, 1))
    ground = np.minimum(0.5 * flat + 0.5 * under, 1.0)
    colour = surface.colour + strength * amount * (ground - surface.colour)
    rough = np.float32(rng.uniform(0.2, 0.8)) * noise(size, 1.0, 1.0, rng)
    height = strength * amount * (softened(surface.height, 0.02 * size) - surface.height + rough - 0.004 * size)
    rubbed = replace(surface, colour=np.asarray(colour, np.float32)).raised(np.asarray(height, np.float32))
    return rubbed.with_polish(0.05, np.asarray(strength * amount, np.float32))


def rough_patch(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A patch that is porous, frayed or pitted, in the surface's own colours."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    radius = flaw.of(0.04, 0.06, 0.10) * size * rng.uniform(0.8, 1.3)
    patch = blob(size, x, y, radius, rng, ripple=0.3, soft=0.4) * (surface.cover > 0.5)
    coarse = soft_noise(size, rng.uniform(0.8, 2.2), rng)
    pits = step(coarse, rng.uniform(0.3, 1.1), 0.5) * patch
    depth = flaw.of(0.6, 1.2, 2.2) * flaw.force
    tone = np.float32(rng.choice((-1.0, 0.6)) * flaw.of(0.22, 0.35, 0.5) * min(flaw.force, 1.6))
    colour = np.asarray(
        np.clip(surface.colour * (1 + tone * pits) + np.maximum(tone, 0) * 0.1 * pits, 0.003, 1.3), np.float32
    )
    return replace(surface, colour=colour).raised(np.asarray(depth * coarse * patch - depth * pits, np.float32))


def long_crack(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A fine crack from one side to the other, or nearly."""
    size = design.surface.size
    x, y = place(design, rng)
    heading, length = rng.uniform(0, 2 * np.pi), flaw.of(0.3, 0.5, 0.9) * size * rng.uniform(0.8, 1.3)
    start = (x - 0.5 * length * np.cos(heading), y - 0.5 * length * np.sin(heading))
    path = wandered(start, heading, length, rng)
    width = flaw.of(0.0032, 0.0044, 0.0068) * size * flaw.force * rng.uniform(0.8, 1.4)
    line = line_through(size, path, width, taper=True)
    if chance(rng, 0.5):
        at = path[len(path) // 2]
        side = wandered((float(at[0]), float(at[1])), heading + rng.choice((-0.9, 0.9)), 0.3 * length, rng)
        line = np.maximum(line, line_through(size, side, 0.7 * width, taper=True))
    return _cracked(design, line, min(flaw.of(0.60, 0.78, 0.95) * flaw.force, 1), rng)


def crack_network(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """Many cracks that meet, as in dried paint, ice or tired asphalt."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    patch = blob(size, x, y, flaw.of(0.07, 0.12, 0.20) * size * rng.uniform(0.8, 1.25), rng, soft=0.4)
    _, wall = cells(size, flaw.of(0.05, 0.06, 0.075) * size * rng.uniform(0.7, 1.4), rng)
    sway = (
        0.006 * size * noise(size, 0.01 * size, 0.01 * size, rng),
        0.006 * size * noise(size, 0.01 * size, 0.01 * size, rng),
    )
    wall = swayed(wall, *sway)
    width = flaw.of(0.7, 0.9, 1.3) * size / 256 * flaw.force
    line = np.asarray(np.clip(width + 0.5 - wall, 0, 1) * (patch > 0.5) * (surface.cover > 0.5), np.float32)
    return _cracked(design, line, min(flaw.of(0.55, 0.75, 0.95) * flaw.force, 1), rng)


def _cracked(design: Design, line: Map, dense: float, rng: np.random.Generator) -> Surface:
    surface = design.surface
    line = np.asarray(line * (surface.cover > 0.5), np.float32)
    weight = max(float(line.sum()), 1e-3)
    level = float((surface.colour.mean(axis=0) * line).sum()) / weight
    gap = pick(rng, (grey(0.02), grey(0.04), grey(0.9))) if 0.3 < level < 0.55 else grey(0.02 if level > 0.3 else 0.75)
    opened = surface.raised(np.asarray(-2.0 * line, np.float32))
    return opened.laid(gap, 0.0, 0.0, np.asarray(np.float32(dense) * line, np.float32))


def corner(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A whole corner or edge broken off along a straight or jagged line."""
    surface, size = design.surface, design.surface.size
    x, y, dx, dy = (float(v) for v in design.rim[int(rng.integers(len(design.rim)))])
    depth = flaw.of(0.025, 0.045, 0.080) * size * flaw.force
    turn = np.arctan2(dy, dx) + rng.normal(0, 0.5)
    u, v = seen_from(size, x - dx * depth, y - dy * depth, turn)
    jag = np.float32(0.006 * size) * clouds(size, 24, rng, 3)
    limit = (u + jag).astype(np.float32)
    near = np.abs(v) < 3.2 * depth + 0.02 * size
    off = np.asarray(np.clip(limit + 0.5, 0, 1) * near, np.float32)
    face = np.asarray(
        np.exp(-((np.minimum(limit, 0) / (0.012 * size)) ** 2)) * near * (surface.cover > 0.5), np.float32
    )
    torn = surface.painted(bared(design, x - 5 * dx, y - 5 * dy), np.float32(0.7) * face).with_polish(0.05, face)
    return torn.raised(np.asarray(-0.012 * size * face, np.float32)).cut(off)


def warp(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """Bent, squeezed or molten: everything there is displaced or swirled."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng) if len(design.features) < 2 else _beside(design, rng)
    radius = flaw.of(0.06, 0.09, 0.13) * size * rng.uniform(0.85, 1.3)
    at_x, at_y = plane(size)
    dx, dy = at_x - np.float32(x), at_y - np.float32(y)
    near = np.exp(-(((dx * dx + dy * dy) / np.float32(radius * radius)) ** 2))
    if chance(rng, 0.5):
        turn = near * np.float32(rng.choice((-1, 1)) * flaw.of(0.35, 0.6, 1.1) * flaw.force)
        cos, sin = np.cos(turn), np.sin(turn)
        return remapped(surface, x + dx * cos - dy * sin, y + dx * sin + dy * cos)
    heading, reach = rng.uniform(0, 2 * np.pi), flaw.of(0.02, 0.035, 0.06) * size * min(flaw.force, 2)
    push_x, push_y = np.float32(reach * np.cos(heading)) * near, np.float32(reach * np.sin(heading)) * near
    return remapped(surface, at_x + push_x, at_y + push_y)


def _beside(design: Design, rng: np.random.Generator) -> tuple[float, float]:
    """A place in or next to a feature: where there is something to see displaced."""
    area = design.features[int(rng.integers(len(design.features)))]
    ys, xs = np.nonzero(area > 0.5)
    if not len(xs):
        return place(design, rng)
    k = int(rng.integers(len(xs)))
    return float(xs[k]), float(ys[k])


def lost_thread(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A thread, line or row is missing, loose or pulled: a straight fault along the weave or across it."""
    surface, size = design.surface, design.surface.size
    x, y = place(design, rng)
    turn = pick(rng, (0.0, np.pi / 2)) + rng.normal(0, 0.02)
    length = flaw.of(0.18, 0.4, 1.6) * size * rng.uniform(0.8, 1.2)
    width = flaw.of(0.007, 0.010, 0.016) * size * flaw.force
    strip = oriented(size, x, y, turn, length, width) * (surface.cover > 0.5)
    dark = np.float32(rng.choice((-1.0, 1.0)) * flaw.of(0.25, 0.42, 0.65) * flaw.force)
    if dark > 0 and surface.colour.mean() > 0.6:
        dark = -dark
    flat = np.stack([softened(np.ascontiguousarray(c), 0.012 * size) for c in surface.colour])
    colour = surface.colour + strip * (flat * np.clip(1 + dark, 0.05, 2.0) + max(float(dark), 0) * 0.1 - surface.colour)
    pulled = replace(surface, colour=np.asarray(np.clip(colour, 0.003, 1.3), np.float32))
    return pulled.raised(np.asarray(strip * np.sign(dark) * 0.006 * size, np.float32))
