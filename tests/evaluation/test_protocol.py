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
    for metric in ("pixel_auroc", "pixel_ap", "aupro"):
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
    assert results.notes == ("cookie: 5 training images, all of them shown, where 8 were asked for",)


def test_counts_say_how_many_images_stand_behind_the_numbers(tmp_path: Path) -> None:
    inspection_class(tmp_path / "cookie", good=3, defects=2)
    (one,) = evaluate(find_classes(tmp_path), Brightness(), shots=1, seeds=[0]).classes
    assert (one.name, one.references, one.good, one.defective, one.with_mask) == ("cookie", 1, 3, 2, 2)
    assert one.notes == ()


def test_without_masks_there_are_no_pixel_metrics(tmp_path: Path) -> None:
    inspection_class(tmp_path / "cookie", masks=False)
    results = evaluate(find_classes(tmp_path), Brightness(), shots=1, seeds=[0])
    (draw,) = results.classes[0].seeds
    assert draw.image_auroc == 1.0
    assert draw.pixel_auroc is draw.pixel_ap is draw.aupro is None
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
