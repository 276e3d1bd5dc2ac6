"""The wire format says what was judged, stays readable over versions, and fits into a topic."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_resad import decision
from edge_resad.messages import (
    COMMANDS,
    MAX_POLYGON,
    MAX_REGIONS,
    THUMBNAIL_BYTES,
    Acknowledgement,
    Address,
    Alert,
    Birth,
    CollectorState,
    FetchedImage,
    Gap,
    ImageReference,
    NotInspected,
    Offline,
    Region,
    Room,
    Signature,
    Stamp,
    Verdict,
    Waiting,
    acknowledgement_message,
    alert_message,
    birth_message,
    collector_state_message,
    collector_topic,
    gap_message,
    is_late,
    offline_message,
    read_message,
    read_thumbnail,
    read_topic,
    seq_ranges,
    thumbnail_message,
    type_of,
    verdict_message,
)

DOCUMENT = Path(__file__).parents[1] / "docs" / "messages.md"
EXAMPLES = re.findall(r"```json\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)
ADDRESS = Address(site="graz", line="l4", device="jetson-07")
STREAM = "5a1d9e1c-8f5e-4a8e-9d3b-0d3f3f0c7a11"
STAMP = Stamp(STREAM, 42, "boot-1", 1_790_000_000.25, 12.5, True)
REGION = decision.Region(box=(3, 4, 5, 6), area_px=17, peak=2.5, polygon=((3, 4), (8, 4), (8, 10)))
FAILED = decision.Verdict(status="fail", score=2.0, threshold=1.0, regions=(REGION,))


def _verdict(verdict: decision.Verdict = FAILED, stamp: Stamp = STAMP) -> bytes:
    return verdict_message(ADDRESS, stamp, product="bolt", camera="cam0", verdict=verdict, frame_id=9, latency_ms=11.25)


def _birth(live_from_seq: int = 1, **more: Any) -> bytes:
    return birth_message(
        ADDRESS,
        bd_seq=3,
        stream_id=STREAM,
        boot_id="boot-1",
        wall=0.0,
        live_from_seq=live_from_seq,
        waiting=5,
        dropped=0,
        facts={"version": "0.1.0", "bundle": "edge@1234", "product": "bolt", "engine": "cpu"},
        **more,
    )


def test_a_verdict_says_all_that_was_judged() -> None:
    message = read_message(_verdict())
    assert isinstance(message.data, Verdict)
    assert message.id == f"{STREAM}-42"
    assert message.source == "er/v1/graz/l4/jetson-07"
    assert message.time == "2026-09-21T14:13:20.250Z"
    assert (message.data.status, message.data.severity, message.data.score) == ("fail", "critical", 2.0)
    assert message.data.regions[0].polygon == REGION.polygon
    assert (message.data.seq, message.data.wall_s, message.data.mono_s) == (42, STAMP.wall, STAMP.mono)
    assert (message.data.camera, message.data.product, message.data.frame_id) == ("cam0", "bolt", 9)


def test_the_envelope_uses_the_attribute_names_of_cloudevents() -> None:
    envelope = json.loads(_verdict())
    assert {"specversion", "id", "source", "type", "time", "datacontenttype", "data"} <= set(envelope)
    assert envelope["specversion"] == "1.0"


def test_an_alert_is_named_after_its_first_message() -> None:
    image = ImageReference(topic=ADDRESS.thumbnail_topic(STAMP.event_id), size_bytes=100)
    payload = alert_message(
        ADDRESS,
        STAMP,
        product="bolt",
        camera="cam0",
        phase="new",
        severity="critical",
        verdict=FAILED,
        frame_id=9,
        latency_ms=1.0,
        image=image,
    )
    alert = read_message(payload).data
    assert isinstance(alert, Alert)
    assert alert.alert_id == STAMP.event_id
    assert alert.verdict is not None
    assert alert.verdict.score == 2.0
    assert alert.image == image


def test_a_state_tells_what_every_stage_takes_and_an_older_reader_passes_over_it() -> None:
    said = _birth(stages_ms={"engine": {"p50": 8.00049, "p95": 9.0, "p99": 9.5, "max": 12.0}})
    birth = read_message(said).data
    assert isinstance(birth, Birth)
    assert birth.stages_ms is not None
    assert (birth.stages_ms["engine"].p50, birth.stages_ms["engine"].max) == (8.0, 12.0)
    unknown = json.loads(said)
    unknown["data"]["later"] = unknown["data"].pop("stages_ms")  # as an older reader sees it
    assert read_message(json.dumps(unknown).encode()).type == "edge-resad.state"


def test_a_state_that_is_said_again_is_another_message_of_the_same_connection() -> None:
    said = [read_message(_birth(again=again)) for again in range(3)]
    assert [message.id for message in said] == [f"{STREAM}-b3", f"{STREAM}-b3-1", f"{STREAM}-b3-2"]
    assert b"stages_ms" not in said[0].payload()


def test_a_birth_and_an_offline_message_are_told_apart_and_paired_by_bd_seq() -> None:
    birth = read_message(_birth()).data
    gone = read_message(offline_message(ADDRESS, bd_seq=3, stream_id=STREAM, boot_id="boot-1", wall=0.0)).data
    assert isinstance(birth, Birth)
    assert isinstance(gone, Offline)
    assert birth.bd_seq == gone.bd_seq == 3
    assert (birth.version, birth.bundle, birth.about) == ("0.1.0", "edge@1234", {"engine": "cpu"})


def test_a_reader_passes_over_fields_it_does_not_know() -> None:
    envelope = json.loads(_verdict())
    envelope["traceparent"] = "00-1"
    envelope["data"]["mood"] = "fine"
    envelope["data"]["regions"][0]["depth_mm"] = 0.2
    assert read_message(json.dumps(envelope).encode()) == read_message(_verdict())


def test_a_writer_refuses_a_field_that_the_format_does_not_have() -> None:
    with pytest.raises(ValueError, match="mood"):
        ImageReference(topic="t", size_bytes=1, mood="fine")  # type: ignore[call-arg]


def test_a_message_of_a_later_schema_is_refused_with_what_to_do() -> None:
    envelope = json.loads(_verdict())
    envelope["schemaversion"] = 2
    with pytest.raises(ValueError, match=r"schema 2, this reader knows up to 1: update the reader"):
        read_message(json.dumps(envelope).encode())


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff\xfe", b"[1]", b"3", b'{"type":"edge-resad.verdict"}', b'{"type":"x"}', b"[" * 100_000, b"\x80"],
)
def test_what_is_no_message_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each of these is wrong in its own way
        read_message(payload)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('"a\\u0000b"', "NUL"),
        ('"\\ud83d"', "half a character"),
        ("NaN", "no number of JSON"),
        ("-Infinity", "no number of JSON"),
        ("[1e999]", "too large"),
    ],
)
def test_what_no_database_takes_is_refused_before_it_gets_there(text: str, wrong: str) -> None:
    told = _birth().replace(b'"cpu"', text.encode())
    with pytest.raises(ValueError, match=wrong):
        read_message(told)
    with pytest.raises(ValueError, match=wrong):
        read_message(_birth().replace(b'"engine"', text.encode()) if text.startswith('"') else told)


def test_a_character_beyond_the_basic_ones_is_text() -> None:
    birth = read_message(_birth().replace(b'"cpu"', b'"\\ud83d\\ude00 \\u00e9"')).data
    assert isinstance(birth, Birth)
    assert birth.about["engine"] == "\U0001f600 é"


def test_a_score_that_is_no_number_is_never_sent() -> None:
    with pytest.raises(ValueError, match="finite"):
        _verdict(decision.Verdict(status="fail", score=float("nan"), threshold=1.0, regions=()))


def test_many_ragged_regions_make_a_small_message_that_says_how_many_there_were() -> None:
    ragged = decision.Region(box=(0, 0, 9, 9), area_px=1, peak=1.0, polygon=tuple((i, i) for i in range(1000)))
    payload = _verdict(decision.Verdict(status="fail", score=2.0, threshold=1.0, regions=(ragged,) * 100))
    data = read_message(payload).data
    assert isinstance(data, Verdict)
    assert len(data.regions) == MAX_REGIONS
    assert data.regions_total == 100
    assert all(len(region.polygon) <= MAX_POLYGON for region in data.regions)
    assert len(payload) < 20_000


def test_a_typical_verdict_has_less_than_a_kilobyte() -> None:
    assert len(_verdict()) < 1000


def test_what_was_written_before_a_connection_is_late() -> None:
    birth = read_message(_birth(live_from_seq=42)).data
    assert isinstance(birth, Birth)
    old = read_message(_verdict(stamp=Stamp(STREAM, 41, "b", 0.0, 0.0))).data
    new = read_message(_verdict(stamp=Stamp(STREAM, 42, "b", 0.0, 0.0))).data
    assert isinstance(old, Verdict)
    assert isinstance(new, Verdict)
    assert is_late(old, birth)
    assert not is_late(new, birth)


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "ä", "a b", "x" * 65, "a\n"])
def test_a_name_that_cannot_stand_in_a_topic_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a topic"):
        Address(site="s", line="l", device=name)
    with pytest.raises(ValueError, match="cannot stand in a topic"):
        ADDRESS.verdict_topic(name)


def test_a_topic_comes_apart_into_what_it_was_made_of() -> None:
    topic = read_topic(ADDRESS.alert_topic("major"))
    assert (topic.address, topic.channel, topic.name) == (ADDRESS, "alert", "major")
    assert read_topic(ADDRESS.state_topic).name is None
    assert type_of(ADDRESS.thumbnail_topic(STAMP.event_id)) == "edge-resad.thumbnail"


def test_a_collectors_topic_is_none_of_a_station() -> None:
    assert collector_topic("col-1") == "er/v1/host/col-1/state"
    assert type_of(collector_topic("col-1")) == "edge-resad.collector-state"
    with pytest.raises(ValueError, match="is not a topic of the form"):
        read_topic(collector_topic("col-1"))
    with pytest.raises(ValueError, match="is not a topic of the form"):
        type_of("er/v1/host/state")


def test_a_collectors_state_says_what_it_stores_and_which_connection_it_is_of() -> None:
    about: dict[str, Any] = {"group": "g", "sites": ("graz",), "connection": "x1", "wall": 0.0}
    there = read_message(collector_state_message("col-1", online=True, version="0.1.0", **about))
    gone = read_message(collector_state_message("col-1", online=False, **about))
    assert isinstance(there.data, CollectorState)
    assert isinstance(gone.data, CollectorState)
    assert (there.source, there.id, gone.id) == ("er/v1/host/col-1", "x1-on", "x1-off")
    assert (there.data.online, there.data.sites, there.data.version) == (True, ("graz",), "0.1.0")
    assert (gone.data.online, gone.data.connection, gone.data.version) == (False, "x1", None)


@pytest.mark.parametrize(
    "topic",
    ["", "er/v2/a/b/c/state", "er/v1/a/b/c/state/x", "er/v1/a/b/c/evt", "er/v1/a/b/c/what/x", "er/v1/a//c/state"],
)
def test_a_topic_of_others_is_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        read_topic(topic)


def test_an_acknowledgement_names_exactly_what_was_stored() -> None:
    stored = seq_ranges([43, 9, 8, 7, 9])
    payload = acknowledgement_message(
        ADDRESS, event_id="col-1-1", wall=0.0, stream_id=STREAM, stored=stored, collector="col-1"
    )
    message = read_message(payload)
    assert isinstance(message.data, Acknowledgement)
    assert (message.data.stream_id, message.data.stored) == (STREAM, ((7, 9), (43, 43)))
    assert message.source == "er/v1/host/col-1"


@pytest.mark.parametrize("stored", [[(2, 1)], [(1, 5), (5, 6)], [(3, 4), (1, 2)], [(0, 4)], [(1, 2**53)]])
def test_ranges_that_are_none_are_refused(stored: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="stored"):
        acknowledgement_message(ADDRESS, event_id="a", wall=0.0, stream_id=STREAM, stored=stored, collector="c")


def test_a_gap_is_a_message_of_its_stream_that_says_what_will_never_come() -> None:
    payload = gap_message(ADDRESS, STAMP, ranges=[(1, 30), (32, 41)], counts={"pass": 40}, reason="budget")
    gap = read_message(payload).data
    assert isinstance(gap, Gap)
    assert (gap.seq, gap.ranges, gap.counts, gap.previous_stream_id) == (42, ((1, 30), (32, 41)), {"pass": 40}, None)


def test_a_thumbnail_is_a_jpeg_that_knows_where_it_comes_from() -> None:
    picture = np.full((64, 64, 3), 90, np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    payload = thumbnail_message(ADDRESS, STAMP, jpeg)
    origin, original = read_thumbnail(payload)
    shown = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)
    assert (origin.stream_id, origin.seq, origin.device) == (STREAM, 42, "jetson-07")
    assert original == jpeg
    assert shown is not None
    assert shown.shape == picture.shape


def test_a_thumbnail_that_is_too_large_or_no_jpeg_is_refused() -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        thumbnail_message(ADDRESS, STAMP, b"\xff\xd8" + bytes(THUMBNAIL_BYTES))
    with pytest.raises(ValueError, match="JPEG"):
        thumbnail_message(ADDRESS, STAMP, b"\x89PNG")


def test_the_examples_of_the_document_are_messages() -> None:
    for example in EXAMPLES:
        assert json.loads(read_message(example.encode()).model_dump_json(exclude_none=True)) == json.loads(example)


def test_the_document_names_every_field() -> None:
    inner = (NotInspected, Region, ImageReference, Birth, Offline, Room, Waiting, Signature, FetchedImage)
    models = {type(read_message(example.encode())) for example in EXAMPLES}
    parts = {type(read_message(example.encode()).data) for example in EXAMPLES}
    taken = {model for model, _ in COMMANDS.values()}
    fields = {name for model in {*models, *parts, *inner, *taken} for name in model.model_fields}
    text = DOCUMENT.read_text()
    assert [name for name in sorted(fields) if f"`{name}`" not in text] == []


def test_the_document_names_every_command_with_its_role() -> None:
    text = DOCUMENT.read_text()
    for name, (_, role) in COMMANDS.items():
        assert f"| `{name}` | {role} |" in text
