"""MQTT packets as bytes: where one begins and ends in a stream, and what a PUBLISH says."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

NAMES = {
    1: "CONNECT", 2: "CONNACK", 3: "PUBLISH", 4: "PUBACK", 5: "PUBREC", 6: "PUBREL", 7: "PUBCOMP", 8: "SUBSCRIBE",
    9: "SUBACK", 10: "UNSUBSCRIBE", 11: "UNSUBACK", 12: "PINGREQ", 13: "PINGRESP", 14: "DISCONNECT", 15: "AUTH",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some bytes of one packet."""

    kind: str  # a name of `NAMES`
    offset: int  # of its first byte in the packet
    content: bytes
    ends: bool  # the packet's last byte is in it


class Framer:
    """Cuts a stream of bytes, as it comes, at the ends of its packets."""

    def __init__(self) -> None:
        self._kind = ""
        self._offset = 0  # bytes of the packet so far
        self._body: int | None = None  # bytes that are still to come; None while the length is not known
        self._length = self._shift = 0

    def split(self, stream: bytes) -> Iterator[Piece]:
        """The pieces of packets in these bytes, in order; nothing is held back."""
        at = 0
        while at < len(stream):
            begin, offset = at, self._offset
            at = self._header(stream, at)
            if self._body is not None:
                taken = min(self._body, len(stream) - at)
                self._body -= taken
                at += taken
            ends = self._body == 0
            kind, self._offset = self._kind, 0 if ends else offset + at - begin
            yield Piece(kind=kind, offset=offset, content=stream[begin:at], ends=ends)

    def _header(self, stream: bytes, at: int) -> int:
        """Read on in the fixed header; where it ends, or the bytes do."""
        if self._offset == 0:
            self._kind = NAMES.get(stream[at] >> 4, "?")
            self._body, self._length, self._shift = None, 0, 0
            at += 1
        while self._body is None and at < len(stream):
            self._length |= (stream[at] & 0x7F) << self._shift
            self._shift += 7
            if stream[at] < 0x80:
                self._body = self._length
            at += 1
        return at


def packet(first: int, body: bytes) -> bytes:
    """A packet with its fixed header."""
    return bytes([first]) + varint(len(body)) + body


def varint(number: int) -> bytes:
    """A length as MQTT writes it."""
    encoded = bytearray()
    while True:
        number, low = divmod(number, 128)
        encoded.append(low | (0x80 if number else 0))
        if not number:
            return bytes(encoded)


def text(value: str | bytes) -> bytes:
    """A string or binary field."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(raw)) + raw


def take_text(body: bytes, at: int) -> tuple[bytes, int]:
    """A string or binary field, and where it ends."""
    end = at + 2 + int(struct.unpack_from("!H", body, at)[0])
    return body[at + 2 : end], end


def take_properties(kind: int, body: bytes, at: int) -> tuple[dict[str, Any], int]:
    """The properties of a packet of MQTT 5 by paho's names without spaces, and where they end."""
    found: Any = Properties(kind)  # type: ignore[no-untyped-call]
    _, length = found.unpack(body[at:])
    names = [name.replace(" ", "") for name in found.names]
    return {name: getattr(found, name) for name in names if hasattr(found, name)}, at + int(length)


def properties(kind: int, **values: Any) -> bytes:
    """Properties of a packet of MQTT 5 by paho's names, without spaces; what is None is left out."""
    made = Properties(kind)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        if value is not None:
            setattr(made, name, value)
    return bytes(made.pack())  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True)
class Publish:
    """A PUBLISH as it went over the wire."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int = 0  # 0 with QoS 0
    retain: bool = False
    dup: bool = False
    expiry_s: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    user: tuple[tuple[str, str], ...] = ()
    alias: int | None = None
    size: int = 0  # bytes, fixed header and all, as it was read
    connection: int = 0  # 1 for the first, 2 for the second ...
    client_id: str = ""


def read_publish(first: int, body: bytes, level: int, *, size: int, connection: int, client_id: str) -> Publish:
    """Read a PUBLISH; `topic` is empty where an alias stands for it."""
    topic, at = take_text(body, 0)
    qos, packet_id = (first >> 1) & 3, 0
    if qos:
        packet_id, at = int(struct.unpack_from("!H", body, at)[0]), at + 2
    about: dict[str, Any] = {}
    if level == 5:
        about, at = take_properties(PacketTypes.PUBLISH, body, at)
    return Publish(
        topic=topic.decode(),
        payload=body[at:],
        qos=qos,
        packet_id=packet_id,
        retain=bool(first & 1),
        dup=bool(first & 8),
        expiry_s=about.get("MessageExpiryInterval"),
        content_type=about.get("ContentType"),
        response_topic=about.get("ResponseTopic"),
        correlation=about.get("CorrelationData"),
        user=tuple(about.get("UserProperty", ())),
        alias=about.get("TopicAlias"),
        size=size,
        connection=connection,
        client_id=client_id,
    )


def write_publish(publish: Publish, level: int) -> bytes:
    """A PUBLISH as bytes."""
    about = b""
    if level == 5:
        about = properties(
            PacketTypes.PUBLISH,
            MessageExpiryInterval=publish.expiry_s,
            ContentType=publish.content_type,
            ResponseTopic=publish.response_topic,
            CorrelationData=publish.correlation,
            UserProperty=list(publish.user) or None,
            TopicAlias=publish.alias,
        )
    number = struct.pack("!H", publish.packet_id) if publish.qos else b""
    first = 0x30 | (publish.qos << 1) | publish.retain | (publish.dup << 3)
    return packet(first, text(publish.topic) + number + about + publish.payload)
