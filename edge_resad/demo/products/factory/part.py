"""One photographed part of the factory, good or with a known defect: the same seed gives the same bytes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products import part as demo
from edge_resad.demo.products.defects import Flaw
from edge_resad.demo.products.factory.families import FACTORY
from edge_resad.demo.products.factory.kinds import KINDS
from edge_resad.demo.products.factory.look import Look, Shot
from edge_resad.demo.products.factory.piece import Making, Piece, as_design
from edge_resad.demo.products.part import AREA, LARGEST, SMALLEST, Part, changed, difference

CONTRAST = (13.0, 22.0, 34.0)  # grey levels that a defect of severity 1, 2, 3 differs by on average, at least
ATTEMPTS = 14  # until it is plain
MOST_ATTEMPTS = 60  # until it can be seen at all
DARKEST, BRIGHTEST = 60.0, 205.0  # grey levels that a part has on average, in its brightest channel
MOST = 0.45  # share of the picture that a defect covers at most


@dataclass(frozen=True, kw_only=True)
class Product:
    """One variant of a family at one size."""

    make: Making
    look: Look


def kinds_of(family: str, variant: int) -> tuple[str, ...]:
    """What can be wrong with the parts of this variant.

    Raises:
        ValueError: there is no such family.
    """
    if family not in FACTORY:
        raise ValueError(f"no product family {family!r}; there are {', '.join(FACTORY)}")
    return demo.DEFECTS if variant == 0 and family in demo.FAMILIES else FACTORY[family].kinds


def draw(
    family: str, seed: int, *, size: int = 256, defect: str | None = None, severity: int = 2, variant: int = 0
) -> Part:
    """Photograph one part of a variant of this family, `size` pixels a side.

    The defective part of a seed is its good part with other pixels inside the mask, and only there, but for the marks
    of a JPEG where the variant's camera makes one. Variant 0 of a demo product is the demo's own.
    """
    if variant == 0 and family in demo.FAMILIES:
        return demo.draw(family, seed, size=size, defect=defect, severity=severity)
    _check(family, seed, size, defect, severity, variant)
    made = product(family, variant, size)
    rng = _source(family, variant, seed)
    piece = made.make(rng)
    shot = Shot.drawn(made.look, size, rng)
    clean = shot.taken(piece, piece.surface)
    mask = np.zeros((size, size), bool)
    if defect is not None:
        clean, mask = _spoiled(piece, shot, clean, defect, severity, _source(family, variant, seed, defect))
    return Part(
        image=shot.developed(clean),
        mask=mask,
        family=family,
        defect=defect,
        severity=severity if defect else 0,
        seed=seed,
    )


def _check(family: str, seed: int, size: int, defect: str | None, severity: int, variant: int) -> None:
    kinds = kinds_of(family, variant)
    if defect is not None and defect not in kinds:
        raise ValueError(f"no defect {defect!r} of {family}; there are {', '.join(kinds)}")
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"a part is drawn {SMALLEST} to {LARGEST} pixels a side, got size={size}")
    if severity not in (1, 2, 3):
        raise ValueError(f"severity is 1, 2 or 3, got {severity}")
    if seed < 0 or variant < 0:
        raise ValueError(f"seed and variant are 0 or more, got {seed} and {variant}")


@lru_cache(maxsize=6)
def product(family: str, variant: int, size: int) -> Product:
    """The design and the camera of this variant; remembers what it has made."""
    rng = _source(family, variant)
    look = FACTORY[family].look(Look.drawn(rng), rng)
    make = FACTORY[family].design(rng, size)
    return Product(make=make, look=_exposed(make, look, size))


def _exposed(make: Making, look: Look, size: int) -> Look:
    """The look with an exposure at which a part is neither black nor burnt out, as one sets up a camera."""
    if look.threshold:
        return look
    rng = np.random.default_rng(0)
    piece = make(rng)
    seen = Shot.drawn(look, size, rng).taken(piece, piece.surface)
    level = float(seen.max(axis=2)[piece.surface.cover > 0.5].mean())
    wanted = float(np.clip(level, DARKEST, BRIGHTEST))
    factor = (wanted / max(level, 1.0)) ** (1 / look.gamma)
    return replace(look, exposure=look.exposure * min(factor, 4.0))


def _spoiled(
    piece: Piece, shot: Shot, good: NDArray[np.uint8], defect: str, severity: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The good photograph with a defect in it, tried elsewhere and stronger until the camera sees it."""
    design = as_design(piece)
    best, best_mask, best_rank = good, np.zeros(good.shape[:2], bool), 0.0
    force = 1.0
    for attempt in range(MOST_ATTEMPTS):
        levels = difference(
            good, bad := shot.taken(piece, KINDS[defect](design, Flaw(severity=severity, force=force), rng))
        )
        mask = changed(levels)
        share = float(mask.mean())
        if share >= MOST:
            force *= 0.75
            continue
        force += 0.2
        rank = 0.0
        if share > 0:
            rank = min(share / AREA[severity - 1], float(levels[mask].mean()) / CONTRAST[severity - 1])
        if rank > best_rank:
            best, best_mask, best_rank = bad, mask, rank
        if rank >= 1 or (attempt >= ATTEMPTS and best_rank > 0):
            break
    image = good.copy()
    image[best_mask] = best[best_mask]
    return image, best_mask


def _source(*names: str | int) -> np.random.Generator:
    """A generator of its own for every combination of names."""
    return np.random.default_rng([zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names])
