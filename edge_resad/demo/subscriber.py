"""Somebody at the other end of the wire: hears a station's alerts and pictures, and when each came."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_resad.errors import BrokerError
from edge_resad.messages import Address, AlertMessage, read_message, read_thumbnail, read_topic

CONNECT_S = 10.0
POLL_S = 0.01


class Subscriber:
    """Listens to one station over a connection of its own, as a fleet's console does."""

    def __init__(self, host: str, port: int, station: Address) -> None:
        self._host = host
        self._port = port
        self._topics = [(f"{station.prefix}/#", 1)]  # what nobody subscribes to would wait in the station's spool
        self._arrivals: dict[tuple[str, int], float] = {}  # (alert, part's frame) -> monotonic seconds
        self._events: dict[tuple[str, int], str] = {}  # (alert, part's frame) -> event, which names the picture
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

    def arrival(self, alert_id: str, frame_id: int) -> float | None:
        """When the alert about this part came, in seconds of the monotonic clock; None while it has not."""
        return self._arrivals.get((alert_id, frame_id))

    def picture(self, alert_id: str, frame_id: int) -> bytes | None:
        """The JPEG that came with the alert about this part; None while it has not."""
        return self._pictures.get(self._events.get((alert_id, frame_id), ""))

    def wait_for(self, alerts: set[tuple[str, int]], timeout_s: float) -> bool:
        """Wait until these (alert, frame) have come with their pictures; False where some have not in time."""
        deadline = time.monotonic() + timeout_s
        while not all(self.picture(*alert) for alert in alerts):
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
        if isinstance(said, AlertMessage) and said.data.verdict is not None:
            about = (said.data.alert_id, said.data.verdict.frame_id)
            self._events.setdefault(about, said.id)
            self._arrivals.setdefault(about, now)
