"""What is different between two versions of a product, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import Bank
from edge_resad.recipe.product import Product
from edge_resad.recipe.recipe import Recipe, Roi


def differences(old: Product, new: Product) -> list[str]:
    """One line a difference; none where the two judge alike."""
    return [*_settings(old.recipe, new.recipe), *_pictures(old, new), *_regions(old, new)]


def described(recipe: Recipe) -> list[tuple[str, str]]:
    """What a recipe sets apart from its regions: name and value, for people."""
    aligned, severity = recipe.alignment, recipe.severity
    size, scale = recipe.picture_px, recipe.mm_per_px
    area = f"{recipe.min_area_px} px" if recipe.min_area_mm2 is None else f"{recipe.min_area_mm2:g} mm2"
    return [
        ("product", recipe.product),
        ("note", recipe.note or "none"),
        ("picture", "any size" if size is None else f"{size[0]} x {size[1]} px"),
        ("scale", "unknown" if scale is None else f"{scale:g} mm/px"),
        ("minimum area", area),
        ("debounce", f"{recipe.debounce_k} of {recipe.debounce_n}"),
        ("severity", f"major from {severity.major:g}, critical from {severity.critical:g} times the threshold"),
        ("codes", ", ".join(recipe.codes) or "none"),
        (
            "alignment",
            "off"
            if aligned is None
            else f"up to {aligned.max_shift_px:g} px and {aligned.max_turn_deg:g} degrees, "
            f"likeness at least {aligned.min_likeness:g}",
        ),
    ]


def placed(roi: Roi) -> str:
    """Where a region of interest is."""
    if roi.box is None:
        return "whole picture"
    x, y, width, height = roi.box
    shape = "" if roi.polygon is None else f", polygon of {len(roi.polygon)} points"
    return f"{width} x {height} px at ({x}, {y}){shape}"


def _settings(old: Recipe, new: Recipe) -> Iterator[str]:
    for (name, before), (_, after) in zip(described(old), described(new), strict=True):
        if before != after:
            yield f"{name}: {before} -> {after}"


def _pictures(old: Product, new: Product) -> Iterator[str]:
    shares = [0.0 if one.ignore is None else float(one.ignore.mean()) for one in (old, new)]
    if not _same(old.ignore, new.ignore):
        yield f"ignore mask: {shares[0]:.1%} -> {shares[1]:.1%} of the picture"
    if old.reference is not None and new.reference is not None and not _same(old.reference, new.reference):
        yield "reference picture: another one"


def _regions(old: Product, new: Product) -> Iterator[str]:
    before = {roi.name: index for index, roi in enumerate(old.recipe.regions)}
    after = {roi.name: index for index, roi in enumerate(new.recipe.regions)}
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            yield f"region {name}: gone"
        elif name not in before:
            yield f"region {name}: new, {placed(new.recipe.regions[after[name]])}"
        else:
            yield from _region(old, before[name], new, after[name])


def _region(old: Product, before: int, new: Product, after: int) -> Iterator[str]:
    was, now = old.recipe.regions[before], new.recipe.regions[after]
    if (was.box, was.polygon) != (now.box, now.polygon):
        moved = " (other corners)" if placed(was) == placed(now) else ""
        yield f"region {now.name}: {placed(was)} -> {placed(now)}{moved}"
    if not _same_bank(old.bank_of(before), new.bank_of(after)):
        banks = _bank(old.bank_of(before)), _bank(new.bank_of(after))
        other = " (of other parts, or seen otherwise)" if banks[0] == banks[1] else ""
        yield f"bank of {now.name}: {banks[0]} -> {banks[1]}{other}"
    said = [_threshold(old, before), _threshold(new, after)]
    if said[0] != said[1]:
        yield f"threshold of {now.name}: {said[0]} -> {said[1]}"


def _threshold(product: Product, index: int) -> str:
    whose = "the bank's" if product.recipe.regions[index].threshold is None else "by hand"
    return f"{product.threshold_of(index):.3f} ({whose})"


def _bank(bank: Bank) -> str:
    info = bank.info
    return f"{len(info.references)} references, {info.head}, {info.precision}, bundle {info.bundle_id[:12]}"


def _same_bank(one: Bank, other: Bank) -> bool:
    """Whether two banks are the same but for their thresholds, which are told by themselves."""
    if one.info.model_copy(update={"threshold": other.info.threshold}) != other.info or len(one.levels) != len(
        other.levels
    ):
        return False
    return all(np.array_equal(rows, more) for rows, more in zip(one.levels, other.levels, strict=True))


def _same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))
