"""Pictures of drawn parts with a code beside them, and the shelf of products that they are of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import Bank, bank_content
from edge_resad.bundle import open_bundle
from edge_resad.demo.products import FAMILIES, draw
from edge_resad.engine.product_enrolment import enrol_product
from edge_resad.recipe import Alignment, Recipe, Roi, Shelf
from tests.codes import checked, ean13_code, qr_code

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8, BGR."""
Size = tuple[int, int]
"""Width and height of a picture, pixels."""
Kind = Literal["qr", "barcode"]

DRAWN_PX = 512  # largest side at which a part is drawn; larger ones are scaled from it
QR_MODULES = 25  # a side, of a short text
ENROLLED = range(4)  # seeds of the parts of which a bank is made
SHOWN = range(100, 104)  # seeds of those that pass the camera


@dataclass(frozen=True, kw_only=True)
class Stocked:
    """One product on the shelf, with what its parts look like."""

    name: str
    family: str
    number: str  # thirteen digits, for a barcode


def stocked(count: int) -> list[Stocked]:
    """So many products; there are four kinds of parts, so that several look alike."""
    families = list(FAMILIES)[:4]
    return [
        Stocked(
            name=f"{families[index % 4]}-{index // 4 + 1}",
            family=families[index % 4],
            number=checked(f"4006381{index:05d}"),
        )
        for index in range(count)
    ]


@cache
def part(family: str, seed: int, size: Size, code: str | None = None, kind: Kind = "qr") -> Picture:
    """A picture of this size with a part on its left half and, where there is a code, that on its right."""
    width, height = size
    x, y, side, _ = box_of(size)
    drawn = draw(family, seed, size=min(side, DRAWN_PX)).image
    behind = np.median(np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]]), axis=0)
    picture: Picture = np.full((height, width, 3), behind, np.uint8)
    picture[y : y + side, x : x + side] = cv2.resize(drawn, (side, side), interpolation=cv2.INTER_LINEAR)
    if code is not None:
        bar_px = min(5, max(2, round(height / 270)))
        printed = qr_code(code, QR_MODULES * 2 * bar_px) if kind == "qr" else ean13_code(code, bar_px)
        tall, wide = printed.shape
        left, top = x + side + (width - x - side - wide) // 2, (height - tall) // 2
        quiet = picture[
            top - height // 24 : top + tall + height // 24, left - height // 24 : left + wide + height // 24
        ]
        quiet[:] = 245
        picture[top : top + tall, left : left + wide] = printed[:, :, None]
    return np.asarray(cv2.GaussianBlur(picture, (3, 3), 0.7), np.uint8)  # as a lens does


def box_of(size: Size) -> tuple[int, int, int, int]:
    """Where the part is: x, y, width, height."""
    width, height = size
    side = min(width // 2, 2 * height // 3)
    return (height - side) // 4, (height - side) // 2, side, side


def stock(shelf: Shelf, kinds: list[Stocked], size: Size, *, regions: int = 1, align: bool = True) -> None:
    """Put a version of each product on the shelf. regions: how many there are of the part, each with a bank."""
    for one in kinds:
        banks, recipe = _enrolled(one, size, regions, align)
        files = {name: bank_content(bank) for name, bank in banks.items()}
        if align:
            files["reference.png"] = bytes(cv2.imencode(".png", part(one.family, 0, size))[1].tobytes())
        shelf.add(recipe, files)


def _enrolled(one: Stocked, size: Size, regions: int, align: bool) -> tuple[dict[str, Bank], Recipe]:
    x, y, width, height = box_of(size)
    slices = [round(index * width / regions) for index in range(regions + 1)]
    recipe = Recipe(
        product=one.name,
        picture_px=size,
        codes=(one.number,),
        alignment=Alignment() if align else None,
        regions=tuple(
            Roi(name=f"region{index}", bank=f"region{index}.npz", box=(x + left, y, right - left, height))
            for index, (left, right) in enumerate(pairwise(slices))
        ),
    )
    return dict(_banks(one.family, size, regions, align, recipe)), recipe


_KNOWN: dict[tuple[str, Size, int, bool], dict[str, Bank]] = {}


def _banks(family: str, size: Size, regions: int, align: bool, recipe: Recipe) -> dict[str, Bank]:
    """The banks of a family's parts, made once: products that look alike share them."""
    key = (family, size, regions, align)
    if key not in _KNOWN:
        pictures = [part(family, seed, size) for seed in ENROLLED]
        done = enrol_product(open_bundle(), recipe, pictures, reference=pictures[0] if align else None, augment="off")
        _KNOWN[key] = dict(done.banks)
    return _KNOWN[key]


def codes_of(kinds: list[Stocked], kind: Kind) -> dict[str, str]:
    """Product -> what the code on its parts says."""
    return {one.name: one.name if kind == "qr" else one.number for one in kinds}
