"""What a precision may cost: a bundle whose graphs cost more is not written.

Correlations, to FP32 on the same frames, of the worst sample. Measured with the profile edge on twelve drawn parts of
each of four families, two references each: FP16 has map correlations from 0.9999 and rank correlations from 0.99, INT8
from 0.995 and from 0.98, TensorRT's rungs the same. On photographs it is harder, because in a texture many references
are equally near and the last digit chooses among them: of eight products the worst, leather and cracked pavement, have
0.998 in FP16, and 0.975 and 0.990 in INT8. Graphs that were broken on purpose are well below on the worst family of
drawn parts: all activations' scales times 0.5 gives 0.28, times 0.8 gives 0.90, one layer's scale halved 0.81, its
weights' halved 0.88, one depthwise layer with a single scale for all channels, as ONNX Runtime does by itself between
two quantised ones, 0.94.

Accuracy, the loss against FP32 on labelled parts, mean over products: what a precision wins is no fault, nor is a loss
of AUROC that a paired bootstrap takes for an accident, since in twenty images one pair that changes its order is worth
more than FP16's budget. Single products lose or win up to 0.2 points of AUPRO in FP16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.accuracy import Accuracy
from export.agreement import Agreement
from export.way import MIXED


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Least correlations, and most losses as fractions."""

    rank_correlation: float
    map_correlation: float
    image_auroc: float
    aupro: float


FP16 = Budget(rank_correlation=0.98, map_correlation=0.997, image_auroc=0.001, aupro=0.0025)
INT8 = Budget(rank_correlation=0.9, map_correlation=0.97, image_auroc=0.005, aupro=0.01)

_TITLES = {
    "rank_correlation": "rank correlation of scores",
    "map_correlation": "correlation of maps",
    "image_auroc": "image AUROC",
    "aupro": "AUPRO",
}


def budget_of(way: str) -> Budget | None:
    """FP32 has none, and what nobody may do neither."""
    return None if way in ("fp32", MIXED) else FP16 if way == "fp16" else INT8


def misses(agreements: Sequence[Agreement], accuracy: Sequence[Accuracy] = ()) -> list[str]:
    """Everything that is not within its budget, in words with both figures; nothing where all is well."""
    found = []
    for one in agreements:
        budget = budget_of(one.way)
        for figure in ("rank_correlation", "map_correlation") if budget else ():
            value, least = getattr(one, figure), getattr(budget, figure)
            if not value >= least:
                found.append(
                    f"{one.way} has a {_TITLES[figure]} with fp32 of {value:.4f} on {one.sample}, at least {least:g} "
                    "was expected"
                )
    for row in accuracy:
        budget = budget_of(row.way)
        losses = {
            "image_auroc": -row.auroc_change.difference if row.auroc_change and row.auroc_change.high < 0 else None,
            "aupro": -row.aupro_change if row.aupro_change is not None else None,
        }
        for figure, loss in losses.items() if budget else ():
            most = getattr(budget, figure)
            if loss is not None and not loss <= most:
                found.append(
                    f"{row.way} loses {100 * loss:.2f} points of {_TITLES[figure]} against fp32, at most "
                    f"{100 * most:g} were expected"
                )
    return found
