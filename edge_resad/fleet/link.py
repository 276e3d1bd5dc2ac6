"""The collector's line to the broker: a session that lasts, and no acknowledgement before the store has it."""

from __future__ import annotations

import logging
import random
import select
import socket
import ssl
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, cast

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_resad import __version__
from edge_resad.errors import SettingsError
from edge_resad.fleet.clock import receipt_ms
from edge_resad.fleet.inbox import Inbox
from edge_resad.fleet.reading import Arrival
from edge_resad.fleet.settings import CollectorSection
from edge_resad.messages import JSON_TYPE, collector_state_message, collector_topic
from edge_resad.parting import last_word, parting_reason
from edge_resad.sections import BrokerAddress, read_password, read_tls
from edge_resad.takeover import TAKEN_OVER, TakeoverDetector

log = logging.getLogger(__name__)

SHARED = ("evt/+", "alert/+", "img/+", "gap", "audit", "tm", "rsp/+")
"""Channels of which each message goes to one collector of the group."""
OWN = ("state", "cfg/reported")
"""Channels that every collector hears: a broker hands retained messages to no group."""
_LARGEST_PACKET = 1 << 20  # bytes
_MOST_SAYS = 100_000  # acknowledgements that wait for the broker
_WILL_DELAY_S = 5  # a connection that comes back within this was never gone
_ANSWER_S = 10.0  # a broker that has not let us in after so long never will
_AGAIN_S = 600.0  # what stations say of themselves is asked for anew: a broker may have dropped it while we were behind


class Link:
    """Owns one thread, which alone touches the MQTT client. Messages go to the inbox; answers come back by `answer`."""

    def __init__(self, broker: BrokerAddress, collector: CollectorSection, inbox: Inbox) -> None:
        self._broker = broker
        self._collector = collector
        self._inbox = inbox
        self.connected = False
        self.problem: str | None = None
        self.connections = 0
        self.largest: int | None = None
        """Bytes of the largest packet that the broker takes; None: as many as there are."""
        self._takeover = TakeoverDetector()

    def __enter__(self) -> Link:
        read_password(self._broker)  # a missing file is said now, not in the thread
        read_tls(self._broker)
        self._stopping = threading.Event()
        self._says: deque[tuple[str, bytes]] = deque(maxlen=_MOST_SAYS)  # the oldest fall out
        self._had: deque[Arrival] = deque()
        self._rope, self._clapper = socket.socketpair()
        self._rope.setblocking(False)
        self._clapper.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._ring()
        self._thread.join(10)
        if not self._thread.is_alive():
            self._rope.close()
            self._clapper.close()

    def answer(self, stored: Iterable[Arrival], says: Iterable[tuple[str, bytes]]) -> None:
        """Publish what is to be said of these, then tell the broker that we have them. From any thread; after the
        commit. What cannot go out is forgotten: stations send again, and are answered again.
        """
        self._says.extend(says)
        self._had.extend(arrival for arrival in stored if arrival.qos)
        self._ring()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _ring(self) -> None:
        with suppress(OSError):  # full: it rings already; closed: nobody listens
            self._rope.send(b"!")

    def _run(self) -> None:
        pause = self._broker.reconnect_min_s
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._live_once()
            except Exception as error:  # whatever the broker's bytes or a file made of it: begin anew
                self._say(_sentence(error, self._broker))
            self.connected = False
            if time.monotonic() - began > self._broker.reconnect_max_s:
                pause = self._broker.reconnect_min_s
            self._stopping.wait(random.uniform(0.5, 1.0) * pause)  # jitter: collectors must not come back as one
            pause = min(2 * pause, self._broker.reconnect_max_s)

    def _live_once(self) -> None:
        """Connect and stay as long as it lasts."""
        call = _Call(self._broker, self._collector, self.connections + 1, self._inbox)
        began = time.monotonic()
        try:
            call.open()
            self._says.clear()  # what was to be said on the last connection
            self._had.clear()
            self._inbox.begin()
            self.connections += 1
            while not self._stopping.is_set() and call.lost is None:
                call.pump(self._clapper, 1.0)
                if call.refused is not None:
                    raise _Refused(call.refused)
                if not call.ready and time.monotonic() > call.heard_at + _ANSWER_S:
                    raise TimeoutError
                if call.ready and not self.connected:
                    self.connected = True
                    self._say(self._suspicion())
                    log.info("connected to %s as %s", self._broker.where, self._collector.id)
                if call.ready:
                    call.greet()
                    call.hear_again()
                    self._hold(began)
                if call.accepted:  # a session that goes on gives what it holds before it says that we are subscribed
                    self._speak(call)
                if call.trouble is not None:
                    self._say(_sentence(_Refused(call.trouble), self._broker))
            if call.lost is not None:
                if call.ready:
                    self._takeover.ended(began, time.monotonic(), told=call.close_reason == TAKEN_OVER)
                self._say(self._suspicion() or _lost(call.lost, self._broker, let_in=call.ready))
        finally:
            if self._stopping.is_set() and self.connected:
                self._speak(call)
                call.leave()
            call.close()

    def _hold(self, began: float) -> None:
        """A connection works: after a while that says that nobody else uses our name."""
        suspicion = self._suspicion()
        self._takeover.holds(began, time.monotonic())
        if suspicion is not None and suspicion == self.problem:
            self._say(self._suspicion())

    def _suspicion(self) -> str | None:
        if not self._takeover.suspicious:
            return None
        return (
            f"the connection to the broker at {self._broker.where} is taken over by another. "
            f"Another collector seems to use the id {self._collector.id!r} too: give each its own [collector] id."
        )

    def _speak(self, call: _Call) -> None:
        self.largest = call.largest
        while self._says and call.room and call.lost is None:
            topic, payload = self._says.popleft()
            if call.largest is not None and packet_size(topic, payload) > call.largest:
                call.trouble = f"takes {call.largest} bytes at most, and an acknowledgement has more"
                continue
            call.publish(topic, payload)
        while self._had and call.lost is None:
            arrival = self._had.popleft()
            if arrival.connection == call.number:  # a number of an older connection may mean another message by now
                call.acknowledge(arrival.packet_id)

    def _say(self, problem: str | None) -> None:
        if problem is not None and problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem


class _Refused(Exception):
    """The broker does not let us in, or does not let us hear."""


class _Call:
    """One connection: made, used once and thrown away. The broker's session outlives it."""

    def __init__(self, broker: BrokerAddress, collector: CollectorSection, number: int, inbox: Inbox) -> None:
        self.number = number
        self.accepted = False  # the broker let us in
        self.ready = False  # subscribed to everything
        self.heard_at = time.monotonic()  # when the broker last gave or answered anything
        self.refused: str | None = None
        self.lost: str | None = None
        self.trouble: str | None = None
        self.close_reason: int | None = None  # as the broker said it
        self.largest: int | None = None  # bytes of a packet that the broker takes
        self._asked: dict[int, list[str]] = {}  # packet -> what it asked to hear, until the broker answers
        self._heard_all_at = 0.0  # when what is retained was last asked for
        self._room = 0  # messages that the broker takes before it answers one
        self._name = uuid.uuid4().hex
        self._greeting: int | None = None  # the packet that said that this collector is there
        self._broker = broker
        self._collector = collector
        self._inbox = inbox
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=collector.id,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )

    def open(self) -> None:
        client = self._client
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = self._on_socket_close
        client.connect_timeout = 5.0
        client.on_publish = self._on_publish
        client.max_inflight_messages_set(0)  # we count ourselves: the client knows nothing of the broker's limit
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, read_password(self._broker))
        tls = read_tls(self._broker)
        if tls is not None:
            client.tls_set_context(tls)
        about_will = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
        about_will.ContentType = JSON_TYPE
        about_will.WillDelayInterval = _WILL_DELAY_S
        client.will_set(*self._state(online=False), qos=1, retain=True, properties=about_will)
        about = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        about.SessionExpiryInterval = self._collector.session_h * 3600
        about.ReceiveMaximum = self._collector.waiting
        about.MaximumPacketSize = _LARGEST_PACKET
        client.connect_async(
            self._broker.host, self._broker.port, self._broker.keepalive_s, clean_start=False, properties=about
        )
        client.reconnect()

    def pump(self, clapper: socket.socket, timeout_s: float) -> None:
        """Wait for the network or for the bell, and do what is to do."""
        client = self._client
        sock = cast("socket.socket | None", client.socket())
        if sock is None:
            self.lost = self.lost or "it was closed"
            return
        unread = sock.pending() if isinstance(sock, ssl.SSLSocket) else 0
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        poll.register(clapper, select.POLLIN)
        ready = dict(poll.poll(0 if unread else timeout_s * 1000))
        with suppress(BlockingIOError):
            while clapper.recv(4096):
                pass
        happened = ready.get(sock.fileno(), 0)
        if unread or happened & ~select.POLLOUT:
            client.loop_read()
        if happened & select.POLLOUT and client.socket() is not None:
            client.loop_write()
        if client.socket() is not None:
            client.loop_misc()
        else:
            self.lost = self.lost or "the broker closed it"

    @property
    def room(self) -> bool:
        """Whether the broker takes another message now."""
        return self._room > 0

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Send; the packet's number."""
        about = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        about.ContentType = JSON_TYPE
        self._room -= 1
        return self._client.publish(topic, payload, qos=1, retain=retain, properties=about).mid

    def greet(self) -> None:
        """Say once that this collector is there, as soon as the broker has room for it."""
        if self._greeting is None and self.room and self.lost is None:
            self._greeting = self.publish(*self._state(online=True), retain=True)

    def hear_again(self) -> None:
        """Now and then, what the broker retains: it drops messages for a client that takes them too slowly."""
        if time.monotonic() - self._heard_all_at >= _AGAIN_S and not self._asked:
            self._hear(own_filters(self._collector))

    def acknowledge(self, packet_id: int) -> None:
        self._client.ack(packet_id, 1)

    def leave(self) -> None:
        """Say goodbye; the broker keeps the session."""
        with suppress(OSError, ValueError):
            if self.room:
                self.publish(*self._state(online=False), retain=True)
                self._client.disconnect()
            else:
                will = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")
                self._client.disconnect(will)  # the broker takes no message now, and says it for us
            self._client.loop_write()

    def close(self) -> None:
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _state(self, *, online: bool) -> tuple[str, bytes]:
        """Topic and payload of what this connection says of its collector."""
        its = self._collector
        payload = collector_state_message(
            its.id,
            online=online,
            group=its.group,
            sites=its.sites,
            connection=self._name,
            wall=time.time(),
            version=__version__ if online else None,
        )
        return collector_topic(its.id), payload

    def _guarded(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:  # an exception in a callback would be the client's, not ours
            log.exception("a callback of the broker connection failed")
            self.lost = f"{type(error).__name__}: {error}"

    def _on_connect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        def subscribe() -> None:
            if reason.is_failure:
                self.refused = f"refuses this collector ({reason})"
                return
            self._room = getattr(properties, "ReceiveMaximum", 65535)
            self.largest = getattr(properties, "MaximumPacketSize", None)
            self.accepted, self.heard_at = True, time.monotonic()
            self._hear([*shared_filters(self._collector), *own_filters(self._collector)])

        self._guarded(subscribe)

    def _hear(self, names: list[str]) -> None:
        self._heard_all_at = time.monotonic()
        _, mid = self._client.subscribe([(name, SubscribeOptions(qos=1)) for name in names])
        if mid is not None:
            self._asked[mid] = names

    def _on_subscribe(self, client: mqtt.Client, userdata: Any, mid: int, reasons: Any, properties: Any) -> None:
        named = zip(self._asked.pop(mid, ()), reasons, strict=False)
        self.refused = next((f"does not let it hear {name} ({said})" for name, said in named if said.is_failure), None)
        self.ready = self.refused is None

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        def put() -> None:
            self.heard_at = time.monotonic()
            about = getattr(message.properties, "UserProperty", ())
            event_id = next((value for name, value in about if name == "id"), None)
            now_ms = receipt_ms(time.time(), time.monotonic())
            topic, payload = _topic(message), bytes(message.payload)
            self._inbox.put(Arrival(topic, payload, now_ms, event_id, self.number, message.mid, message.qos))

        self._guarded(put)

    def _on_publish(self, client: mqtt.Client, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        self._room += 1
        if reason.is_failure:
            what = "its state" if mid == self._greeting else "acknowledgements"
            self.trouble = f"does not take {what} ({reason})"

    def _on_disconnect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        told = flags.is_disconnect_packet_from_server
        if told and reason is not None:
            self.close_reason = reason.value
        self.lost = self.lost or (f"the broker hung up ({reason})" if told else "it broke")

    def _on_socket_close(self, client: mqtt.Client, userdata: Any, sock: Any) -> None:
        """Writing may have failed before the broker's reason was read: it lies in the socket still."""

        def listen() -> None:
            if self.close_reason is None:
                self.close_reason = parting_reason(last_word(sock))

        self._guarded(listen)


def packet_size(topic: str, payload: bytes) -> int:
    """Bytes of a message as it is published here, at most 4 more than it has."""
    return 5 + 2 + len(topic.encode()) + 2 + 1 + 3 + len(JSON_TYPE.encode()) + len(payload)


def shared_filters(collector: CollectorSection) -> list[str]:
    """The topic filters to which all collectors of the group subscribe together."""
    sites = collector.sites or ("+",)
    return [f"$share/{collector.group}/er/v1/{site}/+/+/{channel}" for site in sites for channel in SHARED]


def own_filters(collector: CollectorSection) -> list[str]:
    """The topic filters to which each collector subscribes for itself."""
    sites = collector.sites or ("+",)
    return [f"er/v1/{site}/+/+/{channel}" for site in sites for channel in OWN]


def _topic(message: mqtt.MQTTMessage) -> str:
    try:
        return message.topic
    except UnicodeDecodeError:
        return "a topic that is not UTF-8"


def _lost(why: str, broker: BrokerAddress, *, let_in: bool) -> str:
    if let_in:
        return f"the connection to the broker at {broker.where} was lost: {why}."
    if broker.cert_file is not None:
        wants = f"Does it trust who signed {broker.cert_file}, and has that not ended?"
    else:
        wants = f"Does this port want {'TLS ([broker] ca_file)' if broker.ca_file is None else '[broker] cert_file'}?"
    return f"the broker at {broker.where} hung up before it let us in: {why}. {wants}"


def _sentence(error: Exception, broker: BrokerAddress) -> str:
    if isinstance(error, SettingsError):
        return str(error)
    if isinstance(error, _Refused):
        who = f"the user {broker.username!r}" if broker.username else "a client without a name"
        return (
            f"the broker at {broker.where} {error}. It was asked as {who}: check [broker] and what the broker allows."
        )
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "verify_message", None) or error.reason
        return (
            f"no TLS with the broker at {broker.where} ({why}). Check [broker] port, ca_file, cert_file and key_file."
        )
    if isinstance(error, TimeoutError):
        return f"no answer from {broker.where}. Check [broker] host and port, and that a broker is behind them."
    if isinstance(error, OSError):
        why = error.strerror or str(error)
        return f"no broker at {broker.where} ({why}). Check [broker] host and port, and the network."
    log.debug("the broker connection failed", exc_info=error)
    return f"the connection to the broker at {broker.where} failed ({type(error).__name__}: {error})."
