"""Electrical goods: solar cells, traces, connectors, packages with leads, cables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_resad.demo.products.board import Assembly
from edge_resad.demo.products.factory.bench import ALIKE, Bench, Freedom, any_of, blank, posed, table
from edge_resad.demo.products.factory.look import Look
from edge_resad.demo.products.factory.palette import (
    METALS,
    any_colour,
    away_from,
    between,
    chance,
    grey,
    near,
    pick,
    tone,
    vivid,
)
from edge_resad.demo.products.factory.patterns import by_cell, cells
from edge_resad.demo.products.factory.piece import Making
from edge_resad.demo.products.factory.solids import word
from edge_resad.demo.products.shapes import box, disc, filled, grid, lettering, slope, stroke
from edge_resad.demo.products.surface import Map

TIN = (0.80, 0.82, 0.82)
GOLD = (0.36, 0.66, 0.90)


def solar(rng: np.random.Generator, size: int) -> Making:
    """A solar cell or a wafer: bus bars, fingers, and grains in a polycrystalline one; also in electroluminescence."""
    glows = chance(rng, 0.4)  # grey pictures of its own light
    colour = (
        grey(between(rng, 0.45, 0.7))
        if glows
        else tone(between(rng, 0.55, 0.68), between(rng, 0.3, 0.9), between(rng, 0.15, 0.5))
    )
    shape = box(size, 0, 0, between(rng, 0.9, 1.2), between(rng, 0.9, 1.2), pick(rng, (0.0, 0.0, 0.08)))
    plain = blank(shape, colour, polish=between(rng, 0.1, 0.4), thick=0.005)
    x, y = grid(size)
    pitch, grain = between(rng, 0.008, 0.03), between(rng, 9, 40) * size / 256 if chance(rng, 0.6) else 0.0
    fingers = np.clip(1.5 - np.abs(np.mod(y / pitch, 1) - 0.5) * pitch * size, 0, 1).astype(np.float32)
    fingers *= np.float32(between(rng, 0.08, 0.4))
    silver = grey(between(rng, 0.02, 0.2)) if glows else grey(between(rng, 0.6, 0.9))
    bars, wide = int(rng.integers(2, 6)), between(rng, 0.010, 0.03)
    ground = table(rng, size, colour)
    makes = []
    for _ in range(ALIKE if grain else 1):
        part = plain
        if grain:
            labels, _ = cells(size, grain, rng)
            part = replace(part, colour=part.colour * by_cell(labels, rng.normal(1, 0.07, 501).astype(np.float32)))
        bench = Bench(part.painted(silver, fingers))
        for k in range(bars):
            bar = np.asarray(np.abs(x - np.float32((k + 0.5) / bars - 0.5)) - np.float32(wide / 2), np.float32)
            bench.lay(bar, silver, polish=0.3, lift=0.002, bevel=0.004)
            piece = np.abs(y - np.float32(between(rng, -0.3, 0.3))) - np.float32(0.08)
            bench.feature(np.asarray(np.maximum(bar, piece), np.float32), 0.004)
        makes.append(posed(bench, ground, Freedom(turn=0.02, shift=0.01), rng))
    return any_of(makes)


def traces(rng: np.random.Generator, size: int) -> Making:
    """A board's traces and pads before it is stuffed, in colour or as a black and white film."""
    film = chance(rng, 0.5)
    ground = grey(0.03) if film else tone(between(rng, 0.1, 0.6), between(rng, 0.3, 0.9), between(rng, 0.15, 0.5))
    copper = grey(0.97) if film else pick(rng, (GOLD, TIN, (0.35, 0.5, 0.75), near(rng, tone(0.35, 0.5, 0.6), 0.08)))
    if film and chance(rng, 0.3):
        ground, copper = copper, ground
    part = blank(box(size, 0, 0, 1.4, 1.4), ground, polish=0.0 if film else 0.3, thick=0.0)
    bench = Bench(part)
    metal = 0.0 if film else pick(rng, (0.0, 0.8))
    width, pitch = between(rng, 0.010, 0.022), between(rng, 0.035, 0.07)
    lines: list[Map] = []
    for _ in range(int(rng.integers(3, 7))):  # buses
        count = int(rng.integers(2, 7))
        start, across = rng.uniform(-0.5, 0.5, 2), chance(rng, 0.5)
        knee, rise = between(rng, -0.25, 0.25), between(rng, -0.3, 0.3)
        for k in range(count):
            a, b = float(start[0]) + k * pitch, float(start[1])
            path = [
                (a, -0.7),
                (a, knee - k * pitch * np.sign(rise) * 0.4),
                (a + rise, knee + abs(rise) - k * pitch * np.sign(rise) * 0.4),
                (a + rise, 0.7 if chance(rng, 0.6) else b + 0.3),
            ]
            lines.append(stroke(size, path if across else [(v, u) for u, v in path], width))
    together = np.minimum.reduce(lines)
    bench.lay(together, copper, metal=metal, polish=0.3, lift=0.0 if film else 0.003, bevel=0.004)
    for _ in range(int(rng.integers(6, 22))):
        x, y = rng.uniform(-0.45, 0.45, 2)
        if chance(rng, 0.7):
            pad = disc(size, x, y, between(rng, 0.018, 0.034))
        else:
            pad = box(size, x, y, between(rng, 0.03, 0.08), between(rng, 0.03, 0.08), 0.004)
        bench.lay(pad, copper, metal=metal, lift=0.0 if film else 0.004, bevel=0.005)
        if chance(rng, 0.7):
            hole = disc(size, x, y, between(rng, 0.006, 0.011))
            bench.full = bench.full.laid(grey(0.02) if not film else ground, 0.0, 0.0, filled(hole))
        bench.feature(pad)
    for _ in range(0 if film else int(rng.integers(0, 4))):
        x, y = rng.uniform(-0.4, 0.4, 2)
        bench.ink(lettering(size, word(rng), x, y, 0.14, 0.035, bold=True), away_from(rng, ground))
        bench.feature(box(size, x, y, 0.15, 0.04))
    return posed(bench, table(rng, size, ground), Freedom(turn=0.015, shift=0.012), rng)


def stuffed(rng: np.random.Generator, size: int) -> Making:
    """A board with components in a layout of its own: circuits, chips, cans, connectors, prints."""
    mask = tone(pick(rng, (0.33, 0.36, 0.6, 0.0, between(rng, 0, 1))), between(rng, 0.5, 0.9), between(rng, 0.12, 0.45))
    width, height = between(rng, 0.7, 1.1), between(rng, 0.6, 1.1)
    bare = blank(box(size, 0, 0, width, height, 0.02), mask, polish=0.35, thick=0.006)
    lines = []
    for _ in range(int(rng.integers(6, 20))):
        (x, y), run, rise = rng.uniform(-0.4, 0.4, 2), between(rng, -0.3, 0.3), between(rng, -0.1, 0.1)
        lines.append(
            stroke(
                size, [(x, y), (x + run / 2, y), (x + run / 2 + rise, y + abs(rise)), (x + run, y + abs(rise))], 0.009
            )
        )
    board = Assembly(bare.painted(near(rng, mask, 0.1), np.float32(0.8) * filled(np.minimum.reduce(lines))))
    taken: list[tuple[float, float, float]] = []
    reach_x, reach_y = min(width, 0.94) / 2, min(height, 0.94) / 2
    for kind in (
        *("circuit",) * int(rng.integers(1, 3)),
        "can",
        "connector",
        "crystal",
        *("chip",) * int(rng.integers(6, 20)),
    ):
        room = {"circuit": 0.15, "can": 0.09, "connector": 0.14, "crystal": 0.08, "chip": 0.042}[kind]
        for _ in range(14):
            x, y = rng.uniform(-reach_x + room, reach_x - room), rng.uniform(-reach_y + room, reach_y - room)
            if all(np.hypot(x - u, y - v) > room + other for u, v, other in taken):
                taken.append((x, y, room))
                _mount(board, kind, x, y, rng)
                break
    ground = table(rng, size, mask)
    bench = Bench(board.bare)
    bench.full, bench.features = board.full, board.features
    return posed(bench, ground, Freedom(turn=pick(rng, (0.02, 0.05)), shift=0.015), rng)


def _mount(board: Assembly, kind: str, x: float, y: float, rng: np.random.Generator) -> None:
    if kind == "circuit":
        side = between(rng, 0.09, 0.16)
        pins = (int(rng.integers(3, 8)), int(rng.integers(0, 7)))
        board.circuit(x, y, (side, side), pins, [word(rng, 3, 7) for _ in range(int(rng.integers(1, 3)))])
    elif kind == "can":
        board.can(x, y, between(rng, 0.04, 0.065), word(rng, 2, 4))
    elif kind == "connector":
        board.connector(x, y, int(rng.integers(2, 6)))
    elif kind == "crystal":
        board.crystal(x, y)
    else:
        body = pick(rng, (grey(0.08), (0.36, 0.52, 0.66), grey(0.7)))
        board.chip(x, y, upright=chance(rng, 0.5), body=body, word=pick(rng, ("", "103", "472")))


def as_film(look: Look, rng: np.random.Generator) -> Look:
    """Some of the boards are photographed to plain black and white."""
    return replace(look, threshold=0.45, exposure=1.0, vignette=0.0, grey=True) if chance(rng, 0.4) else look


def connector(rng: np.random.Generator, size: int) -> Making:
    """A housing with rows of pins or contacts."""
    columns, rows = int(rng.integers(3, 13)), int(rng.integers(1, 5))
    pitch = min(0.8 / columns, 0.5 / rows, 0.13)
    width, height = pitch * columns + between(rng, 0.04, 0.1), pitch * rows + between(rng, 0.06, 0.2)
    colour = pick(rng, (grey(between(rng, 0.05, 0.15)), grey(0.85), vivid(rng)))
    shape = box(size, 0, 0, width, height, 0.012)
    part = blank(shape, colour, polish=between(rng, 0.1, 0.6), thick=0.03)
    if chance(rng, 0.6):
        well = np.asarray(shape + np.float32(0.022), np.float32)
        part = part.raised(-slope(well, 0.012) * np.float32(0.02 * size)).painted(
            grey(0.03), np.float32(0.35) * filled(well)
        )
    bench = Bench(part)
    metal = pick(rng, (GOLD, TIN, near(rng, pick(rng, METALS), 0.03)))
    square, thick = chance(rng, 0.6), pitch * between(rng, 0.35, 0.6)
    for i in range(columns):
        for j in range(rows):
            x, y = (i - (columns - 1) / 2) * pitch, (j - (rows - 1) / 2) * pitch
            pin = box(size, x, y, thick, thick, 0.002) if square else disc(size, x, y, thick / 2)
            bench.lay(pin, metal, metal=0.9, polish=0.6, lift=0.02, bevel=thick / 3)
            bench.feature(pin, pitch * 0.12)
    return posed(bench, table(rng, size, colour), Freedom(turn=pick(rng, (0.03, 0.03, np.pi)), shift=0.02), rng)


def package(rng: np.random.Generator, size: int) -> Making:
    """A component with leads: a transistor, a circuit or a chip on its tape."""
    body_width, body_height = between(rng, 0.3, 0.6), between(rng, 0.25, 0.5)
    colour = pick(rng, (grey(between(rng, 0.05, 0.14)), grey(0.1), any_colour(rng, 0.1, 0.5)))
    y = between(rng, -0.1, 0.0)
    shape = box(size, 0, y, body_width, body_height, between(rng, 0.0, 0.05))
    bench = Bench(blank(shape, colour, polish=between(rng, 0.1, 0.5), thick=0.05, bevel=0.025))
    count, both = int(rng.integers(2, 9)), chance(rng, 0.5)
    thick = min(0.55 * body_width / count, 0.06)
    for side in (1, -1) if both else (1,):
        for k in range(count):
            x = (k - (count - 1) / 2) * body_width / count
            length = between(rng, 0.14, 0.16) if both else 0.3
            lead = box(size, x, y + side * (body_height / 2 + length / 2 - 0.004), thick, length, 0.004)
            lead = np.maximum(lead, -shape)
            bench.full = bench.full.laid(TIN, 0.9, 0.4, filled(lead)).raised(
                slope(lead, 0.012) * np.float32(0.015 * size)
            )
            bench.full = replace(bench.full, cover=np.maximum(bench.full.cover, filled(lead)))
            bench.feature(lead)
    for row in range(int(rng.integers(1, 4))):
        at = y - 0.06 + 0.065 * row
        bench.ink(lettering(size, word(rng, 3, 8), 0, at, body_width * 0.7, 0.04), grey(between(rng, 0.5, 0.9)))
        bench.feature(box(size, 0, at, body_width * 0.75, 0.05))
    dot = disc(size, -body_width * 0.36, y - body_height * 0.34, 0.02)
    bench.bore(dot, through=False)
    return posed(
        bench,
        table(rng, size, TIN if chance(rng, 0.5) else colour),
        Freedom(turn=pick(rng, (0.05, 0.05, np.pi)), shift=0.03),
        rng,
    )


def cable(rng: np.random.Generator, size: int) -> Making:
    """A cable cut across: cores of several colours, each with its strands, in a sheath."""
    radius = between(rng, 0.36, 0.44)
    sheath = any_colour(rng, 0.1, 0.9)
    bench = Bench(blank(disc(size, 0, 0, radius), sheath, polish=0.2, thick=0.02))
    count = int(rng.integers(1, 6))
    reach = 0.0 if count == 1 else radius * 0.5
    core = radius * (0.75 if count == 1 else min(0.42, 0.92 * 0.5 * np.sin(np.pi / count)))
    copper = near(rng, pick(rng, ((0.35, 0.5, 0.8), TIN, (0.4, 0.6, 0.85))), 0.05)
    for k in range(count):
        turn = 2 * np.pi * k / count
        x, y = reach * np.cos(turn), reach * np.sin(turn)
        skin = disc(size, x, y, core)
        bench.lay(skin, vivid(rng), polish=0.2, lift=0.005)
        inner = core * 0.66
        bench.lay(disc(size, x, y, inner), grey(0.08), polish=0.1)
        wire = between(rng, 0.012, 0.028)
        for i in range(-8, 9):
            for j in range(-8, 9):
                u, v = (i + 0.5 * (j % 2)) * wire * 2, j * wire * 1.74
                if np.hypot(u, v) < inner - wire:
                    strand = disc(size, x + u, y + v, wire)
                    bench.lay(strand, near(rng, copper, 0.04), metal=0.7, polish=0.4, lift=0.008, bevel=wire)
        bench.feature(skin)
    return posed(bench, table(rng, size, sheath), Freedom(turn=np.pi if chance(rng, 0.5) else 0.1, shift=0.015), rng)
