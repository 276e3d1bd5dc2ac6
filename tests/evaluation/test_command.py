"""`edge-resad evaluate --report`: the figures and the page of one evaluation."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edge_resad.cli import main
from edge_resad.demo.products import draw
from tests.evaluation.tree import write


def _flanges(folder: Path) -> Path:
    for place, seeds, defect in (
        ("train/good", range(2), None),
        ("test/good", (5,), None),
        ("test/dent", (6,), "dent"),
    ):
        for seed in seeds:
            part = draw("flange", seed, size=128, defect=defect, severity=3)
            write(folder / f"{place}/{seed}.png", part.image)
            if defect:
                write(folder / f"ground_truth/{defect}/{seed}_mask.png", part.mask.astype("uint8"))
    return folder


def test_the_page_is_written_and_the_figures_stay_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, page = _flanges(tmp_path / "flange"), tmp_path / "out/page.html"
    asked = ["evaluate", str(data), "--shots", "2", "--seeds", "1", "--json", "--report", str(page)]
    monkeypatch.setattr(sys, "argv", ["edge-resad", *asked])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["classes"]["flange"]["image_auroc"] is not None
    assert figures["mean"]["pixel_f1max"] is not None
    shown = page.read_text(encoding="utf-8")
    assert "<h2>flange</h2>" in shown
    assert figures["bundle"] in shown


def test_heads_stand_beside_each_other_and_a_checkpoint_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="makes a bundle, which takes a workstation")
    pytest.importorskip("onnx", reason="makes a bundle, which takes a workstation")
    from edge_resad.model.backbone import weights_digest
    from edge_resad.model.detector import load_backbone
    from edge_resad.model.head import ResADHead
    from edge_resad.model.profile import EDGE_RESAD
    from edge_resad.train import checkpoint
    from tests.learned import learned_bundle

    bundle, data, page = learned_bundle(tmp_path), _flanges(tmp_path / "flange"), tmp_path / "page.html"
    weights = weights_digest(load_backbone(EDGE_RESAD))
    state = {"head": ResADHead(EDGE_RESAD, seed=1).state_dict()}
    checkpoint.save(
        tmp_path / "flow.pt",
        state,
        {"settings": {"profile": checkpoint.as_json(EDGE_RESAD), "backbone_sha256": weights}},
    )
    asked = ["evaluate", str(data), "--shots", "2", "--seeds", "1", "--bundle", str(bundle.path)]
    asked += ["--head", "nn", "--head", "fused", "--checkpoint", str(tmp_path / "flow.pt")]
    monkeypatch.setattr(sys, "argv", ["edge-resad", *asked, "--json", "--report", str(page)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    figures = json.loads(capsys.readouterr().out)
    names = ["nn", "fused", str(tmp_path / "flow.pt")]
    assert list(figures["heads"]) == names
    localised = [one["classes"]["flange"]["pixel_auroc"] for one in figures["heads"].values()]
    assert len(set(localised)) == 3, "heads that say the same compare nothing"
    assert figures["bundle"] == bundle.manifest.bundle_id
    shown = page.read_text(encoding="utf-8")
    assert all(name in shown for name in names)


def test_a_head_that_the_bundle_lacks_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edge-resad", "evaluate", str(_flanges(tmp_path / "flange")), "--head", "flow"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "has no head 'flow', only nn" in capsys.readouterr().err
