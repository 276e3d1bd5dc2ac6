"""A collector's acknowledgement: what it has stored for good, so that the station may forget it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from edge_resad.messages.envelope import Envelope, envelope_fields
from edge_resad.messages.origin import place_fields
from edge_resad.messages.seq_ranges import SeqRanges
from edge_resad.messages.strict import Strict
from edge_resad.messages.topic import Address, Id, collector_source


class Acknowledgement(Strict):
    """What a collector has committed, or had already: these numbers and no others.

    It is no high-water mark: where several collectors share the messages of a station, each speaks of its own.
    """

    collector: Id
    stream_id: Id
    stored: SeqRanges
    site: Id
    line: Id
    device: Id


class AcknowledgementMessage(Envelope):
    """An acknowledgement in its envelope."""

    type: Literal["edge-resad.acknowledgement"] = "edge-resad.acknowledgement"
    data: Acknowledgement


def acknowledgement_message(
    address: Address, *, event_id: str, wall: float, stream_id: str, stored: Sequence[tuple[int, int]], collector: str
) -> bytes:
    """The payload for `address.ack_topic`, after the commit and never before.

    address: the station's. event_id: unique in the world, the collector's choice.
    stored: inclusive ranges of `seq`, as `seq_ranges` makes them, at most `MAX_RANGES`.
    """
    fields = envelope_fields(collector_source(collector), event_id, wall)
    data = Acknowledgement(collector=collector, stream_id=stream_id, stored=tuple(stored), **place_fields(address))
    return AcknowledgementMessage(**fields, data=data).payload()
