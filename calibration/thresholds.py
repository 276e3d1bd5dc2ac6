"""What a precision does to a threshold: the same references and the same further good parts, once for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_resad.bank import Threshold
from edge_resad.bundle import Bundle, HeadName, Precision
from edge_resad.engine.enrolment import enrol, threshold_from
from edge_resad.engine.inspector import Inspector

Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class PrecisionThreshold:
    """The threshold of one precision, from good parts that are not in its bank."""

    precision: Precision
    threshold: Threshold
    scores: tuple[float, ...]  # of the further good parts

    def alarms_at(self, threshold: float) -> int:
        """How many of the further good parts would fail."""
        return sum(score >= threshold for score in self.scores)


def thresholds(
    bundle: Bundle,
    references: Sequence[Image],
    further: Sequence[Image],
    *,
    rate: float,
    head: HeadName | None = None,
    threads: int = 1,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[PrecisionThreshold]:
    """Enrol the references in every precision of the bundle and estimate its threshold from the further good parts.

    references, further: each (H, W, 3) uint8 BGR, good parts. rate: share of good parts that may fail, aimed at.

    Raises:
        BankError: no references, or the bundle lacks the head.
    """
    found = []
    for precision in bundle.manifest.precisions:
        made = enrol(
            bundle, references, product="threshold", precision=precision, threads=threads, false_alarm_rate=rate,
            head=head,
        ).bank  # fmt: skip
        scores, peaks = [], []
        with Inspector(bundle, made, threads=threads) as inspector:
            for index, image in enumerate(further):
                scores.append(inspector.inspect(image).score)
                peaks.append(float(inspector.score_map.max()))
                progress(precision, index + 1, len(further))
        limit = threshold_from(scores, region=max(peaks), rate=rate, how="good parts", head=made.info.head)
        found.append(PrecisionThreshold(precision=precision, threshold=limit, scores=tuple(scores)))
    return found
