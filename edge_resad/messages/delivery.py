"""How each kind of message travels: who writes it, with which quality of service, and how long it is worth having."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What MQTT is asked for."""

    writer: Literal["station", "fleet"]
    qos: Literal[0, 1] = 1
    retain: bool = False
    expiry_s: int | None = None  # MQTT 5: a broker forgets it after that; None: never, or as the message itself says
    stream: bool = False  # it has a `stream_id` and a `seq`, and is sent until a collector has it


DELIVERY: Mapping[str, Delivery] = {
    "edge-resad.state": Delivery(writer="station", retain=True),
    "edge-resad.verdict": Delivery(writer="station", stream=True),
    "edge-resad.alert": Delivery(writer="station", stream=True),
    "edge-resad.thumbnail": Delivery(writer="station", stream=True),
    "edge-resad.gap": Delivery(writer="station", stream=True),
    "edge-resad.audit": Delivery(writer="station", stream=True),
    "edge-resad.telemetry": Delivery(writer="station", qos=0, expiry_s=60),
    "edge-resad.config-reported": Delivery(writer="station", retain=True),
    "edge-resad.reply": Delivery(writer="station"),
    "edge-resad.acknowledgement": Delivery(writer="fleet"),
    "edge-resad.collector-state": Delivery(writer="fleet", retain=True),
    "edge-resad.config-desired": Delivery(writer="fleet", retain=True),
    "edge-resad.command": Delivery(writer="fleet"),
}
"""By the message's type. A command expires with its `expires_s`."""
