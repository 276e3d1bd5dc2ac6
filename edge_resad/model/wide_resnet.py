"""WideResNet50-2 up to its third stage, the backbone of the papers; parameter names as timm and torchvision have them.

No weights come with it: give the file. ResAD++'s code used timm's `racm_in1k`; torchvision's load too, but a head that
was trained beside one file is worth nothing beside another, so the file's digest is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_resad.errors import BundleError

WIDE_RESNET_TAPS = {"layer1": (4, 256), "layer2": (8, 512), "layer3": (16, 1024)}  # layer -> (stride, channels)
_REPEATS = {"layer1": 3, "layer2": 4, "layer3": 6}


class _Bottleneck(nn.Module):
    """1x1, 3x3 of double width, 1x1, and the skip; the stride is at the 3x3."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        width = outputs // 2
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Identity()
            if inputs == outputs and stride == 1
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class WideResNet50(nn.Module):
    """The trunk, random until weights are loaded; stages behind the last tap are not built."""

    weights_sha256: str = ""  # of the file that the weights came from

    def __init__(self, taps: Sequence[str]) -> None:
        super().__init__()
        layers = list(WIDE_RESNET_TAPS)
        if not taps or any(tap not in layers for tap in taps) or sorted(set(taps)) != list(taps):
            raise ValueError(f"taps must be a choice of {layers}, in this order, got {list(taps)}")
        self.taps = tuple(taps)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for layer in layers[: layers.index(taps[-1]) + 1]:
            stride, outputs = (1 if layer == "layer1" else 2), WIDE_RESNET_TAPS[layer][1]
            repeats = range(_REPEATS[layer])
            blocks = [_Bottleneck(outputs if i else inputs, outputs, 1 if i else stride) for i in repeats]
            self.add_module(layer, nn.Sequential(*blocks))
            inputs = outputs

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, S, S) normalised RGB to (B, C_l, S / stride_l, S / stride_l) per tap, after their ReLU."""
        x = functional.relu(self.bn1(self.conv1(image)))
        x = functional.max_pool2d(x, 3, 2, 1)
        seen = []
        for layer in WIDE_RESNET_TAPS:
            if not hasattr(self, layer):
                break
            x = getattr(self, layer)(x)
            if layer in self.taps:
                seen.append(x)
        return tuple(seen)


def load_wide_resnet50(taps: Sequence[str], weights: Path) -> WideResNet50:
    """Build WideResNet50-2 with the weights of a local file, frozen, in eval mode.

    weights: a state dict of timm's or torchvision's wide_resnet50_2, as torch saves it. What the trunk does not have
             (layer4, fc) is ignored.

    Raises:
        BundleError: no such file, not a file of weights, or of another network.
    """
    try:
        content = weights.read_bytes()
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BundleError(
            f"cannot read weights from {weights}: {error.strerror or error}. Give the file of a wide_resnet50_2 "
            "from timm or torchvision."
        ) from error
    except Exception as error:  # torch raises whatever its reader stumbles over
        raise BundleError(
            f"{weights} is not a file of weights that torch can read. Give the .pth file of a wide_resnet50_2 "
            "from timm or torchvision."
        ) from error
    network = WideResNet50(taps)
    counters = "num_batches_tracked"  # older files lack it
    wanted = {name: value for name, value in network.state_dict().items() if not name.endswith(counters)}
    is_ours = isinstance(state, dict) and all(
        isinstance(state.get(name), Tensor) and state[name].shape == value.shape for name, value in wanted.items()
    )
    if not is_ours:
        raise BundleError(
            f"{weights} does not hold the weights of a wide_resnet50_2. Give the file of timm or torchvision, "
            "a state dict with names like layer1.0.conv1.weight."
        )
    network.load_state_dict({name: cast(dict[str, Tensor], state)[name] for name in wanted}, strict=False)
    network.weights_sha256 = hashlib.sha256(content).hexdigest()
    return network.eval().requires_grad_(False)
