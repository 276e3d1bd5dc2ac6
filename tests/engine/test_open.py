"""Whichever engine a station names, one place opens it: the same verdicts, or a sentence about what is missing."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_resad.bank import Bank
from edge_resad.bundle import open_bundle
from edge_resad.demo.products import draw
from edge_resad.device.judges import open_inspector
from edge_resad.device.settings import load_station
from edge_resad.engine.build import build_engines
from edge_resad.engine.engine_file import engine_folder, open_engines
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.golden import TOLERANCE
from edge_resad.engine.inspector import Inspector
from edge_resad.engine.open import engine_for
from edge_resad.engine.product_inspector import ProductInspector
from edge_resad.errors import BundleError, EngineError
from edge_resad.recipe import Recipe, Roi
from tests.engine.conftest import TENSORRT
from tests.engine.fake_gpu.driver import FakeDriver
from tests.products import enrolled, good_parts

BUNDLE = open_bundle()


def parts(*seeds: int, defect: str | None = None) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    return [draw("flange", seed, size=256, defect=defect, severity=3).image for seed in seeds]


@pytest.fixture(scope="module")
def bank() -> Bank:
    return enrol(BUNDLE, parts(0, 1, 2, 3), product="flange").bank


@pytest.fixture
def built(tensorrt_file: Path, trt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Engines of the shipped bundle in FP32, built by the fake TensorRT where they lie by default."""
    tensorrt_file.write_text(TENSORRT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build_engines(BUNDLE, "fp32")
    return engine_folder(BUNDLE)


@pytest.mark.usefixtures("engines")
def test_the_engines_judge_as_onnx_runtime_does(card: FakeDriver | None, bank: Bank) -> None:
    shown = [*parts(50, 51), *parts(52, defect="scratch")]
    with Inspector(BUNDLE, bank) as cpu, Inspector(BUNDLE, bank, provider="tensorrt") as tensorrt:
        verdicts = [(cpu.inspect(part), tensorrt.inspect(part)) for part in shown]
        inside = ["copy_in_ms", "compute_ms", "copy_out_ms"]
        assert list(tensorrt.timings) == ["resize_ms", "engine_ms", *inside, "decide_ms"]
        assert tensorrt.timings["engine_ms"] > 0 < tensorrt.timings["compute_ms"]
        if card is not None:
            assert [tensorrt.timings[stage] for stage in inside] == pytest.approx([0.01, 1.0, 0.01], rel=0.01)
        assert list(cpu.timings) == ["resize_ms", "engine_ms", "decide_ms"]
    for one, other in verdicts:
        assert one.status == other.status
        assert one.score == pytest.approx(other.score, rel=TOLERANCE["fp32"])
        assert card is None or one == other
    assert verdicts[2][0].status == "fail"


@pytest.mark.usefixtures("engines")
def test_a_product_is_changed_between_two_frames(card: FakeDriver | None, bank: Bank) -> None:
    caps = [draw("cap", seed, size=256).image for seed in range(2)]
    cap = enrol(BUNDLE, caps, product="cap").bank
    shown = parts(50)[0]
    with Inspector(BUNDLE, cap) as fresh:
        expected = fresh.inspect(shown).score
    with Inspector(BUNDLE, bank, provider="tensorrt") as inspector:
        before = inspector.inspect(shown).score
        allocations = Counter[str]() if card is None else card.counts
        inspector.load(cap)
        assert inspector.inspect(shown).score == pytest.approx(expected, rel=TOLERANCE["fp32"]) != before
        if card is not None:
            assert not (card.counts - allocations).keys() & {"cuMemAlloc", "cuMemHostAlloc", "cuEventCreate"}


@pytest.mark.usefixtures("engines")
def test_cameras_with_banks_of_their_own_send_nothing_but_pictures_to_the_gpu(
    card: FakeDriver | None, bank: Bank
) -> None:
    cap = enrol(BUNDLE, [draw("cap", seed, size=256).image for seed in range(2)], product="cap").bank
    shown = parts(50)[0]
    with Inspector(BUNDLE, bank, provider="tensorrt") as one, Inspector(BUNDLE, cap, beside=one) as other:
        first = one.inspect(shown).score, other.inspect(shown).score
        before = Counter[str]() if card is None else card.counts
        for _ in range(3):
            assert (one.inspect(shown).score, other.inspect(shown).score) == first
        if card is not None:
            called = card.counts - before
            assert (called["cuMemcpyHtoDAsync"], called["cuMemcpyDtoDAsync"], called["cuMemAlloc"]) == (6, 6, 0)
    assert first[0] != first[1]


@pytest.mark.usefixtures("engines")
def test_regions_with_banks_of_their_own_send_nothing_but_pictures_to_the_gpu(
    card: FakeDriver | None, tmp_path: Path
) -> None:
    regions = (
        Roi(name="left", bank="left.npz", box=(0, 0, 128, 256)),
        Roi(name="right", bank="right.npz", box=(128, 0, 128, 256)),
    )
    product = enrolled(
        tmp_path / "shelf", Recipe(product="board", picture_px=(256, 256), regions=regions), good_parts("board")
    )
    with ProductInspector(BUNDLE, product, provider="tensorrt") as inspector:
        before = Counter[str]() if card is None else card.counts
        for _ in range(3):
            inspector.inspect(good_parts("board")[0])
        if card is not None:
            called = card.counts - before
            assert (called["cuMemcpyHtoDAsync"], called["cuMemAlloc"]) == (6, 0)
            assert inspector.timings["compute_ms"] == pytest.approx(2.0, rel=0.01)  # of both
        assert list(inspector.timings)[:3] == ["align_ms", "resize_ms", "engine_ms"]
        assert inspector.timings["engine_ms"] > 0 < inspector.timings["copy_in_ms"]


@pytest.mark.usefixtures("engines")
def test_keeping_warm_changes_no_later_verdict(bank: Bank) -> None:
    shown = parts(50)[0]
    with Inspector(BUNDLE, bank, provider="tensorrt") as inspector:
        first = inspector.inspect(shown)
        inspector.keep_warm()
        assert inspector.inspect(shown) == first


@pytest.mark.usefixtures("engines")
def test_a_bank_is_enrolled_on_the_engines_that_will_inspect(card: FakeDriver | None, bank: Bank) -> None:
    made = enrol(BUNDLE, parts(0, 1, 2, 3), product="flange", provider="tensorrt").bank
    assert made.info.references == bank.info.references
    if card is not None:
        assert made.info == bank.info
        assert all((one == other).all() for one, other in zip(made.levels, bank.levels, strict=True))


def test_a_station_runs_the_engines_that_its_file_names(
    engines: Path, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_resad.bank import save_bank

    save_bank(bank, tmp_path / "bank.npz")
    monkeypatch.delenv("XDG_CACHE_HOME")
    (tmp_path / "station.toml").write_text(
        '[station]\ndevice = "press-7"\n[camera]\nsource = "synthetic"\n[inspection]\nbank = "bank.npz"\n'
        f'[engine]\nprovider = "tensorrt"\nengines = "{engines}"\nio_memory = "mapped"\n'
    )
    with open_inspector(load_station(tmp_path / "station.toml")) as judge:
        assert judge.inspect(parts(50)[0]).status == "pass"


def test_a_build_keeps_what_the_graphs_must_give(built: Path) -> None:
    engines = open_engines(BUNDLE, "fp32")
    known = engines.golden("detector")
    assert known is not None
    assert {"image", "bank_unit_0", "level_norm", "fusion"} <= known.inputs.keys()
    assert known.outputs.keys() == {"map", "score"}
    left, right = np.hsplit(known.outputs["map"], 2)
    assert left.mean() < 0.5 * right.mean()  # the left half is in the bank


@pytest.mark.parametrize("graph", ["encoder", "detector"])
def test_engines_that_give_something_else_do_not_start(built: Path, trt: Any, graph: Any) -> None:
    trt._behaviour.spoil = lambda output: output * np.float32(1.1)
    with pytest.raises(EngineError, match=r"is broken: its \w+ is off by .*Build it again: edge-resad build --bundle"):
        engine_for(BUNDLE, graph, "fp32", provider="tensorrt").__enter__()


def test_a_damaged_golden_file_is_found(built: Path) -> None:
    (built / "golden.fp32.npz").write_bytes(b"damaged")
    with pytest.raises(EngineError, match=r"golden\.fp32\.npz is damaged or was changed\. Build them again"):
        engine_for(BUNDLE, "detector", "fp32", provider="tensorrt")


def test_engines_that_are_not_built_are_one_sentence(trt: Any, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no engines at .*Build them: edge-resad build .*--precision fp16 --out"):
        engine_for(BUNDLE, "detector", "fp16", provider="tensorrt", engines=tmp_path)


def test_without_tensorrt_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineError, match=r"TensorRT is not installed for this Python\. On a Jetson: apt-get install"):
        engine_for(BUNDLE, "detector", "fp32", provider="tensorrt")


def test_without_pycuda_one_sentence_names_the_extra(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "pycuda"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(
        EngineError, match=r"pycuda, which runs engines on the GPU, does not load.*edge-resad\[jetson\]"
    ):
        engine_for(BUNDLE, "detector", "fp32", provider="tensorrt").__enter__()


def test_a_precision_that_the_bundle_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(BUNDLE.manifest.precisions, "int8")
    with pytest.raises(BundleError, match="holds no int8 graphs"):
        engine_for(BUNDLE, "detector", "int8")
