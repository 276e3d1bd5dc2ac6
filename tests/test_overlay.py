"""Overlays: clean where all is well, plain where it is not, and never larger than a message may be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.decision import Verdict
from edge_resad.overlay import heat_overlay, thumbnail, with_verdict

SQUARE = [(40, 40), (80, 40), (80, 80), (40, 80)]


def picture(grey: int = 120) -> NDArray[np.uint8]:
    return np.full((160, 200, 3), grey, np.uint8)


def hot_map(peak: float) -> NDArray[np.float32]:
    scores = np.zeros((32, 40), np.float32)
    scores[8:16, 8:16] = peak  # the square, at a fifth of the image's size
    return scores


def test_a_map_below_half_the_threshold_leaves_the_photograph_as_it_was() -> None:
    image = picture()
    drawn = heat_overlay(image, hot_map(0.5), threshold=1.0, polygons=[])
    assert np.array_equal(drawn, image)


def test_heat_lies_where_the_map_is_high_and_nowhere_else() -> None:
    image = picture()
    drawn = heat_overlay(image, hot_map(2.0), threshold=1.0, polygons=[])
    assert cv2.absdiff(drawn, image)[60, 60].max() > 60
    assert np.array_equal(drawn[100:, 100:], image[100:, 100:])


def test_a_part_that_passed_shows_no_heat_and_less_of_everything() -> None:
    image = picture()
    failed = heat_overlay(image, hot_map(1.1), threshold=1.0, polygons=[])
    passed = heat_overlay(image, hot_map(1.1), threshold=1.0, polygons=[], passed=True)
    assert 0 < cv2.absdiff(passed, image)[60, 60].max() < cv2.absdiff(failed, image)[60, 60].max()
    blue, _, red = (int(value) for value in passed[60, 60])
    assert blue > red


@pytest.mark.parametrize("size", [(160, 200), (32, 32), (2000, 3000), (8, 600)])
def test_the_verdict_stands_below_the_picture_which_stays_as_it_was(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 120, np.uint8)
    verdict = Verdict(status="fail", score=2.774, threshold=1.421, regions=())
    drawn = with_verdict(image, verdict)
    assert np.array_equal(drawn[: size[0]], image)
    strip = drawn[size[0] :]
    assert strip.shape[0] >= 18
    assert not (strip == strip[0, 0]).all()  # something is written there
    passed = with_verdict(image, Verdict(status="pass", score=0.9, threshold=1.421, regions=()))
    assert (passed[-1, 0] != strip[-1, 0]).any()


def test_the_defect_shines_through_the_heat() -> None:
    image = picture()
    image[60, 50:70] = 0
    drawn = heat_overlay(image, hot_map(2.0), threshold=1.0, polygons=[])
    assert int(drawn[58, 60].sum()) - int(drawn[60, 60].sum()) > 60


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_an_outline_can_be_seen_on_every_background(grey: int) -> None:
    drawn = heat_overlay(picture(grey), hot_map(0.0), threshold=1.0, polygons=[SQUARE])
    along = drawn[34:47, 60].astype(int).sum(axis=1)  # across the upper edge
    assert along.max() - along.min() > 300


def test_the_image_that_was_given_stays_untouched() -> None:
    image = picture()
    heat_overlay(image, hot_map(3.0), threshold=1.0, polygons=[SQUARE])
    assert (image == 120).all()


@pytest.mark.parametrize("polygon", [[], [(10, 10)], [(10, 10), (30, 10)], [(-50, -50), (500, -50), (500, -40)]])
def test_degenerate_outlines_are_drawn_as_well_as_they_can_be(polygon: list[tuple[int, int]]) -> None:
    drawn = heat_overlay(picture(), hot_map(0.0), threshold=1.0, polygons=[polygon])
    assert drawn.shape == (160, 200, 3)
    assert np.array_equal(drawn, picture()) == (not polygon or polygon[0][0] < 0)


def test_a_map_with_holes_in_it_does_not_spoil_the_picture() -> None:
    scores = hot_map(2.0)
    scores[0, 0], scores[0, 39] = np.nan, np.inf
    drawn = heat_overlay(picture(), scores, threshold=1.0, polygons=[])
    assert (drawn[0, 0] == 120).all()
    assert (drawn[0, 199] != 120).any()


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_a_threshold_that_cannot_be_is_named(threshold: float) -> None:
    with pytest.raises(ValueError, match=f"threshold above 0, got {threshold}"):
        heat_overlay(picture(), hot_map(1.0), threshold=threshold, polygons=[])


def test_a_thumbnail_is_a_jpeg_no_longer_than_its_side() -> None:
    jpeg = thumbnail(picture(), hot_map(2.0), threshold=1.0, polygons=[SQUARE], side=100)
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape == (80, 100, 3)


def test_a_thumbnail_marks_the_same_place_as_the_full_picture() -> None:
    jpeg = thumbnail(picture(), hot_map(2.0), threshold=1.0, polygons=[], side=100)
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    warm = np.argwhere(cv2.absdiff(shown, np.full_like(shown, 120)).max(axis=2) > 40)
    assert np.abs(warm.mean(axis=0) - 29.5).max() < 2


@pytest.mark.parametrize("max_bytes", [65536, 12000, 3000])
def test_a_thumbnail_of_pure_noise_still_fits_its_message(max_bytes: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    jpeg = thumbnail(noise, hot_map(2.0), threshold=1.0, polygons=[], max_bytes=max_bytes)
    assert len(jpeg) <= max_bytes
    assert jpeg.startswith(b"\xff\xd8")


def test_a_size_that_no_picture_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="max_bytes=100"):
        thumbnail(picture(), hot_map(2.0), threshold=1.0, polygons=[], max_bytes=100)
