"""Enrolment turns a handful of good parts into a bank and a threshold, and says what is odd about the parts."""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.bundle import open_bundle
from edge_resad.demo.products import draw
from edge_resad.engine.enrolment import enrol, threshold_from
from edge_resad.engine.references import cannot_tell, nonsense
from edge_resad.errors import BankError

Image = NDArray[np.uint8]
BUNDLE = open_bundle()


def _good(count: int, family: str = "flange") -> list[Image]:
    return [draw(family, seed, size=256).image for seed in range(count)]


def _warnings(images: list[Image]) -> str:
    return " ".join(enrol(BUNDLE, images, product="flange").warnings)


def test_four_good_parts_make_a_bank_with_a_threshold_and_no_warning() -> None:
    made = enrol(BUNDLE, _good(4), product="flange")
    info = made.bank.info
    assert made.warnings == ()
    assert (info.product, info.bundle_id, info.precision) == ("flange", BUNDLE.manifest.bundle_id, "fp32")
    assert (info.threshold.how, info.threshold.samples) == ("references", 4)
    assert info.threshold.good is not None
    assert info.threshold.good.samples == 4
    assert math.log(info.threshold.score) > info.threshold.good.mean
    assert info.threshold.score > 0
    assert len(info.references) == len(set(info.references)) == 4


def test_a_bank_never_grows_beyond_its_capacity() -> None:
    bank = enrol(BUNDLE, _good(4), product="flange").bank
    for rows, level in zip(bank.levels, BUNDLE.manifest.levels, strict=True):
        assert rows.shape == (min(4 * level.cells, level.capacity), level.channels)
        assert np.isfinite(rows).all()


def test_the_same_parts_make_the_same_bank() -> None:
    one, other = (enrol(BUNDLE, _good(3), product="flange", seed=5).bank for _ in range(2))
    assert one.info == other.info
    for first, second in zip(one.levels, other.levels, strict=True):
        assert np.array_equal(first, second)


def test_one_good_part_is_enough_and_the_promise_says_that_it_is_a_guess() -> None:
    made = enrol(BUNDLE, _good(1), product="flange")
    assert made.bank.info.threshold.score > 0
    assert "guess" in made.bank.info.threshold.promise
    assert "edge-resad threshold" in made.bank.info.threshold.promise


def test_no_part_is_refused() -> None:
    with pytest.raises(BankError, match="at least one good part"):
        enrol(BUNDLE, [], product="flange")


def test_more_references_than_groups_are_all_judged_once() -> None:
    steps: list[tuple[int, int]] = []
    made = enrol(BUNDLE, _good(10), product="flange", progress=lambda stage, done, total: steps.append((done, total)))
    assert made.bank.info.threshold.samples == 10
    assert [done for done, _ in steps] == list(range(1, 21))
    assert {total for _, total in steps} == {20}


def test_the_files_digests_are_kept_where_they_are_known() -> None:
    assert enrol(BUNDLE, _good(2), product="flange", digests=["a", "b"]).bank.info.references == ("a", "b")


def test_a_part_that_was_shown_twice_is_said_by_number() -> None:
    images = _good(3)
    noise = np.random.default_rng(0).integers(-2, 3, images[0].shape)
    again = np.asarray(np.clip(images[1].astype(int) + noise, 0, 255), np.uint8)
    assert "references 2 and 4 are almost the same picture" in _warnings([*images, again])


def test_a_picture_that_was_given_twice_counts_once_and_is_said() -> None:
    images = _good(3)
    once, twice = (enrol(BUNDLE, shown, product="flange") for shown in (images, [*images, images[1].copy()]))
    assert twice.bank.info.threshold == once.bank.info.threshold
    assert len(twice.bank.info.references) == 3
    assert any("references 2 and 4 are almost the same picture" in warning for warning in twice.warnings)


def test_one_picture_many_times_is_one_reference() -> None:
    image = _good(1)[0]
    made = enrol(BUNDLE, [image, image.copy(), image.copy()], product="flange").bank
    assert made.info.threshold == enrol(BUNDLE, [image], product="flange").bank.info.threshold
    assert "guess" in made.info.threshold.promise


def test_a_blurred_part_is_said_by_number() -> None:
    images = _good(4)
    images[2] = np.asarray(cv2.GaussianBlur(images[2], (0, 0), 6), np.uint8)
    assert "reference 3 is blurred" in _warnings(images)


@pytest.mark.parametrize(("gain", "what"), [(6.0, "white"), (0.0, "black")])
def test_a_clipped_part_is_said_by_number(gain: float, what: str) -> None:
    images = _good(4)
    images[1] = np.asarray(np.clip(images[1] * gain, 0, 255), np.uint8)
    warned = _warnings(images)
    assert "reference 2 is clipped" in warned
    assert what in warned


def test_parts_of_different_size_are_said_with_their_sizes() -> None:
    images = _good(3)
    images[0] = np.asarray(cv2.resize(images[0], (320, 200)), np.uint8)
    assert "references differ in size (256 x 256, 320 x 200)" in _warnings(images)


def test_enough_good_parts_fix_the_threshold_by_rank() -> None:
    scores = [float(score) for score in range(1, 200)]  # 199 of them: ceil(200 x 0.99) = 198
    assert threshold_from(scores, region=1.0, rate=0.01, how="good parts", head="nn").score == 198.0


def test_few_good_parts_put_the_threshold_above_all_of_them() -> None:
    found = threshold_from([0.9, 1.0, 1.1, 1.05], region=2.0, rate=0.01, how="references", head="nn")
    assert found.score > 1.1
    assert (found.region, found.false_alarm_rate) == (2.0, 0.01)
    assert "1 in 5" in found.promise


def test_a_rarer_false_alarm_takes_a_higher_threshold() -> None:
    scores = [0.9, 1.0, 1.1, 1.05]
    found = [
        threshold_from(scores, region=1.0, rate=rate, how="references", head="nn").score
        for rate in (0.1, 0.05, 0.01, 0.001)
    ]
    assert all(low < high for low, high in pairwise(found))


def test_the_threshold_grows_with_the_scores_scale_and_with_their_spread() -> None:
    def score(scores: list[float]) -> float:
        return threshold_from(scores, region=1.0, rate=0.01, how="references", head="nn").score

    narrow, wide = [0.95, 1.0, 1.05], [0.5, 1.0, 2.0]
    assert score([3 * value for value in narrow]) == pytest.approx(3 * score(narrow))
    assert score(wide) > 1.5 * score(narrow)


def test_the_threshold_keeps_its_promise_on_scores_that_spread_as_usual() -> None:
    random = np.random.default_rng(0)
    alarms = []
    for _ in range(200):
        shown = np.exp(0.15 * random.standard_normal(4))
        limit = threshold_from(shown.tolist(), region=1.0, rate=0.05, how="references", head="nn").score
        alarms.append((np.exp(0.15 * random.standard_normal(200)) >= limit).mean())
    assert 0.02 < np.mean(alarms) < 0.08


def test_equal_scores_of_zero_still_make_a_threshold_above_zero() -> None:
    assert threshold_from([0.0, 0.0, 0.0], region=1.0, rate=0.01, how="references", head="nn").score > 0


def test_references_of_which_even_grey_passes_are_said() -> None:
    unlike = [_good(1)[0], np.full((256, 256, 3), 128, np.uint8), *nonsense((256, 256))[1:]]
    assert "even a plain grey picture and one of noise pass" in _warnings(unlike)


def test_one_nonsense_picture_that_fails_is_enough_to_trust_a_bank() -> None:
    assert cannot_tell([True, False]) == []
    assert len(cannot_tell([True, True])) == 1
