"""Published image sets and folders filled by hand are read as they lie there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_resad.datasets.find import find_classes
from edge_resad.datasets.inspection_class import InspectionClass, Part
from edge_resad.datasets.masks import read_mask
from edge_resad.errors import ImageError
from tests.evaluation.tree import inspection_class, picture, spot


def _mvtec(root: Path) -> Path:
    return inspection_class(root / "bottle", train=3, good=2, defects=2)


def _mpdd(root: Path) -> Path:
    folder = root / "bracket_black"
    for path in ("train/good/000.png", "test/good/000.png", "test/hole/000.png", "test/scratches/000.png"):
        picture(folder / path)
    for kind in ("hole", "scratches"):
        spot(folder / f"ground_truth/{kind}/000_mask.png")
    return folder


def _btad(root: Path) -> Path:
    """Class 03 has .bmp masks, class 01 .bmp images with .png masks; both kinds here."""
    folder = root / "BTech_Dataset_transformed/01"
    for path in ("train/ok/0000.bmp", "train/ok/0001.bmp", "test/ok/0005.bmp", "test/ko/0000.bmp", "test/ko/0001.bmp"):
        picture(folder / path)
    spot(folder / "ground_truth/ko/0000.png")
    spot(folder / "ground_truth/ko/0001.bmp")
    return folder


def _mvtec_3d(root: Path) -> Path:
    folder = root / "bagel"
    for kind in ("train/good", "validation/good", "test/good", "test/crack"):
        picture(folder / kind / "rgb/000.png")
        (folder / kind / "xyz").mkdir()
        (folder / kind / "xyz/000.tiff").write_bytes(b"a point cloud")
    spot(folder / "test/good/gt/000.png", at=slice(0, 0))
    spot(folder / "test/crack/gt/000.png")
    (folder / "calibration").mkdir()
    return folder


def _loco(root: Path) -> Path:
    folder = root / "pushpins"
    kinds = ("train/good", "validation/good", "test/good", "test/logical_anomalies", "test/structural_anomalies")
    for kind in kinds:
        picture(folder / kind / "000.png")
    spot(folder / "ground_truth/logical_anomalies/000/000.png", at=slice(0, 2))
    spot(folder / "ground_truth/logical_anomalies/000/001.png", at=slice(4, 7))
    spot(folder / "ground_truth/structural_anomalies/000/000.png")
    (folder / "defects_config.json").write_text("[]")
    return folder


def _visa(root: Path, *more_rows: str) -> Path:
    folder = root / "candle"
    rows = ["object,split,label,image,mask"]
    for name, split in (("0010", "train"), ("0002", "train"), ("0001", "test")):
        picture(folder / f"Data/Images/Normal/{name}.JPG")
        rows.append(f"candle,{split},normal,candle/Data/Images/Normal/{name}.JPG,")
    picture(folder / "Data/Images/Anomaly/000.JPG")
    spot(folder / "Data/Masks/Anomaly/000.png")
    rows.append("candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png")
    rows.append("cashew,train,normal,cashew/Data/Images/Normal/000.JPG,")  # an object that was not copied
    (folder / "image_anno.csv").write_text("image,label,mask\n")
    (root / "split_csv").mkdir()
    (root / "split_csv/1cls.csv").write_text("\n".join([*rows, *more_rows]) + "\n")
    return folder


def _plain(root: Path) -> Path:
    folder = root / "Größe 7"
    for name in ("1.png", "2.png", "10.PNG"):
        picture(folder / "good" / name)
    picture(folder / "big crack/Teil №1.JPEG")
    picture(folder / "dust/a.png")
    (folder / "dust/._a.png").touch()
    spot(folder / "ground_truth/big crack/Teil №1_mask.png")
    return folder


def _described(one: InspectionClass, folder: Path) -> dict[str, object]:
    """Every path as it reads below the class's folder."""
    return {
        "train": [path.relative_to(folder).as_posix() for path in one.train],
        "validation": [path.relative_to(folder).as_posix() for path in one.validation],
        "test": [
            (
                part.path.relative_to(folder).as_posix(),
                part.defect,
                [mask.relative_to(folder).as_posix() for mask in part.masks],
            )
            for part in one.test
        ],
    }


@pytest.mark.parametrize(
    ("build", "name", "train", "validation", "test"),
    [
        pytest.param(
            _mvtec,
            "bottle",
            ["train/good/0.png", "train/good/1.png", "train/good/2.png"],
            [],
            [
                ("test/good/0.png", "good", []),
                ("test/good/1.png", "good", []),
                ("test/scratch/0.png", "scratch", ["ground_truth/scratch/0_mask.png"]),
                ("test/scratch/1.png", "scratch", ["ground_truth/scratch/1_mask.png"]),
            ],
            id="MVTec AD",
        ),
        pytest.param(
            _mpdd,
            "bracket_black",
            ["train/good/000.png"],
            [],
            [
                ("test/good/000.png", "good", []),
                ("test/hole/000.png", "hole", ["ground_truth/hole/000_mask.png"]),
                ("test/scratches/000.png", "scratches", ["ground_truth/scratches/000_mask.png"]),
            ],
            id="MPDD",
        ),
        pytest.param(
            _btad,
            "BTech_Dataset_transformed/01",
            ["train/ok/0000.bmp", "train/ok/0001.bmp"],
            [],
            [
                ("test/ko/0000.bmp", "ko", ["ground_truth/ko/0000.png"]),
                ("test/ko/0001.bmp", "ko", ["ground_truth/ko/0001.bmp"]),
                ("test/ok/0005.bmp", "good", []),
            ],
            id="BTAD",
        ),
        pytest.param(
            _mvtec_3d,
            "bagel",
            ["train/good/rgb/000.png"],
            ["validation/good/rgb/000.png"],
            [
                ("test/crack/rgb/000.png", "crack", ["test/crack/gt/000.png"]),
                ("test/good/rgb/000.png", "good", []),
            ],
            id="MVTec 3D-AD",
        ),
        pytest.param(
            _loco,
            "pushpins",
            ["train/good/000.png"],
            ["validation/good/000.png"],
            [
                ("test/good/000.png", "good", []),
                (
                    "test/logical_anomalies/000.png",
                    "logical_anomalies",
                    [
                        "ground_truth/logical_anomalies/000/000.png",
                        "ground_truth/logical_anomalies/000/001.png",
                    ],
                ),
                (
                    "test/structural_anomalies/000.png",
                    "structural_anomalies",
                    ["ground_truth/structural_anomalies/000/000.png"],
                ),
            ],
            id="MVTec LOCO",
        ),
        pytest.param(
            _visa,
            "candle",
            ["Data/Images/Normal/0002.JPG", "Data/Images/Normal/0010.JPG"],
            [],
            [
                ("Data/Images/Normal/0001.JPG", "good", []),
                ("Data/Images/Anomaly/000.JPG", "anomaly", ["Data/Masks/Anomaly/000.png"]),
            ],
            id="VisA",
        ),
        pytest.param(
            _plain,
            "Größe 7",
            ["good/1.png", "good/10.PNG"],
            [],
            [
                ("good/2.png", "good", []),
                ("big crack/Teil №1.JPEG", "big crack", ["ground_truth/big crack/Teil №1_mask.png"]),
                ("dust/a.png", "dust", []),
            ],
            id="folders filled by hand",
        ),
    ],
)
def test_a_layout_is_recognised_by_what_is_there(
    tmp_path: Path,
    build: Callable[[Path], Path],
    name: str,
    train: list[str],
    validation: list[str],
    test: list[tuple[str, str, list[str]]],
) -> None:
    folder = build(tmp_path)
    (found,) = find_classes(tmp_path)
    assert found.name == name
    assert _described(found, folder) == {"train": train, "validation": validation, "test": test}


@pytest.mark.parametrize("build", [_mvtec, _btad, _mvtec_3d, _visa, _plain])
def test_a_class_is_the_same_when_its_own_folder_is_given(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    folder = build(tmp_path)
    (found,), (alone,) = find_classes(tmp_path), find_classes(folder)
    assert alone.name == folder.name
    assert (alone.train, alone.test) == (found.train, found.test)


def test_sets_of_several_layouts_may_lie_below_one_folder(tmp_path: Path) -> None:
    for build in (_mvtec, _btad, _mvtec_3d, _visa, _plain):
        build(tmp_path / build.__name__.strip("_"))
    assert [found.name for found in find_classes(tmp_path)] == [
        "btad/BTech_Dataset_transformed/01",
        "mvtec/bottle",
        "mvtec_3d/bagel",
        "plain/Größe 7",
        "visa/candle",
    ]


def test_all_masks_of_a_part_say_where_it_is_defective(tmp_path: Path) -> None:
    _loco(tmp_path)
    (found,) = find_classes(tmp_path)
    (logical,) = (part for part in found.test if part.defect == "logical_anomalies")
    assert read_mask(*logical.masks).sum() == 4 + 9


def test_an_empty_folder_of_masks_is_no_mask(tmp_path: Path) -> None:
    folder = _loco(tmp_path)
    (folder / "ground_truth/structural_anomalies/000/000.png").unlink()
    (found,) = find_classes(tmp_path)
    assert [part.masks for part in found.test if part.defect == "structural_anomalies"] == [()]


def test_a_defect_of_which_no_mask_was_copied_has_none(tmp_path: Path) -> None:
    folder = _mvtec_3d(tmp_path)
    (folder / "test/crack/gt/000.png").unlink()
    assert not find_classes(tmp_path)[0].has_masks


@pytest.mark.parametrize(
    ("build", "missing", "says"),
    [
        (_mvtec, "train", r"bottle has no folder train/good\. Expected good parts in train/good, parts to judge in"),
        (_mvtec, "test", r"bottle has no folder test\."),
        (_btad, "train", r"01 has no folder train/ok\."),
        (_mvtec_3d, "train/good/rgb", r"bagel has no folder train/good/rgb\."),
    ],
)
def test_a_missing_folder_is_named(tmp_path: Path, build: Callable[[Path], Path], missing: str, says: str) -> None:
    folder = build(tmp_path)
    (folder / missing).rename(tmp_path / ".elsewhere")
    with pytest.raises(ImageError, match=says):
        find_classes(tmp_path)


def test_a_split_file_that_is_missing_is_named(tmp_path: Path) -> None:
    _visa(tmp_path)
    (tmp_path / "split_csv/1cls.csv").unlink()
    with pytest.raises(ImageError, match=r"no split file .*split_csv/1cls\.csv\. Expected VisA's own"):
        find_classes(tmp_path)


@pytest.mark.parametrize("missing", ["Data/Images/Anomaly/000.JPG", "Data/Masks/Anomaly/000.png"])
def test_a_file_that_the_split_names_and_is_not_there_is_named_with_its_line(tmp_path: Path, missing: str) -> None:
    (_visa(tmp_path) / missing).unlink()
    with pytest.raises(ImageError, match=rf"1cls\.csv, line 5: no (image|mask) .*{missing}"):
        find_classes(tmp_path)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("candle,test,broken,candle/Data/Images/Normal/0001.JPG,", r"line 7: the label 'broken'\. Expected normal or"),
        ("candle,val,normal,candle/Data/Images/Normal/0001.JPG,", r"line 7: the split 'val' for a part that is normal"),
        ("candle,train,anomaly,candle/Data/Images/Anomaly/000.JPG,", r"line 7: the split 'train' for .* is anomaly"),
        ("candle,test", r"line 7: the label ''"),
        ('candle,"test', r"line 7: the (label|split)"),
    ],
)
def test_a_row_that_cannot_be_is_named_with_its_line(tmp_path: Path, row: str, says: str) -> None:
    _visa(tmp_path, row)
    with pytest.raises(ImageError, match=says):
        find_classes(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", r"has no column object, split, label, image, mask"),
        (b"object,split,label,image\n", r"has no column mask"),
        (b"object,split,label,image,mask\n", r"names no image of candle for train"),
        (b"\xff\xfe\x00\x01", r"cannot be read .*Expected VisA's split file"),
    ],
)
def test_a_split_file_that_cannot_be_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    _visa(tmp_path)
    (tmp_path / "split_csv/1cls.csv").write_bytes(content)
    with pytest.raises(ImageError, match=says):
        find_classes(tmp_path)


def test_a_split_file_may_begin_with_a_byte_order_mark_and_end_lines_as_windows_does(tmp_path: Path) -> None:
    _visa(tmp_path)
    file = tmp_path / "split_csv/1cls.csv"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert len(find_classes(tmp_path)[0].test) == 2


def test_good_parts_without_defects_are_all_for_learning(tmp_path: Path) -> None:
    for index in range(3):
        picture(tmp_path / f"cookie/good/{index}.png")
    (found,) = find_classes(tmp_path)
    assert (len(found.train), found.test) == (3, ())


def test_images_in_the_given_folder_itself_are_good_parts(tmp_path: Path) -> None:
    files = [picture(tmp_path / f"cookie/{index}.jpg") for index in range(3)]
    assert find_classes(tmp_path / "cookie") == [InspectionClass(name="cookie", train=tuple(files), test=())]


def test_images_beside_a_class_are_no_class(tmp_path: Path) -> None:
    _mvtec(tmp_path)
    picture(tmp_path / "overview.png")
    assert [found.name for found in find_classes(tmp_path)] == ["bottle"]


def test_a_folder_given_twice_is_one_class(tmp_path: Path) -> None:
    picture(tmp_path / "cookie/0.png")
    assert len(find_classes([tmp_path / "cookie", tmp_path / "cookie"])) == 1


def test_a_part_with_one_mask_says_it_both_ways() -> None:
    part = Part(path=Path("7.png"), defect="cut", mask=Path("7_mask.png"))
    assert part.masks == (part.mask,)
