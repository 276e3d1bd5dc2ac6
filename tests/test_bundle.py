"""A bundle is opened whole and unchanged, or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from edge_resad.bundle import (
    MANIFEST,
    SCHEMA_VERSION,
    Bundle,
    GraphPair,
    GraphSpec,
    Level,
    Manifest,
    TensorSpec,
    Verification,
    Weights,
    file_digest,
    open_bundle,
    write_bundle,
    write_verification,
)
from edge_resad.errors import BundleError

FILES = {
    "encoder.fp32.onnx": b"encoder" * 100,
    "detector.fp32.onnx": b"detector" * 100,
    "weights.bin": b"weights" * 100,
}


def _graph(name: str) -> GraphSpec:
    return GraphSpec(
        file=name,
        sha256=file_digest(FILES[name]),
        inputs=(TensorSpec(name="image", shape=(64, 64, 3), dtype="uint8"),),
        outputs=(TensorSpec(name="map", shape=(8, 8), dtype="float32"),),
    )


def _manifest(profile: str = "edge", torch: str = "2.13") -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        profile=profile,
        heads=("nn",),
        default_head="nn",
        learned=None,
        match="cosine",
        backbone="efficientnet_lite0",
        backbone_sha256="0" * 64,
        image_size=64,
        levels=(Level(layer="block4", stride=8, channels=40, cells=64, capacity=128, weight=1.0, top_cells=1),),
        weights=Weights(file="weights.bin", sha256=file_digest(FILES["weights.bin"])),
        precisions={"fp32": GraphPair(encoder=_graph("encoder.fp32.onnx"), detector=_graph("detector.fp32.onnx"))},
        rungs={},
        calibration=None,
        producer={"torch": torch},
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle", _manifest(), FILES)


def _edit(bundle: Bundle, **changes: Any) -> None:
    file = bundle.path / MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_changed_weights_are_noticed(bundle: Bundle) -> None:
    (bundle.path / "weights.bin").write_bytes(b"others!" * 100)
    with pytest.raises(BundleError, match=r"weights\.bin is damaged or was changed"):
        open_bundle(bundle.path)


def test_missing_weights_are_noticed(bundle: Bundle) -> None:
    (bundle.path / "weights.bin").unlink()
    with pytest.raises(BundleError, match=r"lacks weights\.bin"):
        open_bundle(bundle.path)


@pytest.mark.parametrize(("what", "value"), [("capacity", 64), ("channels", 41)])
def test_a_level_that_is_not_the_graphs_is_refused(tmp_path: Path, what: str, value: int) -> None:
    shipped = open_bundle()
    shutil.copytree(shipped.path, tmp_path / "bundle")
    raw = json.loads((tmp_path / "bundle" / MANIFEST).read_text())
    raw["levels"][0][what] = value
    (tmp_path / "bundle" / MANIFEST).write_text(json.dumps(raw))
    with pytest.raises(BundleError, match=r"not a valid manifest: .*bank_unit_0 of the fp32 detector is \(2048, 40\)"):
        open_bundle(tmp_path / "bundle")


def test_an_image_size_that_is_not_the_graphs_is_refused(bundle: Bundle) -> None:
    _edit(bundle, image_size=32)
    with pytest.raises(BundleError, match=r"image of the fp32 detector is \(64, 64, 3\), the levels say \(32, 32, 3\)"):
        open_bundle(bundle.path)


def test_what_was_written_is_opened(bundle: Bundle) -> None:
    assert open_bundle(bundle.path) == bundle
    assert bundle.file(bundle.graphs("fp32").encoder).read_bytes() == FILES["encoder.fp32.onnx"]


def test_the_package_carries_a_bundle() -> None:
    manifest = open_bundle().manifest
    assert manifest.profile == "edge"
    assert "fp32" in manifest.precisions


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle at .*has no manifest\.json.*python -m export"):
        open_bundle(tmp_path)


def test_a_folder_that_is_not_there_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle at"):
        open_bundle(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["", "{", "\x00\x01", '{"schema_version": 1'])
def test_a_manifest_that_is_cut_off_is_refused(bundle: Bundle, text: str) -> None:
    (bundle.path / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match="cannot be read"):
        open_bundle(bundle.path)


def test_another_schema_is_refused_with_both_versions(bundle: Bundle) -> None:
    _edit(bundle, schema_version=99)
    with pytest.raises(BundleError, match=r"schema 99, this release reads schema 3"):
        open_bundle(bundle.path)


def test_a_manifest_that_is_a_list_is_refused(bundle: Bundle) -> None:
    (bundle.path / MANIFEST).write_text("[]")
    with pytest.raises(BundleError, match="schema None"):
        open_bundle(bundle.path)


def test_an_unknown_field_is_named(bundle: Bundle) -> None:
    _edit(bundle, colour="red")
    with pytest.raises(BundleError, match="colour"):
        open_bundle(bundle.path)


LEARNED = {"network": "residual-net", "sha256": "0" * 64, "share": 0.1}


def _precisions(bundle: Bundle) -> dict[str, Any]:
    """The bundle's graphs, the detector with an input that fuses heads."""
    pair = bundle.manifest.precisions["fp32"].model_dump(mode="json")
    pair["detector"]["inputs"].append({"name": "fusion", "shape": [4], "dtype": "float32"})
    return {"fp32": pair}


def test_a_bundle_with_a_learned_head_is_opened(bundle: Bundle) -> None:
    heads: dict[str, Any] = {"heads": ["nn", "resad", "fused"], "default_head": "fused", "learned": LEARNED}
    _edit(bundle, **heads, precisions=_precisions(bundle))
    manifest = open_bundle(bundle.path).manifest
    assert manifest.heads == ("nn", "resad", "fused")
    assert manifest.learned is not None
    assert manifest.learned.share == 0.1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"default_head": "fused"}, "default_head fused is none of heads nn"),
        ({"heads": ["nn", "fused"]}, "heads nn, fused ask for a learned head"),
        ({"learned": LEARNED}, "heads nn ask for no learned head"),
        ({"heads": ["best"], "default_head": "best"}, "heads.0"),
        ({"heads": ["nn", "fused"], "learned": {**LEARNED, "share": 0}}, "learned.share"),
    ],
    ids=["another default", "nothing learned", "learned for nothing", "an unknown head", "no share"],
)
def test_heads_that_do_not_agree_are_refused(bundle: Bundle, changes: dict[str, Any], says: str) -> None:
    _edit(bundle, **changes)
    with pytest.raises(BundleError, match=f"not a valid manifest: .*{says}"):
        open_bundle(bundle.path)


def test_a_graph_that_fuses_and_heads_that_do_not_are_refused_and_the_other_way_round(bundle: Bundle) -> None:
    _edit(bundle, heads=["nn", "fused"], learned=LEARNED)
    with pytest.raises(BundleError, match="the fp32 detector lacks an input fusion, unlike heads nn, fused"):
        open_bundle(bundle.path)
    _edit(bundle, heads=["nn"], learned=None, precisions=_precisions(bundle))
    with pytest.raises(BundleError, match="the fp32 detector takes an input fusion, unlike heads nn"):
        open_bundle(bundle.path)


def test_the_id_tells_heads_apart(bundle: Bundle) -> None:
    before = bundle.manifest.bundle_id
    _edit(bundle, heads=["nn", "fused"], learned=LEARNED, precisions=_precisions(bundle))
    assert open_bundle(bundle.path).manifest.bundle_id != before


def test_a_graph_outside_the_folder_is_refused(bundle: Bundle) -> None:
    raw = json.loads((bundle.path / MANIFEST).read_text())
    raw["precisions"]["fp32"]["encoder"]["file"] = "../../elsewhere.onnx"
    (bundle.path / MANIFEST).write_text(json.dumps(raw))
    with pytest.raises(BundleError, match=r"encoder\.file"):
        open_bundle(bundle.path)


def test_a_missing_file_is_named(bundle: Bundle) -> None:
    (bundle.path / "detector.fp32.onnx").unlink()
    with pytest.raises(BundleError, match=r"lacks detector\.fp32\.onnx"):
        open_bundle(bundle.path)


def test_a_changed_byte_is_noticed(bundle: Bundle) -> None:
    file = bundle.path / "encoder.fp32.onnx"
    content = bytearray(file.read_bytes())
    content[17] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"encoder\.fp32\.onnx is damaged"):
        open_bundle(bundle.path)


def test_a_truncated_file_is_noticed(bundle: Bundle) -> None:
    os.truncate(bundle.path / "encoder.fp32.onnx", 10)
    with pytest.raises(BundleError, match="is damaged"):
        open_bundle(bundle.path)


def test_a_precision_that_is_not_there_is_named_beside_those_that_are(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="holds no int8 graphs, only fp32"):
        bundle.graphs("int8")


def test_a_foreign_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="not a bundle"):
        write_bundle(tmp_path, _manifest(), FILES)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("years of work")
    with pytest.raises(BundleError, match="not a bundle"):
        write_bundle(tmp_path / "bundle", _manifest(), FILES)
    assert (tmp_path / "bundle").read_text() == "years of work"


def test_a_bundle_is_replaced_as_a_whole(bundle: Bundle) -> None:
    (bundle.path / "of-an-older-release.onnx").write_bytes(b"old")
    write_bundle(bundle.path, _manifest(), FILES)
    assert {file.name for file in bundle.path.iterdir()} == {MANIFEST, *FILES}


def test_a_write_that_fails_leaves_the_old_bundle_and_nothing_else(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *arguments: Any, **names: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(BundleError, match="No space left on device"):
        write_bundle(bundle.path, _manifest("other"), FILES)
    monkeypatch.undo()
    assert open_bundle(bundle.path).manifest.profile == "edge"
    assert [file.name for file in bundle.path.parent.iterdir()] == ["bundle"]


def test_the_id_tells_contents_apart_and_not_who_made_them() -> None:
    assert _manifest().bundle_id == _manifest(torch="2.4").bundle_id
    assert _manifest().bundle_id != _manifest("other").bundle_id


REPORT = b'{"misses": []}\n'


def _verified(report: bytes = REPORT) -> Verification:
    return Verification(sha256=file_digest(report), within_budget=True, beyond_budget=(), images=24, forced=False)


def test_a_report_is_part_of_a_bundle_and_not_of_its_id(bundle: Bundle) -> None:
    written = write_verification(bundle, REPORT, _verified())
    assert open_bundle(bundle.path) == written
    assert (bundle.path / "verification.json").read_bytes() == REPORT
    assert written.manifest.bundle_id == bundle.manifest.bundle_id


def test_a_new_report_takes_the_place_of_the_old_one(bundle: Bundle) -> None:
    write_verification(write_verification(bundle, REPORT, _verified()), b"{}\n", _verified(b"{}\n"))
    assert open_bundle(bundle.path).manifest.verified == _verified(b"{}\n")
    assert sorted(file.name for file in bundle.path.iterdir()) == sorted([MANIFEST, *FILES, "verification.json"])


@pytest.mark.parametrize("survives", [0, 1, 2])
def test_a_bundle_can_be_opened_wherever_the_writing_of_a_report_stops(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    before = write_verification(bundle, REPORT, _verified())
    replace, calls = os.replace, []

    def stops(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > survives:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", stops)
    with pytest.raises(BundleError, match=r"cannot write .*Input/output error\. Check space and rights\."):
        write_verification(before, b"{}\n", _verified(b"{}\n"))
    monkeypatch.undo()
    assert open_bundle(bundle.path).manifest.bundle_id == before.manifest.bundle_id
    assert sorted(file.name for file in bundle.path.iterdir()) == sorted([MANIFEST, *FILES, "verification.json"])


def test_a_manifest_names_no_report_elsewhere(bundle: Bundle) -> None:
    _edit(bundle, verified={**_verified().model_dump(), "report": "../verification.json"})
    with pytest.raises(BundleError, match=r"verified\.report"):
        open_bundle(bundle.path)
