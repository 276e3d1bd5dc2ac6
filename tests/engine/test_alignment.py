"""Alignment finds where a part lies, to a fraction of a pixel, and refuses what is another part or too far away."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.decision import NotInspected
from edge_resad.demo.products import DEFECTS, FAMILIES
from edge_resad.engine.alignment import Aligner
from edge_resad.recipe import Alignment
from tests.products import SIDE, Image, moved, part

ANY = Alignment(max_shift_px=1000, max_turn_deg=180)


def _off(found: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Pixels by which two motions differ at most in the middle half of the picture."""
    corners = np.array([(x, y, 1) for x in (64, 192) for y in (64, 192)], np.float64)
    return float(np.linalg.norm(corners @ (found - true).T, axis=1).max())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("dx", "dy", "degrees"), [(0, 0, 0), (6, -4, 3), (20, 15, -8)])
def test_a_part_that_was_moved_and_turned_is_found(family: str, dx: int, dy: int, degrees: int) -> None:
    reference = part(family, 1)
    frame, true = moved(reference, dx, dy, degrees)
    assert _off(Aligner(reference, ANY).align(frame), true) < 0.3


def test_where_a_part_lay_is_told_to_the_right_down_and_clockwise() -> None:
    reference = part("nameplate", 1)
    aligner = Aligner(reference, ANY)
    frame, _ = moved(reference, 6, -4, -3)  # OpenCV turns anticlockwise
    aligner.align(frame)
    place = aligner.place
    assert place is not None
    assert place.shift_px == pytest.approx((6, -4), abs=0.3)
    assert place.turn_deg == pytest.approx(3, abs=0.2)
    assert 0.9 < place.likeness <= 1
    with pytest.raises(NotInspected):
        aligner.align(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert aligner.place is None


def test_features_find_what_correlation_alone_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = part("board", 1)
    frame, true = moved(reference, 0, 0, 45)
    aligner = Aligner(reference, ANY)
    assert _off(aligner.align(frame), true) < 0.5
    monkeypatch.setattr(aligner, "_by_features", lambda: None)
    with pytest.raises(NotInspected):
        aligner.align(frame)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_does_not_keep_a_part_from_being_aligned(defect: str) -> None:
    reference = part("flange", 1)
    straight = Aligner(reference, ANY).align(part("flange", 9))
    bad = Aligner(reference, ANY).align(part("flange", 9, defect))
    assert _off(bad, straight) < 1.5


@pytest.mark.parametrize("other", ["board", "cap", "nameplate", "noise", "black"])
def test_a_picture_of_something_else_is_not_inspected(other: str) -> None:
    frame: Image = {
        "noise": np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8),
        "black": np.zeros((SIDE, SIDE, 3), np.uint8),
    }.get(other, part(other, 1) if other in FAMILIES else part("flange", 1))
    with pytest.raises(NotInspected, match="cannot be aligned: its likeness") as refused:
        Aligner(part("flange", 1), ANY).align(frame)
    assert refused.value.obstacle == "not_aligned"


@pytest.mark.parametrize(("dx", "degrees", "says"), [(20, 0, "lies 20 px away"), (0, 12, "turned by 12 degrees")])
def test_a_part_further_away_than_allowed_is_not_inspected(dx: int, degrees: int, says: str) -> None:
    reference = part("nameplate", 1)
    frame, _ = moved(reference, dx, 0, degrees)
    with pytest.raises(NotInspected, match=says):
        Aligner(reference, Alignment(max_shift_px=10, max_turn_deg=6)).align(frame)


def test_a_large_picture_is_aligned_as_exactly_as_its_pixels_deserve() -> None:
    import cv2

    reference = np.asarray(cv2.resize(part("board", 1), (960, 720)), np.uint8)
    frame, true = moved(reference, 31, -17, 4)
    found = Aligner(reference, ANY).align(frame)
    assert math.hypot(*(found - true)[:, 2]) < 2.0
    assert _off(found, true) < 1.0
