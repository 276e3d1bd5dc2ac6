"""Image sets are found wherever they lie, with each defect's mask."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from edge_resad.datasets.find import find_classes
from edge_resad.datasets.inspection_class import Part
from edge_resad.errors import ImageError
from tests.evaluation.tree import inspection_class, picture, spot


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


@pytest.mark.shared
def test_the_evaluation_images_are_found(evaluation_data: Path) -> None:
    found = {one.name: one for one in find_classes(evaluation_data)}
    assert {"magtile/magnetic_tile", "elpv/solar_mono", "aws_lookout/cookie"} <= found.keys()
    assert not found["elpv/solar_mono"].has_masks
    tiles = found["magtile/magnetic_tile"]
    assert Counter(part.defect for part in tiles.test)["good"] == 60
    assert all(part.mask for part in tiles.test if part.is_defective)
