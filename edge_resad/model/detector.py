"""The two graphs of a bundle as torch modules: image to features, and image and bank to map and score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_resad.errors import BundleError
from edge_resad.model.backbone import load_lite0, load_timm
from edge_resad.model.profile import Profile, Tap
from edge_resad.model.residual_net import Comparison, ResidualNet, compare
from edge_resad.model.wide_resnet import load_wide_resnet50

_LEAST = 1e-6  # a distance of 0 has no logarithm


def load_backbone(profile: Profile, weights: Path | None = None) -> nn.Module:
    """Build the profile's backbone with its weights, frozen.

    weights: the local file, for a backbone whose weights come with no package.

    Raises:
        BundleError: an unknown backbone, or its weights are missing or another's.
    """
    if profile.backbone == "efficientnet_lite0":
        return load_lite0([tap.layer for tap in profile.taps])
    if profile.backbone == "wide_resnet50_2":
        if weights is None:
            raise BundleError(
                f"the weights of {profile.backbone} come with no package. Give the .pth file of timm or torchvision."
            )
        return load_wide_resnet50([tap.layer for tap in profile.taps], weights)
    source, _, name = profile.backbone.partition(":")
    if source != "timm" or not name:
        raise BundleError(
            f"unknown backbone {profile.backbone!r}. Known: wide_resnet50_2, efficientnet_lite0, or timm:NAME for any "
            "model of timm."
        )
    return load_timm(name, [tap.stride for tap in profile.taps])


class Encoder(nn.Module):
    """Image to features: what enrolment keeps of a good part.

    image:     (S, S, 3) uint8, BGR.
    returns:   per level (N_l, C_l) float32, row-major over the grid.
    """

    def __init__(self, profile: Profile, backbone: nn.Module) -> None:
        super().__init__()
        self.profile = profile
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(profile.mean).flip(0).view(1, 3, 1, 1))  # BGR, as the camera gives
        self.register_buffer("scale", 1 / torch.tensor(profile.std).flip(0).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Normalise, run the backbone, and turn every level's grid into rows."""
        bgr = image.to(torch.float32).permute(2, 0, 1)[None]  # (1, 3, S, S); TensorRT wants the cast first
        normalised = (bgr - cast(Tensor, self.mean)) * cast(Tensor, self.scale)
        rgb = normalised[:, [2, 1, 0]]
        return tuple(
            feature.reshape(tap.channels, self.profile.grid(tap) ** 2).transpose(0, 1)  # so that shapes are static
            for tap, feature in zip(self.profile.taps, self.backbone(rgb), strict=True)
        )


class NearestReference(nn.Module):
    """The `nn` head: how far is every patch from the nearest patch of a good part, and how far is the part.

    Level distance, as ResAD++ matches (cosine): d = 1 - max_m <f, p_m> / (|f| |p_m|), 0 to 2. L2: d = min_m |f - p_m|.
    The map is the mean over levels of d / (what good parts have on average), smoothed; the score the mean over levels
    of the largest few d / (the same of good parts). Both sets of constants are frozen at
    enrolment and come with the bank.

    image:      (S, S, 3) uint8, BGR.
    bank_*:     per level (M_l, C_l) rows, of unit length for cosine, raw for L2.
    level_norm: (L, 2) float32, the level's share (its weight, 1 on average) over the good parts' mean distance, and
                over their mean top distance.
    returns:    map (h, w) float32 at the finest level's stride, score () float32.
    """

    def __init__(self, profile: Profile, encoder: nn.Module) -> None:
        super().__init__()
        self.profile = profile
        self.encoder = encoder
        weights = _gaussian(profile.blur_cells)
        self.register_buffer("blur", weights.view(1, 1, 1, -1))

    def forward(self, image: Tensor, *bank_and_norm: Tensor) -> tuple[Tensor, Tensor]:
        """Judge one image against a bank."""
        *banks, level_norm = bank_and_norm
        rows = self.encoder(image)
        return self.fuse([self.distance(*pair) for pair in zip(rows, banks, strict=True)], level_norm)

    def fuse(self, distances: Sequence[Tensor], level_norm: Tensor) -> tuple[Tensor, Tensor]:
        """Bring the levels' distances (N_l,) together: map (h, w) and score ()."""
        finest = self.profile.grid(self.profile.taps[0])
        maps, tops = [], []
        for level, (tap, distance) in enumerate(zip(self.profile.taps, distances, strict=True)):
            top = torch.topk(distance, top_cells(self.profile, tap)).values.mean() * level_norm[level, 1]
            grid = self.profile.grid(tap)
            level_map = (distance * level_norm[level, 0]).view(1, 1, grid, grid)
            if grid != finest:
                level_map = functional.interpolate(level_map, (finest, finest), mode="bilinear", align_corners=False)
            maps.append(level_map)
            tops.append(top)
        mean_map = torch.stack(maps).mean(0)
        return self.smooth(mean_map).reshape(finest, finest), torch.stack(tops).mean()

    def distance(self, rows: Tensor, bank: Tensor) -> Tensor:
        """Distance of every row (N, C) to its nearest reference: (N,)."""
        if self.profile.match == "cosine":
            return 1 - (unit_rows(rows) @ bank.transpose(0, 1)).amax(1)
        half_square = bank.square().sum(1) / 2  # min |f - p|^2 = |f|^2 - 2 max(<f, p> - |p|^2 / 2)
        nearest = (rows @ bank.transpose(0, 1) - half_square).amax(1)
        return (rows.square().sum(1) - 2 * nearest).clamp_min(0).sqrt()

    def smooth(self, level_map: Tensor) -> Tensor:
        """Blur the small map (1, 1, h, w) with a separable Gaussian, edges repeated."""
        blur = cast(Tensor, self.blur)
        reach = blur.shape[-1] // 2
        padded = functional.pad(level_map, (reach, reach, reach, reach), mode="replicate")
        return functional.conv2d(functional.conv2d(padded, blur), blur.transpose(2, 3))


class FusedDetector(NearestReference):
    """The `nn` head and a trained one in a graph: score = nn^b exp(a (h - h0)), map = nn^b exp(a (H - H0)).

    h and H are the trained network's logits of the part and of its cells, h0 and H0 what good parts have on average, so
    that a good part's score stays about 1. With b = 1 and a = 0 it is the `nn` head, with b = 0 and a > 0 the trained
    one alone.

    fusion: (4,) float32, b, a, h0, H0; comes with the bank. All else as for `NearestReference`, with cosine matching.
    """

    def __init__(self, profile: Profile, encoder: nn.Module, net: ResidualNet) -> None:
        super().__init__(profile, encoder)
        if profile.match != "cosine":
            raise ValueError(f"the trained head reads unit residuals, so it matches by cosine, not {profile.match}")
        self.net = net
        mean_weight = sum(tap.weight for tap in profile.taps) / len(profile.taps)
        self.shares = tuple(tap.weight / mean_weight for tap in profile.taps)

    def forward(self, image: Tensor, *bank: Tensor) -> tuple[Tensor, Tensor]:
        """Judge one image against a bank: bank_unit_*, level_norm, fusion."""
        return self.judge(self.encoder(image), *bank)

    def judge(self, features: Sequence[Tensor], *bank: Tensor) -> tuple[Tensor, Tensor]:
        """Judge what the encoder saw, per level (N_l, C_l)."""
        *references, level_norm, fusion = bank
        distances, seen = [], []
        for level, rows in enumerate(features):
            typical = self.shares[level] / level_norm[level, 0]
            comparison, _ = compare(unit_rows(rows), references[level], typical)
            # 1 - cosine = |u - p|^2 / 2: measured on the residual, so that FP16 and INT8 only have to find the row.
            distance = comparison.residual.square().mean(-1) / 2
            distances.append(distance)
            seen.append(Comparison(comparison.residual, distance / typical))
        nn_map, nn_score = self.fuse(distances, level_norm)
        logits = self.net(seen)
        b, a, h0, H0 = fusion.unbind()
        cells = self.smooth(logits[None])[0, 0] - H0
        part = self.net.part_logit(logits)[0] - h0
        score_map = (b * nn_map.clamp_min(_LEAST).log() + a * cells).exp()
        return score_map, (b * nn_score.clamp_min(_LEAST).log() + a * part).exp()


def net_for(profile: Profile) -> ResidualNet:
    """The profile's network, untrained."""
    if profile.net is None:
        raise ValueError(f"profile {profile.name!r} has no residual network")
    return ResidualNet([profile.grid(tap) for tap in profile.taps], [tap.channels for tap in profile.taps], profile.net)


def unit_rows(rows: Tensor) -> Tensor:
    """Rows (..., N, C) of unit length."""
    return rows / rows.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()


def top_cells(profile: Profile, tap: Tap) -> int:
    """How many of a level's cells make its part of the image score."""
    return max(1, round(profile.top_fraction * profile.grid(tap) ** 2))


def _gaussian(sigma: float) -> Tensor:
    reach = max(1, round(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-offsets.square() / (2 * sigma**2))
    return (weights / weights.sum()).to(torch.float32)
