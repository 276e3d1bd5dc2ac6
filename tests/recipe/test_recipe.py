"""A recipe says what cannot be before it judges anything, and is written as it is read."""

from __future__ import annotations

from typing import Any

import pytest

from edge_resad.errors import ProductError
from edge_resad.recipe import Alignment, Recipe, Roi, Severity, checked_recipe, read_recipe, recipe_text

FULL = Recipe(
    product="flange",
    note='after the "new" lamp \\ Österreich 💡',
    picture_px=(640, 480),
    mm_per_px=0.05,
    min_area_mm2=0.5,
    debounce_k=2,
    debounce_n=3,
    codes=("4711-0815", "EAN 4006381333931"),
    ignore="ignore.png",
    severity=Severity(major=1.5, critical=3.0),
    alignment=Alignment(max_turn_deg=5.0),
    regions=(
        Roi(name="face", bank="face.npz", box=(10, 20, 300, 200), polygon=((10, 20), (310, 20), (10, 220))),
        Roi(name="edge", bank="face.npz", box=(320, 20, 300, 200), threshold=1.4),
    ),
)


def _raw(**changes: Any) -> dict[str, object]:
    return {"product": "flange", "regions": [{"name": "whole", "bank": "whole.npz"}], **changes}


def test_a_recipe_is_read_as_it_was_written() -> None:
    assert read_recipe(recipe_text(FULL), "recipe.toml") == FULL


@pytest.mark.parametrize("alignment", [None, Alignment()])
def test_a_recipe_at_its_defaults_is_read_as_it_was_written(alignment: Alignment | None) -> None:
    size = None if alignment is None else (64, 64)
    plain = Recipe(product="cap", picture_px=size, alignment=alignment, regions=(Roi(name="whole", bank="whole.npz"),))
    assert read_recipe(recipe_text(plain), "recipe.toml") == plain


def test_a_region_whose_outline_crosses_itself_is_filled_and_so_it_is_one() -> None:
    knot = Roi(name="knot", bank="knot.npz", box=(0, 0, 64, 64), polygon=((0, 0), (60, 60), (60, 0), (0, 60)))
    assert read_recipe(recipe_text(Recipe(product="cap", picture_px=(64, 64), regions=(knot,))), "x").regions == (knot,)


def test_every_file_is_named_once() -> None:
    assert FULL.files == ("face.npz", "ignore.png", "reference.png")


def test_an_area_in_square_millimetres_is_one_in_pixels() -> None:
    assert FULL.least_area_px == pytest.approx(200)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"product": "../flange"}, "product"),
        ({"colour": "red"}, "colour"),
        ({"debounce_k": 3}, "3 parts can never fail among 1"),
        ({"min_area_mm2": 1.0}, r"square millimetres \(min_area_mm2\) needs the scale \(mm_per_px\)"),
        ({"mm_per_px": float("nan")}, "mm_per_px"),
        ({"regions": []}, "regions"),
        ({"regions": [{"name": "a", "bank": "../a.npz"}]}, "bank"),
        ({"regions": [{"name": "a", "bank": "a.npz"}, {"name": "a", "bank": "b.npz"}]}, "the same name"),
        ({"regions": [{"name": "a", "bank": "a.npz", "box": (0, 0, 4, 90)}]}, "at least 8 x 8 pixels"),
        ({"regions": [{"name": "a", "bank": "a.npz", "box": (0, 0, 64, 64)}]}, "picture_px is needed"),
        ({"picture_px": (90, 90), "regions": [{"name": "a", "bank": "a.npz", "box": (40, 0, 64, 64)}]}, "beyond a"),
        (
            {
                "picture_px": (90, 90),
                "regions": [
                    {"name": "a", "bank": "a.npz", "box": (0, 0, 64, 64), "polygon": ((0, 0), (70, 0), (0, 60))}
                ],
            },
            "leaves its box",
        ),
        (
            {
                "picture_px": (90, 90),
                "regions": [
                    {"name": "a", "bank": "a.npz", "box": (0, 0, 64, 64), "polygon": ((0, 0), (32, 32), (64, 64))}
                ],
            },
            "the polygon of region a encloses at most 0 pixels, expected 64 or more",
        ),
        ({"severity": {"major": 2.0, "critical": 1.5}}, "set critical higher"),
        ({"product": "a flange"}, "product is 'a flange', expected 1 to 64 letters, digits, - or _"),
        ({"codes": ("",)}, "codes.1 is '', expected 1 to 200 letters in one line"),
        ({"regions": [{"name": "a b", "bank": "a.npz"}]}, "regions.1.name is 'a b', expected 1 to 64 letters"),
        ({"mm_per_px": 0.0}, "mm_per_px is 0.0, expected: greater than 0"),
        ({"note": "two\nlines"}, "note"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ProductError, match=says) as refused:
        checked_recipe(_raw(**changes), "flange")
    assert "\n" not in str(refused.value)


def test_a_recipe_of_a_later_release_says_so() -> None:
    with pytest.raises(ProductError, match=r"of schema 2, this release reads schema 1\. Update edge-resad"):
        read_recipe(recipe_text(FULL).replace("schema_version = 1", "schema_version = 2"), "recipe.toml")


def test_broken_toml_is_named() -> None:
    with pytest.raises(ProductError, match=r"recipe\.toml is not valid TOML"):
        read_recipe("product = = 1", "recipe.toml")
