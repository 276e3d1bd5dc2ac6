"""WideResNet50-2 is built as timm and torchvision name it, and takes a file of theirs and no other."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.errors import BundleError  # noqa: E402 - after the skip
from edge_resad.model.detector import load_backbone  # noqa: E402
from edge_resad.model.profile import PAPER, Tap  # noqa: E402
from edge_resad.model.wide_resnet import WIDE_RESNET_TAPS, WideResNet50, load_wide_resnet50  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

LAYER1 = replace(PAPER, taps=(Tap(layer="layer1", stride=4, channels=256, capacity=8),))


def _picture(side: int = 64) -> Tensor:
    image: Tensor = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    return image


@pytest.fixture(scope="module")
def small() -> WideResNet50:
    return WideResNet50(["layer1"]).eval()


def _saved(path: Path, state: Any) -> Path:
    torch.save(state, path)
    return path


def test_the_trunk_has_as_many_weights_as_the_published_one() -> None:
    with torch.device("meta"):
        network = WideResNet50(list(WIDE_RESNET_TAPS))
    assert sum(weight.numel() for weight in network.parameters()) == 24_862_528


def test_parameters_are_named_as_in_the_published_files() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in WideResNet50(["layer3"]).state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer1.0.conv1.weight"] == (128, 64, 1, 1)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer1.0.downsample.1.running_var"] == (256,)
    assert shapes["layer2.3.conv2.weight"] == (256, 256, 3, 3)
    assert shapes["layer3.5.bn3.bias"] == (1024,)
    assert "layer2.1.downsample.0.weight" not in shapes


def test_every_tap_has_its_stride_and_channels_and_is_never_negative() -> None:
    with torch.no_grad():
        features = WideResNet50(list(WIDE_RESNET_TAPS)).eval()(_picture())
    for feature, (stride, channels) in zip(features, WIDE_RESNET_TAPS.values(), strict=True):
        assert feature.shape == (1, channels, 64 // stride, 64 // stride)
        assert feature.min() == 0


def test_weights_come_back_from_a_file_that_holds_more_and_its_digest_is_kept(
    small: WideResNet50, tmp_path: Path
) -> None:
    state = {**small.state_dict(), "fc.weight": torch.zeros(2, 2)}
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}  # an older file
    path = _saved(tmp_path / "weights.pth", state)
    network = load_backbone(LAYER1, path)
    assert isinstance(network, WideResNet50)
    assert network.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())
    with torch.no_grad():
        torch.testing.assert_close(network(_picture()), small(_picture()))


def test_without_a_file_the_backbone_says_that_it_needs_one() -> None:
    with pytest.raises(BundleError, match=r"wide_resnet50_2 come with no package. Give the \.pth file"):
        load_backbone(PAPER)


def test_a_file_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot read weights from"):
        load_wide_resnet50(["layer1"], tmp_path / "none.pth")


def test_a_file_that_is_no_file_of_weights_is_said(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"a picture, perhaps")
    with pytest.raises(BundleError, match="not a file of weights"):
        load_wide_resnet50(["layer1"], path)


@pytest.mark.parametrize("state", [{"conv1.weight": torch.zeros(64, 3, 7, 7)}, [1, 2]], ids=["resnet", "list"])
def test_weights_of_another_network_are_refused(tmp_path: Path, state: Any) -> None:
    with pytest.raises(BundleError, match="does not hold the weights of a wide_resnet50_2"):
        load_wide_resnet50(["layer1"], _saved(tmp_path / "weights.pth", state))


@pytest.mark.parametrize("taps", [[], ["layer4"], ["layer2", "layer1"], ["layer1", "layer1"]])
def test_taps_that_cannot_be_are_a_value_error(taps: list[str]) -> None:
    with pytest.raises(ValueError, match="taps"):
        WideResNet50(taps)
