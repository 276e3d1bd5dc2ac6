"""What training keeps on the disk: all of it in `last.pt`, to go on from, and the best head in `best.pt`."""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from edge_resad import __version__
from edge_resad.errors import TrainingError
from edge_resad.model.detector import net_for
from edge_resad.model.head import ResADHead
from edge_resad.model.head_settings import HeadSettings
from edge_resad.model.net_settings import NetSettings
from edge_resad.model.profile import Profile, Tap
from edge_resad.model.residual_net import ResidualNet
from edge_resad.whole_file import write_whole

LAST, BEST = "last.pt", "best.pt"
SCHEMA_VERSION = 1


def save(path: Path, state: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Write one file, whole or not at all.

    state: tensors, and dicts and lists of them.
    about: what JSON can hold; the versions of what trained are added.

    Raises:
        TrainingError: the file cannot be written.
    """
    versions = {"edge_resad": __version__, "torch": torch.__version__, "numpy": np.__version__}
    told = {"schema_version": SCHEMA_VERSION, **about, "versions": {**versions, "python": platform.python_version()}}
    content = io.BytesIO()
    torch.save({**state, "about": json.dumps(told)}, content)
    try:
        write_whole(path, content.getbuffer())
    except OSError as error:
        raise TrainingError(f"cannot write {path}: {error.strerror or error}. Check space and rights.") from error


def load(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `save` was given: state, on the CPU, and about.

    Raises:
        TrainingError: no such file, damaged, or of another release.
    """
    try:
        state = cast(dict[str, Any], torch.load(path, map_location="cpu", weights_only=True))
        about = json.loads(state.pop("about"))
    except OSError as error:
        raise TrainingError(
            f"cannot read {path}: {error.strerror or error}. Expected a file that edge-resad train has written."
        ) from error
    except Exception as error:  # torch raises whatever its reader stumbles over
        raise TrainingError(
            f"{path} is not what edge-resad train writes, or is damaged. Name another file; a training "
            "that should begin anew takes another --out."
        ) from error
    if about.get("schema_version") != SCHEMA_VERSION:
        raise TrainingError(
            f"{path} is of schema {about.get('schema_version')}, this release reads schema {SCHEMA_VERSION}. "
            "Train again into another --out."
        )
    return state, about


def load_head(path: Path) -> tuple[ResADHead, dict[str, Any]]:
    """ResAD's trained head of a checkpoint, in eval mode, and what the checkpoint says about itself.

    Raises:
        TrainingError: no such file, damaged, of another release, or the head is not of this kind.
    """
    state, about, profile = _load_with_profile(path)
    if profile.head is None:
        raise TrainingError(f"{path} holds the residual network of profile {profile.name}. Expected a head of ResAD's.")
    head = ResADHead(profile)
    head.load_state_dict(state["head"])
    return head.eval(), about


def load_net(path: Path) -> tuple[ResidualNet, Profile, dict[str, Any]]:
    """The trained residual network of a checkpoint, in eval mode, its profile, and what the checkpoint says.

    Raises:
        TrainingError: no such file, damaged, of another release, or the head is not of this kind.
    """
    state, about, profile = _load_with_profile(path)
    if profile.net is None:
        raise TrainingError(f"{path} holds ResAD's head of profile {profile.name}. Expected a residual network.")
    net = net_for(profile)
    net.load_state_dict(state["head"])
    return net.eval(), profile, about


def check_same(path: Path, kept: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings than a checkpoint's: both say what they are, as JSON has it.

    Raises:
        TrainingError: it names the first one that differs.
    """
    before, now = _flat(kept), _flat(json.loads(json.dumps(asked)))
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise TrainingError(
                f"{path} was trained with {name} {before.get(name)}, but {now.get(name)} is asked for. "
                "Ask for the same, or give another --out."
            )


def as_json(profile: Profile) -> dict[str, Any]:
    """A profile as JSON has it: preprocessing, taps, matching and its head's settings."""
    told: dict[str, Any] = json.loads(json.dumps(asdict(profile)))
    return told


def profile_of(told: Mapping[str, Any]) -> Profile:
    """The profile that `as_json` was given."""
    head, net = told["head"], told.get("net")  # the first checkpoints know of no network
    return Profile(
        **{
            **told,
            "taps": tuple(Tap(**tap) for tap in told["taps"]),
            "mean": tuple(told["mean"]),
            "std": tuple(told["std"]),
            "head": head and HeadSettings(**{**head, "lr_milestones": tuple(head["lr_milestones"])}),
            "net": net and NetSettings(**{**net, "shots": tuple(net["shots"]), "copies": tuple(net["copies"])}),
        }
    )


def _load_with_profile(path: Path) -> tuple[dict[str, Any], dict[str, Any], Profile]:
    state, about = load(path)
    return state, about, profile_of(about["settings"]["profile"])


def _flat(told: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested names, joined by spaces: {"head": {"lr": 1}} to {"head lr": 1}."""
    flat: dict[str, Any] = {}
    for name, value in told.items():
        flat.update(_flat(value, f"{above}{name} ") if isinstance(value, Mapping) else {f"{above}{name}": value})
    return flat
