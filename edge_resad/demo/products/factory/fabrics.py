"""Soft goods by the roll: cloth, knitwear, carpet, leather, paper."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products.factory.palette import (
    Colour,
    any_colour,
    away_from,
    between,
    chance,
    earthen,
    near,
    pick,
    vivid,
)
from edge_resad.demo.products.factory.patterns import by_cell, cells, clouds, noise, step, swayed, turned_plane, unit
from edge_resad.demo.products.factory.piece import Making
from edge_resad.demo.products.factory.rolls import blended, coloured, pictured, rolled, side_of
from edge_resad.demo.products.surface import Map

WEAVES: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((1, 0), (0, 1)),  # plain
    ((1, 1, 0, 0), (0, 1, 1, 0), (0, 0, 1, 1), (1, 0, 0, 1)),  # twill
    ((1, 1, 0, 0), (1, 1, 0, 0), (0, 0, 1, 1), (0, 0, 1, 1)),  # basket
    ((1, 0, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, 0, 0, 1), (0, 1, 0, 0, 0), (0, 0, 0, 1, 0)),  # satin
    ((1, 1, 0), (0, 1, 1), (1, 0, 1)),
)


def woven(rng: np.random.Generator, size: int) -> Making:
    """Cloth: threads over and under, in one colour, stripes or checks."""
    side, scale = side_of(size), size / 256
    warp_pitch = between(rng, 3.2, 13.0) * scale
    weft_pitch = warp_pitch * between(rng, 0.8, 1.3)
    x, y = turned_plane(side, pick(rng, (0.0, 0.0, np.pi / 4, between(rng, 0, np.pi))))
    x, y = x + 2 * side, y + 2 * side
    sway = 0.10 * warp_pitch
    x = x + np.float32(sway) * noise(side, 9 * scale, 14 * scale, rng)
    y = y + np.float32(sway) * noise(side, 14 * scale, 9 * scale, rng)
    column, across = _threads(x, warp_pitch)
    row, along = _threads(y, weft_pitch)
    weave = np.array(pick(rng, WEAVES))
    up = weave[row % weave.shape[0], column % weave.shape[1]].astype(bool)
    warp, weft = _bands(rng), _bands(rng)
    if chance(rng, 0.5):
        weft = warp
    colour = np.where(up, warp[:, column % warp.shape[1]], weft[:, row % weft.shape[1]])
    round_warp, round_weft = np.sqrt(1 - 0.96 * across**2), np.sqrt(1 - 0.96 * along**2)
    height = np.where(up, round_warp * (0.55 + 0.45 * round_weft), round_weft * (0.55 + 0.45 * round_warp))
    if chance(rng, 0.25):  # printed
        dye = _motif(rng, x, y, between(rng, 24, 70) * scale)
        colour = colour + dye * (np.asarray(any_colour(rng), np.float32)[:, None, None] - colour)
    fibre = np.where(up, noise(side, 0.5, 2.2 * scale, rng), noise(side, 2.2 * scale, 0.5, rng))
    gap = step(np.where(up, np.abs(across), np.abs(along)), between(rng, 0.85, 1.05), 0.2)
    shade = (1 + 0.07 * fibre + 0.05 * clouds(side, 2 * 7, rng)) * (1 - between(rng, 0.3, 0.8) * gap)
    surface = pictured(colour * shade, height * warp_pitch * between(rng, 0.10, 0.30) + 0.12 * fibre)
    return rolled(surface, size, turn=between(rng, 0.01, 0.08))


def _threads(at: Map, pitch: float) -> tuple[NDArray[np.intp], Map]:
    """The number of the thread at a place, and how far from its middle, -1 .. 1."""
    thread = np.floor(at / pitch)
    return thread.astype(np.intp), np.asarray(2 * (at / pitch - thread) - 1, np.float32)


def _bands(rng: np.random.Generator) -> NDArray[np.float32]:
    """(3, N) the colours of N threads that repeat."""
    main = any_colour(rng, 0.15, 0.95)
    if chance(rng, 0.55):
        return np.asarray(np.array([main], np.float32).T, np.float32)
    colours: list[Colour] = []
    for colour in [main, *(away_from(rng, main, 0.12) for _ in range(int(rng.integers(1, 4))))]:
        colours += [colour] * int(rng.integers(1, 9))
    return np.asarray(np.array(colours, np.float32).T, np.float32)


def knit(rng: np.random.Generator, size: int) -> Making:
    """Knitwear: columns of stitches, plain or with a row of another colour every few rows."""
    side, scale = side_of(size), size / 256
    pitch = between(rng, 7, 20) * scale
    x, y = turned_plane(side, pick(rng, (0.0, np.pi / 2)))
    x, y = x + 2 * side + noise(side, 12, 12, rng) * np.float32(0.05 * pitch), y + 2 * side
    _, across = _threads(x, pitch)
    lean = between(rng, 0.5, 1.1)
    row, along = _threads(y + np.abs(across) * np.float32(lean * pitch / 2), pitch * between(rng, 0.55, 0.85))
    yarn = np.sqrt(1 - 0.95 * along**2) * (1 - 0.8 * step(np.abs(np.abs(across) - 0.5), 0.42, 0.25))
    bands = _bands(rng)
    colour = np.asarray(bands[:, row % bands.shape[1]], np.float32)
    fuzz = noise(side, 0.8, 0.8, rng)
    shade = (0.45 + 0.6 * yarn) * (1 + 0.10 * fuzz + 0.04 * clouds(side, 2 * 5, rng))
    surface = pictured(colour * shade, yarn * pitch * between(rng, 0.12, 0.25) + 0.2 * fuzz)
    return rolled(surface, size, turn=0.04)


def carpet(rng: np.random.Generator, size: int) -> Making:
    """Carpet or felt: tufts, one colour or flecked with others."""
    side, scale = side_of(size), size / 256
    main = any_colour(rng, 0.15, 0.8)
    labels, wall = cells(side, between(rng, 3.0, 9.0) * scale, rng, order=between(rng, 0, 0.8))
    spread = between(rng, 0.02, 0.14)
    count = 257
    tufts = np.stack([near(rng, main, spread) for _ in range(count)]).T.astype(np.float32)
    for _ in range(int(rng.integers(0, 3))):
        fleck = any_colour(rng)
        for k in rng.integers(0, count, int(rng.integers(10, 70))):
            tufts[:, k] = near(rng, fleck, 0.03)
    fuzz = noise(side, 0.7, 0.7, rng)
    dome = np.minimum(wall / np.float32(2.5 * scale), 1)
    colour = by_cell(labels, tufts) * (0.55 + 0.45 * dome) * (1 + 0.13 * fuzz + 0.05 * clouds(side, 2 * 6, rng))
    surface = pictured(np.asarray(colour, np.float32), dome * between(rng, 0.6, 2.0) + 0.4 * fuzz)
    return rolled(surface, size, turn=np.pi if chance(rng, 0.5) else 0.1)


def leather(rng: np.random.Generator, size: int) -> Making:
    """Leather: pebbles between fine furrows, or nearly smooth with pores."""
    side, scale = side_of(size), size / 256
    colour = pick(rng, (earthen(rng, 0.15, 0.75), any_colour(rng, 0.06, 0.4), (0.09, 0.09, 0.10), vivid(rng)))
    tone = 0.04 * clouds(side, 2 * 4, rng)
    height: Map
    if chance(rng, 0.7):
        _, wall = cells(side, between(rng, 4.5, 14) * scale, rng)
        wall = swayed(wall, noise(side, 4, 4, rng), noise(side, 4, 4, rng))
        pebble = np.minimum(cv2.GaussianBlur(wall, (0, 0), 0.8 * scale) / np.float32(2.6 * scale), 1)
        height = np.asarray(pebble * between(rng, 0.8, 2.2) * scale, np.float32)
        tone = tone - between(rng, 0.1, 0.4) * (1 - pebble)
    else:
        pores = step(noise(side, 0.9, 0.9, rng), 2.1, 0.4)
        height = np.asarray(0.5 * noise(side, 5, 2.5, rng) - 1.2 * pores, np.float32)
        tone = tone - 0.3 * pores
    shades = np.asarray(1 + tone + 0.03 * noise(side, 0.7, 0.7, rng), np.float32)
    surface = pictured(coloured(colour, shades), height, polish=between(rng, 0.05, 0.5))
    return rolled(surface, size, turn=np.pi if chance(rng, 0.5) else 0.1)


def paper(rng: np.random.Generator, size: int) -> Making:
    """Printed paper or foil: a motif that repeats, stripes, or dots, on a plain ground."""
    side, scale = side_of(size), size / 256
    ground = any_colour(rng, 0.55, 0.97)
    x, y = turned_plane(side, pick(rng, (0.0, 0.0, np.pi / 4, between(rng, 0, np.pi))))
    pitch = between(rng, 14, 52) * scale
    kind = int(rng.integers(5))
    along, across = np.mod(x / pitch, 1) - 0.5, np.mod(y / pitch, 1) - 0.5
    if kind == 0:  # dots, every other row moved by half
        moved = np.mod(x / pitch + 0.5 * (np.floor(y / pitch) % 2), 1) - 0.5
        ink = step(-np.hypot(moved, across), -between(rng, 0.15, 0.4), 1.5 / pitch)
    elif kind == 1:  # stripes
        ink = step(-np.abs(across), -between(rng, 0.08, 0.3), 1.5 / pitch)
    elif kind == 2:  # a lattice
        ink = step(np.maximum(np.abs(along), np.abs(across)), between(rng, 0.38, 0.47), 1.5 / pitch)
    else:  # a motif, repeated
        ink = _motif(rng, x, y, pitch)
    colour = blended(ground, away_from(rng, ground, 0.2), np.asarray(ink, np.float32))
    if chance(rng, 0.4):
        second = _motif(rng, x + np.float32(pitch / 2), y + np.float32(pitch / 2), pitch)
        colour = colour + second * (np.asarray(away_from(rng, ground, 0.2), np.float32)[:, None, None] - colour)
    fibre = noise(side, 0.8, 0.8, rng)
    colour = colour * (1 + 0.018 * fibre + 0.012 * clouds(side, 2 * 5, rng))
    surface = pictured(np.asarray(colour, np.float32), 0.06 * fibre, polish=pick(rng, (0.0, 0.0, 0.35)))
    return rolled(surface, size, turn=between(rng, 0.005, 0.05))


def _motif(rng: np.random.Generator, x: Map, y: Map, pitch: float) -> Map:
    """(H, W) ink of a small drawing, the same in every square of the lattice."""
    fine = 96
    canvas = np.zeros((fine, fine), np.uint8)
    middle = fine // 2
    if chance(rng, 0.4):
        word = "".join(pick(rng, "ABCEFGHKLMNPRSTXYZ2345789&%+@") for _ in range(int(rng.integers(1, 4))))
        big = 2.2 / len(word)
        (width, height), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, big, 4)
        at = (middle - width // 2, middle + height // 2)
        cv2.putText(canvas, word, at, cv2.FONT_HERSHEY_DUPLEX, big, 255, 4, cv2.LINE_AA)
    else:
        petals, reach = int(rng.integers(3, 9)), fine * between(rng, 0.2, 0.38)
        for k in range(petals):
            turn = 360 * k / petals
            at = (
                round(middle + 0.5 * reach * np.cos(np.deg2rad(turn))),
                round(middle + 0.5 * reach * np.sin(np.deg2rad(turn))),
            )
            axes = (max(2, round(reach * 0.5)), max(2, round(reach * between(rng, 0.12, 0.35))))
            cv2.ellipse(canvas, at, axes, turn, 0, 360, 255, -1, cv2.LINE_AA)
        if chance(rng, 0.5):
            cv2.circle(canvas, (middle, middle), max(2, round(reach * 0.25)), 0, -1, cv2.LINE_AA)
    soft = cv2.GaussianBlur(canvas, (0, 0), max(0.4, 0.35 * fine / pitch)).astype(np.float32) / 255
    at_x = np.asarray(np.mod(x / pitch, 1) * fine, np.float32)
    at_y = np.asarray(np.mod(y / pitch, 1) * fine, np.float32)
    return np.asarray(cv2.remap(soft, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def mesh(rng: np.random.Generator, size: int) -> Making:
    """A wire grid, a perforated sheet or a net over something dark or light."""
    side, scale = side_of(size), size / 256
    pitch = between(rng, 9, 34) * scale
    x, y = turned_plane(side, pick(rng, (0.0, np.pi / 4, between(rng, 0, np.pi))))
    x, y = x + np.float32(2 * side), y + np.float32(2 * side)
    wire = any_colour(rng, 0.3, 0.95)
    behind = away_from(rng, wire, 0.25)
    kind = int(rng.integers(3))
    if kind == 0:  # crossed wires
        (_, across), (_, along) = _threads(x, pitch), _threads(y, pitch * between(rng, 0.8, 1.4))
        thick = between(rng, 0.15, 0.45)
        one, other = np.abs(across) / thick, np.abs(along) / thick
        inside = step(-np.minimum(one, other), -1, 3.0 / (thick * pitch))
        bulge = np.sqrt(np.maximum(1 - np.minimum(one, other) ** 2, 0))
    else:  # holes in a sheet, in rows or in hexagons
        row = np.floor(y / pitch)
        moved = x + (np.float32(pitch / 2) * (row % 2) if kind == 2 else np.float32(0))
        (_, across), (_, along) = _threads(np.asarray(moved, np.float32), pitch), _threads(y, pitch)
        hole = np.hypot(across, along) if chance(rng, 0.6) else np.maximum(np.abs(across), np.abs(along))
        radius = between(rng, 0.45, 0.82)
        inside = step(hole, radius, 3.0 / pitch)
        bulge = step(hole, radius + 0.1, 0.4)
    grain = noise(side, 0.8, 0.8, rng)
    shade = 1 + 0.05 * grain + 0.04 * clouds(side, 2 * 5, rng)
    colour = blended(behind, wire, np.asarray(inside, np.float32)) * shade
    metal = pick(rng, (0.0, 0.0, 0.8))
    height = np.asarray(bulge * inside * between(rng, 0.08, 0.2) * pitch + 0.1 * grain, np.float32)
    surface = pictured(np.asarray(colour, np.float32), height, metal=metal, polish=between(rng, 0, 0.5))
    return rolled(surface, size, turn=between(rng, 0.01, 0.06))


def quilt(rng: np.random.Generator, size: int) -> Making:
    """Padded or embossed material: a lattice of seams or bumps in one colour."""
    side, scale = side_of(size), size / 256
    pitch = between(rng, 10, 40) * scale
    x, y = turned_plane(side, pick(rng, (0.0, np.pi / 4, np.pi / 3)))
    (_, across), (_, along) = _threads(x + 2 * side, pitch), _threads(y + 2 * side, pitch * between(rng, 0.6, 1.5))
    swell = (1 - across**2) * (1 - along**2)
    if chance(rng, 0.4):
        swell = step(-np.hypot(across, along), -between(rng, 0.4, 0.8), 0.4)
    grain = unit(noise(side, 0.8, 0.8, rng) + noise(side, 3.0, 3.0, rng))
    colour = coloured(any_colour(rng, 0.1, 0.9), np.asarray(1 + 0.04 * grain, np.float32))
    height = np.asarray(swell**0.5 * pitch * between(rng, 0.08, 0.25) + 0.12 * grain, np.float32)
    return rolled(pictured(colour, height, polish=between(rng, 0, 0.5)), size, turn=0.04)
