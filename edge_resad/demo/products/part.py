"""One photographed part, good or with a known defect: the same seed gives the same bytes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products.board import BOARD
from edge_resad.demo.products.camera import Scene, photograph
from edge_resad.demo.products.cap import CAP
from edge_resad.demo.products.defects import KINDS, Flaw
from edge_resad.demo.products.family import Family
from edge_resad.demo.products.flange import FLANGE
from edge_resad.demo.products.light import Light, shade
from edge_resad.demo.products.nameplate import NAMEPLATE
from edge_resad.demo.products.surface import Surface

FAMILIES: dict[str, Family] = {family.name: family for family in (FLANGE, BOARD, CAP, NAMEPLATE)}
DEFECTS: tuple[str, ...] = tuple(KINDS)

SMALLEST, LARGEST = 128, 1024  # pixels a side that can be drawn
SEEN = 7  # grey levels that a pixel must differ by to count as changed
CONTRAST = (14.0, 22.0, 30.0)  # grey levels that a defect of severity 1, 2, 3 differs by on average, at least
AREA = (1.0e-4, 3.0e-4, 6.0e-4)  # shares of the picture that it covers, at least
ATTEMPTS = 12


@dataclass(frozen=True, kw_only=True)
class Part:
    """A picture and what is true of it.

    image: (H, W, 3) uint8, BGR.
    mask:  (H, W) bool, True exactly where the defect changed the picture visibly; all False for a good part.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    family: str
    defect: str | None
    severity: int  # 1 subtle .. 3 clear to the eye; 0 for a good part
    seed: int


def draw(family: str, seed: int, *, size: int = 320, defect: str | None = None, severity: int = 2) -> Part:
    """Photograph one part of this family, `size` pixels a side.

    The defective part of a seed is its good part with other pixels inside the mask, and only there.
    """
    _check(family, seed, size, defect, severity)
    product = FAMILIES[family]
    good = _taken(product, product.design(size).surface, seed)
    if defect is None:
        return Part(image=good, mask=np.zeros((size, size), bool), family=family, defect=None, severity=0, seed=seed)
    image, mask = _spoiled(product, good, seed, defect, severity)
    return Part(image=image, mask=mask, family=family, defect=defect, severity=severity, seed=seed)


def _check(family: str, seed: int, size: int, defect: str | None, severity: int) -> None:
    if family not in FAMILIES:
        raise ValueError(f"no product family {family!r}; there are {', '.join(FAMILIES)}")
    if defect is not None and defect not in DEFECTS:
        raise ValueError(f"no defect {defect!r}; there are {', '.join(DEFECTS)}")
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"a part is drawn {SMALLEST} to {LARGEST} pixels a side, got size={size}")
    if severity not in (1, 2, 3):
        raise ValueError(f"severity is 1, 2 or 3, got {severity}")
    if seed < 0:
        raise ValueError(f"a seed is 0 or more, got {seed}")


def _taken(product: Family, surface: Surface, seed: int) -> NDArray[np.uint8]:
    """The photograph of this surface: everything but the surface comes from the seed alone."""
    rng = _source(product.name, seed)
    size = surface.size
    scene = Scene.drawn(rng, size)
    light = Light.drawn(rng, scene.turn)
    finished = product.finish(surface, rng)
    return photograph(shade(finished, light), finished.cover, product.belt, scene, rng)


def _spoiled(
    product: Family, good: NDArray[np.uint8], seed: int, defect: str, severity: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The good photograph with a defect in it, tried elsewhere and stronger until the camera sees it."""
    size = good.shape[0]
    design = product.design(size)
    rng = _source(product.name, seed, defect)
    best, best_mask, best_rank = good, np.zeros((size, size), bool), -1.0
    for attempt in range(ATTEMPTS):
        flaw = Flaw(severity=severity, force=1.0 + 0.2 * attempt)
        bad = _taken(product, KINDS[defect](design, flaw, rng), seed)
        levels = difference(good, bad)
        mask = changed(levels)
        area = float(mask.mean()) / AREA[severity - 1]
        contrast = float(levels[mask].mean()) / CONTRAST[severity - 1] if mask.any() else 0.0
        rank = min(area, contrast)
        if rank > best_rank:
            best, best_mask, best_rank = bad, mask, rank
        if rank >= 1:
            break
    image = good.copy()
    cv2.copyTo(best, best_mask.astype(np.uint8), image)
    return image, best_mask


def difference(good: NDArray[np.uint8], bad: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) grey levels by which two photographs (H, W, 3) differ, in the channel where they differ most."""
    blue, green, red = cv2.split(cv2.absdiff(good, bad))
    return np.asarray(cv2.max(cv2.max(blue, green), red), np.uint8)


def changed(levels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W) where a difference (H, W) can be seen: whole patches, no dust."""
    # Where it is plain, and next to that where it is faint: the soft edge of a defect belongs to it.
    faint = (cv2.blur(levels, (3, 3)) >= SEEN // 2 + 1).astype(np.uint8)
    closed = cv2.morphologyEx(faint, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    plain = np.unique(labels[levels >= SEEN])
    keep = np.zeros(count, bool)
    keep[plain] = stats[plain, cv2.CC_STAT_AREA] >= max(4, round(4e-5 * levels.size))
    keep[0] = False
    return np.asarray(keep[labels])


def _source(*names: str | int) -> np.random.Generator:
    """A generator of its own for every combination of names."""
    return np.random.default_rng([zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names])
