"""A bundle's heads: which judges, and what good parts' logits are, so that a good part's score stays about 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import Fusion
from edge_resad.bundle import HeadName, Manifest
from edge_resad.engine.engine import Engine
from edge_resad.errors import BankError
from edge_resad.image import fit

_LEAST = 1e-30  # float32 has few numbers below


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a detector makes of one part."""

    score: float
    peak: float  # the map's highest value
    part_logit: float = 0.0  # h
    mean_logit: float = 0.0  # of the cells, mean of H


def head_named(manifest: Manifest, head: str | None) -> HeadName:
    """The head that is asked for; the bundle's own choice where none is.

    Raises:
        BankError: the bundle lacks it.
    """
    for held in manifest.heads:
        if held == (manifest.default_head if head is None else head):
            return held
    raise BankError(
        f"this bundle of profile {manifest.profile} has no head {head!r}, only {', '.join(manifest.heads)}. "
        "Choose one of these, or give a bundle with a learned head: --bundle FOLDER."
    )


def uncalibrated(manifest: Manifest, head: HeadName) -> Fusion:
    """A head's b and a, before anything is known of good parts."""
    share = 0.0 if head == "nn" or manifest.learned is None else manifest.learned.share
    return (0.0 if head == "resad" else 1.0, share, 0.0, 0.0)


def calibrated(fusion: Fusion, parts: Sequence[Judged]) -> tuple[Fusion, list[float], list[float]]:
    """Fix h0 and H0 by good parts that are not in the bank: the fusion, and their scores and peaks with it.

    parts: judged with the fusion as it is, h0 = H0 = 0.
    """
    b, a, _, _ = fusion
    h0 = float(np.mean([one.part_logit for one in parts]))
    H0 = float(np.mean([one.mean_logit for one in parts]))
    scores = [one.score * math.exp(-a * h0) for one in parts]
    peaks = [one.peak * math.exp(-a * H0) for one in parts]
    return (b, a, h0, H0), scores, peaks


def judged(detector: Engine, image: NDArray[np.uint8], size: int, fusion: Fusion) -> Judged:
    """Judge a picture with the bank that is in the detector, and read the learned head's logits where it counts.

    With b = 0 the graph's score is exp(a h) and its map exp(a H): their logarithms are the logits. A head that judges
    together with the nearest reference takes a second run.

    size: pixels, both sides of the network's input.
    """
    fit(image, size, detector.inputs["image"])
    b, a, h0, H0 = fusion
    part_logit = mean_logit = 0.0
    if a:
        _run(detector, (0.0, a, 0.0, 0.0))
        part_logit = math.log(max(float(detector.outputs["score"]), _LEAST)) / a
        mean_logit = float(np.log(np.maximum(detector.outputs["map"], _LEAST)).mean()) / a
    if b or h0 or H0 or not a:
        _run(detector, fusion)
    return Judged(
        score=float(detector.outputs["score"]),
        peak=float(detector.outputs["map"].max()),
        part_logit=part_logit,
        mean_logit=mean_logit,
    )


def write_fusion(detector: Engine, fusion: Fusion) -> None:
    """Say which head judges, where the graph has several."""
    if "fusion" in detector.inputs:
        detector.write("fusion", np.array(fusion, np.float32))


def _run(detector: Engine, fusion: Fusion) -> None:
    write_fusion(detector, fusion)
    detector.run()
