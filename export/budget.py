"""What a precision may cost: a bundle whose graphs cost more is not written.

Correlations, to FP32 on the same frames, of the worst sample. Measured with the profile edge on twelve drawn parts of
each of four families: FP16 has map correlations from 0.9999 and rank correlations of 1, INT8 from 0.992 and from 0.99,
TensorRT's graphs from 0.995 and from 0.99. On photographs it is harder, because in a texture many references are
equally near and the last digit chooses among them: of eight products the worst, leather and cracked pavement, have
0.998 in FP16, and 0.975 and 0.990 in INT8. Graphs that were broken on purpose are well below on the worst family of
drawn parts: all activations' scales times 0.5 gives 0.28, times 0.8 gives 0.90, one layer's scale halved 0.81, its
weights' halved 0.88, one depthwise layer with a single scale for all channels 0.94.

Features, the relative RMS difference to FP32's of every level: 0.007 in FP16, 0.06 in INT8 for either runtime, and at
the worst level from 0.37 on for the graphs broken on purpose.

Accuracy, the loss against FP32 on labelled parts, mean over products: what a precision wins is no fault, nor is a loss
of AUROC that a paired bootstrap takes for an accident, since in twenty images one pair that changes its order is worth
more than FP16's budget. Single products lose or win up to 0.2 points of AUPRO in FP16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from export.accuracy import Accuracy
from export.agreement import Agreement
from export.way import MIXED


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Least correlations, the most difference of features, and most losses as fractions."""

    rank_correlation: float
    map_correlation: float
    features: float
    image_auroc: float
    aupro: float


FP16 = Budget(rank_correlation=0.98, map_correlation=0.997, features=0.02, image_auroc=0.001, aupro=0.0025)
INT8 = Budget(rank_correlation=0.9, map_correlation=0.97, features=0.15, image_auroc=0.005, aupro=0.01)


def budget_of(way: str) -> Budget | None:
    """FP32 has none, and what nobody may do neither."""
    return None if way in ("fp32", MIXED) else FP16 if way == "fp16" else INT8


def misses(
    agreements: Sequence[Agreement], layers: Mapping[str, Mapping[str, float]], accuracy: Sequence[Accuracy] = ()
) -> list[str]:
    """Everything that is not within its budget, in words with both figures; nothing where all is well.

    layers: differences by precision or rung and tensor.
    """
    found: list[str] = []
    for agreement in agreements:
        if budget := budget_of(agreement.way):
            found += _disagreements(agreement, budget)
    for way, tensors in layers.items():
        if budget := budget_of(way):
            found += _strayed(way, tensors, budget)
    for row in accuracy:
        if budget := budget_of(row.way):
            found += _losses(row, budget)
    return found


def _disagreements(found: Agreement, budget: Budget) -> Iterator[str]:
    figures = {
        "rank correlation of scores": (found.rank_correlation, budget.rank_correlation),
        "correlation of maps": (found.map_correlation, budget.map_correlation),
    }
    for title, (value, least) in figures.items():
        if not value >= least:
            where = f"with fp32 of {value:.4f} on {found.sample}"
            yield f"{found.way} has a {title} {where}, at least {least:g} was expected"


def _strayed(way: str, tensors: Mapping[str, float], budget: Budget) -> Iterator[str]:
    for name, value in tensors.items():
        if name.startswith("feature_") and not value <= budget.features:
            yield f"{name} of {way} differs from fp32's by {value:.3f} of it, at most {budget.features:g} was expected"


def _losses(row: Accuracy, budget: Budget) -> Iterator[str]:
    seen = row.auroc_change is not None and row.auroc_change.high < 0
    losses = {
        "image AUROC": (-row.auroc_change.difference if row.auroc_change and seen else 0.0, budget.image_auroc),
        "AUPRO": (-(row.aupro_change or 0.0), budget.aupro),
    }
    for title, (loss, most) in losses.items():
        if not loss <= most:
            yield (
                f"{row.way} loses {100 * loss:.2f} points of {title} against fp32, at most {100 * most:g} were expected"
            )
