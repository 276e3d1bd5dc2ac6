"""A stream of packets comes apart at their ends, however it was cut on its way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes

from tests.mqtt.packets import (
    NAMES,
    Framer,
    Publish,
    packet,
    properties,
    read_publish,
    take_properties,
    varint,
    write_publish,
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(NAMES)), st.binary(max_size=300)), max_size=6),
    st.lists(st.integers(1, 40)),
)
def test_a_stream_comes_apart_at_the_ends_of_its_packets(packets: list[tuple[int, bytes]], cuts: list[int]) -> None:
    whole = [packet(kind << 4, body) for kind, body in packets]
    stream, framer = b"".join(whole), Framer()
    chunks: list[bytes] = []
    for length in cuts:
        chunks.append(stream[:length])
        stream = stream[length:]
    found: list[bytes] = []
    kinds: list[str] = []
    for chunk in [*chunks, stream]:
        for piece in framer.split(chunk):
            if piece.offset == 0:
                found.append(b"")
                kinds.append(piece.kind)
            assert piece.offset == len(found[-1])
            found[-1] += piece.content
            assert piece.ends == (found[-1] == whole[len(found) - 1])
    assert found == whole
    assert kinds == [NAMES[kind] for kind, _ in packets]


@pytest.mark.parametrize(("number", "raw"), [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (16383, b"\xff\x7f")])
def test_a_length_is_written_as_the_specification_says(number: int, raw: bytes) -> None:
    assert varint(number) == raw


def test_a_message_is_read_as_it_was_written() -> None:
    said = Publish(
        topic="a/b",
        payload=b"x" * 200,
        qos=1,
        packet_id=513,
        retain=True,
        dup=True,
        expiry_s=60,
        content_type="application/json",
        response_topic="r",
        correlation=b"\x00\x01",
        user=(("id", "1"), ("id", "2")),
        alias=3,
    )
    raw = write_publish(said, 5)
    assert raw[:3] == b"\x3b" + varint(len(raw) - 3)
    assert read_publish(raw[0], raw[3:], 5, size=0, connection=0, client_id="") == said


def test_properties_that_are_absent_are_not_written() -> None:
    raw = properties(PacketTypes.CONNACK, ReceiveMaximum=None, MaximumPacketSize=100)
    assert raw == b"\x05\x27\x00\x00\x00\x64"
    assert take_properties(PacketTypes.CONNACK, raw, 0) == ({"MaximumPacketSize": 100}, 6)
