"""A way to inspect with a bundle: which of its graphs make the bank, and which judge with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import Bank
from edge_resad.bundle import Bundle, GraphPair
from edge_resad.engine.augmentation import Wish
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.onnx_runtime import OnnxRuntimeEngine
from edge_resad.errors import BundleError
from edge_resad.evaluation.scorer import BundleScorer

MIXED = "mixed"
"""INT8 with a bank that FP32 has made, which an inspector refuses: what it would cost, for the study alone."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One precision, or one of TensorRT's rungs: bank and engine are the same but for `MIXED`."""

    name: str
    bank: GraphPair
    engine: GraphPair


def ways_of(bundle: Bundle, *, rungs: bool = True, mixed: bool = False) -> list[Way]:
    """FP32 first, the other precisions, the rungs that are not among these, and MIXED where asked for and possible."""
    pairs: dict[str, GraphPair] = dict(bundle.manifest.precisions.items())
    if rungs:
        pairs.update({rung: pair for rung, pair in bundle.manifest.rungs.items() if pair not in pairs.values()})
    ways = [Way(name=name, bank=pair, engine=pair) for name, pair in pairs.items()]
    ways.sort(key=lambda way: way.name != "fp32")
    if mixed and "int8" in pairs:
        ways.append(Way(name=MIXED, bank=pairs["fp32"], engine=pairs["int8"]))
    return ways


class WayScorer(BundleScorer):
    """Enrols and judges one way with the product's own enrolment and engine; see `evaluation.protocol.Scorer`."""

    def __init__(self, bundle: Bundle, way: Way, *, threads: int = 1, augment: Wish = "auto") -> None:
        super().__init__(_with(bundle, way.engine), threads=threads, augment=augment)
        self._for_bank = _with(bundle, way.bank)

    def enrol(self, references: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Make a bank of these references and load it, whatever graphs have made it."""
        made = enrol(
            self._for_bank, references, product="verification", threads=self._threads, augment=self._augment, seed=seed
        ).bank
        info = made.info.model_copy(update={"bundle_id": self._bundle.manifest.bundle_id})
        self._load(Bank(info=info, levels=made.levels))


def why_not(bundle: Bundle, way: Way) -> str | None:
    """Why ONNX Runtime cannot run a way on this machine's CPU, in its own words; None where it can."""
    try:
        with OnnxRuntimeEngine(bundle.file(way.engine.detector), way.engine.detector):
            return None  # the encoder is part of it
    except BundleError as error:
        return str(error)


def _with(bundle: Bundle, pair: GraphPair) -> Bundle:
    """The bundle as if it held this pair alone."""
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"precisions": {"fp32": pair}}))
