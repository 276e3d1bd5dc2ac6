"""Judges that cannot make parts ready ahead, to compare with those that can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from benchmarks.judge_inside import JudgeInside
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
            yield JudgeInside(judge)

    return opened
