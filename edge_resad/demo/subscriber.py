"""Somebody at the other end of the wire: hears a station's alerts and pictures, and when each came."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_resad.errors import BrokerError
from edge_resad.messages import Address, AlertMessage, Phase, read_message, read_thumbnail, read_topic

CONNECT_S = 10.0
POLL_S = 0.01


class Subscriber:
    """Listens to one station over a connection of its own, as a fleet's console does."""

    def __init__(self, host: str, port: int, station: Address) -> None:
        self._host = host
        self._port = port
        self._topics = [(f"{station.prefix}/alert/+", 1), (f"{station.prefix}/img/+", 1)]
        self._arrivals: dict[tuple[str, int], float] = {}  # (alert, part's frame) -> monotonic seconds
        self._phases: list[tuple[str, Phase]] = []
        self._pictures: dict[str, bytes] = {}  # event -> JPEG
        self._ready = threading.Event()
        self._refusal: str | None = None
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message

    def __enter__(self) -> Subscriber:
        where = f"{self._host}:{self._port}"
        try:
            self._client.connect(self._host, self._port)
        except OSError as problem:
            raise BrokerError(
                f"no MQTT broker answers at {where} ({problem.strerror or problem}). "
                "Check the address, or leave --broker out: the demo brings a broker of its own."
            ) from problem
        self._client.loop_start()
        if not self._ready.wait(CONNECT_S) or self._refusal:
            self.__exit__(None, None, None)
            raise BrokerError(
                f"the broker at {where} does not let the demo listen ({self._refusal or 'no answer'}). "
                "It must allow anonymous clients; or leave --broker out: the demo brings a broker of its own."
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def phases(self) -> list[tuple[str, Phase]]:
        """Every alert message that came, in order: its alert and whether that began, changed or ended."""
        return list(self._phases)

    @property
    def pictures(self) -> list[bytes]:
        """Every thumbnail that came, a JPEG each, in order."""
        return list(self._pictures.values())

    def arrival(self, alert_id: str, frame_id: int) -> float | None:
        """When the alert about this part came, in seconds of the monotonic clock; None while it has not."""
        return self._arrivals.get((alert_id, frame_id))

    def wait_for(self, expected: set[tuple[str, int]], timeout_s: float) -> bool:
        """Wait until these (alert, frame) have come; False where some have not in time."""
        deadline = time.monotonic() + timeout_s
        while not expected <= self._arrivals.keys():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _on_connect(
        self, client: mqtt.Client, userdata: Any, flags: mqtt.ConnectFlags, reason: Any, properties: Any
    ) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
            self._ready.set()
        else:
            client.subscribe(self._topics)

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        now = time.monotonic()
        try:
            self._take(message.topic, bytes(message.payload), now)
        except ValueError:
            return  # on a broker of the user's own anybody may say anything

    def _take(self, topic: str, payload: bytes, now: float) -> None:
        address = read_topic(topic)
        if address.channel == "img" and address.name is not None:
            _, jpeg = read_thumbnail(payload)
            self._pictures[address.name] = jpeg
            return
        said = read_message(payload)
        if isinstance(said, AlertMessage):
            self._phases.append((said.data.alert_id, said.data.phase))
            self._arrivals.setdefault((said.data.alert_id, said.data.verdict.frame_id), now)
