"""A judge with another one inside, for what does something beside judging, or not all that the other can."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge_resad.decision import Verdict
from edge_resad.device.pipeline import Judge


class JudgeInside:
    """Judges as the one inside does. A station sees no inspector: it does not ask it to make parts ready."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def inspect(self, frame: NDArray[np.uint8], /) -> Verdict:
        """The judge's verdict."""
        return self._judge.inspect(frame)

    @property
    def score_map(self) -> NDArray[np.float32]:
        """The judge's."""
        return self._judge.score_map

    @property
    def timings(self) -> Mapping[str, float]:
        """The judge's."""
        return getattr(self._judge, "timings", {})
