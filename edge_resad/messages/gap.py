"""A gap on its way: which messages a station gave up, so that nobody waits for them or takes them for lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from edge_resad.messages.envelope import Envelope, envelope_fields
from edge_resad.messages.origin import Origin, Stamp, origin_fields
from edge_resad.messages.seq_ranges import SeqRanges
from edge_resad.messages.strict import Whole
from edge_resad.messages.topic import Address, Id

GapReason = Literal["budget", "disk_full", "memory_full", "corruption", "operator", "refused"]
"""budget: more waited than the station may keep. disk_full: the disk had no room. memory_full: nor had the memory.
corruption: the outbox was damaged. operator: a person dropped them. refused: the broker never takes them, or
they could not be written down."""


class Gap(Origin):
    """Messages that will never come. It is a message of the stream itself and has its own `seq`."""

    ranges: SeqRanges  # of seq; empty where a damaged outbox lost nothing or does not say what
    counts: dict[Id, Whole]  # kind -> how many were given up, such as {"pass": 300}
    reason: Id  # a `GapReason`; a later station may have others
    previous_stream_id: Id | None = None  # the stream that this one replaces: `ranges` and `counts` speak of that one


class GapMessage(Envelope):
    """A gap in its envelope."""

    type: Literal["edge-resad.gap"] = "edge-resad.gap"
    data: Gap


def gap_message(
    address: Address,
    stamp: Stamp,
    *,
    ranges: Sequence[tuple[int, int]],
    counts: Mapping[str, int],
    reason: GapReason,
    previous_stream_id: str | None = None,
) -> bytes:
    """The payload for `address.gap_topic`.

    ranges: inclusive, of `seq`, as `seq_ranges` makes them, at most `MAX_RANGES`.
    counts: kind of letter -> how many of them.
    previous_stream_id: where this stream replaces a damaged one, that one; the gap then speaks of it.
    """
    data = Gap(
        **origin_fields(address, stamp),
        ranges=tuple(ranges),
        counts=dict(counts),
        reason=reason,
        previous_stream_id=previous_stream_id,
    )
    return GapMessage(**envelope_fields(address, stamp.event_id, stamp.wall), data=data).payload()
