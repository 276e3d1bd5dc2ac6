"""A mask says where a part is defective, at any resolution, from one file or several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_resad.datasets.masks import fit_mask, read_mask
from edge_resad.errors import ImageError
from tests.evaluation.tree import spot, write


def test_several_masks_of_one_part_are_united(tmp_path: Path) -> None:
    first, second = spot(tmp_path / "000.png", at=slice(0, 2)), spot(tmp_path / "001.png", at=slice(5, 8))
    assert np.array_equal(read_mask(first, second), read_mask(first) | read_mask(second))
    assert read_mask(first, second).sum() == 4 + 9


def test_masks_of_one_part_that_differ_in_size_are_named(tmp_path: Path) -> None:
    first, second = spot(tmp_path / "000.png", size=8), spot(tmp_path / "001.png", size=16)
    with pytest.raises(ImageError, match=r"001\.png has 16 x 16 pixels, .*000\.png of the same part has 8 x 8"):
        read_mask(first, second)


def test_any_pixel_that_is_not_zero_is_defective(tmp_path: Path) -> None:
    mask = np.zeros((4, 5), np.uint8)
    mask[1, 2], mask[3, 4] = 1, 255
    assert np.array_equal(read_mask(write(tmp_path / "mask.png", mask)), mask > 0)


def test_a_mask_of_sixteen_bits_keeps_its_smallest_value(tmp_path: Path) -> None:
    mask = np.zeros((4, 5), np.uint16)
    mask[1, 2] = 1
    assert np.array_equal(read_mask(write(tmp_path / "mask.png", mask)), mask > 0)


def test_transparency_is_no_defect(tmp_path: Path) -> None:
    mask = np.zeros((4, 5, 4), np.uint8)
    mask[:, :, 3] = 255
    mask[1, 2, 2] = 200
    assert np.argwhere(read_mask(write(tmp_path / "mask.png", mask))).tolist() == [[1, 2]]


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_mask_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken_mask.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"broken_mask\.png cannot be read as a mask"):
        read_mask(path)


def test_a_mask_is_scaled_with_its_image() -> None:
    mask = np.zeros((40, 80), bool)
    mask[:20, 40:] = True
    assert np.array_equal(fit_mask(mask, 8), np.kron([[0, 1], [0, 0]], np.ones((4, 4))) > 0)


def test_a_mask_of_the_right_size_is_not_changed() -> None:
    mask = np.random.default_rng(0).random((16, 16)) < 0.3
    assert np.array_equal(fit_mask(mask, 16), mask)


def test_no_region_vanishes_when_a_mask_shrinks() -> None:
    mask = np.zeros((100, 100), bool)
    for y, x in [(1, 1), (33, 50), (50, 33), (99, 99)]:
        mask[y, x] = True
    assert sorted(map(tuple, np.argwhere(fit_mask(mask, 10)).tolist())) == [(0, 0), (3, 5), (5, 3), (9, 9)]


def test_regions_that_are_hit_are_not_made_wider() -> None:
    mask = np.zeros((100, 100), bool)
    mask[11:29, 11:29] = True  # the centres of 2 by 2 small pixels
    mask[99, 99] = True
    assert np.argwhere(fit_mask(mask, 10)).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2], [9, 9]]


def test_a_small_mask_grows() -> None:
    assert np.array_equal(
        fit_mask(np.array([[True, False], [False, True]]), 4), np.kron(np.eye(2), np.ones((2, 2))) > 0
    )
