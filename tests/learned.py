"""A bundle with a learned head that has learned nothing: seeded weights, and small, so that it is made in a moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from edge_resad.bundle import Bundle
from edge_resad.model.detector import net_for
from edge_resad.model.net_settings import NetSettings
from edge_resad.model.profile import EDGE, Profile
from edge_resad.model.residual_net import ResidualNet
from edge_resad.train.checkpoint import as_json, save
from export.build import build_bundle

CAPACITIES = (512, 192, 64)
PROFILE = replace(
    EDGE,
    name="small",
    size=128,
    taps=tuple(replace(tap, capacity=capacity) for tap, capacity in zip(EDGE.taps, CAPACITIES, strict=True)),
    net=NetSettings(width=4, hidden=8, share=0.1),
)


def seeded_net(profile: Profile, seed: int = 0) -> ResidualNet:
    """A network whose logits differ from cell to cell, as a trained one's do."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = net_for(profile)
        torch.nn.init.normal_(net.judge.weight)
    return net.eval()


def write_head(path: Path, profile: Profile = PROFILE, seed: int = 0) -> Path:
    """What training would write."""
    state = {"head": seeded_net(profile, seed).state_dict()}
    save(path, state, {"settings": {"profile": as_json(profile)}})
    return path


def learned_bundle(folder: Path, profile: Profile = PROFILE) -> Bundle:
    """The bundle, made in FOLDER."""
    return build_bundle(profile, folder / "bundle", write_head(folder / "best.pt", profile))
