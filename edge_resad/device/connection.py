"""One MQTT connection: made, used once and thrown away. The spool is the memory, not the client."""

from __future__ import annotations

import logging
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeVar, cast

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_resad.device.access import Access
from edge_resad.device.bell import Bell
from edge_resad.device.hearing import Heard
from edge_resad.device.ration import Ration
from edge_resad.messages import JSON_TYPE
from edge_resad.parting import last_word, parting_reason

Protocol = Literal["5", "3.1.1"]
QOS_NOT_SUPPORTED = 0x9B
_VERSION = {"5": mqtt.MQTTv5, "3.1.1": mqtt.MQTTv311}
_MAX_RECEIVE = 65535  # what MQTT 5 assumes where a broker does not say
_SESSION_S = 3600  # what others say to a station waits so long for it to come back
_MOST_HEARD = 64  # messages to us that the broker may send before we have dealt with the first
_LARGEST_HEARD = 256 * 1024  # bytes of one
_SAID = 20  # of messages that are passed over, lines of the log within a minute

log = logging.getLogger(__name__)
_Callback = TypeVar("_Callback", bound=Callable[..., None])


@dataclass(frozen=True, kw_only=True)
class Will:
    """What the broker says for us when we are gone. delay_s: MQTT 5 waits so long for us to come back."""

    topic: str
    payload: bytes
    delay_s: int = 5
    retain: bool = True
    content_type: str | None = JSON_TYPE


def _never_raises(callback: _Callback) -> _Callback:
    @wraps(callback)
    def guarded(*args: Any) -> None:
        try:
            callback(*args)
        except Exception:  # an exception here would end the client's loop while it still says "connected"
            log.exception("a callback of the broker connection failed")

    return cast(_Callback, guarded)


class Connection:
    """A client for one connection, driven by the caller's own thread: `pump` is all that ever waits."""

    def __init__(
        self, access: Access, protocol: Protocol, will: Will, *, clean_start: bool, session_s: int = _SESSION_S
    ) -> None:
        """session_s: how long the broker remembers us, and a will's delay lasts at most; MQTT 5 alone."""
        self.protocol = protocol
        self.accepted = False
        self.refused: tuple[int, str] | None = None  # reason code of the CONNACK and its name
        self.closed: str | None = None  # why, once it is closed
        self.given_up = False  # closed by us, for it was of no use
        self.close_reason: int | None = None  # MQTT 5: the reason code with which the broker hung up
        self.receive_maximum = _MAX_RECEIVE  # unacknowledged packets that the broker allows
        self.maximum_packet: int | None = None  # bytes
        self.retains = True  # the broker keeps states for those who come later
        self.heard: deque[tuple[Heard, int, int]] = deque()  # what came, its packet id and QoS, until `dealt_with`
        self.hears: set[str] = set()  # topic filters that the broker has granted
        self.deaf_to: list[tuple[str, str]] = []  # topic filter and why the broker does not let us hear it
        self.answers: deque[tuple[int, int, str]] = deque()  # packet id, reason code and its name, of each PUBACK
        self._unanswered: set[int] = set()  # packet ids
        self._ration = Ration(_SAID)
        self._access = access
        self._will = will
        self._clean_start = clean_start
        self._session_s = session_s

    def open(self) -> None:
        """Connect the socket, shake hands and ask to be let in. Waits; OSError where nobody is there."""
        access = self._access
        client = self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=access.client_id,
            protocol=_VERSION[self.protocol],
            reconnect_on_failure=False,  # we reconnect ourselves, with a new client
            manual_ack=True,  # what we did not deal with before a crash comes again
        )
        self._subscribing: dict[int, list[str]] = {}
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = self._on_socket_close
        client.on_publish = self._on_publish
        client.max_inflight_messages = 0  # the window bounds it: the client knows nothing of the broker's limits
        client.connect_timeout = access.connect_timeout_s
        if access.username is not None:
            client.username_pw_set(access.username, access.password)
        if access.tls is not None:
            client.tls_set_context(access.tls)
        will = self._will
        if self.protocol == "5":
            about_will = _properties(PacketTypes.WILLMESSAGE, content_type=will.content_type)
            about_will.WillDelayInterval = will.delay_s
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain, properties=about_will)
            about_us = _properties(PacketTypes.CONNECT)
            about_us.SessionExpiryInterval = self._session_s  # one that ends at once ends the will's delay too
            about_us.ReceiveMaximum = _MOST_HEARD
            about_us.MaximumPacketSize = _LARGEST_HEARD
            client.connect_async(
                access.host, access.port, access.keepalive_s, clean_start=self._clean_start, properties=about_us
            )
        else:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
            client.connect_async(access.host, access.port, access.keepalive_s)
        client.reconnect()

    def send(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        content_type: str | None,
        user: Mapping[str, str],
        expiry_s: int | None = None,
        correlation: bytes | None = None,
    ) -> int:
        """Send, and answer the packet id. What follows `retain` travels with MQTT 5 only."""
        about = None
        if self.protocol == "5":
            about = _properties(PacketTypes.PUBLISH, content_type=content_type, user=user)
            if expiry_s is not None:
                about.MessageExpiryInterval = expiry_s
            if correlation is not None:
                about.CorrelationData = correlation
        info = self._client.publish(topic, payload, qos=qos, retain=retain and self.retains, properties=about)
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            self._lost(mqtt.error_string(info.rc))
        if qos:
            self._unanswered.add(info.mid)
        return info.mid

    def subscribe(self, filters: Sequence[str]) -> None:
        """Ask to hear what comes on these topics, with QoS 1."""
        rc, packet_id = self._client.subscribe([(topic_filter, 1) for topic_filter in filters])
        if rc != mqtt.MQTT_ERR_SUCCESS or packet_id is None:
            self._lost(mqtt.error_string(rc))
            return
        self._subscribing[packet_id] = list(filters)

    @property
    def awaits_suback(self) -> bool:
        """Whether the broker has still to say whether we hear what we asked for."""
        return bool(self._subscribing)

    def awaits(self, topic_filter: str) -> bool:
        """Whether the broker has still to say whether we hear this."""
        return any(topic_filter in filters for filters in self._subscribing.values())

    def dealt_with(self, packet_id: int, qos: int) -> None:
        """Tell the broker that it need not send this again."""
        if self.closed is None:
            self._client.ack(packet_id, qos)

    def pump(self, timeout_s: float, bell: Bell) -> None:
        """Wait for the network, or for the bell, and do what is to do."""
        client = self._client
        sock = cast("socket.socket | None", client.socket())
        if sock is None:
            self._lost("the connection is gone")
            return
        try:
            unread = sock.pending() if isinstance(sock, ssl.SSLSocket) else 0
            poll = select.poll()
            poll.register(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
            poll.register(bell, select.POLLIN)
            ready = dict(poll.poll(0 if unread else timeout_s * 1000))
            bell.hush()
            happened = ready.get(sock.fileno(), 0)
            if unread or happened & ~select.POLLOUT:
                client.loop_read()
            if happened & select.POLLOUT and self.closed is None:
                client.loop_write()
            if self.closed is None:
                client.loop_misc()
        except Exception as error:  # the broker's bytes decide what the client raises; any of it ends this connection
            log.debug("the broker connection failed", exc_info=True)
            self._lost(f"{type(error).__name__}: {error}")
        if client.socket() is None:
            self._lost("the broker closed the connection")

    def give_up(self, why: str) -> None:
        """Close it from our side, without a goodbye."""
        self.given_up = True
        self._lost(why)
        self.close()

    def disconnect(self) -> None:
        """Say goodbye; the will is not published then."""
        self._client.disconnect()

    def close(self) -> None:
        """Close the socket whatever the broker says."""
        sock = self._client.socket()
        if sock is not None:
            sock.close()
        self._lost("closed here")

    def _lost(self, why: str) -> None:
        if self.closed is None:
            self.closed = why

    @_never_raises
    def _on_connect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self.refused = (reason.value, str(reason))
            return
        self.receive_maximum = getattr(properties, "ReceiveMaximum", _MAX_RECEIVE)
        self.maximum_packet = getattr(properties, "MaximumPacketSize", None)
        self.retains = bool(getattr(properties, "RetainAvailable", 1))
        if getattr(properties, "MaximumQoS", 1) == 0:  # then a loss could not even be noticed
            self.refused = (QOS_NOT_SUPPORTED, "it takes no QoS 1")
            return
        self.accepted = True

    @_never_raises
    def _on_disconnect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if flags.is_disconnect_packet_from_server and reason is not None:
            self.close_reason = reason.value
        self._lost(f"the broker hung up: {reason}" if self.close_reason is not None else "the connection was lost")

    @_never_raises
    def _on_socket_close(self, client: mqtt.Client, userdata: Any, sock: Any) -> None:
        """Writing may have failed before the broker's reason was read: it lies in the socket still."""
        if self.protocol == "5" and self.close_reason is None and not self.given_up:
            self.close_reason = parting_reason(last_word(sock))

    @_never_raises
    def _on_publish(self, client: mqtt.Client, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        if mid in self._unanswered:  # of what goes with QoS 0 the client itself says this as soon as it went
            self._unanswered.remove(mid)
            self.answers.append((mid, reason.value, str(reason)))

    @_never_raises
    def _on_subscribe(self, client: mqtt.Client, userdata: Any, mid: int, reasons: Any, properties: Any) -> None:
        for topic_filter, reason in zip(self._subscribing.pop(mid, []), reasons, strict=False):
            if reason.is_failure:
                self.deaf_to.append((topic_filter, str(reason)))
            else:
                self.hears.add(topic_filter)

    @_never_raises
    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        if len(message.payload) > _LARGEST_HEARD or len(self.heard) >= 2 * _MOST_HEARD:  # MQTT 3.1.1 has no such bounds
            if self._ration.take():
                log.warning("a message on %s is passed over: too large, or too many at once", message.topic)
            self.dealt_with(message.mid, message.qos)
            return
        about: Any = getattr(message, "properties", None)
        heard = Heard(
            topic=message.topic,
            payload=bytes(message.payload),
            retain=message.retain,
            response_topic=getattr(about, "ResponseTopic", None),
            correlation=getattr(about, "CorrelationData", None),
            expiry_s=getattr(about, "MessageExpiryInterval", None),
            user=tuple(getattr(about, "UserProperty", ())),
        )
        self.heard.append((heard, message.mid, message.qos))


def packet_size(topic: str, payload: bytes, *, content_type: str, user: Mapping[str, str]) -> int:
    """Bytes of a PUBLISH in MQTT 5, at most 4 more than it has."""
    pairs = sum(5 + len(name.encode()) + len(value.encode()) for name, value in user.items())
    about = 3 + len(content_type.encode()) + pairs
    return 5 + 2 + len(topic.encode()) + 2 + (1 if about < 128 else 2) + about + len(payload)


def _properties(packet: int, *, content_type: str | None = None, user: Mapping[str, str] | None = None) -> Properties:
    about = Properties(packet)  # type: ignore[no-untyped-call]
    if content_type is not None:
        about.ContentType = content_type
    if user:
        about.UserProperty = list(user.items())
    return about
