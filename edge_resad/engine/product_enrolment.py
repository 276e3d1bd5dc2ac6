"""Enrolment of a product: banks and thresholds of what its regions see, aligned and masked as at inspection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import Bank, Threshold
from edge_resad.bundle import Bundle
from edge_resad.decision import NotInspected
from edge_resad.engine.alignment import Aligner
from edge_resad.engine.cutout import Cutout, Matrix
from edge_resad.engine.engine import Provider
from edge_resad.engine.enrolment import enrol, threshold_from
from edge_resad.engine.inspector import PAINT, Inspector
from edge_resad.engine.product_inspector import aligner_of, check_size, cutouts_of
from edge_resad.errors import ProductError
from edge_resad.image import check_frame, fit
from edge_resad.recipe import Product, Recipe

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
    wishes:    what `enrol` takes: precision, threads, provider, engines, augment, head.
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
        to_frame = _aligned(aligner, recipe, image, number, len(images))
        for roi, cutout in zip(recipe.regions, cutouts, strict=True):
            seen.setdefault(roi.bank, []).append(shown(cutout, _taken(cutout, image, to_frame, number), side))
    banks, warnings = {}, []
    for bank, parts in seen.items():
        rate = false_alarm_rate / len(recipe.regions)
        done = enrol(bundle, parts, product=recipe.product, false_alarm_rate=rate, progress=progress, **wishes)
        banks[bank] = done.bank
        named = bank.removesuffix(".npz")
        warnings += [f"{named}: {warning}" if len(seen) > 1 else warning for warning in done.warnings]
    return ProductEnrolment(banks=banks, warnings=tuple(warnings))


def thresholds_from(
    bundle: Bundle,
    product: Product,
    images: Sequence[Image],
    *,
    false_alarm_rate: float = 0.05,
    threads: int = 1,
    provider: Provider = "cpu",
    engines: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Threshold]:
    """Estimate the thresholds of a product's banks from more good parts, each region for its share of the rate.

    images:  each (H, W, 3) uint8, BGR; those that a bank was made of do not count for it, it knows them by heart.
    returns: by the name of the bank's file.

    Raises:
        ProductError: a picture has another size or cannot be aligned, or a bank has seen all of them.
    """
    side, recipe = bundle.manifest.image_size, product.recipe
    cutouts, aligner = cutouts_of(product, side), aligner_of(product)
    found: dict[str, Threshold] = {}
    done, total = 0, len(images) * len(product.banks)
    for name, bank in product.banks.items():
        scores, peaks = [], []
        with Inspector(bundle, bank, threads=threads, provider=provider, engines=engines) as inspector:
            cells = np.zeros_like(inspector.score_map)
            for number, image in enumerate(images, start=1):
                to_frame = _aligned(aligner, recipe, image, number, len(images))
                for roi, cutout in zip(recipe.regions, cutouts, strict=True):
                    if roi.bank != name:
                        continue
                    picture = _taken(cutout, image, to_frame, number)
                    if hashlib.sha256(shown(cutout, picture, side).tobytes()).hexdigest() in bank.info.references:
                        continue
                    scores.append(inspector.look(picture, cutout.paint))
                    peaks.append(float(cutout.masked(inspector.score_map, cells).max()))
                done += 1
                progress("judge", done, total)
        if not scores:
            raise ProductError(
                f"every picture given is a reference of {name}, which knows them by heart: they would make a threshold "
                "that is far too low. Give good parts that it has not seen."
            )
        rate = false_alarm_rate / len(recipe.regions)
        found[name] = threshold_from(scores, region=max(peaks), rate=rate, how="good parts", head=bank.info.head)
    return found


def _aligned(aligner: Aligner | None, recipe: Recipe, image: Image, number: int, total: int) -> Matrix | None:
    """Where the product's picture lies on that of a good part."""
    check_frame(image)
    try:
        check_size(image, recipe.picture_px)
        return None if aligner is None else aligner.align(image)
    except NotInspected as obstacle:
        raise ProductError(f"good part {number} of {total} cannot be used: {obstacle}. Leave it out.") from obstacle


def _taken(cutout: Cutout, image: Image, to_frame: Matrix | None, number: int) -> Image:
    try:
        return cutout.take(image, to_frame)
    except NotInspected as obstacle:
        raise ProductError(f"good part {number} cannot be used: {obstacle}. Leave it out.") from obstacle


def shown(cutout: Cutout, picture: Image, side: int) -> Image:
    """A copy of what the network is to see of a cutout; painted at the network's size, as at inspection."""
    if cutout.paint is None:
        return np.array(picture)
    painted: Image = np.empty((side, side, 3), np.uint8)
    fit(picture, side, painted)
    np.copyto(painted, PAINT, where=cutout.paint)
    return painted
