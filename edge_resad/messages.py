"""The wire format: every topic and payload that a station and its fleet exchange.

Topics are `er/v1/<site>/<line>/<device>/<channel>[/<name>]`. Payloads are JSON with the attribute names of CloudEvents,
so that a reader needs nothing of MQTT 5; thumbnails are plain JPEG. Writers are strict, readers tolerate what they do
not know yet: a fleet may be older than its stations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal, Protocol, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)

SCHEMA_VERSION = 1  # raised only by a change that an older reader would misunderstand
THUMBNAIL_BYTES = 64 * 1024  # brokers in the field stop at 128 KiB; events must not queue behind pictures
MAX_REGIONS = 16  # the worst ones; `regions_total` says how many there were
MAX_POLYGON = 64  # points of one outline
JSON_TYPE = "application/json"
JPEG_TYPE = "image/jpeg"

Severity = Literal["minor", "major", "critical"]
Phase = Literal["new", "update", "end"]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""A name that may stand in a topic: letters, digits, `-` and `_`, at most 64 of them."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROOT = "er/v1"
_TYPES = {
    "state": "edge-resad.state",
    "evt": "edge-resad.verdict",
    "alert": "edge-resad.alert",
    "img": "edge-resad.thumbnail",
}


@dataclass(frozen=True)
class Stamp:
    """When and as what a message was written: its place in its stream, and two clocks."""

    stream_id: str  # one outbox file; a new file begins a new stream
    seq: int  # 1, 2, 3 ... in the stream, over restarts
    boot_id: str  # `mono` is comparable within one of these
    wall: float  # s since 1970 by the station's clock, which may be wrong
    mono: float  # s, never jumps
    clock_synced: bool | None = None  # what the system says of `wall`; None: it does not say

    @property
    def event_id(self) -> str:
        """The message's name, unique in the world; fit to stand in a topic."""
        return f"{self.stream_id}-{self.seq}"


@dataclass(frozen=True, kw_only=True)
class Address:
    """Who speaks: the first half of every topic."""

    site: str
    line: str
    device: str

    def __post_init__(self) -> None:
        for name in (self.site, self.line, self.device):
            _checked(name)

    @property
    def prefix(self) -> str:
        return f"{_ROOT}/{self.site}/{self.line}/{self.device}"

    @property
    def state_topic(self) -> str:
        return f"{self.prefix}/state"

    def verdict_topic(self, camera: str) -> str:
        return f"{self.prefix}/evt/{_checked(camera)}"

    def alert_topic(self, severity: Severity) -> str:
        return f"{self.prefix}/alert/{_checked(severity)}"

    def thumbnail_topic(self, event_id: str) -> str:
        return f"{self.prefix}/img/{_checked(event_id)}"


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic, taken apart."""

    address: Address
    channel: Literal["state", "evt", "alert", "img"]
    name: str | None  # the camera, the severity or the event; None for `state`


def read_topic(topic: str) -> Topic:
    """Take a topic apart; ValueError where it is none of ours."""
    parts = topic.split("/")
    well_formed = topic.startswith(f"{_ROOT}/") and len(parts) in (6, 7) and parts[5] in _TYPES
    if not well_formed or (parts[5] == "state") != (len(parts) == 6):
        raise ValueError(f"{topic!r} is not a topic of the form {_ROOT}/<site>/<line>/<device>/<channel>[/<name>]")
    address = Address(site=parts[2], line=parts[3], device=parts[4])
    name = _checked(parts[6]) if len(parts) == 7 else None
    return Topic(address=address, channel=parts[5], name=name)  # type: ignore[arg-type]  # one of _TYPES


def type_of(topic: str) -> str:
    """The message type that travels on a topic, such as `edge-resad.alert`."""
    return _TYPES[read_topic(topic).channel]


class _Strict(BaseModel):
    """Refuses a field it does not know when built, passes over it when read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _pass_over_unknown(cls, value: Any, info: ValidationInfo) -> Any:
        if info.context is _READING and isinstance(value, dict):
            return {name: item for name, item in value.items() if name in cls.model_fields}
        return value


_READING: dict[str, str] = {"mode": "reading"}


class Region(_Strict):
    """One connected defect, in pixels of the inspected image."""

    box: tuple[int, int, int, int]  # x, y, width, height
    area_px: int
    peak: FiniteFloat  # highest value of the anomaly map inside
    polygon: tuple[tuple[int, int], ...] = ()  # outline, (x, y)


class Judgement(_Strict):
    """What the inspector said of one part."""

    status: Literal["pass", "fail"]
    score: FiniteFloat
    threshold: FiniteFloat
    severity: Literal["none", "minor", "major", "critical"]
    regions: tuple[Region, ...] = ()  # worst first, at most MAX_REGIONS
    regions_total: int = 0
    frame_id: int
    latency_ms: FiniteFloat  # from the end of the exposure to the verdict


class Origin(_Strict):
    """Where and when a message of the stream was written."""

    stream_id: str
    seq: int = Field(ge=1)
    boot_id: str
    wall_s: FiniteFloat
    mono_s: FiniteFloat
    clock_synced: bool | None = None
    site: Id
    line: Id
    device: Id


class Verdict(Origin, Judgement):
    """One part's verdict."""

    camera: Id
    product: Id


class ImageReference(_Strict):
    """Where the picture to an alert is."""

    topic: str
    content_type: str = JPEG_TYPE
    size_bytes: int
    sha256: str | None = None  # of the JPEG before it was stamped


class Alert(Origin):
    """Something a person should see: it begins, it changes, it ends, under one `alert_id`."""

    alert_id: Id
    phase: Phase
    severity: Severity
    camera: Id
    product: Id
    verdict: Judgement
    image: ImageReference | None = None


class Birth(_Strict):
    """A station is there. `bd_seq` pairs it with the will of the same connection."""

    online: Literal[True] = True
    bd_seq: int
    stream_id: str
    boot_id: str
    site: Id
    line: Id
    device: Id
    product: str | None = None
    version: str | None = None
    bundle: str | None = None
    live_from_seq: int = 1  # what arrives with a smaller `seq` was written before this connection: it is late
    waiting: int = 0  # messages that waited when the station connected
    dropped: int = 0  # messages that the station gave up over the life of the stream, for want of room
    about: dict[str, JsonValue] = Field(default_factory=dict)  # anything else that the station says of itself


class Offline(_Strict):
    """A station is gone: said by itself on a clean stop, by the broker (its will) otherwise."""

    online: Literal[False] = False
    bd_seq: int
    stream_id: str
    boot_id: str
    site: Id
    line: Id
    device: Id


class _Envelope(_Strict):
    specversion: Literal["1.0"] = "1.0"
    id: Id
    source: str
    time: str  # RFC 3339, UTC, by the station's clock
    datacontenttype: Literal["application/json"] = "application/json"
    schemaversion: int = SCHEMA_VERSION


class VerdictMessage(_Envelope):
    type: Literal["edge-resad.verdict"] = "edge-resad.verdict"
    data: Verdict


class AlertMessage(_Envelope):
    type: Literal["edge-resad.alert"] = "edge-resad.alert"
    data: Alert


class StateMessage(_Envelope):
    type: Literal["edge-resad.state"] = "edge-resad.state"
    data: Birth | Offline


Message: TypeAlias = VerdictMessage | AlertMessage | StateMessage
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def read_message(payload: bytes) -> Message:
    """Read a JSON payload; ValueError says what is wrong with it."""
    try:
        raw = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the payload is not JSON: {error}") from error
    version = raw.get("schemaversion", 0) if isinstance(raw, dict) else 0
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ValueError(
            f"the message has schema {version}, this reader knows up to {SCHEMA_VERSION}: update the reader"
        )
    return _MESSAGE.validate_python(raw, context=_READING)


def is_late(data: Origin, birth: Birth) -> bool:
    """True where a message was written before the connection that `birth` announced, so it tells of the past."""
    return data.stream_id != birth.stream_id or data.seq < birth.live_from_seq


class RegionLike(Protocol):
    """What a region must have to be sent."""

    @property
    def box(self) -> tuple[int, int, int, int]: ...
    @property
    def area_px(self) -> int: ...
    @property
    def peak(self) -> float: ...
    @property
    def polygon(self) -> tuple[tuple[int, int], ...]: ...


class VerdictLike(Protocol):
    """What a verdict must have to be sent."""

    @property
    def status(self) -> Literal["pass", "fail"]: ...
    @property
    def score(self) -> float: ...
    @property
    def threshold(self) -> float: ...
    @property
    def severity(self) -> Literal["none", "minor", "major", "critical"]: ...
    @property
    def regions(self) -> Sequence[RegionLike]: ...


def verdict_message(
    address: Address,
    stamp: Stamp,
    *,
    product: str,
    camera: str,
    verdict: VerdictLike,
    frame_id: int,
    latency_ms: float,
) -> bytes:
    """The payload for `address.verdict_topic(camera)`."""
    judged = _judgement(verdict, frame_id, latency_ms)
    data = Verdict(**_origin(address, stamp), **dict(judged), product=product, camera=camera)
    return _json(VerdictMessage(**_head(address, stamp.event_id, stamp.wall), data=data))


def alert_message(
    address: Address,
    stamp: Stamp,
    *,
    product: str,
    camera: str,
    phase: Phase,
    severity: Severity,
    verdict: VerdictLike,
    frame_id: int,
    latency_ms: float,
    alert_id: str | None = None,
    image: ImageReference | None = None,
) -> bytes:
    """The payload for `address.alert_topic(severity)`; without `alert_id` the alert takes this message's own id."""
    data = Alert(
        **_origin(address, stamp),
        alert_id=alert_id or stamp.event_id,
        phase=phase,
        severity=severity,
        camera=camera,
        product=product,
        verdict=_judgement(verdict, frame_id, latency_ms),
        image=image,
    )
    return _json(AlertMessage(**_head(address, stamp.event_id, stamp.wall), data=data))


def birth_message(
    address: Address,
    *,
    bd_seq: int,
    stream_id: str,
    boot_id: str,
    wall: float,
    live_from_seq: int,
    waiting: int,
    dropped: int,
    facts: Mapping[str, Any],
) -> bytes:
    """The retained payload for `address.state_topic` once connected. facts: version, bundle, product, anything else."""
    named = {name: facts[name] for name in ("version", "bundle", "product") if name in facts}
    data = Birth(
        bd_seq=bd_seq,
        stream_id=stream_id,
        boot_id=boot_id,
        **_place(address),
        **named,
        live_from_seq=live_from_seq,
        waiting=waiting,
        dropped=dropped,
        about={name: fact for name, fact in facts.items() if name not in named},
    )
    return _json(StateMessage(**_head(address, f"{stream_id}-b{bd_seq}", wall), data=data))


def offline_message(address: Address, *, bd_seq: int, stream_id: str, boot_id: str, wall: float) -> bytes:
    """The retained payload for `address.state_topic` after the end; as a will, its time is that of the connection."""
    data = Offline(bd_seq=bd_seq, stream_id=stream_id, boot_id=boot_id, **_place(address))
    return _json(StateMessage(**_head(address, f"{stream_id}-d{bd_seq}", wall), data=data))


def thumbnail_message(address: Address, stamp: Stamp, jpeg: bytes) -> bytes:
    """The payload for `address.thumbnail_topic(event)`: the JPEG itself, its origin in a JPEG comment.

    The comment is there for brokers and bridges that carry no user properties; every JPEG reader passes over it.
    """
    if not jpeg.startswith(b"\xff\xd8"):
        raise ValueError(f"a thumbnail is a JPEG, this begins with {jpeg[:4]!r}")
    comment = json.dumps(_origin(address, stamp), separators=(",", ":")).encode()
    stamped = jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]
    if len(stamped) > THUMBNAIL_BYTES:
        raise ValueError(f"a thumbnail may have {THUMBNAIL_BYTES} bytes with its stamp, this has {len(stamped)}")
    return stamped


def read_thumbnail(payload: bytes) -> tuple[Origin, bytes]:
    """Undo `thumbnail_message`: the origin and the JPEG as it was."""
    if not payload.startswith(b"\xff\xd8\xff\xfe") or len(payload) < 6:
        raise ValueError("the payload is not a stamped JPEG")
    end = 4 + int.from_bytes(payload[4:6], "big")
    return Origin.model_validate(json.loads(payload[6:end]), context=_READING), payload[:2] + payload[end:]


def _checked(name: str) -> str:
    if not _ID.fullmatch(name):
        raise ValueError(f"{name!r} cannot stand in a topic: use 1 to 64 letters, digits, '-' and '_'")
    return name


def _head(address: Address, event_id: str, wall: float) -> dict[str, Any]:
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=wall)
    time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": event_id, "source": address.prefix, "time": time}


def _place(address: Address) -> dict[str, Any]:
    return {"site": address.site, "line": address.line, "device": address.device}


def _origin(address: Address, stamp: Stamp) -> dict[str, Any]:
    written = {"stream_id": stamp.stream_id, "seq": stamp.seq, "boot_id": stamp.boot_id}
    clocks = {"wall_s": stamp.wall, "mono_s": stamp.mono, "clock_synced": stamp.clock_synced}
    return {**written, **clocks, **_place(address)}


def _judgement(verdict: VerdictLike, frame_id: int, latency_ms: float) -> Judgement:
    return Judgement(
        status=verdict.status,
        score=verdict.score,
        threshold=verdict.threshold,
        severity=verdict.severity,
        regions=tuple(_region(region) for region in verdict.regions[:MAX_REGIONS]),
        regions_total=len(verdict.regions),
        frame_id=frame_id,
        latency_ms=round(latency_ms, 3),
    )


def _region(region: RegionLike) -> Region:
    step = max(1, -(-len(region.polygon) // MAX_POLYGON))  # every n-th point, so that an outline stays closed and small
    return Region(box=region.box, area_px=region.area_px, peak=region.peak, polygon=tuple(region.polygon[::step]))


def _json(message: BaseModel) -> bytes:
    return message.model_dump_json(exclude_none=True).encode()
