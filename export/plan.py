"""The detector as it would be exported with another image or bank: its graph, untrained and written nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx

from edge_resad.bundle import Bundle
from edge_resad.errors import BundleError
from edge_resad.model.detector import Encoder, FusedDetector, NearestReference, load_backbone, net_for
from edge_resad.model.profile import PROFILES, Profile
from export.build import example_inputs, exported


def planned_graph(bundle: Bundle, size: int | None = None, capacities: Sequence[int] | None = None) -> onnx.ModelProto:
    """Trace the FP32 detector of a bundle's profile with these numbers in place of the bundle's.

    size:       pixels, both sides of the network's input.
    capacities: rows of the bank, for every level, finest first.

    Raises:
        BundleError: a size that is no multiple of the coarsest stride, not one capacity for each level, or a bundle of
            a profile that this release has not.
    """
    profile = _profile(bundle)
    manifest = bundle.manifest
    coarsest = max(tap.stride for tap in profile.taps)
    chosen = manifest.image_size if size is None else size
    if chosen <= 0 or chosen % coarsest:
        raise BundleError(
            f"an image of {chosen} pixels does not divide into cells of {coarsest}. Choose a multiple of {coarsest}."
        )
    rows = [level.capacity for level in manifest.levels] if capacities is None else list(capacities)
    if len(rows) != len(profile.taps) or min(rows) < 1:
        raise BundleError(
            f"capacities {','.join(map(str, rows))} do not fit: the bundle has {len(profile.taps)} levels. Give one "
            "number above 0 for each, finest first."
        )
    taps = tuple(replace(tap, capacity=count) for tap, count in zip(profile.taps, rows, strict=True))
    planned = replace(profile, size=chosen, taps=taps)
    encoder = Encoder(planned, load_backbone(planned))
    learned = manifest.learned is not None
    detector = FusedDetector(planned, encoder, net_for(planned)) if learned else NearestReference(planned, encoder)
    inputs = example_inputs(planned, learned=learned)
    return exported(detector.eval(), inputs, ["map", "score"])


def _profile(bundle: Bundle) -> Profile:
    manifest = bundle.manifest
    profile = PROFILES.get(manifest.profile)
    held = [(level.layer, level.stride, level.channels) for level in manifest.levels]
    if profile is None or held != [(tap.layer, tap.stride, tap.channels) for tap in profile.taps]:
        raise BundleError(
            f"the bundle {bundle.path} is of a profile {manifest.profile} that this release has not. "
            "Leave out --size and --capacity, or export it again."
        )
    return profile
