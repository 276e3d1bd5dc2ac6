"""Topics: who speaks, and of what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import StringConstraints

Severity = Literal["minor", "major", "critical"]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""A name that may stand in a topic: letters, digits, `-` and `_`, at most 64 of them."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROOT = "er/v1"
COLLECTOR_STATES = f"{_ROOT}/host/+/state"
"""The topic filter of what collectors say of themselves."""
_COLLECTOR_STATE = re.compile(rf"{_ROOT}/host/{_ID.pattern}/state")
Channel = Literal["state", "evt", "alert", "img", "gap", "audit", "tm", "ack", "cfg", "cmd", "rsp"]
_ALONE = {
    "state": "edge-resad.state",
    "gap": "edge-resad.gap",
    "audit": "edge-resad.audit",
    "tm": "edge-resad.telemetry",
    "ack": "edge-resad.acknowledgement",
}
_NAMED = {
    "evt": "edge-resad.verdict",
    "alert": "edge-resad.alert",
    "img": "edge-resad.thumbnail",
    "cmd": "edge-resad.command",
    "rsp": "edge-resad.reply",
}
_CONFIG = {"desired": "edge-resad.config-desired", "reported": "edge-resad.config-reported"}


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

    @property
    def gap_topic(self) -> str:
        return f"{self.prefix}/gap"

    @property
    def audit_topic(self) -> str:
        return f"{self.prefix}/audit"

    @property
    def telemetry_topic(self) -> str:
        return f"{self.prefix}/tm"

    @property
    def ack_topic(self) -> str:
        return f"{self.prefix}/ack"

    @property
    def desired_topic(self) -> str:
        return f"{self.prefix}/cfg/desired"

    @property
    def reported_topic(self) -> str:
        return f"{self.prefix}/cfg/reported"

    def verdict_topic(self, camera: str) -> str:
        return f"{self.prefix}/evt/{_checked(camera)}"

    def alert_topic(self, severity: Severity) -> str:
        return f"{self.prefix}/alert/{_checked(severity)}"

    def thumbnail_topic(self, event_id: str) -> str:
        return f"{self.prefix}/img/{_checked(event_id)}"

    def command_topic(self, command: str) -> str:
        return f"{self.prefix}/cmd/{_checked(command)}"

    def reply_topic(self, correlation: str) -> str:
        return f"{self.prefix}/rsp/{_checked(correlation)}"


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic, taken apart."""

    address: Address
    channel: Channel
    name: str | None  # the camera, the severity, the event, the command ...; None where the channel stands alone


def read_topic(topic: str) -> Topic:
    """Take a topic apart; ValueError where it is none of ours."""
    parts = topic.split("/")
    well_formed = topic.startswith(f"{_ROOT}/") and (
        (len(parts) == 6 and parts[5] in _ALONE)
        or (len(parts) == 7 and (parts[5] in _NAMED or (parts[5] == "cfg" and parts[6] in _CONFIG)))
    )
    if not well_formed:
        raise ValueError(f"{topic!r} is not a topic of the form {_ROOT}/<site>/<line>/<device>/<channel>[/<name>]")
    address = Address(site=parts[2], line=parts[3], device=parts[4])
    name = _checked(parts[6]) if len(parts) == 7 else None
    return Topic(address=address, channel=parts[5], name=name)  # type: ignore[arg-type]  # one of the above


def type_of(topic: str) -> str:
    """The message type that travels on a topic, such as `edge-resad.alert`."""
    if _COLLECTOR_STATE.fullmatch(topic):
        return "edge-resad.collector-state"
    read = read_topic(topic)
    if read.channel == "cfg":
        return _CONFIG[str(read.name)]
    return _ALONE.get(read.channel) or _NAMED[read.channel]


def collector_source(collector: str) -> str:
    """The `source` of what a collector writes; not a station's, which has a site and a line."""
    return f"{_ROOT}/host/{_checked(collector)}"


def collector_topic(collector: str) -> str:
    """Where a collector says that it is there. It has a level less than a station's topics: no filter fits both."""
    return f"{collector_source(collector)}/state"


def is_id(name: str) -> bool:
    """Whether this name may stand in a topic, as `Id` says."""
    return _ID.fullmatch(name) is not None


def _checked(name: str) -> str:
    if not is_id(name):
        raise ValueError(f"{name!r} cannot stand in a topic: use 1 to 64 letters, digits, '-' and '_'")
    return name
