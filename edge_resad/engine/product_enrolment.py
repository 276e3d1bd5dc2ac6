"""Enrolment of a product: banks of what its regions of interest see, aligned and masked as at inspection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import Bank
from edge_resad.bundle import Bundle
from edge_resad.decision import NotInspected
from edge_resad.engine.alignment import Aligner
from edge_resad.engine.cutout import Cutout
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.inspector import PAINT
from edge_resad.engine.product_inspector import check_size
from edge_resad.errors import ProductError
from edge_resad.image import check_frame, fit
from edge_resad.recipe import Recipe

Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class ProductEnrolment:
    """The banks of a product, and what its maker should know of the good parts."""

    banks: Mapping[str, Bank]  # by the name of their file
    warnings: tuple[str, ...]


def enrol_product(
    bundle: Bundle,
    recipe: Recipe,
    images: Sequence[Image],
    *,
    ignore: NDArray[np.bool_] | None = None,
    reference: Image | None = None,
    false_alarm_rate: float = 0.05,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    **wishes: Any,
) -> ProductEnrolment:
    """Make the banks that a recipe names from pictures of good parts, as the camera gives them.

    images:    each (H, W, 3) uint8, BGR, as large as the recipe says.
    ignore:    (H, W) True where nothing counts.
    reference: the picture that parts are aligned to; needed where the recipe aligns.
    wishes:    what `enrol` takes: precision, threads, augment, head.
    false_alarm_rate: share of good parts that may fail. A part fails where one of its regions does, so each region is
               given its share of it (Bonferroni).

    Raises:
        ProductError: a good part has another size or cannot be aligned.
        BankError: no pictures, or the bundle lacks the head.
    """
    side = bundle.manifest.image_size
    aligner = None
    if recipe.alignment is not None:
        if reference is None:
            raise ValueError("a recipe that aligns needs its reference picture")
        aligner = Aligner(reference, recipe.alignment)
    seen: dict[str, list[Image]] = {}
    cutouts = [
        Cutout(roi, ignore, picture_px=recipe.picture_px, side=side, aligned=aligner is not None)
        for roi in recipe.regions
    ]
    for number, image in enumerate(images, start=1):
        check_frame(image)
        try:
            check_size(image, recipe.picture_px)
            to_frame = None if aligner is None else aligner.align(image)
            for roi, cutout in zip(recipe.regions, cutouts, strict=True):
                seen.setdefault(roi.bank, []).append(shown(cutout, cutout.take(image, to_frame), side))
        except NotInspected as obstacle:
            raise ProductError(
                f"good part {number} of {len(images)} cannot be enrolled: {obstacle}. Leave it out."
            ) from obstacle
    banks, warnings = {}, []
    for bank, parts in seen.items():
        rate = false_alarm_rate / len(recipe.regions)
        done = enrol(bundle, parts, product=recipe.product, false_alarm_rate=rate, progress=progress, **wishes)
        banks[bank] = done.bank
        named = bank.removesuffix(".npz")
        warnings += [f"{named}: {warning}" if len(seen) > 1 else warning for warning in done.warnings]
    return ProductEnrolment(banks=banks, warnings=tuple(warnings))


def shown(cutout: Cutout, picture: Image, side: int) -> Image:
    """A copy of what the network is to see of a cutout; painted at the network's size, as at inspection."""
    if cutout.paint is None:
        return np.array(picture)
    painted: Image = np.empty((side, side, 3), np.uint8)
    fit(picture, side, painted)
    np.copyto(painted, PAINT, where=cutout.paint)
    return painted
