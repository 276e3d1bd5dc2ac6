"""Structures by the roll: foam, fleece, strands, cobbles, scales, keys in rows."""

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
from edge_resad.demo.products.factory.patterns import (
    by_cell,
    cells,
    clouds,
    noise,
    plane,
    soft_noise,
    step,
    swayed,
    turned_plane,
)
from edge_resad.demo.products.factory.piece import Making
from edge_resad.demo.products.factory.rolls import blended, coloured, pictured, rolled, side_of
from edge_resad.demo.products.shapes import lettering
from edge_resad.demo.products.surface import Map, softened


def foam(rng: np.random.Generator, size: int) -> Making:
    """Foam, sponge, cork or bread: pores of two sizes in an even mass."""
    side, scale = side_of(size), size / 256
    colour = pick(rng, (earthen(rng, 0.4, 0.9), any_colour(rng, 0.2, 0.9), grey(between(rng, 0.5, 0.9))))
    pores = np.zeros((side, side), np.float32)
    for share in (1.0, between(rng, 0.35, 0.6)):
        width = between(rng, 1.2, 5.5) * scale * share
        pores = np.maximum(pores, step(soft_noise(side, width, rng), between(rng, 0.7, 1.7), between(rng, 0.3, 1.0)))
    shades = 1 - between(rng, 0.25, 0.7) * pores + 0.03 * soft_noise(side, 0.7, rng) + 0.03 * clouds(side, 2 * 5, rng)
    height = np.asarray(-between(rng, 0.8, 3.0) * scale * pores + 0.2 * soft_noise(side, 1.0, rng), np.float32)
    surface = pictured(coloured(colour, np.asarray(shades, np.float32)), height, polish=between(rng, 0, 0.3))
    return rolled(surface, size, turn=np.pi)


def fleece(rng: np.random.Generator, size: int) -> Making:
    """Fleece, felt, chipboard or straw: many fibres or flakes across one another."""
    side, scale = side_of(size), size / 256
    ground = any_colour(rng, 0.08, 0.6)
    fibres = [near(rng, away_from(rng, ground, 0.15), 0.05) for _ in range(int(rng.integers(1, 4)))]
    canvas = np.empty((side, side, 3), np.float32)
    canvas[:] = np.asarray(ground, np.float32)
    height = np.zeros((side, side), np.float32)
    long, wide, curl = between(rng, 12, 90) * scale, between(rng, 1, 4.5) * scale, between(rng, 0, 0.5)
    main, spread = between(rng, 0, np.pi), pick(rng, (np.pi, np.pi, 0.3))
    for k in range(min(12000, int(between(rng, 0.7, 2.0) * side * side / (long * wide)))):
        steps = np.linspace(0, 1, 8)
        turns = main + rng.uniform(-spread, spread) + curl * rng.normal(0, 2) * steps
        points = np.cumsum(np.stack((np.cos(turns), np.sin(turns)), axis=1), axis=0) * (long / 8)
        points = np.round((points + rng.uniform(-20, side, 2)) * 8).astype(np.int32)
        tone = rng.uniform(0.7, 1.15)
        blue, green, red = (float(v * tone) for v in pick(rng, fibres))
        thick = max(1, round(wide * rng.uniform(0.6, 1.3)))
        cv2.polylines(canvas, [points], False, (blue, green, red), thick, cv2.LINE_AA, 3)
        cv2.polylines(height, [points], False, float(k % 7) * 0.25 + 0.6, thick, cv2.LINE_AA, 3)
    colour = canvas.transpose(2, 0, 1) * (1 + 0.04 * soft_noise(side, 0.7, rng))
    surface = pictured(np.asarray(colour, np.float32), softened(height, 0.7) * np.float32(between(rng, 0.4, 1.2)))
    return rolled(surface, size, turn=np.pi if spread > 1 else 0.05)


def strands(rng: np.random.Generator, size: int) -> Making:
    """Ropes, cables or yarn side by side, each twisted."""
    side, scale = side_of(size), size / 256
    x, y = plane(side)
    x = x + np.float32(0.8) * noise(side, 4, 20, rng)
    pitch, twist = between(rng, 8, 44) * scale, between(rng, 5, 22) * scale
    rope = np.floor(x / pitch)
    across = np.asarray(2 * (x / pitch - rope) - 1, np.float32)
    hand = np.where(rope % 2 == 0, 1, pick(rng, (1, -1)))
    lay = np.mod((y + hand * across * pitch * between(rng, 0.3, 0.9)) / twist + 0.37 * rope, 1)
    ply = np.sqrt(1 - (2 * lay - 1) ** 2 * 0.95)
    body = np.sqrt(1 - 0.97 * across**2)
    colours = np.array(
        [near(rng, any_colour(rng, 0.2, 0.95), 0.02) for _ in range(pick(rng, (1, 1, 2, 3)))], np.float32
    ).T
    colour = by_cell(rope.astype(np.int32), np.asarray(colours, np.float32))
    fine = noise(side, 0.6, 2.0, rng)
    shade = (0.35 + 0.65 * body) * (0.6 + 0.4 * ply) * (1 + 0.06 * fine)
    metal = pick(rng, (0.0, 0.0, 0.6))
    height = np.asarray((body * 0.22 * pitch + ply * 0.12 * twist) + 0.1 * fine, np.float32)
    surface = pictured(np.asarray(colour * shade, np.float32), height, metal=metal, polish=between(rng, 0, 0.4))
    return rolled(surface, size, turn=0.04, swing=pick(rng, (0.0, np.pi / 2, between(rng, 0, np.pi))))


def cobbles(rng: np.random.Generator, size: int) -> Making:
    """Cobbles, pebbles, mosaic or scales: stones with joints, each in a tone of its own."""
    side, scale = side_of(size), size / 256
    labels, wall = cells(side, between(rng, 14, 60) * scale, rng, order=between(rng, 0.1, 0.9))
    wall = swayed(wall, soft_noise(side, 3, rng), soft_noise(side, 3, rng))
    gap = between(rng, 0.8, 3.2) * scale
    stone = step(wall, gap, 1.5)
    base = pick(rng, (earthen(rng), any_colour(rng, 0.25, 0.9), grey(between(rng, 0.3, 0.8))))
    spread = between(rng, 0.01, 0.08)
    values = np.stack([near(rng, base, spread) for _ in range(211)]).T.astype(np.float32)
    grain = soft_noise(side, 0.8, rng)
    colour = by_cell(labels, values) * (1 + between(rng, 0.01, 0.08) * grain + 0.05 * clouds(side, 2 * 9, rng))
    joint = np.asarray(grey(between(rng, 0.08, 0.6)), np.float32)[:, None, None] * (1 + 0.1 * grain)
    dome = np.minimum(np.maximum(wall - gap, 0) / np.float32(between(rng, 3, 14) * scale), 1) ** 0.5
    height = softened(np.asarray(dome * between(rng, 1, 4.5) * scale, np.float32), 0.8) + np.float32(0.15) * grain
    surface = pictured(np.asarray(joint + stone * (colour - joint), np.float32), height, polish=between(rng, 0, 0.5))
    return rolled(surface, size, turn=np.pi if chance(rng, 0.5) else 0.1)


def scales(rng: np.random.Generator, size: int) -> Making:
    """Roof tiles, scales or feathers: rows that overlap."""
    side, scale = side_of(size), size / 256
    x, y = turned_plane(side, pick(rng, (0.0, 0.0, np.pi / 2)))
    x, y = x + np.float32(2 * side), y + np.float32(2 * side)
    width = between(rng, 14, 52) * scale
    pitch = width * between(rng, 0.4, 0.9)
    arc = between(rng, 0.1, 0.8)
    inside = np.zeros((side, side), np.float32)
    number = np.zeros((side, side), np.int32)
    for shift in (0, 1):  # the row itself, then the one above, which lies over it
        row = np.floor(y / pitch) - shift
        moved = x / width + 0.5 * np.mod(row, 2)
        column = np.floor(moved)
        u = 2 * (moved - column) - 1
        down = y / pitch - row  # 0 .. 2 below its own top
        edge = 1 + arc * (1 - u * u) * 0.9
        lies = down <= edge
        inside = np.where(lies, down / edge, inside)
        number = np.where(lies, row.astype(np.int32) * 37 + column.astype(np.int32) * 11, number)
    base = any_colour(rng, 0.2, 0.9)
    values = np.stack([near(rng, base, between(rng, 0.0, 0.03)) for _ in range(89)]).T.astype(np.float32)
    grain = soft_noise(side, 0.8, rng)
    colour = by_cell(np.mod(number, 89), values) * (0.7 + 0.3 * inside) * (1 + 0.05 * grain)
    height = np.asarray(inside * pitch * between(rng, 0.06, 0.16) + 0.15 * grain, np.float32)
    surface = pictured(np.asarray(colour, np.float32), softened(height, 0.6), polish=between(rng, 0, 0.5))
    return rolled(surface, size, turn=0.03)


def keys(rng: np.random.Generator, size: int) -> Making:
    """Keys, buttons or cells of a battery in rows: rounded blocks with the same or no print."""
    side, scale = side_of(size), size / 256
    pitch_x = between(rng, 22, 62) * scale
    pitch_y = pitch_x * between(rng, 0.7, 1.3)
    x, y = plane(side)
    inside_x, inside_y = np.mod(x, pitch_x) - pitch_x / 2, np.mod(y, pitch_y) - pitch_y / 2
    half_x, half_y = pitch_x * between(rng, 0.36, 0.46), pitch_y * between(rng, 0.36, 0.46)
    corner = min(half_x, half_y) * between(rng, 0.1, 1.0)
    a, b = np.abs(inside_x) - half_x + corner, np.abs(inside_y) - half_y + corner
    away = np.hypot(np.maximum(a, 0), np.maximum(b, 0)) + np.minimum(np.maximum(a, b), 0) - corner
    block = step(np.asarray(-away, np.float32), 0, 1.2)
    colour, ground = any_colour(rng, 0.1, 0.95), any_colour(rng, 0.05, 0.7)
    metal = pick(rng, (0.0, 0.0, 0.7))
    if metal:
        colour = near(rng, pick(rng, METALS), 0.03)
    flat = blended(ground, colour, block)
    if chance(rng, 0.6):
        own = max(24, round(min(pitch_x, pitch_y)))
        mark = lettering(own, pick(rng, "ABCDEFGHKMNPRSTXZ0123456789+-"), 0, 0, 0.4, 0.4, bold=True)
        at_x = np.asarray(inside_x + own / 2, np.float32)
        at_y = np.asarray(inside_y + own / 2, np.float32)
        printed = cv2.remap(mark, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        flat = flat + printed * (np.asarray(away_from(rng, colour), np.float32)[:, None, None] - flat)
    grain = soft_noise(side, 0.8, rng)
    bevel = step(np.asarray(-away, np.float32), between(rng, 1, 4) * scale, between(rng, 2, 8) * scale)
    height: Map = np.asarray(bevel * between(rng, 1.5, 5) * scale + 0.12 * grain, np.float32)
    colours = np.asarray(flat * (1 + 0.03 * grain + 0.02 * clouds(side, 2 * 4, rng)), np.float32)
    surface = pictured(colours, height, metal=metal, polish=between(rng, 0, 0.6))
    return rolled(surface, size, turn=0.02)
