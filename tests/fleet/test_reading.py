"""Whatever comes over the wire is read or set aside; nothing raises."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_resad.fleet.reading import Arrival, Letter, Unreadable, read
from tests.fleet.letters import NOW_MS, Writer

press = Writer()
GOOD = [
    press.verdict(1),
    press.not_inspected(2),
    press.alert(3, "new", picture=True),
    press.picture(4, of=3),
    press.gap(5, ((1, 1),)),
    press.birth(1),
    press.offline(1),
    press.telemetry(1),
    press.audit(6, "k1"),
    press.reply("k1", result={"threshold": 1.5}),
    press.reported(1, 2, "applied"),
]
TOPICS = st.sampled_from([arrival.topic for arrival in GOOD])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=12), inside, max_size=3),
    max_leaves=8,
)


def test_every_kind_of_message_is_read() -> None:
    assert not any(isinstance(read(arrival), Unreadable) for arrival in GOOD)


@settings(deadline=None)
@given(st.text(max_size=80) | TOPICS, st.binary(max_size=300), st.none() | st.text(max_size=90))
def test_any_bytes_on_any_topic_are_set_aside(topic: str, payload: bytes, event_id: str | None) -> None:
    assert isinstance(read(Arrival(topic, payload, NOW_MS, event_id)), Unreadable)


@settings(deadline=None)
@given(st.sampled_from(GOOD), st.data())
def test_a_field_that_says_anything_raises_nothing(arrival: Arrival, draw: Any) -> None:
    if arrival.payload.startswith(b"\xff\xd8"):
        spoiled = bytearray(arrival.payload)
        spoiled[draw.draw(st.integers(0, len(spoiled) - 1))] = draw.draw(st.integers(0, 255))
        read(Arrival(arrival.topic, bytes(spoiled), NOW_MS, arrival.event_id))
        return
    said = json.loads(arrival.payload)
    place = draw.draw(st.sampled_from([said, said["data"]]))
    place[draw.draw(st.sampled_from(sorted(place)))] = draw.draw(JSON)
    read(Arrival(arrival.topic, json.dumps(said).encode(), NOW_MS, arrival.event_id))


@given(st.sampled_from(GOOD), st.integers(0, 400))
def test_a_message_that_was_cut_off_is_set_aside(arrival: Arrival, length: int) -> None:
    cut = arrival.payload[: min(length, len(arrival.payload) - 1)]
    found = read(Arrival(arrival.topic, cut, NOW_MS, arrival.event_id))
    is_picture = arrival.payload.startswith(b"\xff\xd8")
    assert isinstance(found, Letter if is_picture and isinstance(found, Letter) else Unreadable)


def test_a_message_on_the_wrong_channel_is_set_aside() -> None:
    found = read(Arrival(press.address.gap_topic, press.verdict(1).payload, NOW_MS))
    assert isinstance(found, Unreadable)
    assert (found.stream_id, found.seq) == ("stream-a", 1)
    assert "does not belong on the channel gap" in found.reason


def test_a_station_that_speaks_for_another_is_not_believed() -> None:
    found = read(Arrival("er/v1/graz/l4/thief/evt/cam0", press.verdict(1).payload, NOW_MS))
    assert isinstance(found, Unreadable)
    assert found.reason == "it says that it is of press-1, and came on a topic of thief"


def test_a_reply_on_the_topic_of_another_command_is_not_believed() -> None:
    found = read(Arrival(press.address.reply_topic("k2"), press.reply("k1").payload, NOW_MS))
    assert isinstance(found, Unreadable)
    assert found.reason == "it answers k1, and came on the topic of k2"
