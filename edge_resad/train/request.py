"""What somebody asks for on the command line, as training takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_resad.errors import TrainingError
from edge_resad.model.detector import load_backbone
from edge_resad.model.profile import LEARNED_PROFILES, Profile
from edge_resad.train.course import Draws
from edge_resad.train.features import FeatureCache
from edge_resad.train.schedule import lasting


def profile_named(
    name: str, *, epochs: int | None = None, batch: int | None = None, lr: float | None = None
) -> Profile:
    """A profile with a learned head, trained as its paper says unless something else is asked for.

    Raises:
        TrainingError: there is no such profile.
    """
    profile = LEARNED_PROFILES.get(name)
    if profile is None:
        raise TrainingError(
            f"no profile with a learned head is called {name}. There are {', '.join(LEARNED_PROFILES)}."
        )
    if profile.head is not None:
        settings = profile.head if epochs is None else lasting(profile.head, epochs)
        return replace(profile, head=replace(settings, batch=batch or settings.batch, lr=lr or settings.lr))
    assert profile.net is not None, "a learned profile has one of the two"
    net = profile.net
    changed = replace(net, epochs=epochs or net.epochs, batch=batch or net.batch, lr=lr or net.lr)
    return replace(profile, net=changed)


def draws_for(profile: Profile, seed: int, shots: Sequence[int] | None) -> Draws:
    """What is left to chance; the profile's own numbers of references where none are asked for."""
    if shots:
        return Draws(seed=seed, shots=tuple(shots))
    return Draws(seed=seed, shots=profile.net.shots) if profile.net else Draws(seed=seed)


def cache_for(
    profile: Profile, folder: Path, gigabytes: float, device: str, weights: Path | None = None
) -> FeatureCache:
    """The cache of a profile's features.

    weights: of a backbone that comes with no package.

    Raises:
        TrainingError: weights are given for a backbone that has its own, or not given for one that has none.
        BundleError: they are another network's.
    """
    wants_file = profile.backbone == "wide_resnet50_2"
    if wants_file and weights is None:
        raise TrainingError(
            f"profile {profile.name} needs the weights of {profile.backbone}, which come with no package. Give the "
            ".pth file of timm or torchvision: --backbone-weights FILE."
        )
    if weights is not None and not wants_file:
        raise TrainingError(
            f"the weights of profile {profile.name}, {profile.backbone}, come with its package. Leave "
            "--backbone-weights away."
        )
    backbone = load_backbone(profile, weights) if weights else None
    return FeatureCache(folder, profile, int(gigabytes * 1e9), backbone=backbone, device=device)
