"""A difference between two versions is a line that says what was and what is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_resad.bank import bank_content
from edge_resad.recipe import Alignment, Recipe, Roi, Shelf, differences
from tests.products import as_png, bank_of, part, stocked

FACE = Roi(name="face", bank="face.npz", box=(20, 20, 100, 100))


def test_two_versions_that_judge_alike_have_no_difference(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    assert differences(stocked(shelf, "flange"), stocked(shelf, "flange")) == []


def test_settings_say_what_was_and_what_is(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    old = stocked(shelf, "flange", min_area_px=10)
    new = stocked(shelf, "flange", mm_per_px=0.1, min_area_mm2=0.5, debounce_k=2, debounce_n=3, note="scale known")
    assert differences(old, new) == [
        "note: none -> scale known",
        "scale: unknown -> 0.1 mm/px",
        "minimum area: 10 px -> 0.5 mm2",
        "debounce: 1 of 1 -> 2 of 3",
    ]


def test_regions_banks_masks_and_references_are_compared(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    flange, cap = bank_content(bank_of("flange")), bank_content(bank_of("cap"))
    mask = np.zeros((256, 256), np.uint8)
    mask[:64] = 255
    files = {"face.npz": flange, "ignore.png": as_png(mask), "reference.png": as_png(part("flange", 1))}
    old = Recipe(
        product="p", picture_px=(256, 256), ignore="ignore.png", alignment=Alignment(),
        regions=(FACE, Roi(name="rim", bank="face.npz", box=(0, 0, 64, 64))),
    )  # fmt: skip
    new = old.model_copy(
        update={
            "regions": (
                FACE.model_copy(update={"box": (30, 20, 100, 100), "threshold": 1.5}),
                Roi(name="hub", bank="face.npz"),
            )
        }
    )
    before = shelf.add(old, files)
    mask[:128] = 255
    after = shelf.add(new, {"face.npz": cap, "ignore.png": as_png(mask), "reference.png": as_png(part("flange", 2))})
    told = differences(before, after)
    assert told[:3] == [
        "ignore mask: 25.0% -> 50.0% of the picture",
        "reference picture: another one",
        "region face: 100 x 100 px at (20, 20) -> 100 x 100 px at (30, 20)",
    ]
    assert told[3].startswith("bank of face: 4 references, nn, fp32")
    assert told[3].endswith(" (of other parts, or seen otherwise)")
    was = bank_of("flange").info.threshold.score
    assert told[4:] == [
        f"threshold of face: {was:.3f} (the bank's) -> 1.500 (by hand)",
        "region rim: gone",
        "region hub: new, whole picture",
    ]
