"""The other end of Sparkplug: a host that reads what a node says, and something for a node to show."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_resad.device.sparkplug.edge_node import Readings
from edge_resad.device.sparkplug.payload import REBIRTH, Value, payload_class
from tests.mqtt_peers import Heard, Subscriber


@dataclass(frozen=True)
class Read:
    """A message as a host reads it."""

    verb: str
    device: str | None
    seq: int | None
    metrics: dict[str, Value]  # None: null
    kinds: dict[str, int]  # of those that say theirs
    retain: bool = False

    @property
    def bd_seq(self) -> Value:
        return self.metrics["bdSeq"]


def read(topic: str, payload: bytes, *, retain: bool = False) -> Read:
    """What a message says."""
    _, _, verb, _, *device = topic.split("/")
    message = payload_class()()
    message.ParseFromString(payload)
    metrics: dict[str, Value] = {}
    for metric in message.metrics:
        field = metric.WhichOneof("value")
        assert (field is None) == metric.is_null
        metrics[metric.name] = None if field is None else getattr(metric, field)
    return Read(
        verb=verb,
        device=device[0] if device else None,
        seq=message.seq if message.HasField("seq") else None,
        metrics=metrics,
        kinds={metric.name: metric.datatype for metric in message.metrics if metric.HasField("datatype")},
        retain=retain,
    )


class Host(Subscriber):
    """Hears and reads everything below spBv1.0, and may command."""

    def __init__(self, port: int, **about: Any) -> None:
        super().__init__(port, topics="spBv1.0/#", **about)

    def __enter__(self) -> Host:
        super().__enter__()
        return self

    @property
    def messages(self) -> list[Read]:
        return [_read(heard) for heard in list(self.heard) if "CMD/" not in heard.topic]

    def of(self, verb: str) -> list[Read]:
        return [message for message in self.messages if message.verb == verb]

    def latest(self, device: str | None = None) -> dict[str, Value]:
        """What the metrics of a node or a device are by now, told as a host puts it together."""
        known: dict[str, Value] = {}
        for message in self.messages:
            if message.device == device and message.verb in ("NBIRTH", "DBIRTH", "NDATA", "DDATA"):
                if message.verb.endswith("BIRTH"):
                    known = {}
                assert message.verb.endswith("BIRTH") or message.metrics.keys() <= known.keys()
                known |= message.metrics
        return known


def _read(heard: Heard) -> Read:
    return read(heard.topic, heard.payload, retain=heard.retain)


def rebirth_command(value: bool = True) -> bytes:
    """What a host sends to hear everything again."""
    command = payload_class()()
    command.timestamp = round(1000 * time.time())
    metric = command.metrics.add()
    metric.name = REBIRTH
    metric.boolean_value = value
    return bytes(command.SerializeToString())


def say(port: int, topic: str, payload: bytes, *, retain: bool = False, times: int = 1) -> None:
    """Publish, so often in a row."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="a-host")
    client.connect("127.0.0.1", port)
    client.loop_start()
    for said in [client.publish(topic, payload, qos=1, retain=retain) for _ in range(times)]:
        said.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


class Shown:
    """A view whose values the test sets."""

    def __init__(self) -> None:
        self.pressing = 0
        self.node: Mapping[str, Value] = {"Spool/Waiting": 5, "Machine/Faults": ""}
        self.camera: Mapping[str, Value] = {"Parts/Failed": 0, "Alerts/Active": False, "Last/Score": None}

    def urgent(self) -> Hashable:
        return self.pressing

    def readings(self) -> Readings:
        return Readings(node=self.node, devices={"cam0": self.camera})
