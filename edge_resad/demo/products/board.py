"""A control board: solder mask, gold, silk print and the components upon it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from edge_resad.demo.products import textures
from edge_resad.demo.products.camera import Belt
from edge_resad.demo.products.family import Design, Family, designed
from edge_resad.demo.products.shapes import box, disc, filled, lettering, slope, stroke
from edge_resad.demo.products.surface import Map, Surface, plate

MASK_GREEN = (0.16, 0.33, 0.06)
GOLD = (0.36, 0.66, 0.90)
TIN = (0.80, 0.82, 0.82)
SILK = (0.90, 0.92, 0.92)
EPOXY = (0.085, 0.080, 0.080)
CERAMIC = (0.36, 0.52, 0.66)
GREY_PRINT = (0.58, 0.58, 0.58)

WIDTH, HEIGHT = 0.90, 0.72


class Assembly:
    """A board that is being stuffed: the bare one, the full one, and where each thing sits."""

    def __init__(self, bare: Surface) -> None:
        self.bare = bare
        self.full = bare
        self.features: list[Map] = []

    def both(self, colour: tuple[float, float, float], metal: float, polish: float, amount: Map) -> None:
        """Lay something on the board that is there with or without components."""
        self.bare = self.bare.laid(colour, metal, polish, amount)
        self.full = self.full.laid(colour, metal, polish, amount)

    def lift(self, by: Map) -> None:
        """Raise the board that is there with or without components."""
        self.bare, self.full = self.bare.raised(by), self.full.raised(by)

    def pad(self, x: float, y: float, width: float, height: float) -> None:
        """A gold plated pad."""
        shape = box(self.full.size, x, y, width, height, 0.003)
        self.both(GOLD, 0.9, 0.25, filled(shape))
        self.lift(slope(shape, 0.004) * np.float32(0.8))

    def chip(self, x: float, y: float, upright: bool, body: tuple[float, float, float], word: str = "") -> None:
        """A resistor or capacitor with two tinned ends."""
        size = self.full.size
        length, width = 0.054, 0.029
        w, h = (width, length) if upright else (length, width)
        for sign in (-1, 1):
            dx, dy = (0.0, sign * 0.024) if upright else (sign * 0.024, 0.0)
            self.pad(x + dx, y + dy, 0.036 if upright else 0.024, 0.024 if upright else 0.036)
        shape = box(size, x, y, w, h, 0.004)
        inner = box(size, x, y, w - (0.0 if upright else 0.026), h - (0.026 if upright else 0.0))
        self.full = self.full.laid(TIN, 0.9, 0.3, filled(shape)).laid(body, 0.0, 0.5, filled(np.maximum(shape, inner)))
        if word:
            self.full = self.full.painted(SILK, 0.9 * lettering(size, word, x, y, 0.024, 0.012))
        self.full = self.full.raised(slope(shape, 0.007) * np.float32(0.013 * size))
        self.features.append(filled(box(size, x, y, w + 0.020, h + 0.020, 0.006)))

    def circuit(self, x: float, y: float, side: tuple[float, float], pins: tuple[int, int], words: list[str]) -> None:
        """An integrated circuit with pins on two or four sides: `pins` counts those above and beside."""
        size = self.full.size
        w, h = side
        legs = []
        for count, across in zip(pins, (True, False), strict=True):
            for k in range(count):
                offset = (k - (count - 1) / 2) * 0.0215
                for sign in (-1, 1):
                    px, py = (
                        (x + offset, y + sign * (h / 2 + 0.014)) if across else (x + sign * (w / 2 + 0.014), y + offset)
                    )
                    pw, ph = (0.011, 0.034) if across else (0.034, 0.011)
                    self.pad(px, py, pw + 0.002, ph + 0.006)
                    legs.append(box(size, px, py, pw, ph, 0.002))
        for leg in legs:
            self.full = self.full.laid(TIN, 0.95, 0.4, filled(leg)).raised(slope(leg, 0.005) * np.float32(0.008 * size))
        shape = box(size, x, y, w, h, 0.005)
        self.full = self.full.laid(EPOXY, 0.0, 0.25, filled(shape))
        self.full = self.full.raised(slope(shape, 0.010) * np.float32(0.022 * size))
        dot = disc(size, x - w / 2 + 0.022, y - h / 2 + 0.022, 0.008)
        self.full = self.full.raised(-slope(dot, 0.006) * np.float32(0.006 * size))
        for row, word in enumerate(words):
            line = y + (row - (len(words) - 1) / 2) * 0.036 + 0.008
            self.full = self.full.painted(GREY_PRINT, 0.9 * lettering(size, word, x, line, w * 0.72, 0.022))
        self.features.append(
            filled(box(size, x, y, w + 0.07 * (pins[1] > 0) + 0.012, h + 0.07 * (pins[0] > 0) + 0.012))
        )

    def can(self, x: float, y: float, radius: float, word: str) -> None:
        """An electrolytic capacitor, seen from above."""
        size = self.full.size
        foot = box(size, x, y, radius * 2.15, radius * 2.15, radius * 0.3)
        shape = disc(size, x, y, radius)
        self.pad(x, y - radius * 1.05, 0.03, 0.05)
        self.pad(x, y + radius * 1.05, 0.03, 0.05)
        self.full = self.full.laid(EPOXY, 0.0, 0.3, filled(foot)).raised(slope(foot, 0.008) * np.float32(0.010 * size))
        self.full = self.full.laid(TIN, 1.0, 0.55, filled(shape)).raised(slope(shape, 0.016) * np.float32(0.030 * size))
        stripe = np.maximum(disc(size, x, y, radius * 0.86), box(size, x - radius, y, radius * 0.9, radius * 3))
        self.full = self.full.laid(EPOXY, 0.0, 0.3, filled(stripe))
        self.full = self.full.painted(EPOXY, 0.9 * lettering(size, word, x + radius * 0.22, y, radius * 0.95, 0.026))
        self.features.append(filled(box(size, x, y, radius * 2.3, radius * 2.7)))

    def crystal(self, x: float, y: float) -> None:
        """An oscillator in a metal can."""
        size = self.full.size
        shape = box(size, x, y, 0.115, 0.048, 0.024)
        self.pad(x - 0.052, y, 0.03, 0.02)
        self.pad(x + 0.052, y, 0.03, 0.02)
        self.full = self.full.laid(TIN, 1.0, 0.6, filled(shape)).raised(slope(shape, 0.012) * np.float32(0.016 * size))
        self.full = self.full.painted(EPOXY, 0.75 * lettering(size, "16.000", x, y, 0.06, 0.016))
        self.features.append(filled(box(size, x, y, 0.14, 0.066, 0.02)))

    def connector(self, x: float, y: float, ways: int) -> None:
        """A white header with square pins."""
        size = self.full.size
        width = ways * 0.042 + 0.02
        shape = box(size, x, y, width, 0.082, 0.004)
        well = box(size, x, y + 0.006, width - 0.018, 0.052)
        self.full = self.full.laid((0.78, 0.83, 0.84), 0.0, 0.35, filled(shape))
        self.full = self.full.raised(
            (slope(shape, 0.006) * 0.026 - slope(well, 0.008) * 0.016).astype(np.float32) * size
        )
        self.full = self.full.painted((0.55, 0.60, 0.62), 0.8 * filled(well))
        for k in range(ways):
            px = x + (k - (ways - 1) / 2) * 0.042
            self.pad(px, y, 0.026, 0.026)
            pin = box(size, px, y + 0.006, 0.014, 0.014, 0.002)
            self.full = self.full.laid(GOLD, 1.0, 0.6, filled(pin)).raised(slope(pin, 0.005) * np.float32(0.012 * size))
        self.features.append(filled(box(size, x, y, width + 0.016, 0.098)))

    def print(self, word: str, x: float, y: float, width: float, height: float, *, optional: bool = False) -> None:
        """Silk print; `optional` where a missing one counts as a missing feature."""
        ink = lettering(self.full.size, word, x, y, width, height, bold=True)
        self.full = self.full.laid(SILK, 0.0, 0.05, 0.92 * ink)
        if optional:
            self.features.append(filled(box(self.full.size, x, y, width + 0.02, height + 0.02)))
        else:
            self.bare = self.bare.laid(SILK, 0.0, 0.05, 0.92 * ink)


@lru_cache(maxsize=4)
def design(size: int) -> Design:
    """The board at this size."""
    board = Assembly(_bare(size))
    board.circuit(-0.085, 0.02, (0.185, 0.185), (8, 8), ["ER-9120", "QFP32", "2617 K"])
    board.circuit(0.255, -0.085, (0.105, 0.085), (4, 0), ["M24C"])
    board.can(-0.335, -0.165, 0.062, "47")
    board.crystal(-0.085, -0.165)
    board.connector(0.235, 0.265, 6)
    for k in range(4):
        board.chip(-0.345 + 0.052 * k, 0.155, upright=True, body=EPOXY, word="")
        board.print(f"R{k + 1}", -0.345 + 0.052 * k, 0.207, 0.022, 0.014)
    for k, y in enumerate((-0.005, 0.055, 0.115)):
        board.chip(0.105, y, upright=False, body=CERAMIC)
        board.print(f"C{k + 1}", 0.158, y, 0.022, 0.014)
    for k, x in enumerate((0.205, 0.265, 0.325)):
        board.chip(x, 0.075, upright=True, body=CERAMIC if k else EPOXY)
    board.chip(0.085, -0.165, upright=False, body=EPOXY, word="103")
    board.chip(0.085, -0.215, upright=False, body=EPOXY, word="472")
    board.print("CTRL-7 REV B", -0.205, 0.288, 0.25, 0.034, optional=True)
    board.print("IC1", -0.235, -0.105, 0.035, 0.017)
    board.print("IC2", 0.165, -0.150, 0.035, 0.017)
    board.print("X1", -0.170, -0.205, 0.025, 0.016)
    board.print("+", -0.335, -0.265, 0.022, 0.022)
    board.print("EDGE LAB", 0.245, -0.245, 0.15, 0.026, optional=True)
    return designed(board.full, board.bare, board.features)


def finish(surface: Surface, rng: np.random.Generator) -> Surface:
    """The weave of the glass below the mask, and the lacquer's unevenness."""
    grain = textures.cropped(textures.grain(surface.size * 2, 0.8, 6), surface.size, rng)
    cloud = textures.cropped(textures.clouds(surface.size * 2, 9, 8), surface.size, rng)
    tone = 1 + np.float32(0.020) * grain + np.float32(0.022) * cloud
    return replace(surface, colour=surface.colour * tone, height=surface.height + np.float32(0.035) * grain)


def _bare(size: int) -> Surface:
    """Mask, traces, vias and the holes for the screws."""
    edge = box(size, 0, 0, WIDTH, HEIGHT, 0.025)
    board = plate(filled(edge), MASK_GREEN, 0.0, 0.35).raised(slope(edge, 0.008) * np.float32(0.006 * size))
    traces = np.full((size, size), np.float32(9))
    for line in _routes():
        np.minimum(traces, stroke(size, line, 0.0085), out=traces)
    board = board.painted((0.25, 0.47, 0.13), 0.85 * filled(traces)).raised(slope(traces, 0.004) * np.float32(0.5))
    for x, y in _vias():
        ring = filled(disc(size, x, y, 0.0105))
        board = board.laid(GOLD, 0.9, 0.3, ring).painted((0.03, 0.03, 0.03), filled(disc(size, x, y, 0.0048)))
        board = board.with_metal(0.0, filled(disc(size, x, y, 0.0048)))
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = sx * (WIDTH / 2 - 0.048), sy * (HEIGHT / 2 - 0.048)
            land = disc(size, x, y, 0.034)
            board = board.laid(GOLD, 0.95, 0.3, filled(land)).raised(slope(land, 0.004) * np.float32(0.7))
            board = board.cut(filled(disc(size, x, y, 0.020)))
    return board


def _routes() -> list[list[tuple[float, float]]]:
    routes = []
    for k in range(6):  # the bus from the connector
        x = 0.13 + k * 0.042
        step = 0.013 * k
        routes.append(
            [(x, 0.25), (x, 0.17 + step * 0.5), (x - 0.035, 0.135 + step * 0.5), (0.165 + step, 0.13 + step * 0.3)]
        )
    for k in range(8):  # out of the big circuit
        x = -0.16 + k * 0.0215
        routes.append([(x, 0.12), (x, 0.15 + 0.008 * k), (x - 0.03, 0.18 + 0.008 * k), (x - 0.03, 0.245)])
        y = -0.055 + k * 0.0215
        routes.append([(0.02, y), (0.05 + 0.004 * k, y), (0.075, y - 0.02), (0.085, y - 0.02)])
        routes.append([(-0.19, y), (-0.235, y), (-0.255 - 0.006 * k, y + 0.02), (-0.37 + 0.006 * k, y + 0.02)])
    for k in range(4):
        y = -0.24 + 0.018 * k
        routes.append([(-0.24, y), (-0.03, y), (0.0, y - 0.02), (0.16, y - 0.02), (0.20, y + 0.03 + 0.01 * k)])
    routes.append([(0.38, -0.2), (0.38, 0.18), (0.36, 0.2)])
    routes.append([(0.40, -0.2), (0.40, 0.20), (0.37, 0.23)])
    return routes


def _vias() -> list[tuple[float, float]]:
    vias = [(-0.19 + 0.0215 * k, 0.252) for k in range(8)]
    vias += [(-0.385, 0.005 + 0.0215 * k) for k in range(4)]
    vias += [(0.20 + 0.035 * k, -0.185) for k in range(4)]
    vias += [(0.36, 0.0), (0.36, 0.03), (0.31, -0.02), (0.21, -0.02), (-0.26, -0.245), (0.02, -0.09), (0.035, -0.115)]
    return vias


BOARD = Family(
    name="board",
    title="Control board",
    belt=Belt(colour=(0.33, 0.31, 0.30), weave=0.25, shadow=0.6),
    design=design,
    finish=finish,
)
