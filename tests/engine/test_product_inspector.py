"""A product with a recipe is judged where it says, as it says, and changed between two parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_resad.bank import bank_content
from edge_resad.decision import NotInspected, Verdict
from edge_resad.demo.products import draw
from edge_resad.engine.inspector import Inspector
from edge_resad.engine.product_enrolment import enrol_product
from edge_resad.engine.product_inspector import ProductInspector
from edge_resad.errors import EngineError, ImageError, ProductError
from edge_resad.recipe import Alignment, Product, Recipe, Roi, Severity, Shelf
from tests.products import BUNDLE, SIDE, Image, bank_of, enrolled, good_parts, moved, part, stocked
from tests.traced import traced

LEFT, RIGHT = (20, 30, 108, 196), (128, 30, 108, 196)
HALVES = Recipe(
    product="board",
    picture_px=(SIDE, SIDE),
    mm_per_px=0.1,
    regions=(Roi(name="left", bank="left.npz", box=LEFT), Roi(name="right", bank="right.npz", box=RIGHT)),
)


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A board of two regions that look different: each has a bank of its own."""
    return enrolled(tmp_path_factory.mktemp("products"), HALVES, good_parts("board"))


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A board that lies now here, now there."""
    recipe = Recipe(
        product="board", picture_px=(SIDE, SIDE), alignment=Alignment(),
        regions=(Roi(name="face", bank="face.npz", box=(48, 48, 160, 160)),),
    )  # fmt: skip
    return enrolled(tmp_path_factory.mktemp("products"), recipe, good_parts("board"), reference=part("board", 0))


def judged(product: Product, frame: Image) -> Verdict:
    with ProductInspector(BUNDLE, product) as inspector:
        return inspector.inspect(frame)


def _spoiled(frame: Image, x: int, y: int) -> Image:
    """A copy with a dark blot of 20 x 20 pixels."""
    spoiled: Image = np.array(frame)
    cv2.circle(spoiled, (x, y), 10, (5, 5, 5), cv2.FILLED)
    return spoiled


def _inside(verdict: Verdict, x: int, y: int) -> bool:
    left, top, width, height = verdict.regions[0].box
    return left <= x <= left + width and top <= y <= top + height


# Where it looks


def test_a_whole_picture_is_judged_as_without_a_recipe(tmp_path: Path) -> None:
    product = stocked(Shelf(tmp_path), "flange")
    frames = [part("flange", 50), part("flange", 50, "scratch")]
    with ProductInspector(BUNDLE, product) as ours, Inspector(BUNDLE, bank_of("flange")) as plain:
        for frame in frames:
            verdict, expected = ours.inspect(frame), plain.inspect(frame)
            assert (verdict.status, verdict.score, verdict.threshold) == (
                expected.status, expected.score, expected.threshold
            )  # fmt: skip
            assert [region.box for region in verdict.regions] == [region.box for region in expected.regions]
            np.testing.assert_array_equal(ours.score_map, plain.score_map)


def test_a_verdict_says_which_product_and_version_judged(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    stocked(shelf, "flange")
    verdict = judged(stocked(shelf, "flange", note="second"), part("flange", 50))
    assert (verdict.product, verdict.product_version) == ("flange", 2)


def test_good_parts_pass_in_every_region(halves: Product) -> None:
    with ProductInspector(BUNDLE, halves) as inspector:
        passed = [inspector.inspect(part("board", seed)).status for seed in range(50, 60)]
    assert passed.count("pass") >= 8


@pytest.mark.parametrize(("place", "x", "y"), [("left", 70, 130), ("right", 190, 100)])
def test_a_defect_is_in_its_region_and_in_pixels_of_the_camera(halves: Product, place: str, x: int, y: int) -> None:
    verdict = judged(halves, _spoiled(part("board", 50), x, y))
    assert verdict.status == "fail"
    assert {region.roi for region in verdict.regions} == {place}
    assert _inside(verdict, x, y)
    assert cv2.pointPolygonTest(np.array(verdict.regions[0].polygon, np.float32), (x, y), False) > 0


def test_what_lies_outside_all_regions_does_not_count(halves: Product) -> None:
    assert judged(halves, _spoiled(part("board", 50), 128, 11)).status == "pass"


def test_the_map_covers_the_whole_frame(halves: Product) -> None:
    with ProductInspector(BUNDLE, halves) as inspector:
        inspector.inspect(_spoiled(part("board", 50), 190, 100))
        y, x = np.unravel_index(inspector.score_map.argmax(), inspector.score_map.shape)
        scale = SIDE / inspector.score_map.shape[0]
    assert abs(float(x) * scale - 190) < 20
    assert abs(float(y) * scale - 100) < 20


def test_sizes_are_in_millimetres_where_the_scale_is_known(halves: Product) -> None:
    (region, *_) = judged(halves, _spoiled(part("board", 50), 70, 130)).regions
    assert region.area_mm2 == pytest.approx(region.area_px * 0.01)
    assert region.size_mm == pytest.approx((region.box[2] * 0.1, region.box[3] * 0.1))
    assert region.polygon_mm is not None
    outline = np.array(region.polygon_mm, np.float32)
    assert outline == pytest.approx(np.array(region.polygon) * 0.1)
    assert cv2.pointPolygonTest(outline, (7.0, 13.0), False) > 0


def test_regions_that_look_alike_may_share_a_bank(tmp_path: Path) -> None:
    recipe = HALVES.model_copy(
        update={"regions": tuple(roi.model_copy(update={"bank": "both.npz"}) for roi in HALVES.regions)}
    )
    product = enrolled(tmp_path, recipe, good_parts("board"))
    assert len(product.bank_of(0).info.references) == 8
    assert product.bank_of(0) is product.bank_of(1)
    assert {region.roi for region in judged(product, _spoiled(part("board", 50), 70, 130)).regions} == {"left"}


def test_a_regions_own_threshold_is_the_one_that_holds(halves: Product) -> None:
    frame = _spoiled(part("board", 50), 190, 100)
    lenient = tuple(
        roi.model_copy(update={"threshold": 1e6 if roi.name == "right" else None}) for roi in halves.recipe.regions
    )
    kind = replace(halves, recipe=halves.recipe.model_copy(update={"regions": lenient}))
    assert (judged(halves, frame).status, judged(kind, frame).status) == ("fail", "pass")


def test_a_score_of_any_region_is_compared_with_one_threshold(halves: Product) -> None:
    with ProductInspector(BUNDLE, halves) as inspector:
        for seed in range(50, 54):
            for frame in (part("board", seed), _spoiled(part("board", seed), 190, 100)):
                verdict = inspector.inspect(frame)
                assert verdict.threshold == halves.threshold_of(0)
                assert (verdict.score >= verdict.threshold) == (verdict.status == "fail")


def test_small_defects_do_not_count_in_square_millimetres_either(halves: Product) -> None:
    frame = _spoiled(part("board", 50), 70, 130)
    recipe = halves.recipe.model_copy(update={"min_area_mm2": 60.0})
    assert judged(replace(halves, recipe=recipe), frame).status == "pass"


def test_severity_begins_where_the_recipe_says(halves: Product) -> None:
    frame = _spoiled(part("board", 50), 70, 130)
    calm = halves.recipe.model_copy(update={"severity": Severity(major=1e3, critical=1e4)})
    assert judged(halves, frame).severity in ("major", "critical")
    assert judged(replace(halves, recipe=calm), frame).severity == "minor"


# What does not count


def test_what_an_ignore_mask_hides_does_not_count_and_what_is_beside_it_does(tmp_path: Path) -> None:
    ignore = np.zeros((SIDE, SIDE), bool)
    ignore[60:140, 60:140] = True
    recipe = Recipe(
        product="board", picture_px=(SIDE, SIDE), ignore="ignore.png", regions=(Roi(name="whole", bank="whole.npz"),)
    )
    product = enrolled(tmp_path, recipe, good_parts("board"), ignore=ignore)
    with ProductInspector(BUNDLE, product) as inspector:
        clean = inspector.inspect(part("board", 50))
        hidden = inspector.inspect(_spoiled(part("board", 50), 100, 100))
        assert inspector.score_map[10:15, 10:15].max() == 0
        seen = inspector.inspect(_spoiled(part("board", 50), 190, 100))
    assert clean.status == "pass"
    assert hidden.score == clean.score
    assert seen.status == "fail"
    assert _inside(seen, 190, 100)


def test_what_lies_outside_a_polygon_does_not_count(tmp_path: Path) -> None:
    roi = Roi(name="corner", bank="corner.npz", box=(28, 28, 200, 200), polygon=((28, 28), (228, 28), (28, 228)))
    recipe = Recipe(product="board", picture_px=(SIDE, SIDE), regions=(roi,))
    product = enrolled(tmp_path, recipe, good_parts("board"))
    with ProductInspector(BUNDLE, product) as inspector:
        clean = inspector.inspect(part("board", 50))
        assert inspector.inspect(_spoiled(part("board", 50), 190, 190)).score == clean.score
        assert inspector.inspect(_spoiled(part("board", 50), 80, 80)).status == "fail"


def test_a_region_of_which_nothing_counts_is_refused(tmp_path: Path) -> None:
    ignore = np.ones((SIDE, SIDE), bool)
    recipe = Recipe(
        product="board", picture_px=(SIDE, SIDE), ignore="ignore.png", regions=(Roi(name="whole", bank="whole.npz"),)
    )
    with pytest.raises(ProductError, match="nothing of region whole counts"):
        enrolled(tmp_path, recipe, good_parts("board"), ignore=ignore)


# Alignment


@pytest.mark.parametrize(("dx", "dy", "degrees"), [(12, -9, 5), (-10, 14, -7)])
def test_a_good_part_that_was_moved_and_turned_passes(aligned: Product, dx: int, dy: int, degrees: int) -> None:
    frame, _ = moved(part("board", 50), dx, dy, degrees)
    assert judged(aligned, frame).status == "pass"


def test_a_defect_of_a_turned_part_is_shown_where_the_camera_sees_it(aligned: Product) -> None:
    frame, motion = moved(_spoiled(part("board", 50), 100, 110), 12, -9, 7)
    x, y = (motion @ (100, 110, 1)).round().astype(int)
    with ProductInspector(BUNDLE, aligned) as inspector:
        verdict = inspector.inspect(frame)
        row, column = np.unravel_index(inspector.score_map.argmax(), inspector.score_map.shape)
        scale = SIDE / inspector.score_map.shape[0]
    assert verdict.status == "fail"
    assert _inside(verdict, int(x), int(y))
    assert abs(float(column) * scale - x) < 20
    assert abs(float(row) * scale - y) < 20


def test_another_part_is_never_judged(aligned: Product) -> None:
    with pytest.raises(NotInspected) as refused:
        judged(aligned, part("cap", 1))
    assert refused.value.obstacle == "not_aligned"


def test_a_part_that_is_half_out_of_the_picture_is_never_judged(aligned: Product) -> None:
    frame, _ = moved(part("board", 0), 60, 0, 0)
    with pytest.raises(NotInspected, match="reaches beyond the picture"):
        judged(aligned, frame)


def test_a_good_part_that_cannot_be_aligned_is_not_enrolled(aligned: Product) -> None:
    pictures = [*good_parts("board"), part("cap", 1)]
    with pytest.raises(ProductError, match="good part 5 of 5 cannot be used: the part cannot be aligned"):
        enrol_product(BUNDLE, aligned.recipe, pictures, reference=part("board", 0))


# Frames, banks and changeover


@pytest.mark.parametrize("broken", [0, 1])
def test_a_score_that_is_no_number_is_not_hidden_by_that_of_another_region(
    halves: Product, broken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProductInspector(BUNDLE, halves) as inspector:
        inside = inspector._inspector
        run, times = inside._engine.run, iter(range(2))

        def runs() -> None:
            run()
            if next(times) == broken:
                inside._score.fill(np.nan)

        monkeypatch.setattr(inside._engine, "run", runs)
        with pytest.raises(EngineError, match="gave no number: this part is not inspected"):
            inspector.inspect(part("board", 50))


def test_a_frame_of_another_size_is_not_judged(halves: Product) -> None:
    frame = draw("board", 50, size=320).image
    with pytest.raises(NotInspected, match=r"the frame is 320 x 320 px, the product's picture is 256 x 256") as refused:
        judged(halves, frame)
    assert refused.value.obstacle == "wrong_size"


def test_a_gray_frame_is_refused_in_a_sentence(halves: Product) -> None:
    with pytest.raises(ImageError, match=r"\(256, 256\)"):
        judged(halves, np.zeros((SIDE, SIDE), np.uint8))


def test_the_product_changes_and_changes_back_to_the_same_verdicts(halves: Product, tmp_path: Path) -> None:
    flange = stocked(Shelf(tmp_path), "flange")
    board_frame, flange_frame = part("board", 50, "scratch"), part("flange", 50, "scratch")
    expected = judged(halves, board_frame), judged(flange, flange_frame)
    with ProductInspector(BUNDLE, halves) as inspector:
        ready = inspector.prepare(halves), inspector.prepare(flange)
        for _ in range(2):
            inspector.load(ready[0])
            assert inspector.inspect(board_frame) == expected[0]
            inspector.load(ready[1])
            assert inspector.inspect(flange_frame) == expected[1]


def test_a_product_of_another_precision_is_refused_and_the_one_before_stays(halves: Product, tmp_path: Path) -> None:
    bank = bank_of("flange")
    foreign = replace(bank, info=bank.info.model_copy(update={"precision": "int8"}))
    recipe = Recipe(product="flange", regions=(Roi(name="whole", bank="whole.npz"),))
    product = Shelf(tmp_path).add(recipe, {"whole.npz": bank_content(foreign)})
    with pytest.raises(ProductError, match="flange@1 cannot be used here"):
        ProductInspector(BUNDLE, product, precision="fp32").__enter__()
    with ProductInspector(BUNDLE, halves) as inspector:
        with pytest.raises(ProductError, match=r"flange@1 cannot be used here: .*edge-resad product change flange"):
            inspector.load(inspector.prepare(product))
        assert inspector.inspect(part("board", 50)).product == "board"


@pytest.mark.parametrize("kind", ["halves", "masked", "aligned"])
def test_nothing_is_allocated_for_a_frame(kind: str, halves: Product, aligned: Product, tmp_path: Path) -> None:
    product = aligned if kind == "aligned" else halves
    if kind == "masked":
        ignore = np.zeros((SIDE, SIDE), bool)
        ignore[60:140, 60:140] = True
        recipe = HALVES.model_copy(update={"ignore": "ignore.png"})
        product = enrolled(tmp_path, recipe, good_parts("board"), ignore=ignore)
    calm = tuple(roi.model_copy(update={"threshold": 1e9}) for roi in product.recipe.regions)
    product = replace(product, recipe=product.recipe.model_copy(update={"regions": calm}))
    frames = [part("board", seed) for seed in (80, 81)]
    with ProductInspector(BUNDLE, product) as inspector:
        for frame in frames:
            inspector.inspect(frame)
        highest, growth = traced(lambda index: inspector.inspect(frames[index % 2]), 30)
    assert highest < 12 * 1024, "a region's picture takes 63504 bytes, the map of a frame 16384"
    assert growth < 8 * 1024
