"""What lies beyond the camera's picture is not judged, whether a region is drawn or the whole picture counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_resad.decision import NotInspected
from edge_resad.engine.cutout import UNSEEN, Cutout, Matrix
from edge_resad.recipe import Roi

WIDTH, HEIGHT = 640, 480
FRAME = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
WHOLE = Roi(name="whole", bank="b.npz")


def cutout(roi: Roi = WHOLE, ignore: np.ndarray | None = None) -> Cutout:
    return Cutout(roi, ignore, picture_px=(WIDTH, HEIGHT), side=256, aligned=True)


def moved(right: float = 0.0, turn_deg: float = 0.0) -> Matrix:
    """A motion about the picture's middle."""
    cos, sin = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    turn = np.array([[cos, -sin], [sin, cos]])
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    return np.column_stack((turn, middle - turn @ middle + (right, 0.0)))


@pytest.mark.parametrize("roi", [WHOLE, Roi(name="all", bank="b.npz", box=(0, 0, WIDTH, HEIGHT))])
def test_a_part_a_seventh_of_which_the_camera_does_not_see_is_not_judged(roi: Roi) -> None:
    with pytest.raises(NotInspected) as refused:
        cutout(roi).take(FRAME, moved(right=90.0))
    assert refused.value.obstacle == "not_aligned"


@pytest.mark.parametrize("motion", [moved(right=0.8 * UNSEEN * WIDTH), moved(turn_deg=4.0)])
def test_a_whole_picture_that_lies_a_little_beside_the_reference_is_judged(motion: Matrix) -> None:
    assert cutout().take(FRAME, motion).shape == FRAME.shape


def test_it_is_said_how_much_of_a_whole_picture_is_not_seen_and_what_to_do() -> None:
    with pytest.raises(NotInspected, match=r"2\d% of the part's picture lies beyond .* with a region around"):
        cutout().take(FRAME, moved(right=WIDTH / 4))


def test_what_does_not_count_need_not_be_seen() -> None:
    ignore = np.zeros((HEIGHT, WIDTH), bool)
    ignore[:, WIDTH * 3 // 4 :] = True
    cutout(ignore=ignore).take(FRAME, moved(right=90.0))  # the right quarter is ignored, and it alone is unseen
    with pytest.raises(NotInspected):
        cutout(ignore=~ignore).take(FRAME, moved(right=90.0))
