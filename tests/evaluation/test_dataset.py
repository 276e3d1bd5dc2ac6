"""Image sets are found wherever they lie, with each defect's mask."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edge_resad.errors import ImageError
from edge_resad.evaluation.dataset import Part, find_classes, fit_mask, read_mask, subset
from tests.evaluation.tree import inspection_class, picture, spot, write


def test_a_class_is_named_by_its_path_below_the_root(tmp_path: Path) -> None:
    inspection_class(tmp_path / "magtile/magnetic_tile")
    inspection_class(tmp_path / "a/b/c/deep")
    assert [found.name for found in find_classes(tmp_path)] == ["a/b/c/deep", "magtile/magnetic_tile"]


def test_a_root_that_is_a_class_is_named_by_its_folder(tmp_path: Path) -> None:
    assert [found.name for found in find_classes([inspection_class(tmp_path / "cookie")])] == ["cookie"]


def test_a_class_knows_its_images_and_masks(tmp_path: Path) -> None:
    folder = inspection_class(tmp_path / "cookie", train=11, good=1, defects=2)
    (found,) = find_classes(tmp_path)
    assert [path.name for path in found.train] == [f"{index}.png" for index in range(11)]
    assert found.test == (
        Part(path=folder / "test/good/0.png", defect="good", mask=None),
        Part(path=folder / "test/scratch/0.png", defect="scratch", mask=folder / "ground_truth/scratch/0_mask.png"),
        Part(path=folder / "test/scratch/1.png", defect="scratch", mask=folder / "ground_truth/scratch/1_mask.png"),
    )
    assert [part.is_defective for part in found.test] == [False, True, True]
    assert found.has_masks


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("part 7.png", "part 7_mask.png"),
        ("Stück №7.jpg", "Stück №7_mask.png"),
        ("UPPER.PNG", "UPPER_mask.PNG"),
        ("photo.jpg", "photo_mask.png"),
        ("photo.jpg", "photo.png"),
        ("a.b.c.png", "a.b.c_mask.bmp"),
        (unicodedata.normalize("NFD", "Stück.png"), unicodedata.normalize("NFC", "Stück_mask.png")),
    ],
)
def test_a_mask_is_found_whatever_the_file_is_called(tmp_path: Path, image: str, mask: str) -> None:
    folder = inspection_class(tmp_path / "cookie", defects=0)
    picture(folder / "test/big crack" / image)
    path = spot(folder / "ground_truth/big crack" / mask)
    (found,) = find_classes(tmp_path)
    assert [part.mask for part in found.test if part.is_defective] == [path]


def test_the_name_with_mask_in_it_goes_first(tmp_path: Path) -> None:
    folder = inspection_class(tmp_path / "cookie", defects=1)
    spot(folder / "ground_truth/scratch/0.png")
    (found,) = find_classes(tmp_path)
    assert found.test[-1].mask == folder / "ground_truth/scratch/0_mask.png"


def test_a_defect_without_mask_has_none(tmp_path: Path) -> None:
    folder = inspection_class(tmp_path / "cookie", defects=2)
    (folder / "ground_truth/scratch/1_mask.png").unlink()
    (found,) = find_classes(tmp_path)
    assert [part.mask is None for part in found.test if part.is_defective] == [False, True]


def test_a_class_without_any_mask_says_so(tmp_path: Path) -> None:
    inspection_class(tmp_path / "cookie", masks=False)
    assert not find_classes(tmp_path)[0].has_masks


def test_other_files_and_hidden_ones_are_passed_over(tmp_path: Path) -> None:
    folder = inspection_class(tmp_path / "cookie")
    (folder / "test/scratch/labels.csv").touch()
    (folder / "test/scratch/._0.png").touch()
    (folder / "test/notes.txt").touch()
    assert len(find_classes(tmp_path)[0].test) == 4


def test_one_name_below_two_roots_gets_the_roots_name(tmp_path: Path) -> None:
    inspection_class(tmp_path / "spring/line/cookie")
    inspection_class(tmp_path / "autumn/line/cookie")
    inspection_class(tmp_path / "autumn/line/alien")
    names = [found.name for found in find_classes([tmp_path / "spring", tmp_path / "autumn"])]
    assert names == ["spring/line/cookie", "line/alien", "autumn/line/cookie"]


def test_one_name_below_roots_of_one_name_gets_a_number(tmp_path: Path) -> None:
    roots = [inspection_class(tmp_path / place / "set/cookie").parent for place in ("here", "there")]
    assert [found.name for found in find_classes(roots)] == ["set/cookie", "set/cookie (2)"]


def test_classes_given_by_themselves_get_the_name_of_the_folder_above(tmp_path: Path) -> None:
    roots = [inspection_class(tmp_path / place / "cookie") for place in ("here", "there")]
    assert [found.name for found in find_classes(roots)] == ["here/cookie", "there/cookie"]


def test_a_class_below_two_roots_is_found_once(tmp_path: Path) -> None:
    inspection_class(tmp_path / "line/cookie")
    assert [found.name for found in find_classes([tmp_path, tmp_path / "line"])] == ["line/cookie"]


def test_a_link_that_leads_back_up_is_no_trap(tmp_path: Path) -> None:
    inspection_class(tmp_path / "line/cookie")
    (tmp_path / "line/again").symlink_to(tmp_path)
    assert len(find_classes(tmp_path)) == 1


def test_finding_nothing_says_what_was_expected(tmp_path: Path) -> None:
    picture(tmp_path / "some/where/part.png")
    with pytest.raises(ImageError, match=r"no inspection class below .*Expected <class>/train/good"):
        find_classes([tmp_path])


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no folder .*nowhere.*train/good"):
        find_classes(tmp_path / "nowhere")


def test_an_empty_training_folder_is_named(tmp_path: Path) -> None:
    inspection_class(tmp_path / "cookie", train=0)
    (tmp_path / "cookie/train/good").mkdir(parents=True)
    with pytest.raises(ImageError, match=r"no images in the folder .*train"):
        find_classes(tmp_path)


def test_a_class_with_nothing_to_judge_is_named(tmp_path: Path) -> None:
    inspection_class(tmp_path / "cookie", good=0, defects=0)
    (tmp_path / "cookie/test").mkdir()
    with pytest.raises(ImageError, match=r"no images below .*test"):
        find_classes(tmp_path)


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


def _parts(**kinds: int) -> tuple[Part, ...]:
    return tuple(Part(path=Path(f"{kind}/{i}.png"), defect=kind) for kind, count in kinds.items() for i in range(count))


def test_a_subset_gives_every_defect_its_share() -> None:
    kept = subset(_parts(cut=20, good=30, hole=60), max_good=7, max_defect=8)
    assert Counter(part.defect for part in kept) == {"good": 7, "cut": 2, "hole": 6}


def test_a_subset_is_always_the_same_and_in_order() -> None:
    parts = _parts(cut=20, good=30)
    kept = subset(parts, max_good=5, max_defect=5)
    assert kept == subset(parts, max_good=5, max_defect=5)
    assert list(kept) == sorted(kept, key=parts.index)
    assert [part.path.stem for part in kept[:5]] != ["0", "1", "2", "3", "4"]


def test_without_a_limit_nothing_is_left_out() -> None:
    parts = _parts(cut=3, good=4)
    assert subset(parts, max_good=None, max_defect=None) == subset(parts, max_good=99, max_defect=99) == parts


@pytest.mark.shared
def test_the_evaluation_images_are_found(evaluation_data: Path) -> None:
    found = {one.name: one for one in find_classes(evaluation_data)}
    assert {"magtile/magnetic_tile", "elpv/solar_mono", "aws_lookout/cookie"} <= found.keys()
    assert not found["elpv/solar_mono"].has_masks
    tiles = found["magtile/magnetic_tile"]
    assert Counter(part.defect for part in tiles.test)["good"] == 60
    assert all(part.mask for part in tiles.test if part.is_defective)
