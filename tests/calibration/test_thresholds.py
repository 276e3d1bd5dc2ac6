"""A threshold belongs to a precision: every one has its own, from the same good parts."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")
pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from calibration.thresholds import thresholds
from edge_resad.bundle import open_bundle
from edge_resad.demo.products import draw


def test_every_precision_has_the_threshold_of_its_own_scores() -> None:
    parts = [draw("flange", seed, size=256).image for seed in range(4 + 19)]
    found = thresholds(open_bundle(), parts[:4], parts[4:], rate=0.1)
    assert [one.precision for one in found] == ["fp32", "fp16", "int8"]
    for one in found:
        assert len(one.scores) == 19
        assert one.threshold.how == "good parts"
        assert one.threshold.score == sorted(one.scores)[17]  # of 19 the ceil(20 x 0.9)th
        assert one.alarms_at(one.threshold.score) == 2
    fp32, fp16, int8 = (one.threshold.score for one in found)
    assert 0 < abs(fp16 - fp32) < 0.05 * fp32
    assert 0 < abs(int8 - fp32) < 0.2 * fp32
