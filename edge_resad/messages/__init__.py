"""The wire format: every topic and payload that a station and its fleet exchange.

Topics are `er/v1/<site>/<line>/<device>/<channel>[/<name>]`. Payloads are JSON with the attribute names of CloudEvents,
so that a reader needs nothing of MQTT 5; thumbnails are plain JPEG. Writers are strict, readers tolerate what they do
not know yet: a fleet may be older than its stations.
"""

from __future__ import annotations

from edge_resad.messages.acknowledgement import Acknowledgement, AcknowledgementMessage, acknowledgement_message
from edge_resad.messages.alert import Alert, AlertMessage, Phase, alert_message, fault_message
from edge_resad.messages.envelope import JSON_TYPE, SCHEMA_VERSION
from edge_resad.messages.gap import Gap, GapMessage, GapReason, gap_message
from edge_resad.messages.message import Message, read_message
from edge_resad.messages.origin import Origin, Stamp
from edge_resad.messages.seq_ranges import MAX_RANGES, MAX_SEQ, SeqRanges, seq_ranges
from edge_resad.messages.state import (
    Birth,
    Offline,
    StageMs,
    StateMessage,
    birth_id,
    birth_message,
    is_late,
    offline_message,
)
from edge_resad.messages.thumbnail import (
    JPEG_TYPE,
    THUMBNAIL_BYTES,
    ImageReference,
    read_thumbnail,
    thumbnail_message,
)
from edge_resad.messages.topic import (
    Address,
    Channel,
    Id,
    Severity,
    Topic,
    collector_source,
    is_id,
    read_topic,
    type_of,
)
from edge_resad.messages.verdict import (
    MAX_POLYGON,
    MAX_REGIONS,
    Judgement,
    NotInspected,
    Region,
    RegionLike,
    Verdict,
    VerdictLike,
    VerdictMessage,
    not_inspected_message,
    verdict_message,
)

__all__ = [
    "JPEG_TYPE",
    "JSON_TYPE",
    "MAX_POLYGON",
    "MAX_RANGES",
    "MAX_REGIONS",
    "MAX_SEQ",
    "SCHEMA_VERSION",
    "THUMBNAIL_BYTES",
    "Acknowledgement",
    "AcknowledgementMessage",
    "Address",
    "Alert",
    "AlertMessage",
    "Birth",
    "Channel",
    "Gap",
    "GapMessage",
    "GapReason",
    "Id",
    "ImageReference",
    "Judgement",
    "Message",
    "NotInspected",
    "Offline",
    "Origin",
    "Phase",
    "Region",
    "RegionLike",
    "SeqRanges",
    "Severity",
    "StageMs",
    "Stamp",
    "StateMessage",
    "Topic",
    "Verdict",
    "VerdictLike",
    "VerdictMessage",
    "acknowledgement_message",
    "alert_message",
    "birth_id",
    "birth_message",
    "collector_source",
    "fault_message",
    "gap_message",
    "is_id",
    "is_late",
    "not_inspected_message",
    "offline_message",
    "read_message",
    "read_thumbnail",
    "read_topic",
    "seq_ranges",
    "thumbnail_message",
    "type_of",
    "verdict_message",
]
