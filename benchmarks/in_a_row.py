"""Judges that cannot make parts ready ahead, to compare with those that can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_resad.decision import Verdict
from edge_resad.device.judges import OpenJudge
from edge_resad.device.pipeline import Judge
from edge_resad.device.settings import StationFile

Kind = Literal["row", "ahead"]
"""Whether a part's stages follow each other, or the part that waits is scaled while another one is judged."""


def in_a_row(opens: OpenJudge) -> OpenJudge:
    """The same judges, but a station does not see that they could make parts ready."""

    @contextmanager
    def opened(told: StationFile) -> Iterator[Judge]:
        with opens(told) as judge:
            yield _InARow(judge)

    return opened


class _InARow:
    """An inspector that is not asked to make parts ready."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def inspect(self, frame: NDArray[np.uint8], /) -> Verdict:
        return self._judge.inspect(frame)

    @property
    def score_map(self) -> NDArray[np.float32]:
        return self._judge.score_map

    @property
    def timings(self) -> Mapping[str, float]:
        return getattr(self._judge, "timings", {})
