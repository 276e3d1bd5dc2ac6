"""The inspector finds what is wrong, says where, changes product by its bank alone, and allocates nothing per frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.bank import Bank
from edge_resad.bundle import Precision, open_bundle
from edge_resad.decision import judge
from edge_resad.demo.products import Part, draw
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.golden_run import golden_runs
from edge_resad.engine.inspector import Inspector
from edge_resad.engine.onnx_runtime import OnnxRuntimeEngine
from edge_resad.errors import BankError, EngineError, ImageError
from tests.fakes import FakeClock
from tests.traced import traced

Image = NDArray[np.uint8]
BUNDLE = open_bundle()


def _part(family: str, seed: int, defect: str | None = None) -> Part:
    return draw(family, seed, size=256, defect=defect, severity=3)


def _enrolled(family: str) -> Bank:
    return enrol(BUNDLE, [_part(family, seed).image for seed in range(4)], product=family).bank


@pytest.fixture(scope="module")
def flange() -> Bank:
    return _enrolled("flange")


@pytest.fixture(scope="module")
def cap() -> Bank:
    return _enrolled("cap")


def test_good_parts_pass_and_scratched_ones_fail(flange: Bank) -> None:
    with Inspector(BUNDLE, flange) as inspector:
        good = [inspector.inspect(_part("flange", seed).image).status for seed in range(50, 60)]
        bad = [inspector.inspect(_part("flange", seed, "scratch").image).status for seed in range(50, 60)]
    assert good.count("pass") >= 9
    assert bad.count("fail") >= 9


def test_a_bank_that_lost_rows_is_refused(flange: Bank) -> None:
    torn = replace(flange, levels=(flange.levels[0][:5], *flange.levels[1:]))
    with pytest.raises(BankError, match="has 5 rows at level 0, expected"), Inspector(BUNDLE, torn):
        pass


@pytest.mark.parametrize(
    ("buffer", "value", "says"),
    [
        ("_score", np.nan, "no number"), ("_map", np.nan, "no number"), ("_score", np.inf, "no number"),
        ("_map", 0.0, "nothing but zeros"),
    ],
)  # fmt: skip
def test_what_is_no_number_or_zero_is_no_verdict(
    flange: Bank, monkeypatch: pytest.MonkeyPatch, buffer: str, value: float, says: str
) -> None:
    with Inspector(BUNDLE, flange, min_area_px=1) as inspector:
        monkeypatch.setattr(inspector._engine, "run", lambda: getattr(inspector, buffer).fill(value))
        with pytest.raises(EngineError, match=f"gave {says}: this part is not inspected"):
            inspector.inspect(_part("flange", 50).image)


def test_a_single_cell_that_is_no_number_is_no_verdict(flange: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    with Inspector(BUNDLE, flange) as inspector:
        monkeypatch.setattr(inspector._engine, "run", lambda: inspector._map.put(5, -np.inf))
        with pytest.raises(EngineError, match="gave no number"):
            inspector.inspect(_part("flange", 50).image)


def test_an_engine_that_gives_the_same_for_other_pictures_is_found_out_and_a_picture_that_stands_still_is_none(
    flange: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = _part("flange", 50).image
    with Inspector(BUNDLE, flange) as inspector:
        statuses = {inspector.inspect(still).status for _ in range(6)}
        monkeypatch.setattr(inspector._engine, "run", lambda: None)
        inspector.inspect(_part("flange", 51).image)
        with pytest.raises(EngineError, match="gave the very same for 3 different pictures"):
            inspector.inspect(_part("flange", 52).image)
        with pytest.raises(EngineError, match="gave the very same for 4 different pictures"):
            inspector.inspect(_part("flange", 53).image)
        monkeypatch.undo()
        inspector.inspect(_part("flange", 54).image)
    assert statuses == {"pass"}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_single_pixel_that_differs_changes_the_map(precision: Precision) -> None:
    still = _part("flange", 50).image
    bank = enrol(BUNDLE, [_part("flange", 0).image], product="flange", precision=precision, augment="off").bank
    with Inspector(BUNDLE, bank) as inspector:
        inspector.inspect(still)
        before = inspector.score_map.copy()
        for at in range(0, still.size, still.size // 8):
            other = still.copy()
            other.flat[at] ^= 8
            inspector.inspect(other)
            assert not np.array_equal(inspector.score_map, before)


def test_an_engine_that_gives_zeros_is_not_opened(flange: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(engine: OnnxRuntimeEngine) -> None:
        for output in engine.outputs.values():
            output[...] = 0

    monkeypatch.setattr(OnnxRuntimeEngine, "run", zeros)
    with pytest.raises(EngineError, match="on cpu is broken: its map is zero throughout"), Inspector(BUNDLE, flange):
        pass


def test_a_reference_itself_is_far_below_the_threshold(flange: Bank) -> None:
    with Inspector(BUNDLE, flange) as inspector:
        own = inspector.inspect(_part("flange", 0).image)
        other = inspector.inspect(_part("flange", 60).image)
    assert own.status == "pass"
    assert own.score < 0.8 * other.score


def test_a_defect_is_shown_where_it_is_in_pixels_of_the_frame(flange: Bank) -> None:
    part = _part("flange", 51, "scratch")
    frame = np.asarray(cv2.resize(part.image, (1280, 720)), np.uint8)
    mask = cv2.resize(part.mask.astype(np.uint8), (1280, 720), interpolation=cv2.INTER_NEAREST) > 0
    with Inspector(BUNDLE, flange) as inspector:
        verdict = inspector.inspect(frame)
    assert verdict.status == "fail"
    x, y, width, height = verdict.regions[0].box
    assert 0 <= x < x + width <= 1280
    assert 0 <= y < y + height <= 720
    assert mask[y : y + height, x : x + width].sum() >= 0.25 * mask.sum()


def test_the_product_changes_with_the_bank(flange: Bank, cap: Bank) -> None:
    good_cap = _part("cap", 70).image
    with Inspector(BUNDLE, cap) as inspector:
        expected = inspector.inspect(good_cap)
    with Inspector(BUNDLE, flange) as inspector:
        assert inspector.inspect(good_cap).status == "fail"
        inspector.load(cap)
        swapped = inspector.inspect(good_cap)
        inspector.load(flange)
        assert inspector.inspect(good_cap).status == "fail"
    assert swapped == expected
    assert swapped.threshold == cap.info.threshold.score


def test_two_inspectors_share_an_engine_and_each_judges_by_its_own_bank(flange: Bank, cap: Bank) -> None:
    good_flange, good_cap = _part("flange", 70).image, _part("cap", 70).image
    with Inspector(BUNDLE, flange) as alone:
        expected = alone.inspect(good_flange)
    with Inspector(BUNDLE, flange) as first, Inspector(BUNDLE, cap, beside=first) as second:
        for _ in range(2):
            assert first.inspect(good_flange) == expected
            assert second.inspect(good_cap).status == "pass"
            assert second.inspect(good_flange).status == "fail"
        assert second.score_map is first.score_map


def test_a_bank_of_another_precision_cannot_share_the_engine(flange: Bank) -> None:
    other = replace(flange, info=flange.info.model_copy(update={"precision": "int8"}))
    with (
        Inspector(BUNDLE, flange) as first,
        pytest.raises(BankError, match="made in int8, the engine runs fp32"),
    ):
        Inspector(BUNDLE, other, beside=first).__enter__()


def test_a_foreign_bank_is_refused_and_the_old_one_stays(flange: Bank) -> None:
    foreign = replace(flange, info=flange.info.model_copy(update={"bundle_id": "0" * 64}))
    frame = _part("flange", 71).image
    with Inspector(BUNDLE, flange) as inspector:
        before = inspector.inspect(frame)
        with pytest.raises(BankError, match="belongs to another bundle"):
            inspector.load(foreign)
        assert inspector.inspect(frame) == before


def test_a_bank_is_checked_before_the_first_frame(flange: Bank) -> None:
    foreign = replace(flange, info=flange.info.model_copy(update={"precision": "int8"}))
    with pytest.raises(
        BankError, match=r"made in int8, the engine runs fp32\. Make the bank again in fp32.*--precision fp32"
    ):
        Inspector(BUNDLE, foreign, precision="fp32").__enter__()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_bank_runs_in_the_precision_that_it_was_made_in(precision: Precision) -> None:
    references = [draw("flange", seed, size=256).image for seed in range(4)]
    made = enrol(BUNDLE, references, product="flange", precision=precision).bank
    assert made.info.precision == precision
    with Inspector(BUNDLE, made) as inspector:
        good = inspector.inspect(draw("flange", 50, size=256).image)
        bad = inspector.inspect(draw("flange", 51, size=256, defect="scratch", severity=3).image)
    assert good.score < made.info.threshold.score < bad.score


def test_a_bank_with_fewer_rows_is_the_same_bank_with_rows_repeated(flange: Bank) -> None:
    few = replace(flange, levels=tuple(rows[: len(rows) // 2] for rows in flange.levels))
    doubled = replace(flange, levels=tuple(np.concatenate([rows[::-1], rows]) for rows in few.levels))
    frame = _part("flange", 72).image
    with Inspector(BUNDLE, few) as inspector:
        inspector.inspect(frame)
        expected = inspector.score_map.copy()
        inspector.load(doubled)
        inspector.inspect(frame)
        np.testing.assert_allclose(inspector.score_map, expected, atol=1e-5)


def test_nothing_is_allocated_for_a_frame(flange: Bank) -> None:
    frames = [np.asarray(cv2.resize(_part("flange", seed).image, (640, 480)), np.uint8) for seed in (80, 81)]
    with Inspector(
        BUNDLE, flange, threshold=1e9
    ) as inspector:  # parts pass: outlines of a failed one are new by nature
        for frame in frames:
            inspector.inspect(frame)
        highest, growth = traced(lambda index: inspector.inspect(frames[index % 2]), 200)
    assert highest < 8 * 1024, "a frame's picture takes 196608 bytes, its map 4096"
    assert growth < 8 * 1024


def test_the_map_is_one_view_that_every_part_overwrites(flange: Bank) -> None:
    with Inspector(BUNDLE, flange) as inspector:
        inspector.inspect(_part("flange", 82).image)
        view, first = inspector.score_map, inspector.score_map.copy()
        inspector.inspect(_part("flange", 83).image)
        assert inspector.score_map is view
        assert view.shape == (32, 32)
        assert not np.array_equal(view, first)


def test_a_frame_is_left_as_it_was(flange: Bank) -> None:
    frame = _part("flange", 84).image
    frame.setflags(write=False)
    with Inspector(BUNDLE, flange) as inspector:
        inspector.inspect(frame)


def test_a_threshold_given_wins_over_the_banks(flange: Bank) -> None:
    frame = _part("flange", 85).image
    with Inspector(BUNDLE, flange, threshold=1e-6) as strict, Inspector(BUNDLE, flange, threshold=1e6) as lenient:
        assert strict.inspect(frame).status == "fail"
        assert lenient.inspect(frame).status == "pass"


def test_a_threshold_set_while_it_runs_holds_from_the_next_part_on(flange: Bank) -> None:
    with Inspector(BUNDLE, flange) as inspector:
        part = draw("flange", 50).image
        assert inspector.inspect(part).status == "pass"
        inspector.set_threshold(0.001)
        assert inspector.inspect(part).status == "fail"


def test_the_engine_is_tested_and_judges_as_before_afterwards(flange: Bank, cap: Bank) -> None:
    golden = golden_runs(BUNDLE)["detector"]
    part = draw("flange", 50).image
    with Inspector(BUNDLE, flange) as inspector, Inspector(BUNDLE, cap, beside=inspector) as beside:
        before = [one.inspect(part).score for one in (inspector, beside)]
        assert beside.fault(golden) is None
        assert inspector.fault(None) is None
        wrong = replace(golden, outputs={name: 2 * output for name, output in golden.outputs.items()})
        assert "is off by" in (inspector.fault(wrong) or "")
        assert [one.inspect(part).score for one in (inspector, beside)] == before


def test_defects_smaller_than_asked_for_do_not_count(flange: Bank) -> None:
    frame = _part("flange", 52, "scratch").image
    with Inspector(BUNDLE, flange, min_area_px=256 * 256) as inspector:
        assert inspector.inspect(frame).status == "pass"


def test_a_gray_frame_is_refused_in_a_sentence(flange: Bank) -> None:
    with Inspector(BUNDLE, flange) as inspector, pytest.raises(ImageError, match=r"\(256, 256\)"):
        inspector.inspect(np.zeros((256, 256), np.uint8))


def test_it_says_how_long_every_stage_took(flange: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()

    def lasting(seconds: float, work: Callable[..., Any]) -> Callable[..., Any]:
        def lasts(*told: Any, **more: Any) -> Any:
            clock.now += seconds
            return work(*told, **more)

        return lasts

    with Inspector(BUNDLE, flange) as inspector:
        monkeypatch.setattr(inspector, "see", lasting(0.25, inspector.see))
        monkeypatch.setattr(inspector._engine, "run", lasting(0.5, inspector._engine.run))
        monkeypatch.setattr("edge_resad.engine.inspector.judge", lasting(0.125, judge))
        monkeypatch.setattr("time.perf_counter", clock.monotonic)
        inspector.inspect(_part("flange", 86).image)
        assert inspector.timings == {"resize_ms": 250.0, "engine_ms": 500.0, "decide_ms": 125.0}


def test_half_of_another_bank_judges_nothing(flange: Bank, cap: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    image = _part("flange", 50).image
    with Inspector(BUNDLE, flange) as inspector:
        before = inspector.inspect(image).score
        write = inspector._engine.write
        left = [2]

        def failing(name: str, rows: NDArray[np.float32]) -> None:
            if not left[0]:
                raise EngineError("the GPU is gone")
            left[0] -= 1
            write(name, rows)

        monkeypatch.setattr(inspector._engine, "write", failing)
        with pytest.raises(EngineError):
            inspector.load(cap)
        monkeypatch.setattr(inspector._engine, "write", write)
        assert inspector.inspect(image).score == pytest.approx(before)
