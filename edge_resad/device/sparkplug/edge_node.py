"""An edge node of Sparkplug B: what it says when it is born, when something changes and when it is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_resad.device.sparkplug.payload import REBIRTH, Kind, Value, write_payload

BD_SEQ = "bdSeq"
NUMBERS = 256  # messages and connections are numbered from 0 to 255, and then from 0 again

OF_NODE: Mapping[str, Kind] = {
    "Properties/Version": Kind.STRING,
    "Properties/Bundle": Kind.STRING,
    "Properties/Boot": Kind.STRING,
    "Uptime": Kind.INT64,
    "Bypass": Kind.STRING,
    "Engine/Failures": Kind.INT64,
    "Spool/Waiting": Kind.INT64,
    "Spool/Dead": Kind.INT64,
    "Spool/Dropped": Kind.INT64,
    "Machine/Faults": Kind.STRING,
    "Outputs/Faults": Kind.STRING,
}
"""Every metric of the station itself."""

OF_DEVICE: Mapping[str, Kind] = {
    "Product": Kind.STRING,
    "Product version": Kind.INT64,
    "State": Kind.STRING,
    "Faults": Kind.STRING,
    "Parts/Passed": Kind.INT64,
    "Parts/Failed": Kind.INT64,
    "Parts/Not inspected": Kind.INT64,
    "Parts/Waiting": Kind.INT64,
    "Last/Status": Kind.STRING,
    "Last/Reason": Kind.STRING,
    "Last/Score": Kind.DOUBLE,
    "Last/Threshold": Kind.DOUBLE,
    "Latency/p50": Kind.DOUBLE,
    "Latency/p99": Kind.DOUBLE,
    "Alerts/Count": Kind.INT64,
    "Alerts/Active": Kind.BOOLEAN,
    "Alerts/Severity": Kind.STRING,
}
"""Every metric of a camera."""

_KINDS = {BD_SEQ: Kind.INT64, REBIRTH: Kind.BOOLEAN, **OF_NODE, **OF_DEVICE}


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What there is to say at one moment: a value for every metric of the node and of each device."""

    node: Mapping[str, Value]
    devices: Mapping[str, Mapping[str, Value]]


@dataclass(frozen=True, kw_only=True)
class SparkplugMessage:
    """A message, ready to be sent."""

    topic: str
    payload: bytes


class EdgeNode:
    """Knows what was said and what follows it. No clock and no network: `now` is seconds since 1970."""

    def __init__(self, group: str, node: str) -> None:
        self._group = group
        self._node = node
        self._seq = 0
        self._told = Readings(node={}, devices={})

    def topic(self, verb: str, device: str | None = None) -> str:
        """Where messages of a kind go: NBIRTH, DDATA ..."""
        return f"spBv1.0/{self._group}/{verb}/{self._node}" + (f"/{device}" if device is not None else "")

    def death(self, bd_seq: int, now: float) -> SparkplugMessage:
        """That it is gone. bd_seq: of the connection, as its birth says it too."""
        payload = write_payload({BD_SEQ: bd_seq}, _KINDS, now=now, seq=None, is_birth=True)
        return SparkplugMessage(topic=self.topic("NDEATH"), payload=payload)

    def births(self, bd_seq: int, readings: Readings, now: float) -> Sequence[SparkplugMessage]:
        """Everything there is to say, first of the node and then of its devices; the numbers begin anew."""
        self._seq = 0
        self._told = readings
        node = {BD_SEQ: bd_seq, REBIRTH: False, **readings.node}
        return [
            self._message(self.topic("NBIRTH"), node, now, is_birth=True),
            *(
                self._message(self.topic("DBIRTH", device), metrics, now, is_birth=True)
                for device, metrics in readings.devices.items()
            ),
        ]

    def changes(self, readings: Readings, now: float) -> Sequence[SparkplugMessage]:
        """What is not as it was said last; nothing where nothing has changed."""
        told, self._told = self._told, readings
        changed = [(self.topic("NDATA"), _changed(told.node, readings.node))]
        for device, metrics in readings.devices.items():
            changed.append((self.topic("DDATA", device), _changed(told.devices[device], metrics)))
        return [self._message(topic, metrics, now, is_birth=False) for topic, metrics in changed if metrics]

    def _message(self, topic: str, metrics: Mapping[str, Value], now: float, *, is_birth: bool) -> SparkplugMessage:
        payload = write_payload(metrics, _KINDS, now=now, seq=self._seq, is_birth=is_birth)
        self._seq = (self._seq + 1) % NUMBERS
        return SparkplugMessage(topic=topic, payload=payload)


def _changed(told: Mapping[str, Value], now: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in now.items() if value != told[name]}
