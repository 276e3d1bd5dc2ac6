"""Machined and moulded parts: plates, mouldings, gears, bottle tops, rings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_resad.demo.products.factory.bench import Bench, Freedom, blank, posed, table
from edge_resad.demo.products.factory.palette import METALS, any_colour, away_from, between, chance, near, pick, vivid
from edge_resad.demo.products.factory.piece import Making
from edge_resad.demo.products.shapes import angle, box, disc, filled, lettering, stroke
from edge_resad.demo.products.surface import Map

LETTERS = "ABCDEFGHJKLMNPRSTUVXYZ0123456789"


def word(rng: np.random.Generator, low: int = 2, high: int = 7) -> str:
    """A mark such as people print and cast."""
    return "".join(pick(rng, LETTERS) for _ in range(int(rng.integers(low, high))))


def outline(rng: np.random.Generator, size: int) -> Map:
    """Any outline of a flat part: a distance."""
    kind = int(rng.integers(6))
    width, height = between(rng, 0.5, 0.86), between(rng, 0.4, 0.86)
    if kind == 0:
        return box(size, 0, 0, width, height, between(rng, 0.0, 0.08))
    if kind == 1:
        return disc(size, 0, 0, between(rng, 0.28, 0.43))
    if kind == 2:  # polygon
        corners, around = int(rng.integers(3, 9)), angle(size)
        sector = 2 * np.pi / corners
        away = disc(size, 0, 0, 0) * np.cos(np.mod(around, sector) - sector / 2)
        return np.asarray(away - between(rng, 0.26, 0.36), np.float32)
    if kind == 3:  # an angle
        other = box(size, between(rng, 0.05, 0.2), between(rng, 0.05, 0.2), width, height)
        return np.maximum(box(size, 0, 0, 0.84, 0.84, 0.03), -other)
    if kind == 4:  # lobes
        lobes = int(rng.integers(2, 6))
        away = disc(size, 0, 0, between(rng, 0.16, 0.24))
        reach = between(rng, 0.22, 0.3)
        for k in range(lobes):
            turn = 2 * np.pi * k / lobes
            end = (reach * np.cos(turn), reach * np.sin(turn))
            away = np.minimum(away, stroke(size, [(0.0, 0.0), end], between(rng, 0.14, 0.2)))
        return away
    return np.minimum(
        box(size, 0, 0, 0.86, between(rng, 0.2, 0.4), 0.03), box(size, 0, 0, between(rng, 0.2, 0.5), 0.8, 0.04)
    )


def drilled(rng: np.random.Generator, size: int) -> Making:
    """A plate with holes: a pattern of them, some slots, perhaps an engraved mark."""
    shape = outline(rng, size)
    metal = pick(rng, (0.9, 0.9, 0.6, 0.0))
    colour = near(rng, pick(rng, METALS), 0.04) if metal else any_colour(rng, 0.15, 0.9)
    bench = Bench(blank(shape, colour, metal=metal, polish=between(rng, 0, 0.5), thick=0.015))
    radius = between(rng, 0.015, 0.05)
    places: list[tuple[float, float]] = []
    if chance(rng, 0.5):
        count, reach, phase = int(rng.integers(3, 10)), between(rng, 0.15, 0.3), between(rng, 0, 3)
        places = [
            (reach * np.cos(phase + 2 * np.pi * k / count), reach * np.sin(phase + 2 * np.pi * k / count))
            for k in range(count)
        ]
    else:
        pitch_x, pitch_y = between(rng, 0.12, 0.28), between(rng, 0.12, 0.28)
        places = [(pitch_x * i, pitch_y * j) for i in range(-3, 4) for j in range(-3, 4)]
    if chance(rng, 0.5):
        middle = disc(size, 0, 0, between(rng, 0.05, 0.11))
        if middle.shape and _inside(shape, 0, 0, 0.12):
            bench.bore(middle)
            bench.feature(middle)
            places = [(x, y) for x, y in places if np.hypot(x, y) > 0.13 + radius]
    for x, y in places[:30]:
        if not _inside(shape, x, y, radius + 0.03):
            continue
        hole = (
            disc(size, x, y, radius) if chance(rng, 0.85) else box(size, x, y, radius * 1.4, radius * 2.4, radius * 0.7)
        )
        if chance(rng, 0.3):
            bench.bore(disc(size, x, y, radius * 1.5), through=False, depth=0.008)
        bench.bore(hole)
        bench.feature(hole, 0.014)
    if not bench.features or chance(rng, 0.4):
        x, y = 0.0, between(rng, -0.1, 0.1)
        if not _inside(shape, x, y, 0.05):
            x, y = _deepest(shape)
        mark = lettering(size, word(rng), x, y, 0.25, between(rng, 0.04, 0.08), bold=chance(rng, 0.5))
        bench.ink(mark, away_from(rng, colour, 0.25), 0.8)
        bench.feature(box(size, x, y, 0.28, 0.1))
    return posed(bench, table(rng, size, colour), _freedom(rng), rng)


def _inside(shape: Map, x: float, y: float, margin: float) -> bool:
    size = shape.shape[0]
    column, row = int((x + 0.5) * size), int((y + 0.5) * size)
    return 0 <= column < size and 0 <= row < size and bool(shape[row, column] < -margin)


def _deepest(shape: Map) -> tuple[float, float]:
    """The place that is farthest inside."""
    row, column = np.unravel_index(int(shape.argmin()), shape.shape)
    return (int(column) + 0.5) / shape.shape[0] - 0.5, (int(row) + 0.5) / shape.shape[0] - 0.5


def _freedom(rng: np.random.Generator) -> Freedom:
    return Freedom(turn=np.pi if chance(rng, 0.4) else between(rng, 0.01, 0.08), shift=between(rng, 0.005, 0.03))


def moulded(rng: np.random.Generator, size: int) -> Making:
    """A plastic moulding: ribs, bosses, windows, a raised or printed mark."""
    shape = outline(rng, size)
    colour = pick(rng, (vivid(rng), any_colour(rng, 0.1, 0.95)))
    bench = Bench(
        blank(
            shape, colour, polish=between(rng, 0.2, 0.8), thick=between(rng, 0.02, 0.05), bevel=between(rng, 0.01, 0.04)
        )
    )
    if chance(rng, 0.6):
        rim = np.abs(np.asarray(shape + between(rng, 0.04, 0.08), np.float32)) - np.float32(0.008)
        bench.both(lambda part: part.raised(_slope_of(rim, 0.012) * np.float32(0.01 * size)))
    for _ in range(int(rng.integers(2, 7))):
        x, y = between(rng, -0.3, 0.3), between(rng, -0.3, 0.3)
        if not _inside(shape, x, y, 0.05):
            continue
        kind = int(rng.integers(4))
        radius = between(rng, 0.025, 0.06)
        if kind == 0:  # a boss with a bore
            boss = disc(size, x, y, radius)
            bench.full = bench.full.raised(_slope_of(boss, 0.01) * np.float32(0.02 * size))
            bench.bore(disc(size, x, y, radius * 0.45), through=chance(rng, 0.5), depth=0.03)
            bench.feature(boss)
        elif kind == 1:  # a rib
            rib = box(size, x, y, *((0.3, 0.022) if chance(rng, 0.5) else (0.022, 0.3)), 0.01)
            rib = np.maximum(rib, shape + np.float32(0.03))
            bench.full = bench.full.raised(_slope_of(rib, 0.01) * np.float32(0.02 * size))
            bench.feature(rib)
        elif kind == 2:  # a window
            window = box(size, x, y, radius * 2.2, radius * 1.4, 0.012)
            bench.bore(window)
            bench.feature(window)
        else:  # an inlay of another colour
            inlay = disc(size, x, y, radius) if chance(rng, 0.5) else box(size, x, y, 2.4 * radius, 1.5 * radius, 0.01)
            bench.lay(inlay, away_from(rng, colour, 0.2), polish=0.6, lift=0.01)
            bench.feature(inlay)
    x, y = between(rng, -0.08, 0.08), between(rng, -0.15, 0.15)
    if not _inside(shape, x, y, 0.06):
        x, y = _deepest(shape)
    mark = lettering(size, word(rng), x, y, between(rng, 0.15, 0.32), between(rng, 0.04, 0.09), bold=True)
    if chance(rng, 0.5):
        bench.full = bench.full.raised(np.asarray(mark * 0.014 * size, np.float32))
    else:
        bench.ink(mark, away_from(rng, colour, 0.25))
    bench.feature(box(size, x, y, 0.33, 0.1))
    return posed(bench, table(rng, size, colour), _freedom(rng), rng)


def _slope_of(shape: Map, width: float) -> Map:
    t = np.clip(-shape / np.float32(width), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def gear(rng: np.random.Generator, size: int) -> Making:
    """A gear, a pulley, a washer or a sealing ring."""
    around = angle(size)
    teeth = int(rng.integers(8, 48)) if chance(rng, 0.7) else 0
    radius, depth = between(rng, 0.3, 0.42), between(rng, 0.012, 0.035)
    wave = np.tanh(between(rng, 1, 6) * np.cos(teeth * around)).astype(np.float32) if teeth else np.float32(0)
    shape = np.asarray(disc(size, 0, 0, radius) - np.float32(depth) * wave, np.float32)
    metal = pick(rng, (0.9, 0.9, 0.0, 0.0))
    colour = near(rng, pick(rng, METALS), 0.04) if metal else any_colour(rng, 0.06, 0.9)
    bench = Bench(blank(shape, colour, metal=metal, polish=between(rng, 0.1, 0.6), thick=0.03))
    bore = disc(size, 0, 0, radius * (between(rng, 0.15, 0.4) if teeth else between(rng, 0.3, 0.8)))
    inner = float(-bore[size // 2, size // 2])
    web = _slope_of(disc(size, 0, 0, radius * 0.8), 0.02) * np.float32(between(rng, -0.02, 0.02) * size)
    bench.both(lambda part: part.raised(web))
    if chance(rng, 0.6) or not teeth:
        bench.bore(bore)
        bench.bare = bench.full
        if teeth:
            key = box(size, 0, -inner, inner * 0.4, inner * 0.5)
            bench.bore(key)
            bench.feature(key)
    if teeth and chance(rng, 0.7):
        count, reach = int(rng.integers(3, 8)), (inner + radius * 0.8) / 2
        for k in range(count):
            turn = 2 * np.pi * k / count
            hole = disc(
                size, reach * np.cos(turn), reach * np.sin(turn), (radius * 0.8 - inner) * between(rng, 0.2, 0.3)
            )
            bench.bore(hole)
            bench.feature(hole, 0.014)
    gap = (inner + radius) / 2
    mark = lettering(
        size, word(rng), 0, gap if not teeth else inner + 0.05, 0.10, min(0.035, (radius - inner) * 0.4), bold=True
    )
    bench.full = bench.full.raised(np.asarray(-mark * 0.006 * size, np.float32)).painted(
        away_from(rng, colour), np.float32(0.5) * mark
    )
    bench.feature(box(size, 0, gap if not teeth else inner + 0.05, 0.13, 0.06))
    freedom = Freedom(turn=np.pi if chance(rng, 0.5) else 0.05, shift=0.02)
    return posed(bench, table(rng, size, colour), freedom, rng)


def wheel(rng: np.random.Generator, size: int) -> Making:
    """A wheel, a fan or a hub: spokes between a rim and a hub."""
    radius, hub, wide = between(rng, 0.36, 0.45), between(rng, 0.07, 0.14), between(rng, 0.03, 0.08)
    metal = pick(rng, (0.0, 0.0, 0.9))
    colour = near(rng, pick(rng, METALS), 0.04) if metal else any_colour(rng, 0.08, 0.9)
    rim = np.asarray(np.abs(disc(size, 0, 0, radius - wide)) - np.float32(wide), np.float32)
    shape = np.minimum(rim, disc(size, 0, 0, hub))
    polish = between(rng, 0.1, 0.6)
    bench = Bench(blank(shape, colour, metal=metal, polish=polish, thick=0.03, bevel=0.02))
    count, twist, thick = int(rng.integers(3, 13)), between(rng, -0.7, 0.7), between(rng, 0.02, 0.07)
    for k in range(count):
        turn = 2 * np.pi * k / count
        path = [
            (r * np.cos(turn + twist * s), r * np.sin(turn + twist * s))
            for s, r in ((s, hub * 0.7 + s * (radius - wide - hub * 0.7)) for s in (0.0, 0.33, 0.66, 1.0))
        ]
        spoke = np.asarray(np.maximum(stroke(size, path, thick), -shape), np.float32)
        over = filled(spoke)
        full = bench.full.laid(colour, metal, polish, over).raised(_slope_of(spoke, 0.012) * np.float32(0.02 * size))
        bench.full = replace(full, cover=np.maximum(full.cover, over))
        bench.feature(spoke, 0.004)
    bore = disc(size, 0, 0, hub * between(rng, 0.25, 0.6))
    bench.bore(bore)
    bench.feature(bore)
    freedom = Freedom(turn=np.pi if chance(rng, 0.5) else 0.05, shift=0.02)
    return posed(bench, table(rng, size, colour), freedom, rng)


def top(rng: np.random.Generator, size: int) -> Making:
    """A bottle top, a lid or a button from above: fluted rim and a printed or embossed face."""
    flutes, around = int(rng.integers(14, 90)), angle(size)
    radius = between(rng, 0.33, 0.43)
    ripple = np.cos(flutes * around).astype(np.float32)
    shape = np.asarray(disc(size, 0, 0, radius) - np.float32(between(rng, 0.002, 0.014)) * ripple, np.float32)
    colour = pick(rng, (vivid(rng), any_colour(rng, 0.15, 0.95), (0.75, 0.76, 0.77)))
    metal = pick(rng, (0.0, 0.0, 0.7))
    part = blank(shape, colour, metal=metal, polish=between(rng, 0.3, 0.8), thick=0.05, bevel=between(rng, 0.04, 0.09))
    skirt = np.clip((disc(size, 0, 0, 0.8 * radius)) / 0.03, 0, 1)
    part = part.raised(np.asarray(skirt * ripple * 0.006 * size, np.float32))
    bench = Bench(part)
    inked = away_from(rng, colour, 0.3)
    for _ in range(int(rng.integers(0, 3))):
        ring = np.abs(disc(size, 0, 0, between(rng, 0.4, 0.75) * radius)) - np.float32(between(rng, 0.003, 0.016))
        bench.full = bench.full.painted(
            pick(rng, (inked, vivid(rng))), np.clip(0.5 - ring * size, 0, 1).astype(np.float32)
        )
    y = between(rng, -0.06, 0.06)
    mark = lettering(size, word(rng, 2, 6), 0, y, between(rng, 0.2, 0.36), between(rng, 0.07, 0.14), bold=True)
    if chance(rng, 0.7):
        bench.ink(mark, inked)
    else:
        bench.full = bench.full.raised(np.asarray(mark * 0.01 * size, np.float32))
    bench.feature(box(size, 0, y, 0.36, 0.15))
    star = stroke(size, [(-0.05, -y * 2 + 0.14), (0.05, -y * 2 + 0.14)], between(rng, 0.02, 0.05))
    bench.lay(star, pick(rng, (inked, vivid(rng))), polish=0.3)
    bench.feature(star)
    return posed(bench, table(rng, size, colour), Freedom(turn=np.pi if chance(rng, 0.5) else 0.05), rng)


def bottle(rng: np.random.Generator, size: int) -> Making:
    """A bottle, can, cup or tube from above: rings of light and dark around a deep middle."""
    radius = between(rng, 0.34, 0.45)
    colour = any_colour(rng, 0.05, 0.8)
    part = blank(
        disc(size, 0, 0, radius),
        colour,
        metal=pick(rng, (0.0, 0.0, 0.8)),
        polish=between(rng, 0.5, 1),
        thick=0.03,
        bevel=0.05,
    )
    away = disc(size, 0, 0, 0)
    for _ in range(int(rng.integers(4, 9))):
        at, wide = between(rng, 0.2, 0.95) * radius, between(rng, 0.006, 0.04)
        ring = np.exp(-(((away - at) / wide) ** 2)).astype(np.float32)
        part = part.painted(any_colour(rng, 0.02, 0.95), ring * np.float32(between(rng, 0.3, 0.95)))
        part = part.raised(ring * np.float32(between(rng, -0.015, 0.02) * size))
    bench = Bench(part)
    deep = disc(size, 0, 0, radius * between(rng, 0.25, 0.6))
    bench.lay(deep, any_colour(rng, 0.02, 0.5), polish=0.6)
    bench.full = bench.full.raised(-_slope_of(deep, 0.03) * np.float32(0.04 * size))
    bench.feature(deep)
    return posed(bench, table(rng, size, colour), Freedom(turn=np.pi, shift=0.015), rng)
