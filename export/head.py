"""A trained head, as `edge-resad train` writes it: what an export takes, and of which profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_resad.errors import BundleError
from edge_resad.model.backbone import weights_digest
from edge_resad.model.profile import Profile
from edge_resad.model.residual_net import ResidualNet
from edge_resad.train.checkpoint import load_net

_HEADS = Path(__file__).resolve().parent / "heads"


@dataclass(frozen=True, kw_only=True)
class TrainedHead:
    """A network with its weights, and how much it counts."""

    net: ResidualNet
    share: float
    sha256: str  # of the weights


def own_head(profile: Profile) -> Path | None:
    """The head that comes with the repository; None where the profile has none."""
    file = _HEADS / f"{profile.name}.pt"
    return file if file.is_file() else None


def load_head(file: Path, profile: Profile) -> TrainedHead:
    """The head in a file of training's.

    Its profile must see the same as the one that is exported; how long it was trained is its own affair.

    Raises:
        BundleError: it was trained on another profile, or this one has no learned head.
        TrainingError: no such file, damaged, of another release, or another kind of head.
    """
    if profile.net is None:
        raise BundleError(f"profile {profile.name} has no learned head. Export it with --head none.")
    net, trained_on, _ = load_net(file)
    expected, found = _what_decides(profile), _what_decides(trained_on)
    for name, value in expected.items():
        if found[name] != value:
            raise BundleError(
                f"the head {file} was trained with {name} {found[name]}, profile {profile.name} has {value}. "
                f"Train it again: edge-resad train --profile {profile.name}."
            )
    return TrainedHead(net=net, share=profile.net.share, sha256=weights_digest(net))


def _what_decides(profile: Profile) -> dict[str, Any]:
    """What a head's weights are for, by its name in the profile."""
    net = profile.net
    assert net is not None
    return {
        "backbone": profile.backbone,
        "size": profile.size,
        "taps": [(tap.layer, tap.stride, tap.channels) for tap in profile.taps],
        "match": profile.match,
        "mean": profile.mean,
        "std": profile.std,
        "crop": profile.crop,
        "net": {"width": net.width, "hidden": net.hidden, "top_cells": net.top_cells},
    }
