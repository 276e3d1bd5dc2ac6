"""Seams, welds, springs, cans and fruit: things that are sewn, joined, wound, rolled or grown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_resad.demo.products.factory.bench import ALIKE, Bench, Freedom, any_of, blank, posed, table
from edge_resad.demo.products.factory.palette import (
    METALS,
    any_colour,
    away_from,
    between,
    chance,
    earthen,
    grey,
    near,
    pick,
    tone,
    vivid,
)
from edge_resad.demo.products.factory.patterns import cells, clouds, noise, soft_noise, step
from edge_resad.demo.products.factory.piece import Making
from edge_resad.demo.products.factory.solids import word
from edge_resad.demo.products.shapes import box, disc, filled, grid, lettering, slope, stroke
from edge_resad.demo.products.surface import Map, Surface


def stitched(rng: np.random.Generator, size: int) -> Making:
    """A seam: one or two rows of stitches in leather, cloth or foil."""
    colour = pick(rng, (earthen(rng, 0.15, 0.8), any_colour(rng, 0.1, 0.9)))
    bare = _hide(size, colour, rng)
    x, y = grid(size)
    bend, line = between(rng, -0.25, 0.25), between(rng, -0.15, 0.15)
    if chance(rng, 0.6):  # the edge of the upper piece
        fold = np.asarray(x - line - 0.09 - bend * y * y, np.float32)
        upper = step(-fold, 0, 0.012)
        bare = bare.raised(upper * np.float32(0.02 * size))
        bare = bare.painted(near(rng, colour, 0.06), np.float32(0.6) * (1 - upper))
    bench = Bench(bare)
    thread = away_from(rng, colour, 0.2)
    pitch, thick, lean = between(rng, 0.045, 0.11), between(rng, 0.012, 0.024), between(rng, -0.4, 0.4)
    for row in range(int(rng.integers(1, 3))):
        for k in range(-int(0.75 / pitch), int(0.75 / pitch) + 1):
            at_y = k * pitch
            at_x = line + row * 0.07 - 0.03 + bend * at_y * at_y
            reach = pitch * 0.36
            stitch = stroke(size, [(at_x - lean * reach, at_y - reach), (at_x + lean * reach, at_y + reach)], thick)
            below = at_y + reach * 1.2
            ends = np.minimum(disc(size, at_x, 2 * at_y - below, thick / 2), disc(size, at_x, below, thick / 2))
            pricked = np.float32(0.6) * filled(ends)
            bench.bare = bench.bare.painted(grey(0.02), pricked)
            bench.full = bench.full.painted(grey(0.02), pricked)
            bench.lay(stitch, thread, polish=0.2, lift=0.012, bevel=thick / 2)
            if abs(at_y) < 0.42:
                bench.feature(stitch, 0.008)
    freedom = Freedom(turn=0.05, shift=0.02)
    return posed(bench, table(rng, size, colour), freedom, rng)


def _hide(size: int, colour: tuple[float, float, float], rng: np.random.Generator) -> Surface:
    """A sheet of leather or cloth that fills the picture and more."""
    part = blank(box(size, 0, 0, 2, 2), colour, polish=between(rng, 0, 0.3), thick=0.0)
    if chance(rng, 0.6):
        _, wall = cells(size, between(rng, 4, 10) * size / 256, rng)
        relief = np.minimum(wall / np.float32(2.5), 1)
        shades = 0.88 + 0.12 * relief
    else:
        x, y = grid(size)
        period = between(rng, 0.012, 0.03)
        relief = np.asarray(0.5 * np.sin(2 * np.pi * x / period) * np.sin(2 * np.pi * y / period), np.float32)
        shades = 1 + 0.12 * relief
    return replace(part, colour=np.asarray(part.colour * shades, np.float32)).raised(np.asarray(relief, np.float32))


def weld(rng: np.random.Generator, size: int) -> Making:
    """A weld or a bead of sealant between two sheets."""
    metal = pick(rng, (0.8, 0.8, 0.0))
    colour = near(rng, pick(rng, METALS), 0.04)
    part = blank(box(size, 0, 0, 2, 2), colour, metal=metal, polish=between(rng, 0.1, 0.4), thick=0.0)
    strokes = noise(size, between(rng, 4, 30), 0.7, rng)
    part = replace(part, colour=np.asarray(part.colour * (1 + 0.05 * strokes), np.float32))
    x, y = grid(size)
    middle = between(rng, -0.1, 0.1) + 0.006 * np.sin(2 * np.pi * x / between(rng, 0.2, 0.6))
    away = np.asarray(y - middle, np.float32)
    heat = np.exp(-((away / between(rng, 0.12, 0.25)) ** 2)).astype(np.float32)
    part = part.painted(
        tone(between(rng, 0, 1), between(rng, 0.1, 0.5), 0.4), np.float32(between(rng, 0.1, 0.5)) * heat
    )
    bench = Bench(part)
    half, pitch = between(rng, 0.04, 0.10), between(rng, 0.02, 0.06)
    inside = np.clip(1 - (away / half) ** 2, 0, 1)
    ripple = np.cos(2 * np.pi * (x + between(rng, 2, 9) * away * away) / pitch)
    bead = near(rng, colour, 0.08) if chance(rng, 0.7) else any_colour(rng)
    shape = np.asarray(np.abs(away) - np.float32(half), np.float32)
    bench.lay(shape, bead, metal=metal, polish=0.3)
    rise = np.sqrt(inside) * half * 0.5 + inside * ripple * pitch * between(rng, 0.04, 0.14)
    bench.full = bench.full.raised(np.asarray(rise * size, np.float32))
    for k in range(-3, 4):
        bench.feature(np.maximum(shape, np.abs(x - np.float32(0.12 * k)) - np.float32(0.05)), 0.004)
    return posed(bench, table(rng, size, colour), Freedom(turn=pick(rng, (0.03, 0.1)), shift=0.03), rng)


def spring(rng: np.random.Generator, size: int) -> Making:
    """A spring, a coil or a bellows from the side."""
    colour, metal = near(rng, pick(rng, METALS), 0.04), pick(rng, (0.9, 0.9, 0.3))
    wide, thick, coils = between(rng, 0.12, 0.3), between(rng, 0.03, 0.06), int(rng.integers(6, 14))
    pitch = 0.8 / coils
    thick = min(thick, pitch * 0.8)
    bench = Bench(blank(box(size, 0, 0, wide * 0.3, 0.84, 0.01), grey(0.05), polish=0.1, thick=0.0))
    if chance(rng, 0.7):
        bench = Bench(replace(bench.full, cover=np.zeros((size, size), np.float32)))
    for behind in (True, False):
        for k in range(coils):
            y = -0.4 + (k + 0.5) * pitch
            sign = -1 if behind else 1
            wire = stroke(size, [(-wide, y - sign * pitch / 4), (wide, y + sign * pitch / 4)], thick)
            over = filled(wire)
            shade = near(rng, colour, 0.01)
            dark = tuple(v * (0.45 if behind else 1.0) for v in shade)
            full = bench.full.laid((dark[0], dark[1], dark[2]), metal, 0.5, over)
            full = full.raised(slope(wire, thick / 2) * np.float32((0.01 if behind else 0.03) * size))
            bench.full = replace(full, cover=np.maximum(full.cover, over))
            if not behind:
                bench.feature(wire, 0.004)
    freedom = Freedom(turn=np.pi if chance(rng, 0.5) else 0.08, shift=0.02)
    return posed(bench, table(rng, size, colour), freedom, rng)


def can(rng: np.random.Generator, size: int) -> Making:
    """A can, bottle, tube or candle from the side: a round body with a label, bands and a top."""
    x, y = grid(size)
    radius, high = between(rng, 0.16, 0.34), between(rng, 0.6, 0.9)
    colour = pick(rng, (vivid(rng), any_colour(rng, 0.2, 0.95), near(rng, pick(rng, METALS), 0.03)))
    shape = box(size, 0, 0, 2 * radius, high, between(rng, 0.0, 0.06))
    if chance(rng, 0.5):  # a neck
        neck = box(size, 0, -0.3, radius * between(rng, 0.5, 1.0), 0.36, 0.02)
        body = box(size, 0, 0.12, 2 * radius, 0.6, between(rng, 0.03, 0.1))
        shape = np.minimum(neck, body)
    metal = pick(rng, (0.0, 0.0, 0.6))
    part = blank(shape, colour, metal=metal, polish=between(rng, 0.1, 0.9), thick=0.0, bevel=0.01)
    part = part.raised(
        np.asarray(np.sqrt(np.clip(1 - (x / (radius * 1.03)) ** 2, 0.03, 1)) * radius * 0.8 * size, np.float32)
    )
    bench = Bench(part)
    for _ in range(int(rng.integers(1, 5))):
        at, thick = between(rng, -0.35, 0.4), between(rng, 0.01, 0.12)
        band = np.maximum(shape, np.abs(y - np.float32(at)) - np.float32(thick / 2))
        bench.full = bench.full.laid(any_colour(rng), 0.0, 0.4, filled(band))
        bench.feature(band, 0.002)
    ink, at = away_from(rng, colour, 0.3), between(rng, -0.02, 0.2)
    mark = lettering(size, word(rng, 3, 7), 0, at, radius * between(rng, 1.0, 1.5), 0.12, bold=True)
    bench.ink(mark, ink)
    bench.feature(box(size, 0, at, radius * 1.6, 0.14))
    lid = np.maximum(shape, y + np.float32(between(rng, 0.28, 0.36)))
    if chance(rng, 0.6):
        bench.full = bench.full.laid(any_colour(rng), 0.0, 0.5, filled(lid))
        bench.feature(lid, 0.004)
    return posed(bench, table(rng, size, colour), Freedom(turn=pick(rng, (0.02, 0.05, np.pi)), shift=0.02), rng)


def fruit(rng: np.random.Generator, size: int) -> Making:
    """A fruit, a nut or a stone: round, no two alike, in colours that run into one another, with freckles."""
    first = tone(pick(rng, (0.0, 0.03, 0.08, 0.12, 0.2, 0.3)), between(rng, 0.4, 0.95), between(rng, 0.35, 0.9))
    second = near(rng, first, 0.15)
    radius, flat = between(rng, 0.3, 0.42), between(rng, 0.75, 1.0)
    freckles, rough, polish = between(rng, 1.6, 3.0), between(rng, 0.05, 0.8), between(rng, 0.1, 0.8)
    freckle = away_from(rng, first, 0.2)
    scarred = chance(rng, 0.6)
    x, y = grid(size)
    ground = table(rng, size, first)
    freedom = Freedom(turn=np.pi if chance(rng, 0.6) else 0.2, shift=0.03)
    makes = []
    for _ in range(ALIKE):
        away = np.hypot(x, y / flat) + np.float32(0.009) * clouds(size, 3, rng, 2)
        shape = np.asarray(away - radius, np.float32)
        inside = np.clip(-shape / radius, 0, 1)
        body: Map = np.asarray(np.sqrt(np.maximum(1 - (1 - inside) ** 2, 0)) * radius * 0.75 * size, np.float32)
        part = blank(shape, first, polish=polish, thick=0.0).raised(body)
        part = part.painted(second, step(clouds(size, 3, rng, 3), 0.0, 2.5))
        part = part.painted(freckle, np.float32(0.5) * step(soft_noise(size, 1.2, rng), freckles, 0.5))
        bench = Bench(part.raised(np.float32(rough) * soft_noise(size, 2.0, rng)))
        stem = disc(size, 0, -0.1 if scarred else 0, between(rng, 0.02, 0.05))
        bench.lay(stem, (0.08, 0.16, 0.22), polish=0.1)
        bench.full = bench.full.raised(-slope(np.asarray(stem - 0.02, np.float32), 0.03) * np.float32(0.02 * size))
        bench.feature(stem, 0.02)
        makes.append(posed(bench, ground, freedom, rng))
    return any_of(makes)
