"""A problem that a head learns in seconds: good parts differ in red, defects in blue, by the same amount."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edge_resad.datasets.find import find_classes
from edge_resad.model.head_settings import RESAD_EDGE
from edge_resad.model.profile import Profile, Tap
from edge_resad.train.batches import Batch
from edge_resad.train.course import Draws
from edge_resad.train.features import FeatureCache
from edge_resad.train.loop import train
from edge_resad.train.run import Best
from edge_resad.train.split import Split, split_classes

SIZE = 32
SETTINGS = replace(
    RESAD_EDGE, feature_scale=1.0, codes=8, blocks=2, position_dims=4, epochs=4, stage1_epochs=1, batch=12,
    flow_chunk=512, lr=1e-2, lr_milestones=(), map_stride=4,
)  # fmt: skip
PROFILE = Profile(
    name="tiny",
    backbone="tiny",
    size=SIZE,
    taps=(Tap(layer="a", stride=4, channels=6, capacity=256), Tap(layer="b", stride=8, channels=6, capacity=64)),
    match="cosine",
    mean=(127.0, 127.0, 127.0),
    std=(64.0, 64.0, 64.0),
    head=SETTINGS,
)


class Colours(torch.nn.Module):
    """Two levels: the colours of a cell, and their opposites, so that no feature is all zero."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        both = torch.cat([image, 1 - image], 1) * self.weight
        return functional.avg_pool2d(both, 4), functional.avg_pool2d(both, 8)


def draw_class(folder: Path, seed: int, *, train: int = 8, good: int = 6, defects: int = 6) -> Path:
    """A product with a shade of its own; `defects` parts are scratched, with masks."""
    random = np.random.default_rng(seed)
    shade = random.uniform(90, 160, 3)
    for kind, count in (("train/good", train), ("test/good", good), ("test/scratch", defects)):
        for index in range(count):
            image = shade + random.normal(0, 3, (SIZE, SIZE, 3))
            _spot(image, 2, random)  # red, BGR: nothing to complain of
            if kind == "test/scratch":
                mask = np.zeros((SIZE, SIZE), np.uint8)
                mask[_spot(image, 0, random)] = 255
                _write(folder / f"ground_truth/scratch/{index}_mask.png", mask)
            _write(folder / kind / f"{index}.png", np.clip(image, 0, 255).astype(np.uint8))
    return folder


def draw_set(folder: Path, products: int = 4) -> Path:
    """Products p0, p1, ..."""
    for index in range(products):
        draw_class(folder / f"p{index}", index)
    return folder


def split_of(folder: Path, *, hold_out: tuple[str, ...] = ("p0",)) -> Split:
    return split_classes(find_classes(folder), hold_out=hold_out)


def run(folder: Path, out: Path, *, hold_out: tuple[str, ...] = ("p0",), seed: int = 1, **more: Any) -> Best:
    """Train on a drawn set; `settings` among `more` are changes of SETTINGS, the rest is for `train`."""
    profile = replace(PROFILE, head=replace(SETTINGS, **more.pop("settings", {})))
    cache = FeatureCache(folder.parent / "cache", profile, backbone=Colours())
    draws = Draws(seed=seed, shots=more.pop("shots", (2,)))
    return train(profile, split_of(folder, hold_out=hold_out), out, cache, draws, **more)


def places(batches: list[Batch]) -> list[tuple[int, int]]:
    """Product and image of everything in some batches."""
    return [(int(p), int(i)) for one in batches for p, i in zip(one.product, one.image, strict=True)]


def _spot(image: np.ndarray[Any, Any], channel: int, random: np.random.Generator) -> tuple[slice, slice]:
    """Lift one colour of a cell of the coarse level."""
    y, x = (8 * int(value) for value in random.integers(0, SIZE // 8, 2))
    image[y : y + 8, x : x + 8, channel] += 60
    return slice(y, y + 8), slice(x, x + 8)


def _write(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
