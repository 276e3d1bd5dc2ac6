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
