"""Precisions are held against FP32 on real frames; a bundle whose precisions disagree is not written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")
onnx = pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")

from typer.testing import CliRunner, Result  # noqa: E402 - after the skip

import export.verbs as command  # noqa: E402
from edge_resad.bundle import Bundle, open_bundle, write_verification  # noqa: E402
from edge_resad.demo.products import DEFECTS, draw  # noqa: E402
from edge_resad.engine.enrolment import enrol  # noqa: E402
from edge_resad.engine.inspector import Inspector  # noqa: E402
from edge_resad.errors import BundleError, EdgeResadError  # noqa: E402
from edge_resad.model.profile import PROFILES  # noqa: E402
from export.build import build_bundle  # noqa: E402
from export.ranges import Ranges, save_ranges  # noqa: E402
from export.sample import FEWEST, REFERENCES, drawn_samples, sample_of  # noqa: E402
from export.verification import Report, attach, compare  # noqa: E402
from export.verified import build_verified  # noqa: E402
from export.way import MIXED  # noqa: E402
from tests.calibrated import found_ranges  # noqa: E402
from tests.evaluation.tree import inspection_class, picture  # noqa: E402
from tests.learned import PROFILE  # noqa: E402

RUNNER = CliRunner()
OTHERS = ["fp16", "int8", "int8+fp16", "int8+fp32"]


@pytest.fixture(scope="module")
def ranges(tmp_path_factory: pytest.TempPathFactory) -> Ranges:
    return found_ranges(build_bundle(PROFILE, tmp_path_factory.mktemp("fp32") / "bundle"))


@pytest.fixture(scope="module")
def broken_ranges(ranges: Ranges) -> Ranges:
    """Of everything half: what is above is cut off."""
    halved = {
        name: found.model_copy(update={"low": found.low / 2, "high": found.high / 2})
        for name, found in ranges.tensors.items()
    }
    return ranges.model_copy(update={"tensors": halved})


@pytest.fixture(scope="module")
def written(ranges: Ranges, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """What an export with INT8 has written after it looked."""
    return build_verified(PROFILE, tmp_path_factory.mktemp("good") / "bundle", None, ranges, families=["flange"])


@pytest.fixture(scope="module")
def broken(broken_ranges: Ranges, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One whose INT8 is of no use, written without looking."""
    return build_bundle(PROFILE, tmp_path_factory.mktemp("broken") / "bundle", None, broken_ranges)


@pytest.fixture
def bundle(written: Bundle, tmp_path: Path) -> Bundle:
    """A copy to change."""
    return open_bundle(Path(shutil.copytree(written.path, tmp_path / "bundle")))


@pytest.fixture(scope="module")
def report(written: Bundle) -> Report:
    return compare(written, drawn_samples(written.manifest, ["flange"]), mixed=True)


def _said(bundle: Bundle) -> dict[str, object]:
    found: dict[str, object] = json.loads((bundle.path / "verification.json").read_text())
    return found


def test_every_precision_and_rung_is_held_against_fp32_and_the_mixture_where_asked(report: Report) -> None:
    assert [one.way for one in report.agreements] == [*OTHERS, MIXED]
    assert all(one.map_correlation < 1 for one in report.agreements)
    assert report.misses == []


def test_fp16_is_nearer_to_fp32_than_int8(report: Report) -> None:
    fp16, int8, *_ = report.agreements
    assert 1 - fp16.map_correlation < 0.1 * (1 - int8.map_correlation)


def test_layers_are_compared_by_their_names_and_int8s_are_further_away(report: Report) -> None:
    assert list(report.layers) == OTHERS
    for name in ("backbone.blocks.3.project_conv", "backbone.blocks.4.Add", "feature_0"):
        assert 0 < report.layers["fp16"][name] < 0.2 * report.layers["int8"][name]
    assert report.layers["int8"]["backbone.conv_stem.clip"] == 0  # it stays in float


def test_the_same_bundle_gives_the_same_report(written: Bundle, report: Report) -> None:
    again = compare(written, drawn_samples(written.manifest, ["flange"]), mixed=True)
    assert again.content == report.content


def test_an_export_writes_what_it_found_and_its_manifest_says_so(written: Bundle) -> None:
    verified = open_bundle(written.path).manifest.verified
    assert verified is not None
    assert (verified.within_budget, verified.forced, verified.images) == (True, False, 12)
    assert _said(written)["misses"] == []


def test_precisions_that_disagree_are_not_written(broken_ranges: Ranges, tmp_path: Path) -> None:
    says = (
        r"do not agree: int8 has a .* of -?0\.\d+ on drawn flange, at least 0\.9\d* was expected.*not written.*--force"
    )
    with pytest.raises(BundleError, match=says):
        build_verified(PROFILE, tmp_path / "bundle", None, broken_ranges, families=["flange"])
    assert list(tmp_path.iterdir()) == []


def test_by_force_they_are_written_and_say_so(
    broken_ranges: Ranges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROFILES, PROFILE.name, PROFILE)
    save_ranges(broken_ranges, tmp_path / "ranges.json")
    out = tmp_path / "bundle"
    options = {"profile": PROFILE.name, "head": "none", "ranges": tmp_path / "ranges.json", "out": out}
    done = RUNNER.invoke(command.app, ["bundle", *(f"--{name}={value}" for name, value in options.items()), "--force"])
    assert done.exit_code == 0, done.output
    assert "its precisions do not agree" in done.stderr
    forced = open_bundle(out)
    verified = forced.manifest.verified
    assert verified is not None
    assert (verified.within_budget, verified.forced) == (False, True)
    assert "int8" in verified.beyond_budget
    assert "fp16" not in verified.beyond_budget
    assert _said(forced)["misses"]


def test_a_forced_bundle_stays_one_when_it_is_verified_again(bundle: Bundle, report: Report) -> None:
    assert bundle.manifest.verified is not None
    forced = bundle.manifest.verified.model_copy(update={"forced": True})
    bundle = write_verification(bundle, (bundle.path / "verification.json").read_bytes(), forced)
    again = attach(report, bundle).manifest.verified
    assert again is not None
    assert (again.within_budget, again.forced) == (True, True)


def test_one_layers_wrong_scale_is_noticed_and_named(ranges: Ranges, report: Report, tmp_path: Path) -> None:
    name = "backbone.blocks.3.expand_conv.clip"
    wrong = ranges.tensors[name].model_copy(update={"high": ranges.tensors[name].high / 3})
    changed = ranges.model_copy(update={"tensors": {**ranges.tensors, name: wrong}})
    bundle = build_bundle(PROFILE, tmp_path / "bundle", None, changed)
    found = compare(bundle, drawn_samples(bundle.manifest, ["flange"]))
    assert found.misses
    layers = found.layers["int8"]
    assert next(layer for layer in layers if layers[layer] > 2 * report.layers["int8"][layer]) == name


def test_a_report_that_was_changed_afterwards_is_noticed(bundle: Bundle) -> None:
    file = bundle.path / "verification.json"
    file.write_text(file.read_text().replace('"misses": []', '"misses": [""]'))
    with pytest.raises(BundleError, match=r"verification\.json is damaged or was changed"):
        open_bundle(bundle.path)


def test_a_report_that_is_gone_is_noticed(bundle: Bundle) -> None:
    (bundle.path / "verification.json").unlink()
    with pytest.raises(BundleError, match=r"lacks verification\.json"):
        open_bundle(bundle.path)


def test_a_bank_stays_valid_when_its_bundle_is_verified_again(bundle: Bundle, report: Report) -> None:
    parts = [draw("flange", seed, size=160).image for seed in range(3)]
    bank = enrol(bundle, parts[:2], product="flange", precision="int8", augment="off").bank
    before = bundle.manifest.verified
    attach(report, bundle)
    again = open_bundle(bundle.path)
    assert again.manifest.verified != before
    with Inspector(again, bank) as inspector:
        assert inspector.inspect(parts[2]).score > 0


# The command


def _verify(*arguments: object) -> Result:
    return RUNNER.invoke(command.app, ["verify", *(str(argument) for argument in arguments)])


def _pictures(folder: Path, parts: int, size: int = 160) -> Path:
    folder.mkdir()
    for seed in range(parts):
        defect = None if seed < REFERENCES + 4 else ("scratch", "stain", "crack", "missing")[seed % 4]
        image = draw("flange", seed, size=size, defect=defect).image
        assert cv2.imwrite(str(folder / f"{seed}.png"), image)
    return folder


def test_a_bundle_is_verified_on_pictures_and_keeps_the_report(bundle: Bundle, tmp_path: Path) -> None:
    done = _verify(bundle.path, _pictures(tmp_path / "flanges", REFERENCES + FEWEST), "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said == _said(bundle)
    assert said["samples"] == {"flanges": FEWEST}
    verified = open_bundle(bundle.path).manifest.verified
    assert verified is not None
    assert (verified.within_budget, verified.images) == (True, FEWEST)


def test_a_bundle_that_disagrees_ends_with_1_and_the_figures(broken: Bundle, tmp_path: Path) -> None:
    done = _verify(broken.path, _pictures(tmp_path / "flanges", REFERENCES + FEWEST))
    assert done.exit_code == 1
    assert "int8 has a correlation of maps" in done.stderr.replace("\n", " ")
    assert "not within budget" in done.stderr
    verified = open_bundle(broken.path).manifest.verified
    assert verified is not None
    assert (verified.within_budget, verified.forced) == (False, False)


def _labelled(folder: Path) -> Path:
    """A class of drawn parts in MVTec AD's layout."""
    for kind, seeds in {"train/good": range(4), "test/good": range(10, 18), "test/scratch": range(20, 28)}.items():
        for seed in seeds:
            part = draw("flange", seed, size=160, defect="scratch" if "scratch" in kind else None, severity=3)
            names = {folder / kind / f"{seed}.png": part.image}
            if part.defect:
                names[folder / f"ground_truth/scratch/{seed}_mask.png"] = part.mask.astype(np.uint8) * 255
            for file, image in names.items():
                file.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(file), image)
    return folder


def test_with_labels_it_says_what_every_precision_costs(bundle: Bundle, tmp_path: Path) -> None:
    _pictures(tmp_path / "flanges", REFERENCES + FEWEST)
    _labelled(tmp_path / "data/flange")
    done = _verify(
        bundle.path, tmp_path / "flanges", "--labelled", tmp_path / "data", "--seeds", 1, "--shots", 2, "--mixed",
        "--json",
    )  # fmt: skip
    assert done.exit_code in (0, 1), done.output
    labelled = json.loads(done.stdout)["labelled"]
    assert (labelled["images"], labelled["shots"], labelled["seeds"]) == (16, 2, 1)
    rows = {row["way"]: row for row in labelled["rows"]}
    assert list(rows) == ["fp32", "fp16", "int8", MIXED]
    assert rows["fp32"]["auroc_change"] is None
    for way in ("fp16", "int8", MIXED):
        difference = rows[way]["image_auroc"] - rows["fp32"]["image_auroc"]
        change = rows[way]["auroc_change"]
        assert change["difference"] == pytest.approx(difference, abs=2e-5)
        assert change["low"] <= change["difference"] <= change["high"]
        assert rows[way]["aupro_change"] == pytest.approx(rows[way]["aupro"] - rows["fp32"]["aupro"], abs=2e-5)


def test_without_json_it_draws_tables(bundle: Bundle, tmp_path: Path) -> None:
    done = _verify(bundle.path, _pictures(tmp_path / "flanges", REFERENCES + FEWEST), "--mixed")
    assert "beside fp32, 8 parts" in done.stdout
    assert "feature_0" in done.stdout


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    done = _verify(tmp_path / "nothing")
    assert isinstance(done.exception, BundleError)
    assert "no bundle at" in str(done.exception)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder.mkdir(), "no images in the folder"),
        (lambda folder: None, "no file or folder"),
        (lambda folder: [picture(folder / f"{k}.png") for k in range(5)], "5 pictures are too few .* 4 of good parts"),
    ],
    ids=["empty", "missing", "too few"],
)
def test_pictures_that_cannot_be_used_are_refused(
    written: Bundle, tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    make(tmp_path / "parts")
    with pytest.raises(EdgeResadError, match=says):
        sample_of(written.manifest, [tmp_path / "parts"])


def test_classes_without_defects_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    inspection_class(tmp_path / "data/screw", defects=0)
    done = _verify(bundle.path, "--labelled", tmp_path / "data")
    assert isinstance(done.exception, EdgeResadError)
    assert "no class of screw has good and defective test images" in str(done.exception)


def test_references_are_as_many_as_a_bank_holds_whole(written: Bundle) -> None:
    (sample,) = drawn_samples(written.manifest, ["cap"])
    assert len(sample.references) == 2
    levels = written.manifest.levels
    assert all(2 * level.cells <= level.capacity for level in levels)
    assert any(3 * level.cells > level.capacity for level in levels)


def test_drawn_parts_to_judge_are_good_and_of_every_defect(written: Bundle) -> None:
    (sample,) = drawn_samples(written.manifest, ["cap"])
    assert len({part.tobytes() for part in (*sample.references, *sample.parts)}) == 2 + 6 + len(DEFECTS)
