"""The protocol shows each product's good parts, judges its test parts and says what stands behind the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.datasets.find import find_classes
from edge_resad.datasets.inspection_class import InspectionClass
from edge_resad.errors import ImageError
from edge_resad.evaluation.protocol import PIXEL_SIZE, draw_references, evaluate, mean, spread
from tests.evaluation.tree import inspection_class, picture, write


class Brightness:
    """Takes what is brighter than its references for a defect. Its map is a buffer that it uses again."""

    def __init__(self, map_size: int = 8) -> None:
        self._map = np.zeros((map_size, map_size), np.float32)
        self.references: list[list[int]] = []  # brightness of what each enrolment showed
        self.seeds: list[int] = []
        self.judged: list[int] = []  # brightness of every part judged

    def enrol(self, references: Sequence[NDArray[np.uint8]], seed: int) -> None:
        self.references.append([int(image[0, 0, 0]) for image in references])
        self.seeds.append(seed)

    def score(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        gray = image[:, :, 0].astype(np.float32)
        cv2.resize(gray, self._map.shape[::-1], dst=self._map, interpolation=cv2.INTER_NEAREST)
        self.judged.append(int(image[0, 0, 0]))
        return self._map, float(self._map.max())


def _spotted(folder: Path, parts: int = 2) -> list[InspectionClass]:
    """Good parts are gray; each defect is a bright square, and the mask says where."""
    for index in range(5):
        picture(folder / f"train/good/{index}.png", value=index, size=64)
    for index in range(parts):
        picture(folder / f"test/good/{index}.png", value=100, size=64)
        part = np.full((64, 64, 3), 100, np.uint8)
        part[8 * index : 8 * index + 16, 32:56] = 200
        write(folder / f"test/spot/{index}.png", part)
        write(folder / f"ground_truth/spot/{index}_mask.png", (part[:, :, 0] > 150).astype(np.uint8))
    return find_classes(folder)


@pytest.mark.parametrize("map_size", [64, PIXEL_SIZE], ids=["small map", "map of the full size"])
def test_a_detector_that_is_right_everywhere_gets_one_hundred_percent(tmp_path: Path, map_size: int) -> None:
    results = evaluate(_spotted(tmp_path / "cookie"), Brightness(map_size), shots=2, seeds=[0])
    (draw,) = results.classes[0].seeds
    assert draw.image_auroc == draw.image_ap == draw.image_f1max == 1.0
    for metric in ("pixel_auroc", "pixel_ap", "pixel_f1max", "aupro"):
        assert results.mean(metric) == pytest.approx(1.0, abs=0.02)


def test_references_are_drawn_by_the_seed_from_the_good_training_images(tmp_path: Path) -> None:
    classes, scorer = _spotted(tmp_path / "cookie"), Brightness()
    evaluate(classes, scorer, shots=3, seeds=[0, 1, 2])
    train = list(classes[0].train)
    expected = [[int(path.stem) for path in draw_references(train, 3, seed)] for seed in (0, 1, 2)]
    assert scorer.references == expected
    assert scorer.seeds == [0, 1, 2]


def test_a_draw_shows_no_part_twice() -> None:
    train = [Path(f"{index}.png") for index in range(10)]
    for seed in range(20):
        drawn = draw_references(train, 4, seed)
        assert len(set(drawn)) == 4
        assert drawn == draw_references(train, 4, seed)
    assert draw_references(train, 4, 0) != draw_references(train, 4, 1)


def test_too_few_training_images_are_all_shown_and_it_is_said(tmp_path: Path) -> None:
    scorer = Brightness()
    results = evaluate(_spotted(tmp_path / "cookie"), scorer, shots=8, seeds=[0])
    assert sorted(scorer.references[0]) == [0, 1, 2, 3, 4]
    assert results.classes[0].references == 5
    assert results.notes[0] == "cookie: 5 training images, all of them shown, where 8 were asked for"


def test_counts_say_how_many_images_stand_behind_the_numbers(tmp_path: Path) -> None:
    inspection_class(tmp_path / "cookie", good=3, defects=2)
    (one,) = evaluate(find_classes(tmp_path), Brightness(), shots=1, seeds=[0]).classes
    assert (one.name, one.references, one.good, one.defective, one.with_mask) == ("cookie", 1, 3, 2, 2)
    assert one.notes == ("3 good test images are few for AUPIMO: its lower bound is less than 10 of their pixels",)


def test_without_masks_there_are_no_pixel_metrics(tmp_path: Path) -> None:
    inspection_class(tmp_path / "cookie", masks=False)
    results = evaluate(find_classes(tmp_path), Brightness(), shots=1, seeds=[0])
    (draw,) = results.classes[0].seeds
    assert draw.image_auroc == 1.0
    assert draw.pixel_auroc is draw.pixel_ap is draw.pixel_f1max is draw.aupro is draw.aupimo is None
    assert draw.overlap == ()
    assert results.notes == ("cookie: no masks, so localisation cannot be measured",)


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_defects_without_mask_are_left_out_of_pixel_metrics_and_it_is_said(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "cookie"
    complete = evaluate(_spotted(folder), Brightness(64), shots=1, seeds=[0])
    write(folder / "test/spot/9.png", np.full((64, 64, 3), 255, np.uint8))
    if how == "empty":
        write(folder / "ground_truth/spot/9_mask.png", np.zeros((64, 64), np.uint8))
    results = evaluate(find_classes(folder), Brightness(64), shots=1, seeds=[0])
    assert (results.classes[0].defective, results.classes[0].with_mask) == (3, 2)
    assert results.mean("aupro") == complete.mean("aupro")
    assert "1 of 3 defective images have no mask" in results.notes[0]


def test_a_class_without_defects_has_no_metrics(tmp_path: Path) -> None:
    inspection_class(tmp_path / "cookie", defects=0)
    results = evaluate(find_classes(tmp_path), Brightness(), shots=1, seeds=[0])
    assert results.mean("image_auroc") is None
    assert results.notes == ("cookie: no defective test image, so detection cannot be measured",)


def test_limits_choose_the_same_parts_for_every_seed(tmp_path: Path) -> None:
    folder = inspection_class(tmp_path / "cookie", good=0, defects=0)
    for index in range(10):
        picture(folder / f"test/good/{index}.png", value=index)
        picture(folder / f"test/cut/{index}.png", value=100 + index)
    scorer = Brightness()
    results = evaluate(find_classes(tmp_path), scorer, shots=1, seeds=[0, 1], max_good=4, max_defect=3)
    assert len(scorer.judged) == 14
    assert scorer.judged[:7] == scorer.judged[7:]
    assert (results.classes[0].good, results.classes[0].defective) == (4, 3)


def _grainy(folder: Path) -> list[InspectionClass]:
    """Good parts have a fine grain; of two defects one is brighter than any grain, the other is only as bright."""
    random = np.random.default_rng(0)
    for index in range(3):
        grain = random.integers(80, 120, (64, 64, 1)).repeat(3, axis=2).astype(np.uint8)
        picture(folder / "train/good/0.png")
        write(folder / f"test/good/{index}.png", grain)
        part = grain.copy()
        part[10:30, 10:30] = 250 if index == 0 else 100
        if index < 2:
            write(folder / f"test/spot/{index}.png", part)
            mask = np.zeros((64, 64), np.uint8)
            mask[12:28, 12:28] = 255
            write(folder / f"ground_truth/spot/{index}_mask.png", mask)
    return find_classes(folder)


def test_every_part_keeps_its_score_and_its_share_of_aupimo(tmp_path: Path) -> None:
    results = evaluate(_grainy(tmp_path / "cookie"), Brightness(64), shots=1, seeds=[0, 1])
    for draw in results.classes[0].seeds:
        said = [(part.path.name, part.defect, part.is_defective, part.aupimo) for part in draw.parts]
        assert said == [
            ("0.png", "good", False, None),
            ("1.png", "good", False, None),
            ("2.png", "good", False, None),
            ("0.png", "spot", True, 1.0),
            ("1.png", "spot", True, 0.0),
        ]
        assert draw.parts[3].score == 250.0
        assert draw.parts[4].score < 120
        assert draw.aupimo == 0.5


def test_a_draw_keeps_its_time_and_its_curve(tmp_path: Path) -> None:
    (draw,) = evaluate(_spotted(tmp_path / "cookie"), Brightness(64), shots=1, seeds=[0]).classes[0].seeds
    assert draw.seconds is not None
    assert draw.seconds > 0
    assert len(draw.overlap) == 61
    assert draw.overlap[-1] == pytest.approx(1.0)


def test_one_good_image_is_too_few_for_aupimo(tmp_path: Path) -> None:
    classes = _spotted(tmp_path / "cookie")
    results = evaluate(classes, Brightness(64), shots=1, seeds=[0], max_good=1)
    assert results.mean("aupro") is not None
    assert results.mean("aupimo") is None
    assert "1 good test images are few for AUPIMO" in results.notes[0]


def test_maps_that_say_the_same_everywhere_are_said_to_have_no_aupimo(tmp_path: Path) -> None:
    inspection_class(tmp_path / "cookie", good=16)
    results = evaluate(find_classes(tmp_path), Brightness(), shots=1, seeds=[0])
    assert results.mean("aupimo") is None
    assert "AUPIMO is not defined" in results.notes[0]


def test_parts_with_grades_get_a_severity_alignment(tmp_path: Path) -> None:
    folder = tmp_path / "cookie"
    inspection_class(folder, defects=0, masks=False)
    for grade in (1, 2, 3):
        picture(folder / f"test/cut/{grade}.png", value=100 + 20 * grade)
    picture(folder / "test/cut/9.png", value=255)
    (folder / "parts.csv").write_text("file,defect,severity\n1.png,cut,1\n2.png,cut,2\n3.png,cut,3\n")
    results = evaluate(find_classes(folder), Brightness(), shots=1, seeds=[0, 1])
    draw = results.classes[0].seeds[0]
    assert draw.severity is not None
    assert draw.severity.concordance == draw.severity.concordance_defective == 1.0
    assert [part.severity for part in draw.parts] == [1, 2, 3, None, 0, 0]
    assert results.mean("kendall_tau_b") == draw.severity.kendall_tau_b
    assert "cookie: 1 of 4 defective images have no severity and are left out of its order" in results.notes


def test_without_grades_there_is_no_severity_alignment(tmp_path: Path) -> None:
    inspection_class(tmp_path / "cookie")
    results = evaluate(find_classes(tmp_path), Brightness(), shots=1, seeds=[0])
    assert results.classes[0].seeds[0].severity is None
    assert results.mean("concordance") is None


def test_the_cases_are_the_best_the_middle_and_the_worst_defect_and_the_highest_good_part(tmp_path: Path) -> None:
    folder = inspection_class(tmp_path / "cookie", good=0, defects=0)
    for value in (90, 99):
        picture(folder / f"test/good/{value}.png", value=value)
    for value in (110, 120, 130, 140, 150):
        picture(folder / f"test/cut/{value}.png", value=value)
    (one,) = evaluate(find_classes(tmp_path), Brightness(200), shots=1, seeds=[0, 1]).classes
    assert [(case.why, case.part.path.stem, case.score) for case in one.cases] == [
        ("best", "150", 150.0),
        ("median", "130", 130.0),
        ("worst", "110", 110.0),
        ("highest good", "99", 99.0),
    ]
    assert {case.score_map.shape for case in one.cases} == {(96, 96)}
    assert [float(case.score_map.max()) for case in one.cases] == pytest.approx([150, 130, 110, 99])
    assert one.heat_from == pytest.approx(94.5)


@pytest.mark.parametrize(("defects", "expected"), [(0, []), (1, ["best"]), (2, ["best", "worst"])])
def test_a_defect_is_a_case_once(tmp_path: Path, defects: int, expected: list[str]) -> None:
    inspection_class(tmp_path / "cookie", defects=defects)
    (one,) = evaluate(find_classes(tmp_path), Brightness(), shots=1, seeds=[0]).classes
    assert [case.why for case in one.cases] == [*expected, "highest good"]


def test_progress_counts_up_to_all_images_of_all_seeds(tmp_path: Path) -> None:
    inspection_class(tmp_path / "a", good=1, defects=1)
    inspection_class(tmp_path / "b", good=1, defects=0)
    seen: list[tuple[str, int, int]] = []
    evaluate(
        find_classes(tmp_path),
        Brightness(),
        shots=1,
        seeds=[0, 1],
        progress=lambda name, done, total: seen.append((name, done, total)),
    )
    assert seen == [("a", 1, 4), ("a", 2, 4), ("a", 3, 4), ("a", 4, 4), ("b", 1, 2), ("b", 2, 2)]


def test_a_map_that_is_not_finite_is_a_bug_with_the_parts_name(tmp_path: Path) -> None:
    class Broken(Brightness):
        def score(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
            return np.full((8, 8), np.nan, np.float32), 1.0

    with pytest.raises(ValueError, match=r"test/scratch/0\.png is not finite"):
        evaluate(find_classes(inspection_class(tmp_path / "cookie", good=0)), Broken(), shots=1, seeds=[0])


def test_an_unreadable_part_is_named(tmp_path: Path) -> None:
    folder = inspection_class(tmp_path / "cookie")
    (folder / "test/good/1.png").write_bytes(b"torn")
    with pytest.raises(ImageError, match=r"test/good/1\.png"):
        evaluate(find_classes(folder), Brightness(), shots=1, seeds=[0])


@pytest.mark.parametrize(("shots", "seeds"), [(0, [0]), (4, [])])
def test_the_protocol_needs_a_reference_and_a_seed(shots: int, seeds: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one reference and one seed"):
        evaluate([], Brightness(), shots=shots, seeds=seeds)


def test_a_mean_leaves_out_what_is_not_there() -> None:
    assert mean([0.5, None, 1.0]) == 0.75
    assert mean([None]) is None


def test_a_spread_needs_two_values() -> None:
    assert spread([1.0, 3.0, None]) == pytest.approx(2**0.5)
    assert spread([1.0, None]) is None
