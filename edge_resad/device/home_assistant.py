"""Home Assistant: one retained message tells it what a station says, and it shows the station as a device.

The station itself says nothing new: Home Assistant reads the topics that are there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_resad.device.access import Access, read_access
from edge_resad.device.settings import StationFile
from edge_resad.errors import BrokerError, SettingsError
from edge_resad.messages import JPEG_TYPE, Address

TIMEOUT_S = 10.0  # for the broker to let us in, and once more to take the message
_FAULT = "{{ 'ON' if (value_json.data.faults | default({})).get('CAMERA') else 'OFF' }}"
_UNSUPPORTED_PROTOCOL = (0x84, 0x01)


def discovery(address: Address, cameras: Sequence[str], *, version: str, prefix: str) -> tuple[str, bytes]:
    """The topic and the retained payload that announce a station.

    prefix: where Home Assistant listens, `homeassistant` where nobody changed it.
    """
    name = f"edge_resad_{address.site}_{address.line}_{address.device}"
    state = address.state_topic
    parts: dict[str, dict[str, Any]] = {
        "waiting": {
            **_sensor("Messages waiting", state, "{{ value_json.data.waiting | default(none) }}"),
            "entity_category": "diagnostic",
            "state_class": "measurement",
        },
        "product": _sensor("Product", state, "{{ value_json.data.product | default(none) }}"),
        "alert": {
            "p": "event",
            "name": "Alert",
            "state_topic": f"{address.prefix}/alert/+",
            "event_types": ["new", "update", "end"],
            "value_template": "{{ {'event_type': value_json.data.phase, 'severity': value_json.data.severity, "
            "'camera': value_json.data.camera} | tojson }}",
        },
        "picture": {
            "p": "image",
            "name": "Last alert",
            "image_topic": f"{address.prefix}/img/+",
            "content_type": JPEG_TYPE,
        },
    }
    for camera in cameras:
        verdicts = address.verdict_topic(camera)
        parts[f"{camera}_result"] = {
            **_sensor(f"{camera} result", verdicts, "{{ value_json.data.status }}"),
            "device_class": "enum",
            "options": ["pass", "fail", "not_inspected"],
        }
        parts[f"{camera}_score"] = {
            **_sensor(f"{camera} score", verdicts, "{{ value_json.data.score | default(none) }}"),
            "state_class": "measurement",
        }
        parts[f"{camera}_fault"] = {
            "p": "binary_sensor",
            "name": f"{camera} fault",
            "state_topic": state,
            "device_class": "problem",
            "value_template": _FAULT.replace("CAMERA", camera),
        }
    payload = {
        "dev": {"ids": [name], "name": address.device, "mf": "edge-resad", "sw": version, "sa": address.line},
        "o": {"name": "edge-resad", "sw": version},
        "cmps": {part: {**about, "unique_id": f"{name}_{part}"} for part, about in parts.items()},
        "availability": [{"topic": state, "value_template": "{{ 'online' if value_json.data.online else 'offline' }}"}],
        "qos": 1,
    }
    # The device's own level: a broker can let a station write there and nowhere else.
    return f"{prefix}/device/{address.device}/{name}/config", json.dumps(payload, separators=(",", ":")).encode()


def _sensor(name: str, topic: str, template: str) -> dict[str, Any]:
    return {"p": "sensor", "name": name, "state_topic": topic, "value_template": template}


def announce(settings: StationFile, *, version: str, prefix: str, remove: bool = False) -> str:
    """Leave the announcement at the station's broker, or take it away; its topic.

    It is done in a name of its own, so that a station that runs is not thrown out.

    Raises:
        SettingsError: the station file has no broker, or a file of its is missing.
        BrokerError: the broker is not there or does not take it.
    """
    told = settings.broker
    if told is None:
        raise SettingsError("the station file has no [broker]. Home Assistant and the station meet at one: set it.")
    address = settings.station.address
    topic, payload = discovery(address, [camera.name for camera in settings.cameras], version=version, prefix=prefix)
    access = read_access(told, client_id=f"{settings.station.device}-home-assistant", connect_timeout_s=TIMEOUT_S)
    protocols = [mqtt.MQTTv5, mqtt.MQTTv311]
    if told.protocol != "auto":
        protocols = [mqtt.MQTTv5 if told.protocol == "5" else mqtt.MQTTv311]
    said = ""
    for protocol in protocols:
        refused = _leave(access, protocol, topic, b"" if remove else payload, where=told.where)
        if refused is None:
            return topic
        reason, said = refused
        if reason not in _UNSUPPORTED_PROTOCOL:
            break
    raise BrokerError(
        f"the broker at {told.where} does not take the announcement on {topic}: {said}. "
        f"Let {told.username or access.client_id!r} write there, or set --prefix as in Home Assistant."
    )


def _leave(access: Access, protocol: Any, topic: str, payload: bytes, *, where: str) -> tuple[int, str] | None:
    """Retain one message at the broker; the reason code and its name where it refuses."""
    answers: list[tuple[int, str]] = []
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id=access.client_id, protocol=protocol, reconnect_on_failure=False
    )
    client.on_connect = lambda client, userdata, flags, reason, about: answers.append((reason.value, str(reason)))
    client.on_publish = lambda client, userdata, number, reason, about: answers.append((reason.value, str(reason)))
    client.connect_timeout = access.connect_timeout_s
    if access.username is not None:
        client.username_pw_set(access.username, access.password)
    if access.tls is not None:
        client.tls_set_context(access.tls)
    try:
        client.connect(access.host, access.port, access.keepalive_s)
        if not _answered(client, answers, 1) or answers[0][0]:
            return answers[0] if answers else (0x80, "it does not answer")
        client.publish(topic, payload, qos=1, retain=True)
        if not _answered(client, answers, 2):
            return 0x80, "it does not answer"
        client.disconnect()
        return answers[1] if answers[1][0] >= 0x80 else None
    except OSError as error:
        raise BrokerError(
            f"the broker at {where} cannot be reached: {error}. Check [broker] host and port, and that it runs."
        ) from error
    finally:
        sock = client.socket()
        if sock is not None:
            sock.close()


def _answered(client: mqtt.Client, answers: list[tuple[int, str]], count: int) -> bool:
    """Wait for one more answer; False where none comes."""
    until = time.monotonic() + TIMEOUT_S
    while len(answers) < count and time.monotonic() < until:
        if client.loop(0.1) != mqtt.MQTT_ERR_SUCCESS:
            break
    return len(answers) >= count
