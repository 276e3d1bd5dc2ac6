"""Augmentation helps parts that lie at any angle, leaves out those that do not, and says why."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.bank import AugmentationMode, Bank
from edge_resad.bundle import open_bundle
from edge_resad.demo.products.factory.part import draw
from edge_resad.engine.augmentation import TURNS, decide, modes_of, shrunk, turned
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.inspector import Inspector

Image = NDArray[np.uint8]
BUNDLE = open_bundle()
ONE = (1.0, 1.0)


def _picture(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def _good(family: str, variant: int, seeds: range) -> list[Image]:
    return [draw(family, seed, size=256, variant=variant).image for seed in seeds]


def _tops(**factors: float) -> dict[AugmentationMode, NDArray[np.float32]]:
    """Distances of four parts at two levels, those of a mode by a factor farther than without it."""
    plain = np.array([[1, 10], [2, 20], [3, 30], [4, 40]], np.float32)
    modes: tuple[AugmentationMode, ...] = ("none", "flips", "rotations")
    return {mode: plain * np.float32(factors.get(mode, 1.0)) for mode in modes}


@pytest.mark.parametrize("shape", [(64, 64), (48, 90), (91, 33)])
def test_a_half_turn_is_both_mirrors_whatever_the_shape(shape: tuple[int, int]) -> None:
    image = _picture(*shape)
    assert np.array_equal(turned(image, (180, False)), image[::-1, ::-1])
    assert np.array_equal(turned(image, (180, True)), image[::-1])


@pytest.mark.parametrize("angle", range(0, 360, 45))
def test_a_turned_picture_keeps_its_frame_and_fills_its_corners(angle: int) -> None:
    copy = turned(np.full((40, 70, 3), 200, np.uint8), (angle, False))
    assert copy.shape == (40, 70, 3)
    assert (copy == 200).all()
    assert copy.flags.c_contiguous


def test_four_quarter_turns_lead_back() -> None:
    image = _picture(50, 50)
    copy = image
    for _ in range(4):
        copy = turned(copy, (90, False))
    assert np.array_equal(copy, image)


def test_every_mode_shows_the_part_itself_first_and_no_copy_twice() -> None:
    for turns in TURNS.values():
        assert turns[0] == (0, False)
        assert len(set(turns)) == len(turns)


def test_a_large_frame_is_made_smaller_in_its_shape_and_a_small_one_stays() -> None:
    assert shrunk(_picture(600, 900), 200).shape == (200, 300, 3)
    small = _picture(100, 300)
    assert shrunk(small, 200) is small


def test_rotations_are_chosen_where_they_bring_left_out_parts_closer() -> None:
    assert decide("auto", _tops(rotations=0.9, flips=0.8), ONE).mode == "rotations"


def test_flips_are_chosen_where_only_they_do() -> None:
    assert decide("auto", _tops(rotations=1.2, flips=0.9), ONE).mode == "flips"


@pytest.mark.parametrize("factor", [0.996, 1.0, 1.3])
def test_nothing_is_chosen_where_copies_bring_nothing_closer(factor: float) -> None:
    found = decide("auto", _tops(rotations=factor, flips=factor), ONE)
    assert found.mode == "none"
    assert f"{factor:.2f} times as far" in found.reason


def test_a_level_counts_by_its_weight() -> None:
    tops = _tops()
    tops["rotations"] = tops["none"] * np.array([0.8, 1.5], np.float32)
    assert decide("auto", tops, (1.0, 0.1)).mode == "rotations"
    assert decide("auto", tops, (1.0, 1.0)).mode == "none"


def test_who_asks_for_it_gets_it_unasked_of_the_references() -> None:
    assert decide("on", {"rotations": _tops()["none"]}, ONE).mode == "rotations"
    assert decide("off", {"none": _tops()["none"]}, ONE).mode == "none"
    assert (modes_of("on", 1), modes_of("off", 4), modes_of("auto", 1)) == (("rotations",), ("none",), ("none",))


def test_parts_in_a_fixed_pose_are_not_turned() -> None:
    info = enrol(BUNDLE, _good("label", 1, range(4)), product="label").bank.info
    assert info.augmentation.mode != "rotations"
    assert "times as far" in info.augmentation.reason


def test_parts_at_any_angle_are_turned() -> None:
    assert enrol(BUNDLE, _good("top", 1, range(4)), product="top").bank.info.augmentation.mode == "rotations"


def test_a_good_part_turned_comes_closer_to_a_bank_of_turned_parts() -> None:
    images = _good("label", 1, range(5))
    sideways = turned(images[4], (90, False))
    shown = images[:4]

    def score(bank: Bank) -> float:
        with Inspector(BUNDLE, bank) as inspector:
            return inspector.inspect(sideways).score / inspector.threshold

    plain, with_turns = (enrol(BUNDLE, shown, product="label", augment=wish).bank for wish in ("off", "on"))
    assert score(with_turns) < 0.8 * score(plain)


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_turned_copies_stay_within_the_banks_capacity(count: int) -> None:
    bank = enrol(BUNDLE, _good("gear", 1, range(count)), product="gear", augment="on").bank
    for rows, level in zip(bank.levels, BUNDLE.manifest.levels, strict=True):
        assert level.cells <= len(rows) <= level.capacity
    assert bank.info.threshold.score > 0
    assert all(norm > 0 for norms in bank.info.level_norm for norm in norms)


def test_a_reference_left_out_is_not_judged_against_its_own_copies() -> None:
    """Of two unlike parts, each is far from the other: were its copies in the bank, it would be near."""
    unlike = [*_good("label", 1, range(1)), *_good("gear", 1, range(1))]
    alike = _good("label", 1, range(2))
    far, near = (enrol(BUNDLE, pair, product="pair", augment="on").bank.info.level_norm for pair in (unlike, alike))
    for (_, far_top), (_, near_top) in zip(far, near, strict=True):
        assert 1 / far_top > 1.5 / near_top
