"""Products for tests: drawn parts, banks enrolled once, and a shelf to put them on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import Bank, bank_content
from edge_resad.bundle import open_bundle
from edge_resad.demo.products import draw
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.product_enrolment import enrol_product
from edge_resad.recipe import Product, Recipe, Roi, Shelf

Image = NDArray[np.uint8]

BUNDLE = open_bundle()
SIDE = 256  # pixels a side of every drawn part
SHOWN = range(4)  # seeds of the parts that are enrolled


def part(family: str, seed: int, defect: str | None = None) -> Image:
    return draw(family, seed, size=SIDE, defect=defect, severity=3).image


def good_parts(family: str) -> list[Image]:
    return [part(family, seed) for seed in SHOWN]


@cache
def bank_of(family: str) -> Bank:
    """A bank of whole pictures."""
    return enrol(BUNDLE, good_parts(family), product=family, augment="off", head="nn").bank


def stocked(shelf: Shelf, family: str, **settings: Any) -> Product:
    """A new version of a product that looks at whole pictures."""
    recipe = Recipe(product=family, regions=(Roi(name="whole", bank="whole.npz"),), **settings)
    return shelf.add(recipe, {"whole.npz": bank_content(bank_of(family))})


def enrolled(
    folder: Path,
    recipe: Recipe,
    images: Sequence[Image],
    *,
    ignore: NDArray[np.bool_] | None = None,
    reference: Image | None = None,
) -> Product:
    """A product enrolled from these pictures, as its recipe looks at them."""
    done = enrol_product(BUNDLE, recipe, images, ignore=ignore, reference=reference, augment="off", head="nn")
    files = {name: bank_content(bank) for name, bank in done.banks.items()}
    if ignore is not None:
        files["ignore.png"] = as_png(255 * ignore.astype(np.uint8))
    if reference is not None:
        files["reference.png"] = as_png(reference)
    return Shelf(folder).add(recipe, files)


def as_png(picture: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", picture)[1].tobytes())


def moved(picture: NDArray[np.uint8], dx: float, dy: float, degrees: float) -> tuple[Image, NDArray[np.float64]]:
    """A picture moved and turned about its centre, and the (2, 3) matrix from its pixels to the new ones."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    matrix[:, 2] += np.array((dx, dy))
    there = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(there, np.uint8), np.asarray(matrix, np.float64)
