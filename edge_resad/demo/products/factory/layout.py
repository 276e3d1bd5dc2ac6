"""Defects of what belongs on a part: missing, moved, turned, doubled, joined or interrupted."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from edge_resad.demo.products.defects import Flaw
from edge_resad.demo.products.factory.blobs import blob, oriented
from edge_resad.demo.products.factory.palette import chance
from edge_resad.demo.products.factory.piece import warped
from edge_resad.demo.products.family import Design
from edge_resad.demo.products.marks import place, seen_from
from edge_resad.demo.products.surface import Map, Surface, mixed, softened


def absent(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A feature is missing: a part of it when subtle, most of it, or all."""
    area = _feature(design, rng)
    if flaw.severity == 3:
        return mixed(design.surface, design.bare, area)
    x, y, width, height = cv2.boundingRect((area > 0.3).astype(np.uint8))
    u, _ = seen_from(design.surface.size, x + width / 2, y + height / 2, rng.uniform(0, 2 * np.pi))
    reach = 0.5 * min(width, height)
    gone = np.clip(u - (0.35 if flaw.severity == 1 else -0.2) * reach / flaw.force + 0.5, 0, 1)
    return mixed(design.surface, design.bare, np.asarray(area * gone, np.float32))


def misplaced(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A feature sits beside its place, or turned in it."""
    surface, size = design.surface, design.surface.size
    area = _feature(design, rng)
    x, y, width, height = cv2.boundingRect((area > 0.3).astype(np.uint8))
    extent = max(width, height, 4)
    reach = min(flaw.of(0.20, 0.38, 0.65) * flaw.force * extent, 0.22 * size)
    turn = rng.normal(0, flaw.of(0.12, 0.3, 0.7) * flaw.force)
    heading = rng.uniform(0, 2 * np.pi)
    dx, dy = reach * np.cos(heading), reach * np.sin(heading)
    cos, sin = np.cos(turn), np.sin(turn)
    mx, my = x + width / 2, y + height / 2
    matrix = np.array(
        [[cos, -sin, mx + dx - cos * mx + sin * my], [sin, cos, my + dy - sin * mx - cos * my]], np.float32
    )
    moved = warped(surface, matrix, size)
    there = cv2.warpAffine(area, matrix, (size, size))
    gone = mixed(surface, design.bare, area)
    return mixed(gone, moved, np.asarray(there, np.float32))


def doubled(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A feature too many: the same once more where none belongs."""
    surface, size = design.surface, design.surface.size
    area = _feature(design, rng)
    x, y, width, height = cv2.boundingRect((area > 0.3).astype(np.uint8))
    at_x, at_y = place(design, rng)
    zoom = flaw.of(0.55, 0.75, 1.0)
    turn = rng.uniform(-0.6, 0.6)
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    mx, my = x + width / 2, y + height / 2
    matrix = np.array([[cos, -sin, at_x - cos * mx + sin * my], [sin, cos, at_y - sin * mx - cos * my]], np.float32)
    there = cv2.warpAffine(area, matrix, (size, size))
    return mixed(surface, warped(surface, matrix, size), np.asarray(there, np.float32))


def odd(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A feature of the wrong kind: the right form in another colour, paler or darker."""
    surface = design.surface
    there = [area * (surface.cover > 0.5) for area in design.features]
    solid = [area for area in there if area.sum() > 8]  # not the holes
    if solid:
        area = solid[int(rng.integers(len(solid)))]
    else:
        x, y = place(design, rng)
        area = blob(surface.size, x, y, 0.05 * surface.size, rng, ripple=0.0, soft=0.1) * (surface.cover > 0.5)
    share = np.float32(min(flaw.of(0.30, 0.55, 1.0) * flaw.force, 1.0))
    weight = max(float(area.sum()), 1e-3)
    level = float((surface.colour.mean(axis=0) * area).sum()) / weight
    gains = np.exp(rng.normal(0, 0.35, 3) + (0.75 if level < 0.4 else -0.75))
    other = surface.colour[rng.permutation(3)] * gains.astype(np.float32)[:, None, None] + np.float32(0.04)
    colour = surface.colour + area * share * (np.minimum(other, 1.1) - surface.colour)
    return replace(surface, colour=np.asarray(colour, np.float32))


def bridge(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """A short circuit or a burr: the feature's material where two of them should stay apart."""
    surface, size = design.surface, design.surface.size
    contour = _edge_point(design, rng)
    if contour is None:
        return surface
    x, y, dx, dy = contour
    length = flaw.of(0.03, 0.055, 0.09) * size * flaw.force
    width = flaw.of(0.010, 0.016, 0.026) * size * rng.uniform(0.7, 1.4)
    strip = oriented(size, x + dx * length * 0.4, y + dy * length * 0.4, np.arctan2(dy, dx), length, width)
    inner = np.s_[:, int(np.clip(y - 3 * dy, 0, size - 1)), int(np.clip(x - 3 * dx, 0, size - 1))]
    colour = surface.colour[inner]
    metal = float(surface.metal[inner[1:]])
    ragged = softened(strip, 0.004 * size)
    amount = np.asarray(np.clip((ragged - 0.4) * 5, 0, 1), np.float32)
    return surface.laid(
        (float(colour[0]), float(colour[1]), float(colour[2])), metal, 0.3, amount * (surface.cover > 0.5)
    )


def interrupted(design: Design, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """An open circuit or a bite: a line or an edge of a feature is eaten through."""
    surface, size = design.surface, design.surface.size
    contour = _edge_point(design, rng)
    if contour is None:
        return surface
    x, y, dx, dy = contour
    radius = flaw.of(0.012, 0.020, 0.034) * size * flaw.force
    turn = np.arctan2(dy, dx)
    if chance(rng, 0.5):  # a bite out of the edge
        gap = blob(size, x - 0.3 * dx * radius, y - 0.3 * dy * radius, 1.2 * radius, rng, ripple=0.15, soft=0.1)
    else:
        gap = oriented(size, x - dx * radius, y - dy * radius, turn, 3.0 * radius, 1.4 * radius * rng.uniform(0.7, 1.4))
    ragged = softened(gap, 0.004 * size)
    amount = np.asarray(np.clip((ragged - 0.4) * 5, 0, 1), np.float32)
    return mixed(surface, design.bare, amount)


def _feature(design: Design, rng: np.random.Generator) -> Map:
    """One of the features, grown so that its edge and shadow go with it."""
    chosen = design.features[int(rng.integers(len(design.features)))]
    grown = cv2.dilate(chosen, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    return softened(np.asarray(grown, np.float32), 0.7)


def _edge_point(design: Design, rng: np.random.Generator) -> tuple[float, float, float, float] | None:
    """A point on the edge between what is on the part and what is bare, and the way out of the feature there."""
    there = np.abs(design.surface.colour - design.bare.colour).max(axis=0)
    there = np.maximum(there, np.abs(design.surface.cover - design.bare.cover))
    inside = softened(np.asarray(there > 0.08, np.float32), 1.2)
    gx, gy = cv2.Sobel(inside, cv2.CV_32F, 1, 0), cv2.Sobel(inside, cv2.CV_32F, 0, 1)
    slope = np.hypot(gx, gy)
    margin = round(0.06 * slope.shape[0])
    slope[:margin], slope[-margin:], slope[:, :margin], slope[:, -margin:] = 0, 0, 0, 0
    ys, xs = np.nonzero(slope > 0.5)
    if not len(xs):
        return None
    k = int(rng.integers(len(xs)))
    at = ys[k], xs[k]
    return float(xs[k]), float(ys[k]), float(-gx[at] / slope[at]), float(-gy[at] / slope[at])
