"""Consumer goods: pills, pastry, sweets, toys, labels, brushes, fasteners."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_resad.demo.products.factory.bench import ALIKE, Bench, Freedom, any_of, blank, posed, table
from edge_resad.demo.products.factory.palette import (
    METALS,
    Colour,
    any_colour,
    away_from,
    between,
    chance,
    earthen,
    grey,
    near,
    pick,
    vivid,
)
from edge_resad.demo.products.factory.patterns import clouds, noise, soft_noise
from edge_resad.demo.products.factory.piece import Making
from edge_resad.demo.products.factory.scatter import in_rows, loosely, scattered
from edge_resad.demo.products.factory.solids import word
from edge_resad.demo.products.shapes import angle, box, disc, filled, grid, lettering, slope, stroke
from edge_resad.demo.products.surface import Map, Surface


def _side(size: int, share: float) -> int:
    """Pixels of a thing's own frame that takes this share of the picture."""
    return max(24, round(size * share))


def _dome(shape: Map, depth: float, high: float) -> Map:
    """(H, W) a rounded body in this outline: its height, pixels."""
    inside = np.clip(-shape / np.float32(depth), 0, 1)
    return np.asarray(np.sqrt(1 - (1 - inside) ** 2) * np.float32(high * shape.shape[0]), np.float32)


def _grained(surface: Surface, rng: np.random.Generator, fine: float, slow: float) -> Surface:
    side = surface.size
    tone = 1 + np.float32(fine) * noise(side, 0.8, 0.8, rng) + np.float32(slow) * clouds(side, 4, rng)
    return replace(surface, colour=np.asarray(surface.colour * tone, np.float32))


def _tablet(side: int, rng: np.random.Generator) -> Surface:
    """A pill, a capsule or a sweet in its own frame."""
    kind = int(rng.integers(4))
    colour = pick(rng, (grey(between(rng, 0.75, 0.95)), vivid(rng), any_colour(rng, 0.4, 0.95)))
    if kind == 0:
        shape = disc(side, 0, 0, 0.42)
    elif kind == 1:
        shape = stroke(side, [(-0.26, 0), (0.26, 0)], between(rng, 0.28, 0.38))
    elif kind == 2:
        shape = box(side, 0, 0, 0.84, between(rng, 0.5, 0.84), between(rng, 0.05, 0.2))
    else:
        shape = stroke(side, [(-0.22, 0), (0.22, 0)], 0.36)
    pill = blank(shape, colour, polish=between(rng, 0.1, 0.7), thick=0.0)
    pill = pill.raised(_dome(shape, between(rng, 0.08, 0.3), between(rng, 0.06, 0.16)))
    x, _ = grid(side)
    if kind == 3:  # two halves
        pill = pill.painted(
            away_from(rng, colour, 0.15), filled(np.maximum(shape, x - np.float32(between(rng, -0.05, 0.1))))
        )
    elif chance(rng, 0.5):  # a break line
        pill = pill.raised(-slope(box(side, 0, 0, 0.03, 1), 0.02) * np.float32(0.02 * side))
    elif chance(rng, 0.6):
        mark = lettering(side, word(rng, 1, 4), 0, 0, 0.4, 0.16, bold=side > 60)
        pill = pill.painted(away_from(rng, colour, 0.3), np.float32(0.8) * mark)
    if chance(rng, 0.3):  # speckled
        pill = pill.painted(any_colour(rng), np.float32(0.6) * (noise(side, 0.8, 0.8, rng) > 2.2).astype(np.float32))
    return _grained(pill, rng, 0.02, 0.01)


def blister(rng: np.random.Generator, size: int) -> Making:
    """Pills in rows: in a foil or on a plate."""
    columns, rows = int(rng.integers(2, 6)), int(rng.integers(2, 5))
    pitch = min(0.92 / columns, 0.86 / rows)
    pill = _tablet(_side(size, pitch * between(rng, 0.72, 0.9)), rng)
    foil = pick(rng, (grey(between(rng, 0.6, 0.85)), any_colour(rng, 0.1, 0.6)))
    frame = box(size, 0, 0, min(0.98, columns * pitch + 0.04), min(0.98, rows * pitch + 0.04), 0.03)
    tray = blank(frame, foil, metal=pick(rng, (0.0, 0.6)), polish=between(rng, 0.1, 0.5), thick=0.01)
    wells = np.full((size, size), np.float32(9))
    for j in range(rows):
        for i in range(columns):
            well = disc(size, (i - (columns - 1) / 2) * pitch, (j - (rows - 1) / 2) * pitch, pitch * 0.46)
            np.minimum(wells, well, out=wells)
    tray = tray.raised(-slope(wells, 0.015) * np.float32(0.012 * size)).painted(
        near(rng, foil, 0.05), 0.5 * filled(wells)
    )
    tray = _grained(tray, rng, 0.015, 0.02)
    layout = in_rows(columns, rows, pitch, pitch, turn=pick(rng, (0.05, np.pi)), wobble=0.008, shift=0.0)
    return scattered([pill], layout, table(rng, size, foil), size, tray=tray, tone=0.015)


def tablet(rng: np.random.Generator, size: int) -> Making:
    """One pill or capsule, close up."""
    share = between(rng, 0.6, 0.9)
    pill = _tablet(_side(size, share), rng)
    layout = in_rows(1, 1, 0, 0, turn=pick(rng, (0.06, 0.06, np.pi)), wobble=0.02)
    level = float(pill.colour[:, pill.size // 2, pill.size // 3].mean())
    return scattered([pill], layout, table(rng, size, grey(level)), size, tone=0.02)


def baked(rng: np.random.Generator, size: int) -> Making:
    """A cookie, a cracker or a slice: browned, uneven, with chips, seeds or holes, no two alike."""
    makes = []
    crust = earthen(rng, 0.35, 0.85)
    radius, lobes = between(rng, 0.36, 0.46), int(rng.integers(0, 3)) * int(rng.integers(4, 22))
    square, chips, docked = chance(rng, 0.25), int(rng.integers(0, 26)), chance(rng, 0.3)
    chip_colour = pick(rng, ((0.08, 0.12, 0.2), (0.3, 0.5, 0.75), vivid(rng), near(rng, crust, 0.2)))
    chip = between(rng, 0.015, 0.045)
    rough, brown = between(rng, 0.3, 1.6), between(rng, 0.15, 0.5)
    for _ in range(ALIKE):
        edge = 0.010 * clouds(size, 5, rng, 3) + 0.012 * (np.cos(lobes * angle(size)) if lobes else 0)
        shape = box(size, 0, 0, 1.8 * radius, 1.8 * radius, 0.06) if square else disc(size, 0, 0, radius)
        shape = np.asarray(shape + edge, np.float32)
        cookie = blank(shape, crust, polish=0.05, thick=0.0).raised(_dome(shape, 0.2, 0.06))
        grain = noise(size, 1.4, 1.4, rng) + 0.7 * noise(size, 4, 4, rng)
        rim = np.exp(np.minimum(shape, 0) / 0.06).astype(np.float32)
        tone = (1 + 0.07 * grain + 0.05 * clouds(size, 6, rng)) * (1 - brown * rim)
        cookie = replace(cookie, colour=np.asarray(cookie.colour * tone, np.float32)).raised(np.float32(rough) * grain)
        bench = Bench(cookie)
        for _ in range(chips):
            reach, turn = radius * 0.82 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
            piece = disc(size, reach * np.cos(turn), reach * np.sin(turn), chip * rng.uniform(0.7, 1.3))
            piece = np.asarray(piece + 0.004 * clouds(size, 20, rng, 1), np.float32)
            bench.lay(piece, chip_colour, polish=0.3, lift=0.012, bevel=0.012)
            bench.feature(piece)
        if docked:
            for i in range(-2, 3):
                for j in range(-2, 3):
                    dock = disc(size, i * radius * 0.36, j * radius * 0.36, 0.012)
                    if np.hypot(i, j) * 0.36 < 0.85:
                        bench.full = bench.full.raised(-slope(dock, 0.01) * np.float32(0.02 * size)).painted(
                            (0.1, 0.15, 0.2), 0.5 * filled(dock)
                        )
                        bench.feature(dock)
        if not bench.features:
            bench.feature(disc(size, 0, 0, 0.05))
        makes.append(bench)
    ground = table(rng, size, crust)
    options = [posed(bench, ground, Freedom(turn=np.pi, shift=0.02), rng) for bench in makes]
    return any_of(options)


def _nut(side: int, rng: np.random.Generator, colour: Colour, kind: int, body: tuple[float, float]) -> Surface:
    """A loose thing: a nut, a bead, a bean, a candle, a piece of pasta, a rivet."""
    wide, bend = body
    if kind == 0:
        shape = disc(side, 0, 0, 0.42)
    elif kind == 1:  # bent
        points = [(0.3 * np.cos(t), 0.3 * np.sin(t) - 0.12) for t in np.linspace(-0.4 - bend, np.pi + 0.4 + bend, 14)]
        shape = stroke(side, points, 0.18 + 0.2 * wide)
    elif kind == 2:  # an egg or a bean
        x, y = grid(side)
        shape = np.asarray(np.hypot(x, y / (0.55 + 0.4 * wide) + bend * x * x) - 0.42, np.float32)
    elif kind == 3:
        shape = box(side, 0, 0, 0.8, 0.3 + 0.5 * wide, 0.06)
    else:  # a ring
        shape = np.asarray(np.abs(disc(side, 0, 0, 0.32)) - 0.06 - 0.05 * wide, np.float32)
    uneven = np.asarray(shape + np.float32(0.008) * clouds(side, 4, rng, 2), np.float32)
    thing = blank(uneven, colour, polish=between(rng, 0.1, 0.6), thick=0.0).raised(_dome(uneven, 0.22, 0.13))
    return _grained(thing, rng, 0.03, 0.04)


def loose(rng: np.random.Generator, size: int) -> Making:
    """Nuts, beads, candles, pasta: one or several of a kind, thrown down or in rows."""
    kind, body = int(rng.integers(5)), (between(rng, 0, 1), between(rng, 0, 0.7))
    colour = pick(rng, (earthen(rng, 0.3, 0.85), any_colour(rng, 0.15, 0.95), vivid(rng)))
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    share = 0.8 / max(columns, rows)
    things = []
    for _ in range(4):
        thing = _nut(_side(size, share), rng, near(rng, colour, 0.02), kind, body)
        if kind == 0 and body[0] > 0.5:  # a wick, a dimple, a button's eyes
            wick = disc(thing.size, 0, 0, 0.06 + 0.08 * body[1])
            thing = thing.painted(away_from(rng, colour, 0.3) if body[1] > 0.3 else grey(0.05), filled(wick)).raised(
                slope(wick, 0.05) * np.float32(0.03 * thing.size)
            )
        things.append(thing)
    if chance(rng, 0.5):
        layout = in_rows(columns, rows, 0.86 / columns, 0.86 / rows, turn=pick(rng, (0.08, np.pi)), wobble=0.015)
    else:
        layout = loosely(columns * rows, share * 0.48)
    return scattered(things, layout, table(rng, size, colour), size)


def figure(rng: np.random.Generator, size: int) -> Making:
    """A toy figure or a moulded character: a body of coloured pieces with eyes, limbs and prints."""
    skin, coat = any_colour(rng, 0.4, 0.95), vivid(rng)
    head_y, head = between(rng, -0.24, -0.16), between(rng, 0.10, 0.16)
    trunk = box(size, 0, 0.08, between(rng, 0.2, 0.34), between(rng, 0.28, 0.36), between(rng, 0.02, 0.12))
    bench = Bench(blank(trunk, coat, polish=0.5, thick=0.0).raised(_dome(trunk, 0.1, 0.06)))

    def add(shape: Map, colour: Colour, high: float = 0.05) -> None:
        over = filled(shape)
        full = bench.full.laid(colour, 0.0, 0.5, over).raised(_dome(shape, 0.06, high))
        bench.full = replace(full, cover=np.maximum(full.cover, over))
        bench.feature(shape)

    limb, other = pick(rng, (skin, coat)), any_colour(rng, 0.1, 0.8)
    spread, wide = between(rng, 0.2, 0.32), between(rng, 0.06, 0.11)
    for sign in (-1, 1):
        add(stroke(size, [(sign * 0.12, -0.03), (sign * spread, between(rng, 0.05, 0.07) + 0.1)], wide), limb)
        add(stroke(size, [(sign * 0.08, 0.22), (sign * between(rng, 0.10, 0.11), 0.38)], wide * 1.2), other)
        if chance(rng, 0.5):
            add(disc(size, sign * head * 0.85, head_y - head * 0.7, head * 0.4), skin)
    add(disc(size, 0, head_y, head), skin, 0.07)
    if chance(rng, 0.6):
        add(
            np.maximum(disc(size, 0, head_y, head * 1.04), grid(size)[1] - np.float32(head_y - head * 0.3)),
            vivid(rng),
            0.02,
        )
    for sign in (-1, 1):
        eye = disc(size, sign * head * 0.38, head_y - head * 0.05, head * between(rng, 0.12, 0.13))
        bench.ink(filled(eye), grey(0.05))
        bench.feature(eye)
    mouth = stroke(size, [(-0.04, head_y + head * 0.5), (0.04, head_y + head * 0.5)], 0.012)
    bench.ink(filled(mouth), vivid(rng))
    bench.feature(mouth)
    for k in range(int(rng.integers(1, 5))):
        button = disc(size, 0, 0.0 + 0.06 * k, between(rng, 0.012, 0.013))
        bench.ink(filled(button), away_from(rng, coat, 0.3))
        bench.feature(button)
    return posed(bench, table(rng, size, coat), Freedom(turn=pick(rng, (0.06, 0.06, np.pi)), shift=0.03), rng)


def label(rng: np.random.Generator, size: int) -> Making:
    """A label or a printed box: a heading, lines of text, a bar code, frames and logos."""
    paper = any_colour(rng, 0.6, 0.98) if chance(rng, 0.7) else vivid(rng)
    shape = box(size, 0, 0, between(rng, 0.8, 0.94), between(rng, 0.6, 0.94), between(rng, 0, 0.06))
    bench = Bench(blank(shape, paper, polish=between(rng, 0, 0.5), thick=0.006))
    ink, second = away_from(rng, paper, 0.35), vivid(rng)
    if chance(rng, 0.6):
        band = np.maximum(shape + np.float32(0.02), box(size, 0, between(rng, -0.3, -0.2), 1, between(rng, 0.08, 0.2)))
        bench.both(lambda part: part.painted(second, filled(band)))
    y = between(rng, -0.28, -0.2)
    bench.ink(lettering(size, word(rng, 4, 9), 0, y, between(rng, 0.4, 0.7), 0.1, bold=True), ink)
    bench.feature(box(size, 0, y, 0.7, 0.12))
    y += 0.13
    while y < 0.12:
        high = pick(rng, (0.028, 0.035, 0.045))
        at = between(rng, -0.12, 0.1)
        bench.ink(lettering(size, f"{word(rng, 3, 7)} {word(rng, 3, 7)}", at, y, 0.45, high), ink)
        bench.feature(box(size, at, y, 0.47, high + 0.02))
        y += high + between(rng, 0.02, 0.04)
    if chance(rng, 0.7):  # a bar code
        x0, wide = between(rng, -0.3, -0.1), between(rng, 0.005, 0.008)
        bars = np.full((size, size), np.float32(9))
        for k in range(40):
            if chance(rng, 0.5):
                np.minimum(bars, box(size, x0 + k * wide, 0.22, wide, 0.12), out=bars)
        bench.ink(filled(bars), grey(0.05))
        bench.feature(box(size, x0 + 20 * wide, 0.22, 42 * wide, 0.13))
    logo = disc(size, 0.26, 0.22, between(rng, 0.05, 0.09))
    bench.ink(filled(np.abs(logo) - np.float32(0.012)) if chance(rng, 0.5) else filled(logo), second)
    bench.feature(logo)
    return posed(bench, table(rng, size, paper), Freedom(turn=0.03, shift=0.015), rng)


def brush(rng: np.random.Generator, size: int) -> Making:
    """A brush seen from above: tufts of bristles in rows, in a body."""
    columns, rows = int(rng.integers(3, 8)), int(rng.integers(3, 11))
    pitch = min(0.8 / columns, 0.88 / rows)
    body = vivid(rng) if chance(rng, 0.6) else any_colour(rng, 0.1, 0.9)
    shape = box(size, 0, 0, columns * pitch + 0.06, rows * pitch + 0.04, min(columns, rows) * pitch * 0.4)
    tray = blank(shape, body, polish=0.5, thick=0.02, bevel=0.02)
    colours = [any_colour(rng, 0.5, 0.98) for _ in range(int(rng.integers(1, 4)))]
    tufts = []
    for colour in colours:
        for _ in range(3):
            side = _side(size, pitch * 0.98)
            outline = np.asarray(disc(side, 0, 0, 0.42) + 0.03 * noise(side, 1.5, 1.5, rng), np.float32)
            bristles = noise(side, 0.9, 0.9, rng)
            tuft = blank(outline, colour, polish=0.1, thick=0.0).raised(_dome(outline, 0.3, 0.15))
            tone = np.asarray(0.85 + 0.2 * bristles, np.float32)
            tufts.append(replace(tuft, colour=tuft.colour * np.clip(tone, 0.3, 1.3)).raised(np.float32(1.5) * bristles))
    layout = in_rows(columns, rows, pitch, pitch, turn=np.pi, wobble=0.004, shift=0.0)
    return scattered(tufts, layout, table(rng, size, body), size, tray=tray, tone=0.03)


def _fastener(side: int, rng: np.random.Generator) -> Surface:
    """A screw, bolt, nail or pin seen from the side, upright in its own frame."""
    metal = pick(rng, METALS)
    x, y = grid(side)
    wide, head_wide, head_high = between(rng, 0.08, 0.18), between(rng, 0.2, 0.42), between(rng, 0.06, 0.16)
    length = between(rng, 0.5, 0.72)
    top = -0.42
    head = box(side, 0, top + head_high / 2, head_wide, head_high, between(rng, 0.0, head_high * 0.45))
    if chance(rng, 0.35):  # countersunk
        head = np.asarray(
            np.maximum(
                np.abs(x) - head_wide / 2 + (y - top) * head_wide / (2 * head_high + 0.05) * 0.8,
                np.abs(y - top - head_high / 2) - head_high / 2,
            ),
            np.float32,
        )
    end = top + head_high + length
    pitch = between(rng, 0.03, 0.07)
    thread = np.mod((y + x * pitch * 2) / pitch, 1)
    tooth = np.abs(thread - 0.5) * 2
    threaded = y > top + head_high + length * between(rng, 0.0, 0.5)
    taper = np.clip((end - y) / between(rng, 0.02, 0.14), 0, 1)
    half = wide / 2 * taper * np.where(threaded, 0.82 + 0.26 * tooth, 0.86)
    shank = np.asarray(np.maximum(np.abs(x) - half, np.maximum(top - y, y - end)), np.float32)
    shape = np.minimum(head, shank)
    body = blank(shape, near(rng, metal, 0.03), metal=between(rng, 0.5, 0.95), polish=between(rng, 0.1, 0.6), thick=0.0)
    height = np.sqrt(np.clip(1 - (x / (wide / 2 + 1e-3)) ** 2, 0, 1)) * wide / 2 * (shank < 0)
    height = np.maximum(height, slope(head, 0.03) * 0.1)
    ridge = np.where(threaded & (shank < 0), 0.012 * tooth, 0)
    return _grained(body.raised(np.asarray((height + ridge) * side * 0.7, np.float32)), rng, 0.02, 0.02)


def fasteners(rng: np.random.Generator, size: int) -> Making:
    """Screws, bolts or nails: one at any angle, or several in a row."""
    if chance(rng, 0.45):
        share, layout = 0.9, in_rows(1, 1, 0, 0, turn=np.pi, wobble=0.02)
    else:
        count = int(rng.integers(2, 6))
        share = between(rng, 0.8, 1.0) * min(0.9, 2.1 / count)
        layout = in_rows(count, 1, 0.9 / count, 1.0, turn=between(rng, 0.02, 0.15), wobble=0.015)
    screw = _fastener(_side(size, share), rng)
    return scattered([screw], layout, table(rng, size, grey(0.55)), size, tone=0.03)


def zipper(rng: np.random.Generator, size: int) -> Making:
    """A zip fastener: teeth that mesh along the middle, on a tape of cloth."""
    tape = any_colour(rng, 0.05, 0.8)
    x, y = grid(size)
    pitch = between(rng, 0.03, 0.06)
    weave = np.sin(2 * np.pi * (x + y) / between(rng, 0.012, 0.025)) * 0.05
    part = blank(box(size, 0, 0, 2, 2), tape, polish=0.05, thick=0.0)
    part = replace(part, colour=np.asarray(part.colour * (1 + weave), np.float32)).raised(
        np.asarray(6 * weave, np.float32)
    )
    bench = Bench(part)
    seam = np.abs(np.abs(x) - np.float32(between(rng, 0.16, 0.24))) - np.float32(0.006)
    bench.both(lambda own: own.painted(near(rng, tape, 0.15), 0.7 * filled(seam)))
    colour = pick(rng, (near(rng, pick(rng, METALS), 0.03), grey(0.06), away_from(rng, tape, 0.2)))
    metal, long = pick(rng, (0.9, 0.0)), between(rng, 0.12, 0.2)
    for k in range(-int(0.7 / pitch), int(0.7 / pitch) + 1):
        sign = 1 if k % 2 else -1
        tooth = box(size, sign * (long / 2 - 0.025), k * pitch, long, pitch * between(rng, 0.72, 0.74), pitch * 0.25)
        bench.lay(tooth, colour, metal=metal, polish=0.5, lift=0.02, bevel=0.012)
        if abs(k * pitch) < 0.4:
            bench.feature(tooth, pitch * 0.1)
    freedom = Freedom(turn=0.02, shift=0.02, zoom=0.01)
    return posed(bench, table(rng, size, tape), freedom, rng)


def filled_tray(rng: np.random.Generator, size: int) -> Making:
    """Food in a tray: rice, granules or sauce in compartments under a light foil."""
    tray_colour = any_colour(rng, 0.05, 0.9)
    tray = blank(box(size, 0, 0, 0.94, 0.94, 0.08), tray_colour, polish=0.5, thick=0.03)
    across, split = chance(rng, 0.5), between(rng, -0.15, 0.15)
    ground = table(rng, size, tray_colour)
    fillings = [
        (pick(rng, (earthen(rng, 0.3, 0.9), vivid(rng), any_colour(rng, 0.5, 0.95))), between(rng, 1.0, 4.0))
        for _ in range(2)
    ]
    toppings, most = [vivid(rng) for _ in range(3)], int(rng.integers(1, 9))
    makes = []
    for _ in range(ALIKE):
        bench = Bench(tray)
        for (low, high), filling in zip(((-0.44, split - 0.015), (split + 0.015, 0.44)), fillings, strict=True):
            middle, wide = (low + high) / 2, high - low
            room = box(size, middle, 0, wide, 0.86, 0.05) if across else box(size, 0, middle, 0.86, wide, 0.05)
            _fill(bench, room, *filling, rng)
            for _ in range(int(rng.integers(most // 2, most + 1))):
                along, over = middle + between(rng, -0.36, 0.36) * wide, between(rng, -0.36, 0.36)
                at = (along, over) if across else (over, along)
                thing = disc(size, *at, between(rng, 0.025, 0.045))
                bench.lay(thing, pick(rng, toppings), polish=0.4, lift=0.015, bevel=0.02)
                bench.feature(thing)
        if not bench.features:
            bench.feature(box(size, 0, 0, 0.2, 0.2))
        makes.append(posed(bench, ground, Freedom(turn=0.03, shift=0.01), rng))
    return any_of(makes)


def _fill(bench: Bench, room: Map, colour: Colour, coarse: float, rng: np.random.Generator) -> None:
    """Grains of this colour in one compartment."""
    bench.lay(room, colour, polish=0.2)
    grain, over = soft_noise(bench.size, coarse, rng), filled(room)
    full = replace(bench.full, colour=np.asarray(bench.full.colour * (1 + 0.1 * over * grain), np.float32))
    relief = over * 1.2 * grain - 0.02 * bench.size * slope(room, 0.02)
    bench.full = full.raised(np.asarray(relief, np.float32))
