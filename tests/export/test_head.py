"""A trained head goes into a bundle as it is, or is refused because it was trained for another."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")
pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.bundle import Bundle, open_bundle  # noqa: E402 - after the skip
from edge_resad.demo.products import draw  # noqa: E402
from edge_resad.engine.enrolment import enrol  # noqa: E402
from edge_resad.engine.fusion import uncalibrated  # noqa: E402
from edge_resad.engine.inspector import write_bank  # noqa: E402
from edge_resad.engine.onnx_runtime import OnnxRuntimeEngine  # noqa: E402
from edge_resad.errors import BundleError, TrainingError  # noqa: E402
from edge_resad.model.backbone import weights_digest  # noqa: E402
from edge_resad.model.detector import Encoder, FusedDetector, load_backbone  # noqa: E402
from edge_resad.model.net_settings import NetSettings  # noqa: E402
from edge_resad.model.profile import EDGE, EDGE_L2, Profile  # noqa: E402
from export.build import build_bundle  # noqa: E402
from export.head import load_head, own_head  # noqa: E402
from tests.learned import PROFILE, learned_bundle, seeded_net, write_head  # noqa: E402

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return learned_bundle(tmp_path_factory.mktemp("learned"))


def test_a_learned_head_comes_beside_the_nearest_reference_and_with_it(bundle: Bundle) -> None:
    manifest = open_bundle(bundle.path).manifest
    assert manifest.heads == ("nn", "resad", "fused")
    assert manifest.default_head == "fused"
    assert manifest.learned is not None
    assert PROFILE.net is not None
    assert manifest.learned.share == PROFILE.net.share
    assert manifest.learned.sha256 == weights_digest(seeded_net(PROFILE))


def test_the_detector_takes_rows_the_levels_constants_and_the_fusion(bundle: Bundle) -> None:
    inputs = bundle.graphs("fp32").detector.inputs
    levels = range(len(PROFILE.taps))
    assert [tensor.name for tensor in inputs] == [
        "image", *(f"bank_unit_{i}" for i in levels), "level_norm", "fusion"
    ]  # fmt: skip


def test_the_same_head_makes_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    again = build_bundle(PROFILE, tmp_path / "again", bundle.path.parent / "best.pt")
    assert again.manifest == bundle.manifest
    detector = bundle.graphs("fp32").detector
    assert again.file(detector).read_bytes() == bundle.file(detector).read_bytes()


def test_every_head_computes_what_torch_computes(bundle: Bundle) -> None:
    torchs = FusedDetector(PROFILE, Encoder(PROFILE, load_backbone(PROFILE)), seeded_net(PROFILE)).eval()
    bank = enrol(bundle, [draw("flange", seed, size=128).image for seed in range(3)], product="flange").bank
    part = draw("flange", 7, size=128, defect="scratch", severity=3).image
    graph = bundle.graphs("fp32").detector
    maps = []
    with OnnxRuntimeEngine(bundle.file(graph), graph) as engine, torch.no_grad():
        np.copyto(engine.inputs["image"], part)
        for head in bundle.manifest.heads:
            b, a, _, _ = uncalibrated(bundle.manifest, head)
            norm, fusion = np.array(bank.info.level_norm, np.float32), (b, a, *bank.info.fusion[2:])
            write_bank(engine, bundle, bank.levels, norm, fusion)
            engine.run()
            expected = torchs(*(torch.from_numpy(value) for value in engine.inputs.values()))
            maps.append(expected[0].numpy())
            for found, tensor in zip((engine.outputs["map"], engine.outputs["score"]), expected, strict=True):
                np.testing.assert_allclose(found, tensor.numpy(), atol=1e-4, rtol=1e-4)
    for one, other in pairwise(maps):
        assert np.abs(one - other).max() > 0.01, "heads that say the same compare nothing"


@pytest.mark.parametrize(
    ("trained_on", "says"),
    [
        (replace(PROFILE, size=256), "size 256, profile small has 128"),
        (replace(PROFILE, taps=(replace(PROFILE.taps[0], layer="block5"), *PROFILE.taps[1:])), "taps .*block5"),
        (replace(PROFILE, backbone="timm:resnet18"), "backbone timm:resnet18"),
        (replace(PROFILE, net=NetSettings(width=4, hidden=16)), "net .*'hidden': 16"),
    ],
    ids=["size", "taps", "backbone", "net"],
)
def test_a_head_of_another_profile_is_refused_with_what_differs(tmp_path: Path, trained_on: Profile, says: str) -> None:
    head = write_head(tmp_path / "best.pt", trained_on)
    with pytest.raises(BundleError, match=f"was trained with {says}.*edge-resad train --profile small"):
        load_head(head, PROFILE)


def test_how_long_a_head_was_trained_and_how_large_the_banks_are_is_no_reason(tmp_path: Path) -> None:
    taps = tuple(replace(tap, capacity=64) for tap in PROFILE.taps)
    longer = replace(PROFILE, taps=taps, net=NetSettings(width=4, hidden=8, epochs=99, lr=1.0))
    found = load_head(write_head(tmp_path / "best.pt", longer), PROFILE)
    expected = seeded_net(longer).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.net.state_dict().items())


def test_a_profile_without_a_network_takes_no_head(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="profile edge-l2 has no learned head"):
        load_head(write_head(tmp_path / "best.pt"), EDGE_L2)


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_text("weights")
    with pytest.raises(TrainingError, match="is not what edge-resad train writes"):
        load_head(tmp_path / "best.pt", EDGE)


def test_a_profile_that_nobody_trained_has_no_head_of_its_own() -> None:
    assert own_head(EDGE_L2) is None


def test_a_missing_head_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "export", "bundle", "--out", tmp_path / "bundle", "--head", tmp_path / "best.pt"],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "best.pt: No such file or directory. Expected a file that edge-resad train has written." in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()
