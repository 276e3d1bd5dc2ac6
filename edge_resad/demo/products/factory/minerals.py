"""Hard goods by the roll: metal, stone, wood, tiles, pavement, plastic."""

from __future__ import annotations

import cv2
import numpy as np

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
)
from edge_resad.demo.products.factory.patterns import by_cell, cells, clouds, noise, plane, step, swayed, turned_plane
from edge_resad.demo.products.factory.piece import Making
from edge_resad.demo.products.factory.rolls import blended, coloured, pictured, rolled, side_of
from edge_resad.demo.products.surface import Map, softened


def brushed(rng: np.random.Generator, size: int) -> Making:
    """Brushed, ground or rolled metal: fine strokes one way."""
    side, scale = side_of(size), size / 256
    length = between(rng, 8, 60) * scale
    strokes = noise(side, length, 0.6, rng) + 0.6 * noise(side, 2 * length, between(rng, 1, 5), rng)
    if chance(rng, 0.2):
        strokes = strokes + noise(side, 0.6, length, rng)
    deep = between(rng, 0.02, 0.09)
    colour = coloured(near(rng, pick(rng, METALS), 0.03), np.asarray(1 + deep * strokes, np.float32))
    metal = between(rng, 0.3, 1.0)
    surface = pictured(colour, np.asarray(0.05 * strokes, np.float32), metal=metal, polish=between(rng, 0, 0.4))
    uneven = 0.03 * clouds(side, 2 * 3, rng, 2)
    return rolled(surface, size, turn=0.03, swing=pick(rng, (0.0, np.pi / 2, between(rng, 0, np.pi))), uneven=uneven)


def cast(rng: np.random.Generator, size: int) -> Making:
    """Cast, blasted or sintered: an even grain, as of a ferrite or a casting."""
    side, scale = side_of(size), size / 256
    fine = noise(side, between(rng, 0.5, 1.4) * scale, between(rng, 0.5, 1.4) * scale, rng)
    coarse = noise(side, between(rng, 2, 7) * scale, between(rng, 2, 7) * scale, rng)
    level = between(rng, 0.18, 0.75)
    shades = 1 + between(rng, 0.03, 0.13) * fine + between(rng, 0.0, 0.06) * coarse + 0.03 * clouds(side, 2 * 4, rng)
    if chance(rng, 0.4):  # ground marks
        shades = shades + between(rng, 0.02, 0.07) * noise(side, 30 * scale, 0.8, rng)
    colour = coloured(near(rng, grey(level), 0.02), np.asarray(shades, np.float32))
    height = np.asarray(between(rng, 0.1, 0.6) * fine + 0.5 * coarse, np.float32)
    swing = pick(rng, (0.0, np.pi / 2))
    surface = pictured(colour, height, metal=pick(rng, (0.0, 0.3, 0.7)), polish=between(rng, 0, 0.2))
    return rolled(surface, size, turn=0.06, swing=swing, uneven=between(rng, 0, 0.08) * clouds(side, 2 * 2, rng, 2))


def knurled(rng: np.random.Generator, size: int) -> Making:
    """Knurled, ribbed or tread plate: a relief that repeats."""
    side, scale = side_of(size), size / 256
    pitch = between(rng, 6, 30) * scale
    open_angle = pick(rng, (np.pi / 2, np.pi / 3, between(rng, 0.8, 1.8)))
    swing = between(rng, 0, np.pi)
    x, _ = turned_plane(side, swing)
    y, _ = turned_plane(side, swing + open_angle)
    kind = int(rng.integers(3))
    if kind == 0:  # diamonds
        height = 1 - np.maximum(np.abs(np.mod(x / pitch, 1) * 2 - 1), np.abs(np.mod(y / pitch, 1) * 2 - 1))
    elif kind == 1:  # ribs
        height = 0.5 + 0.5 * np.cos(2 * np.pi * x / pitch)
    else:  # tread: short bars, each way in turn
        column, row = np.floor(x / pitch), np.floor(y / pitch)
        u, v = np.mod(x / pitch, 1) - 0.5, np.mod(y / pitch, 1) - 0.5
        swap = (column + row) % 2 == 0
        u, v = np.where(swap, u, v), np.where(swap, v, u)
        height = step(-np.hypot(u / 0.42, v / 0.16), -1, 0.5)
    grain = noise(side, 0.8, 0.8, rng)
    metal = pick(rng, (0.0, 0.7, 0.9))
    base = near(rng, pick(rng, METALS), 0.03) if metal else any_colour(rng, 0.1, 0.8)
    colour = coloured(base, np.asarray(1 + 0.05 * grain + 0.04 * clouds(side, 2 * 4, rng), np.float32))
    relief = np.asarray(height * pitch * between(rng, 0.12, 0.3) + 0.1 * grain, np.float32)
    return rolled(pictured(colour, relief, metal=metal, polish=between(rng, 0, 0.4)), size, turn=0.04)


def wood(rng: np.random.Generator, size: int) -> Making:
    """Wood: rings cut lengthwise, pores, and perhaps the joints of planks."""
    side, scale = side_of(size), size / 256
    x, y = plane(side)
    plank = between(rng, 60, 140) * scale
    board = np.floor(y / plank).astype(int) if chance(rng, 0.45) else np.zeros((side, side), int)
    jump = rng.uniform(0, 900, board.max() + 1).astype(np.float32)[board]
    shift = rng.normal(0, 0.07, board.max() + 1).astype(np.float32)[board]
    bend = between(rng, 2, 14) * scale * clouds(side, 2 * 2, rng, 3)
    rings = (y + jump + bend + x * between(rng, -0.03, 0.03)) / (between(rng, 4, 16) * scale)
    wave = np.mod(rings + 0.4 * noise(side, 60, 3, rng), 1)
    late = np.where(wave < 0.8, wave / 0.8, (1 - wave) / 0.2) ** between(rng, 1, 3)
    pores = step(noise(side, between(rng, 5, 14) * scale, 0.6, rng), between(rng, 1.2, 2.2), 0.6)
    fibre = noise(side, 18 * scale, 0.7, rng)
    light = earthen(rng, 0.35, 0.85)
    dark = tuple(float(v * between(rng, 0.45, 0.8)) for v in light)
    colour = blended(light, (dark[0], dark[1], dark[2]), np.asarray(between(rng, 0.4, 1.0) * late, np.float32))
    shades = (1 + shift) * (1 + 0.05 * fibre) * (1 - between(rng, 0.1, 0.4) * pores)
    height = 0.15 * fibre - 0.4 * pores
    if board.max():
        seam = step(-np.abs(np.mod(y, plank) - 1.5), -1.6, 1.5)
        shades, height = shades * (1 - 0.6 * seam), height - 2 * seam
    surface = pictured(
        np.asarray(colour * shades, np.float32), np.asarray(height, np.float32), polish=between(rng, 0, 0.4)
    )
    return rolled(surface, size, turn=0.05, swing=pick(rng, (0.0, np.pi / 2)))


def marble(rng: np.random.Generator, size: int) -> Making:
    """Marble: veins in clouds, polished."""
    side, scale = side_of(size), size / 256
    ground = pick(rng, (any_colour(rng, 0.6, 0.95), earthen(rng, 0.5, 0.9), any_colour(rng, 0.1, 0.35)))
    veins = np.zeros((side, side), np.float32)
    for k in range(int(rng.integers(1, 4))):
        field = clouds(side, 2 * int(rng.integers(2, 6)), rng, 5)
        veil = step(clouds(side, 2 * 3, rng), between(rng, -0.6, 0.6), 2.0)
        vein = softened(np.asarray(np.exp(-((field / between(rng, 0.12, 0.5)) ** 2)) * veil, np.float32), 1.5 * scale)
        veins = np.maximum(veins, vein * (1 - 0.25 * k))
    cloud = clouds(side, 2 * 4, rng, 6)
    colour = blended(ground, away_from(rng, ground, 0.2), np.asarray(between(rng, 0.4, 0.9) * veins, np.float32))
    shades = 1 + between(rng, 0.02, 0.08) * cloud + 0.012 * noise(side, 0.7, 0.7, rng)
    surface = pictured(
        np.asarray(colour * shades, np.float32), np.zeros((side, side), np.float32), polish=between(rng, 0.2, 0.8)
    )
    return rolled(surface, size, turn=np.pi if chance(rng, 0.5) else 0.1)


def granite(rng: np.random.Generator, size: int) -> Making:
    """Granite, terrazzo or speckled enamel: grains of a few colours."""
    side, scale = side_of(size), size / 256
    colours = [any_colour(rng, 0.1, 0.9) if chance(rng, 0.4) else grey(between(rng, 0.1, 0.9)) for _ in range(5)]
    weights = rng.dirichlet(np.ones(5) * 0.8)
    labels, wall = cells(side, between(rng, 2.2, 11) * scale, rng)
    values = np.stack([near(rng, colours[int(rng.choice(5, p=weights))], 0.04) for _ in range(2003)]).T.astype(
        np.float32
    )
    labels = np.asarray(
        swayed(labels.astype(np.float32), *(1.5 * noise(side, 2, 2, rng) for _ in range(2))), np.float32
    )
    colour = by_cell(np.rint(labels).astype(np.int32), values)
    if chance(rng, 0.4):  # chips in cement
        cement = grey(between(rng, 0.3, 0.8))
        colour = colour + step(-wall, -between(rng, 0.8, 2.5) * scale, 1.0) * (
            np.asarray(cement, np.float32)[:, None, None] - colour
        )
    colour = cv2.GaussianBlur(colour.transpose(1, 2, 0), (0, 0), 0.6).transpose(2, 0, 1)
    colour = colour * (1 + 0.04 * noise(side, 0.6, 0.6, rng))
    surface = pictured(np.asarray(colour, np.float32), 0.1 * noise(side, 1, 1, rng), polish=between(rng, 0, 0.7))
    return rolled(surface, size, turn=np.pi)


def tiles(rng: np.random.Generator, size: int) -> Making:
    """Tiles or bricks with joints: each a little other in tone."""
    side, scale = side_of(size), size / 256
    x, y = plane(side)
    width = between(rng, 26, 110) * scale
    height = width * pick(rng, (1.0, 1.0, 0.5, 0.33))
    row = np.floor(y / height)
    moved = x + width * between(rng, 0.3, 0.5) * (row % 2) if chance(rng, 0.5) else x
    column = np.floor(moved / width)
    gap = between(rng, 1.2, 4.0) * scale
    inside_x, inside_y = np.mod(moved, width), np.mod(y, height)
    away = np.minimum(np.minimum(inside_x, width - inside_x), np.minimum(inside_y, height - inside_y))
    tile = step(np.asarray(away, np.float32), gap / 2, 1.3)
    number = (row.astype(np.int32) * 31 + column.astype(np.int32) * 17) % 97
    base = any_colour(rng, 0.25, 0.95) if chance(rng, 0.6) else earthen(rng)
    others = [base] if chance(rng, 0.6) else [base, away_from(rng, base, 0.15)]
    spread = between(rng, 0.0, 0.035)
    values = np.stack([near(rng, others[k % len(others)], spread) for k in range(97)]).T.astype(np.float32)
    grain = noise(side, 0.8, 0.8, rng)
    rough = between(rng, 0.01, 0.08)
    colour = by_cell(number, values) * (1 + rough * grain + rough * clouds(side, 2 * 7, rng))
    joint = np.asarray(grey(between(rng, 0.15, 0.85)), np.float32)[:, None, None] * (1 + 0.08 * grain)
    colour = joint + tile * (colour - joint)
    relief = step(np.asarray(away, np.float32), gap / 2 + 1, 3 * scale) * 1.6 * scale + 4 * rough * grain
    surface = pictured(
        np.asarray(colour, np.float32),
        np.asarray(relief, np.float32),
        polish=np.asarray(tile * between(rng, 0, 0.7), np.float32),
    )
    return rolled(surface, size, turn=0.03, swing=pick(rng, (0.0, 0.0, np.pi / 4)))


def aggregate(rng: np.random.Generator, size: int) -> Making:
    """Pavement: stones of all sizes in asphalt or concrete."""
    side, scale = side_of(size), size / 256
    base = near(rng, grey(between(rng, 0.25, 0.65)), 0.02)
    labels, wall = cells(side, between(rng, 2.5, 8) * scale, rng)
    stones = by_cell(labels, rng.normal(0, 1, 2003).astype(np.float32))
    stones = softened(stones, 0.7 * scale)
    rough = noise(side, 1.2 * scale, 1.2 * scale, rng)
    pits = step(noise(side, 1.5 * scale, 1.5 * scale, rng), between(rng, 1.6, 2.6), 0.6)
    shades = 1 + between(rng, 0.05, 0.2) * stones + between(rng, 0.04, 0.10) * rough - 0.4 * pits
    shades = shades * (1 + between(rng, 0.01, 0.06) * clouds(side, 2 * 3, rng))
    dome = np.minimum(wall / np.float32(2 * scale), 1)
    height = between(rng, 0.2, 0.9) * scale * (dome + rough) - 1.2 * pits
    surface = pictured(coloured(base, np.asarray(shades, np.float32)), np.asarray(height, np.float32))
    return rolled(surface, size, turn=np.pi, uneven=between(rng, 0.01, 0.06) * clouds(side, 2 * 3, rng, 2))


def plastic(rng: np.random.Generator, size: int) -> Making:
    """Painted, moulded or plain: an almost even colour with a fine grain, or orange peel."""
    side, scale = side_of(size), size / 256
    colour = any_colour(rng, 0.08, 0.95)
    peel = noise(side, between(rng, 0.8, 5) * scale, between(rng, 0.8, 5) * scale, rng)
    fine = noise(side, 0.7, 0.7, rng)
    shades = 1 + between(rng, 0.004, 0.03) * fine + 0.015 * clouds(side, 2 * 3, rng, 2)
    height = np.asarray(between(rng, 0.05, 0.35) * peel, np.float32)
    surface = pictured(coloured(colour, np.asarray(shades, np.float32)), height, polish=between(rng, 0.1, 0.7))
    return rolled(surface, size, turn=np.pi, uneven=between(rng, 0, 0.04) * clouds(side, 2 * 2, rng, 2))


def grooves(rng: np.random.Generator, size: int) -> Making:
    """Corrugated, slatted or machined in lines: profiles of two or three widths that repeat."""
    side, scale = side_of(size), size / 256
    _, y = turned_plane(side, 0.0)
    pitch = between(rng, 12, 60) * scale
    phase = np.mod(y / pitch, 1)
    profile = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        at, width = between(rng, 0, 1), between(rng, 0.08, 0.35)
        away = np.abs(np.mod(phase - at + 0.5, 1) - 0.5)
        profile = np.maximum(profile, step(-away, -width / 2, between(rng, 0.05, 0.3)))
    grain = noise(side, between(rng, 0.8, 12) * scale, 0.8, rng)
    base = pick(rng, (any_colour(rng), near(rng, pick(rng, METALS), 0.02)))
    share = np.asarray(between(rng, 0, 0.8) * profile, np.float32)
    colour = blended(base, near(rng, base, 0.15), share) * (1 + 0.04 * grain + 0.03 * clouds(side, 2 * 4, rng))
    height: Map = np.asarray(profile * pitch * between(rng, 0.04, 0.2) + 0.1 * grain, np.float32)
    metal = pick(rng, (0.0, 0.0, 0.7))
    surface = pictured(np.asarray(colour, np.float32), height, metal=metal, polish=between(rng, 0, 0.5))
    return rolled(surface, size, turn=0.03, swing=pick(rng, (0.0, np.pi / 2, between(rng, 0, np.pi))))
