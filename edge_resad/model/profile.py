"""A profile says which detector is meant: backbone, taps, size, bank. Data, not a fork of the code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edge_resad.model.head_settings import RESAD_EDGE, RESAD_PP, RESAD_V1, HeadSettings
from edge_resad.model.net_settings import NetSettings


@dataclass(frozen=True, kw_only=True)
class Tap:
    """One level of the detector: a layer of the backbone and the room its references get."""

    layer: str  # the backbone's name for it
    stride: int  # pixels of the input per cell
    channels: int
    capacity: int  # rows of the reference bank, M_l
    weight: float = 1.0  # of the level in map and score, against the other levels


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Everything that is fixed at export."""

    name: str
    backbone: str  # "efficientnet_lite0", "wide_resnet50_2" with a file of weights, or "timm:NAME"
    size: int  # pixels, both sides of the network's input
    taps: tuple[Tap, ...]  # finest first
    match: Literal["cosine", "l2"]
    mean: tuple[float, float, float]  # RGB, 0 to 255
    std: tuple[float, float, float]  # RGB
    top_fraction: float = 0.003  # of a level's cells make its part of the image score
    blur_cells: float = 0.6  # sigma of the map's smoothing, cells of the finest level
    crop: bool = False  # True: shorter side to `size`, then the middle, as the papers do; False: both sides resized
    head: HeadSettings | None = None  # ResAD's: learned, with a map of its own
    net: NetSettings | None = None  # learned, to be fused with the nearest reference's distance

    def grid(self, tap: Tap) -> int:
        """Cells on one side of a level."""
        return self.size // tap.stride


EDGE = Profile(
    name="edge",
    backbone="efficientnet_lite0",
    size=256,
    taps=(
        Tap(layer="block4", stride=8, channels=40, capacity=2048),
        Tap(layer="block10", stride=16, channels=112, capacity=1024),
        Tap(layer="block11.depthwise", stride=32, channels=672, capacity=256, weight=0.5),
    ),
    match="cosine",
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
    net=NetSettings(),
)

# For comparison: what docs/notes/taps.md measures beside the default.
_NEAREST = replace(EDGE, net=None)
EDGE_TOP1 = replace(_NEAREST, name="edge-top1", top_fraction=0.01)
EDGE_L2 = replace(_NEAREST, name="edge-l2", match="l2")
EDGE_TWO_LEVELS = replace(_NEAREST, name="edge-two-levels", taps=EDGE.taps[:2])
EDGE_STRIDE4 = replace(
    _NEAREST, name="edge-stride4", taps=(Tap(layer="block2", stride=4, channels=24, capacity=4096), *EDGE.taps)
)
EDGE_BLOCK15 = replace(
    _NEAREST,
    name="edge-block15",
    taps=(*EDGE.taps[:2], Tap(layer="block15", stride=32, channels=320, capacity=256, weight=0.5)),
)

PROFILES = {
    profile.name: profile for profile in (EDGE, EDGE_TOP1, EDGE_L2, EDGE_TWO_LEVELS, EDGE_STRIDE4, EDGE_BLOCK15)
}

EDGE_RESAD = replace(EDGE_TWO_LEVELS, name="edge-resad", head=RESAD_EDGE)

PAPER = Profile(
    name="paper",
    backbone="wide_resnet50_2",
    size=224,
    taps=(  # room for four references
        Tap(layer="layer1", stride=4, channels=256, capacity=4 * 56**2),
        Tap(layer="layer2", stride=8, channels=512, capacity=4 * 28**2),
        Tap(layer="layer3", stride=16, channels=1024, capacity=4 * 14**2),
    ),
    match="cosine",
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    crop=True,
    head=RESAD_PP,
)
# Exactly as released: at 32 images of 224 pixels the flow of layer3 never takes a step.
PAPER_COMPAT = replace(PAPER, name="paper-compat", head=replace(RESAD_PP, drop_remainder=True))
PAPER_V1 = replace(PAPER, name="paper-v1", match="l2", head=RESAD_V1)

LEARNED_PROFILES = {profile.name: profile for profile in (EDGE, EDGE_RESAD, PAPER, PAPER_COMPAT, PAPER_V1)}
