"""Sets of numbers of a stream as inclusive ranges, such as ((1, 40), (43, 43)): short, however many there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from edge_resad.messages.strict import MAX_WHOLE

MAX_RANGES = 1000  # in one message; more of them go in several messages
MAX_SEQ = MAX_WHOLE

SeqRange: TypeAlias = tuple[Annotated[int, Field(ge=1, le=MAX_SEQ)], Annotated[int, Field(ge=1, le=MAX_SEQ)]]


def _ascending(ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    end = 0
    for first, last in ranges:
        if not end < first <= last:
            raise ValueError(f"ranges ascend and do not overlap, ({first}, {last}) stands after {end}")
        end = last
    return ranges


SeqRanges = Annotated[tuple[SeqRange, ...], Field(max_length=MAX_RANGES), AfterValidator(_ascending)]
"""Ranges as they travel: ascending, not overlapping, at most `MAX_RANGES`."""


def seq_ranges(seqs: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """The fewest ranges that hold exactly these numbers, in any order and with repetitions."""
    ranges: list[tuple[int, int]] = []
    for seq in sorted(set(seqs)):
        if ranges and seq == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return tuple(ranges)
