"""Reading the golden numbers, and building our modules with the weights in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.model.flow import Flow, FlowBlock  # noqa: E402 - after the skip
from edge_resad.model.head_settings import HeadSettings  # noqa: E402
from edge_resad.model.profile import Profile, Tap  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).resolve().parent
RTOL, ATOL = 1e-5, 1e-6


def golden(name: str) -> dict[str, Tensor]:
    """Every array of one file."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def assert_golden(found: Tensor, expected: Tensor) -> None:
    """Equal within the tolerance that the numbers promise."""
    torch.testing.assert_close(found.detach(), expected, rtol=RTOL, atol=ATOL, check_dtype=False)


def gradient_of(leaf: Tensor) -> Tensor:
    """What a backward pass left at a tensor."""
    assert leaf.grad is not None
    return leaf.grad


def rows_of(image: Tensor) -> Tensor:
    """(B, C, H, W) to rows (B, H * W, C)."""
    return image.flatten(2).mT


def image_of(rows: Tensor, like: Tensor) -> Tensor:
    """Rows (B, N, C) back to the shape of an image (B, C, H, W)."""
    return rows.mT.reshape(like.shape)


def load_flow(flow: Flow, numbers: Mapping[str, Tensor], prefix: str = "") -> Flow:
    """Give a flow the weights `{prefix}b{k}_W1` and so on."""
    with torch.no_grad():
        for index, block in enumerate(flow.blocks):
            assert isinstance(block, FlowBlock)
            for name, target in parts_of(block).items():
                target.copy_(numbers[f"{prefix}b{index}_{name}"].reshape(target.shape))
    return flow


def parts_of(block: FlowBlock) -> dict[str, Tensor]:
    """A block's tensors by the golden numbers' names."""
    return {
        "W1": block.hidden.weight,
        "b1": block.hidden.bias,
        "W2": block.out.weight,
        "b2": block.out.bias,
        "gscale": block.raw_scale,
        "goffset": block.offset,
        "wperm": block.get_buffer("rotation"),
    }


def load_conv(constraintor: Any, numbers: Mapping[str, Tensor], level: int) -> None:
    """Give a convolutional constraintor the weights `conv_w1` and so on."""
    conv, norm = constraintor.conv, constraintor.norm
    with torch.no_grad():
        for target, name in (
            (conv.weight, "conv_w"),
            (conv.bias, "conv_b"),
            (norm.weight, "bn_gamma"),
            (norm.bias, "bn_beta"),
            (norm.running_mean, "bn_mean"),
            (norm.running_var, "bn_var"),
        ):
            target.copy_(numbers[f"{name}{level}"])


def small_profile(
    head: HeadSettings, channels: Sequence[int], grids: Sequence[int], size: int | None = None
) -> Profile:
    """A profile of the given levels; the network's input is `size` pixels, by default as many as the first grid."""
    size = size or grids[0]
    taps = tuple(
        Tap(layer=f"layer{level}", stride=size // grid, channels=count, capacity=grid**2)
        for level, (count, grid) in enumerate(zip(channels, grids, strict=True))
    )
    zeros, ones = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return Profile(name="small", backbone="none", size=size, taps=taps, match="cosine", mean=zeros, std=ones, head=head)
