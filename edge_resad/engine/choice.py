"""Which precision a device should run: the quickest of those that are accurate enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_resad.bundle import Precision
from edge_resad.errors import EngineError

_WORTH_IT = 0.95  # of the other's time; what is won below that is less than a device's own unrest


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One precision on this device."""

    precision: Precision
    median_ms: float  # of one run of the detector
    within_budget: bool  # of what accuracy may be lost against fp32


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen, and why in a sentence."""

    precision: Precision
    why: str


_EXACTNESS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


def choose(measured: Sequence[Measured]) -> Choice:
    """The quickest within the budget; the more exact one where the quicker wins less than 5 %.

    Raises:
        EngineError: none is within the budget.
    """
    allowed = sorted((one for one in measured if one.within_budget), key=lambda one: _EXACTNESS.index(one.precision))
    if not allowed:
        raise EngineError(
            f"none of {', '.join(one.precision for one in measured)} is as accurate as it should be. "
            "Build with --precision fp32, or export the bundle again."
        )
    chosen = allowed[0]
    for one in allowed[1:]:
        if one.median_ms < _WORTH_IT * chosen.median_ms:
            chosen = one
    return Choice(precision=chosen.precision, why=_why(chosen, measured))


def _why(chosen: Measured, measured: Sequence[Measured]) -> str:
    others = [
        f"{one.precision} {one.median_ms:.2f} ms" + ("" if one.within_budget else " but is not accurate enough")
        for one in measured
        if one is not chosen
    ]
    return f"a detector takes {chosen.median_ms:.2f} ms" + (f", {', '.join(others)}" if others else "")
