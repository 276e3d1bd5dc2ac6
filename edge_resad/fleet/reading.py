"""What came over the wire, read: a letter of a station's stream, news of a station, or something that is neither."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from edge_resad.messages import (
    Address,
    Alert,
    AlertMessage,
    Audit,
    AuditMessage,
    Birth,
    Gap,
    GapMessage,
    NotInspected,
    Offline,
    Origin,
    Reply,
    ReplyMessage,
    Reported,
    ReportedMessage,
    StateMessage,
    Telemetry,
    TelemetryMessage,
    Topic,
    Verdict,
    VerdictMessage,
    is_id,
    read_message,
    read_thumbnail,
    read_topic,
)

_MOST = 2**53 - 1  # of a whole number; what every JSON reader and every store can hold
_LONGEST = 1000  # characters of a text that a station chose
_EARLIEST_S, _LATEST_S = -1e10, 1e11  # of a clock
_CHANNELS: dict[type, str] = {
    VerdictMessage: "evt",
    AlertMessage: "alert",
    GapMessage: "gap",
    AuditMessage: "audit",
    StateMessage: "state",
    TelemetryMessage: "tm",
    ReplyMessage: "rsp",
    ReportedMessage: "cfg",
}
_EVENT_ID = re.compile(r"([A-Za-z0-9_-]{1,64})-([1-9][0-9]{0,15})")


@dataclass(frozen=True)
class Arrival:
    """A message as the broker handed it over."""

    topic: str
    payload: bytes
    received_ms: int
    event_id: str | None = None  # the user property `id` of MQTT 5
    connection: int = 0  # which of ours it came by
    packet_id: int = 0  # on that connection
    qos: int = 1


@dataclass(frozen=True)
class Letter:
    """A message of a station's stream."""

    arrival: Arrival
    address: Address
    content: Verdict | NotInspected | Alert | Gap | Audit | Picture


@dataclass(frozen=True)
class Picture:
    """A thumbnail: the JPEG and where it comes from."""

    origin: Origin
    event: str  # the alert's message that it belongs to
    jpeg: bytes


@dataclass(frozen=True)
class News:
    """A station's state or telemetry; it has no place in the stream."""

    arrival: Arrival
    address: Address
    message_id: str
    content: Birth | Offline | Telemetry | Reply | Reported


@dataclass(frozen=True)
class Unreadable:
    """A message that cannot be read, or another than the store has under its number. Its place in its stream may be
    known all the same.
    """

    arrival: Arrival
    reason: str
    address: Address | None = None
    stream_id: str | None = None
    seq: int | None = None
    conflict: bool = False  # it can be read; its number is another message's


Reading: TypeAlias = Letter | News | Unreadable


def origin_of(letter: Letter) -> Origin:
    """Where and when a letter was written."""
    return letter.content.origin if isinstance(letter.content, Picture) else letter.content


def read(arrival: Arrival) -> Reading:
    """Read a message; never raises, whatever it is."""
    topic = None
    try:
        topic = read_topic(arrival.topic)
        return _read(arrival, topic)
    except (ValueError, RecursionError) as error:
        return refuse(arrival, str(error), topic.address if topic else None)


def refuse(arrival: Arrival, reason: str, address: Address | None) -> Unreadable:
    """Set a message aside, with its place in its stream where that can be read."""
    stream_id, seq = _place(arrival) if address is not None else (None, None)
    shown = reason.encode(errors="backslashreplace").decode().replace("\0", "")  # half characters can be anywhere
    return Unreadable(arrival, " ".join(shown.split())[:_LONGEST], address, stream_id, seq)


def _read(arrival: Arrival, topic: Topic) -> Reading:
    address = topic.address
    if topic.channel == "img":
        origin, jpeg = read_thumbnail(arrival.payload)
        _check(origin, address)
        return Letter(arrival, address, Picture(origin, str(topic.name), jpeg))
    message = read_message(arrival.payload)
    if _CHANNELS.get(type(message)) != topic.channel:
        raise ValueError(f"a message of the type {message.type} does not belong on the channel {topic.channel}")
    content = message.data
    if isinstance(content, (Birth, Offline)):
        _check_state(content, address)
        return News(arrival, address, message.id, content)
    if isinstance(content, Telemetry):
        _check_speaker(content.device, address)
        return News(arrival, address, message.id, content)
    if isinstance(content, (Reply, Reported)):
        _check_answer(content, topic)
        return News(arrival, address, message.id, content)
    if isinstance(content, (Verdict, NotInspected, Alert, Gap, Audit)):
        _check(content, address)
        return Letter(arrival, address, content)
    raise ValueError(f"a message of the type {message.type} is none that a collector keeps")


def _check_speaker(device: str, address: Address) -> None:
    if device != address.device:  # brokers let a station write below its own name alone
        raise ValueError(f"it says that it is of {device}, and came on a topic of {address.device}")


def _check(origin: Origin, address: Address) -> None:
    """Raise ValueError where a store could not hold it or the device speaks for another."""
    _check_speaker(origin.device, address)
    if not (is_id(origin.stream_id) and is_id(origin.boot_id)):
        raise ValueError("stream_id or boot_id is no name of letters, digits, - and _")
    if not all(_EARLIEST_S < seconds < _LATEST_S for seconds in (origin.wall_s, origin.mono_s)):
        raise ValueError(f"its clocks say {origin.wall_s:g} and {origin.mono_s:g} s")
    texts, numbers = [], [origin.seq]
    if isinstance(origin, NotInspected):
        texts, numbers = [origin.reason], [origin.seq, origin.frame_id]
    elif isinstance(origin, Verdict):
        numbers += [origin.product_version or 0, origin.regions_total, origin.frame_id]
    elif isinstance(origin, Alert):
        texts = [origin.fault or "", origin.reason or "", origin.image.topic if origin.image else ""]
        numbers = [origin.seq, origin.product_version or 0]
    elif isinstance(origin, Audit):
        texts = [origin.issued_by, origin.sentence or ""]
    elif isinstance(origin, Gap):
        numbers += [*origin.counts.values()]
    _check_values(texts, numbers)


def _check_state(content: Birth | Offline, address: Address) -> None:
    _check_speaker(content.device, address)
    if not (is_id(content.stream_id) and is_id(content.boot_id)):
        raise ValueError("stream_id or boot_id is no name of letters, digits, - and _")
    texts, numbers = [], [content.bd_seq]
    if isinstance(content, Birth):
        texts = [content.version or "", content.bundle or "", content.product or ""]
        numbers += [content.live_from_seq, content.waiting, content.dropped, content.dead]
    _check_values(texts, numbers)


def _check_answer(content: Reply | Reported, topic: Topic) -> None:
    _check_speaker(content.device, topic.address)
    if isinstance(content, Reply) and content.command_id != topic.name:
        raise ValueError(f"it answers {content.command_id}, and came on the topic of {topic.name}")


def _check_values(texts: list[str], numbers: list[int]) -> None:
    if any(len(said) > _LONGEST or "\0" in said or not said.isprintable() for said in texts):
        raise ValueError(f"a text in it has more than {_LONGEST} characters, or some that cannot be shown")
    if any(abs(number) > _MOST for number in numbers):
        raise ValueError(f"a number in it is larger than {_MOST}")


def _place(arrival: Arrival) -> tuple[str, int] | tuple[None, None]:
    """Stream and seq of a message that could not be read as a whole."""
    found: Any = None
    try:
        said = json.loads(arrival.payload)["data"]
        found = (said["stream_id"], said["seq"])
    except (ValueError, LookupError, TypeError, RecursionError):
        named = _EVENT_ID.fullmatch(arrival.event_id or "")
        if named:
            found = (named[1], int(named[2]))
    match found:
        case (str(stream_id), int(seq)) if is_id(stream_id) and 1 <= seq <= _MOST and not isinstance(seq, bool):
            return stream_id, seq
    return None, None
