"""A broker of our own for MQTT 5 and 3.1.1 that keeps the rules strictly, and breaks them where a script says so."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from paho.mqtt.client import topic_matches_sub
from paho.mqtt.packettypes import PacketTypes

from tests.mqtt.packets import (
    Publish,
    packet,
    properties,
    read_publish,
    take_properties,
    take_text,
    write_publish,
)
from tests.mqtt_peers import _packet, _Server

SUCCESS, NO_MATCH, NOT_AUTHORIZED, SHUTTING_DOWN, TAKEN_OVER = 0x00, 0x10, 0x87, 0x8B, 0x8E
RECEIVE_MAXIMUM_EXCEEDED, ALIAS_INVALID, TOO_LARGE, QUOTA_EXCEEDED = 0x93, 0x94, 0x95, 0x97
RETAIN_NOT_SUPPORTED, QOS_NOT_SUPPORTED = 0x9A, 0x9B


@dataclass(frozen=True, kw_only=True)
class Connect:
    """A CONNECT as it came."""

    client_id: str
    level: int  # 4 for MQTT 3.1.1, 5
    clean_start: bool
    keepalive_s: int
    session_expiry_s: int = 0
    receive_maximum: int = 65535
    username: str | None = None
    will: Publish | None = None
    will_delay_s: int = 0


@dataclass
class Rules:
    """How the broker behaves. May be changed while it runs."""

    protocols: tuple[int, ...] = (4, 5)
    connack_reason: int = SUCCESS
    session_present: bool | None = None  # what it says; None: the truth
    receive_maximum: int | None = None
    maximum_packet: int | None = None
    topic_alias_maximum: int | None = None
    server_keepalive_s: int | None = None
    retain_available: bool = True
    puback: Callable[[Publish], Sequence[int]] = field(default=lambda publish: (SUCCESS,))
    """The reason of every PUBACK: none is silence, two are an answer and its repetition."""
    hangs_up: Callable[[Publish], int | None] = field(default=lambda publish: None)
    """The reason with which it ends the connection instead of answering; None: it does not."""
    suback: Callable[[str], int] = field(default=lambda topic_filter: 1)
    says_suback: bool = True  # False: it subscribes and says nothing of it
    expiry_taken_s: int = 0  # how long messages have waited in it, as it claims: what is left of their expiry
    delivers: bool = True  # False: it acknowledges and forgets
    reads: bool = True  # False: it reads nothing after its CONNACK


@dataclass
class _Session:
    subscriptions: dict[str, int] = field(default_factory=dict)  # filter -> QoS
    unanswered: dict[int, Publish] = field(default_factory=dict)  # packet id -> what the client has not acknowledged
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    connection: _Connection | None = None


class ScriptedBroker(_Server):
    """Remembers all it was sent. What a client does against its rules is in `violations`, and ends the connection."""

    def __init__(self, rules: Rules | None = None, port: int = 0) -> None:
        super().__init__(port)
        self.rules = rules or Rules()
        self.connects: list[Connect] = []
        self.published: list[Publish] = []
        self.subscribed: list[tuple[str, str]] = []  # client id, filter
        self.pubacks: list[tuple[str, int, int]] = []  # client id, packet id, reason
        self.goodbyes: list[tuple[str, int]] = []  # client id, reason of its DISCONNECT
        self.violations: list[str] = []
        self.retained: dict[str, Publish] = {}
        self._sessions: dict[str, _Session] = {}
        self._turn: itertools.count[int] = itertools.count()  # of shared subscriptions
        self._lock = threading.RLock()

    def on(self, topic_filter: str) -> list[Publish]:
        """What was published on topics that a filter takes."""
        return [publish for publish in list(self.published) if topic_matches_sub(topic_filter, publish.topic)]

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, **about: Any) -> None:
        """Say something to whoever has subscribed. about: other fields of `Publish`."""
        self._route(Publish(topic=topic, payload=payload, qos=qos, retain=retain, **about))

    def disconnect(self, client_id: str, reason: int) -> None:
        """End a client's connection with a reason, as brokers do that shut down (0x8B) or move a session (0x8E)."""
        with self._lock:
            connection = self._sessions[client_id].connection
        if connection is not None:
            connection.hang_up(reason)

    def connected(self, client_id: str) -> bool:
        """Whether a client is connected now."""
        with self._lock:
            return client_id in self._sessions and self._sessions[client_id].connection is not None

    def subscriptions(self, client_id: str) -> dict[str, int]:
        """filter -> QoS that it was granted."""
        with self._lock:
            return dict(self._sessions[client_id].subscriptions) if client_id in self._sessions else {}

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError, EOFError):
            _Connection(self, sock).serve()

    def _arrives(self, connect: Connect, connection: _Connection) -> bool:
        """Give a connection its session; whether there was one."""
        with self._lock:
            self.connects.append(connect)
            before = self._sessions.get(connect.client_id)
            if before is not None and before.connection is not None:
                before.connection.hang_up(TAKEN_OVER)
            fresh = before is None or connect.clean_start
            session = _Session() if before is None or connect.clean_start else before
            session.connection = connection
            connection.session = session
            self._sessions[connect.client_id] = session
            return not fresh

    def _leaves(self, connection: _Connection, *, with_will: bool) -> None:
        connect, session = connection.connect, connection.session
        if connect is None or session is None:
            return
        with self._lock:
            taken_over = session.connection is not connection
            if not taken_over:
                session.connection = None
                forgets = connect.session_expiry_s == 0 if connect.level == 5 else connect.clean_start
                if forgets and self._sessions.get(connect.client_id) is session:
                    del self._sessions[connect.client_id]
        if with_will and connect.will is not None and not (taken_over and connect.will_delay_s):
            self._route(connect.will)  # at once: only whoever came back in time spares it

    def _route(self, publish: Publish) -> None:
        """Hand a message to all who have subscribed, and to one of those who share a subscription."""
        if publish.retain:
            if publish.payload:
                self.retained[publish.topic] = publish
            else:
                self.retained.pop(publish.topic, None)
        if not self.rules.delivers:
            return
        with self._lock:
            shares: dict[str, list[tuple[_Session, int]]] = {}
            for session in list(self._sessions.values()):
                for topic_filter, qos in session.subscriptions.items():
                    share, plain = _share(topic_filter)
                    if not topic_matches_sub(plain, publish.topic):
                        continue
                    if share is not None:
                        shares.setdefault(topic_filter, []).append((session, qos))
                    else:
                        self._hand(session, replace(publish, retain=False), qos)
            for members in shares.values():
                session, qos = members[next(self._turn) % len(members)]
                self._hand(session, replace(publish, retain=False), qos)

    def _hand(self, session: _Session, publish: Publish, qos: int) -> None:
        if publish.expiry_s is not None:
            left = publish.expiry_s - self.rules.expiry_taken_s
            if left <= 0:
                return
            publish = replace(publish, expiry_s=left)
        qos = min(qos, publish.qos)
        number = 0
        if qos:
            number = next(session.numbers)
        publish = replace(publish, qos=qos, packet_id=number, alias=None, dup=False)
        if qos:
            session.unanswered[number] = publish
        if session.connection is not None:
            session.connection.send(publish)


class _Connection:
    """One client's connection, served by a thread of its own."""

    def __init__(self, broker: ScriptedBroker, sock: socket.socket) -> None:
        self.broker = broker
        self.connect: Connect | None = None
        self.session: _Session | None = None
        self._sock = sock
        self._number = 0
        self._writing = threading.Lock()
        self._aliases: dict[int, str] = {}
        self._held: set[int] = set()  # packet ids that it has not answered
        self._left = False  # the client said goodbye
        self._over = False  # we did

    def serve(self) -> None:
        try:
            while True:
                first, body, size = _packet(self._sock)
                if self._over:
                    continue
                if self.connect is None and first >> 4 != 1:
                    self._breaks("the first packet is no CONNECT", 0x82)
                    return
                if not self._take(first, body, size):
                    break
        finally:
            self.broker._leaves(self, with_will=not self._left)
        if self._over:  # a socket that is closed with bytes unread ends in a RST, which may overtake the reason
            self._sock.settimeout(60)
            while self._sock.recv(65536):
                pass

    def send(self, publish: Publish) -> None:
        """Hand a message to the client."""
        assert self.connect is not None
        self._write(write_publish(publish, self.connect.level))

    def hang_up(self, reason: int) -> None:
        """Say why, where the protocol can, and close."""
        with suppress(OSError):
            if self.connect is not None and self.connect.level == 5:
                self._write(packet(0xE0, bytes([reason])))
            self._over = True
            self._sock.shutdown(socket.SHUT_WR)

    def _take(self, first: int, body: bytes, size: int) -> bool:
        """Do what one packet asks for; False where the connection is over."""
        kind = first >> 4
        if kind == 1:
            return self._on_connect(body)
        if kind == 3:
            return self._on_publish(first, body, size)
        if kind == 4:
            self._on_puback(body)
        elif kind == 8:
            self._on_subscribe(body)
        elif kind == 10:
            self._on_unsubscribe(body)
        elif kind == 12:
            self._write(b"\xd0\x00")
        elif kind == 14:
            self._left = not body or body[0] == 0  # 0x04: disconnect with will
            self.broker.goodbyes.append((self._client_id, body[0] if body else 0))
            return False
        else:
            return self._breaks(f"a packet of type {kind} came", 0x82)
        return True

    @property
    def _client_id(self) -> str:
        return self.connect.client_id if self.connect is not None else ""

    @property
    def _level(self) -> int:
        return self.connect.level if self.connect is not None else 4

    def _breaks(self, rule: str, reason: int) -> bool:
        self.broker.violations.append(rule)
        self.hang_up(reason)
        return False

    def _write(self, content: bytes) -> None:
        with self._writing:
            self._sock.sendall(content)

    def _on_connect(self, body: bytes) -> bool:
        rules = self.broker.rules
        connect = _read_connect(body)
        if connect.level not in rules.protocols:
            self._write(packet(0x20, b"\x00\x01"))
            return False
        self.connect = connect
        self._number = len(self.broker.connects) + 1
        if rules.connack_reason != SUCCESS:
            self.broker.connects.append(connect)
            self._write(packet(0x20, bytes([0, rules.connack_reason]) + (b"\x00" if connect.level == 5 else b"")))
            return False
        there_was = self.broker._arrives(connect, self)
        present = there_was if rules.session_present is None else rules.session_present
        about = b""
        if connect.level == 5:
            about = properties(
                PacketTypes.CONNACK,
                ReceiveMaximum=rules.receive_maximum,
                MaximumPacketSize=rules.maximum_packet,
                TopicAliasMaximum=rules.topic_alias_maximum,
                ServerKeepAlive=rules.server_keepalive_s,
                RetainAvailable=None if rules.retain_available else 0,
            )
        self._write(packet(0x20, bytes([present, SUCCESS]) + about))
        assert self.session is not None
        for publish in list(self.session.unanswered.values()):
            self.send(replace(publish, dup=True))
        if not rules.reads:
            self.broker._closing.wait()
            return False
        return True

    def _on_publish(self, first: int, body: bytes, size: int) -> bool:
        rules = self.broker.rules
        publish = read_publish(first, body, self._level, size=size, connection=self._number, client_id=self._client_id)
        if rules.maximum_packet is not None and size > rules.maximum_packet:
            return self._breaks(f"{size} bytes are more than {rules.maximum_packet}", TOO_LARGE)
        if publish.qos > 1:
            return self._breaks("QoS 2 was not offered", QOS_NOT_SUPPORTED)
        if publish.retain and not rules.retain_available:
            return self._breaks("retained messages were not offered", RETAIN_NOT_SUPPORTED)
        if publish.alias is not None:
            if not 1 <= publish.alias <= (rules.topic_alias_maximum or 0):
                return self._breaks(f"the topic alias {publish.alias} was not offered", ALIAS_INVALID)
            topic = publish.topic or self._aliases.get(publish.alias, "")
            self._aliases[publish.alias] = topic
            publish = replace(publish, topic=topic)
        if not publish.topic:
            return self._breaks("a message has no topic", 0x82)
        if publish.qos and publish.packet_id in self._held and not publish.dup:
            return self._breaks(f"the packet id {publish.packet_id} is in use", 0x91)
        if publish.qos:
            self._held.add(publish.packet_id)
        if rules.receive_maximum is not None and len(self._held) > rules.receive_maximum:
            return self._breaks(f"more than {rules.receive_maximum} are on their way", RECEIVE_MAXIMUM_EXCEEDED)
        self.broker.published.append(publish)
        reason = rules.hangs_up(publish)
        if reason is not None:
            self.hang_up(reason)
            return False
        answers = tuple(rules.puback(publish)) if publish.qos else (SUCCESS,)
        if answers and answers[0] < 0x80:
            self.broker._route(publish)
        for answer in answers if publish.qos else ():
            self._held.discard(publish.packet_id)
            said = bytes([answer]) if self._level == 5 and answer else b""
            self._write(packet(0x40, struct.pack("!H", publish.packet_id) + said))
        return True

    def _on_puback(self, body: bytes) -> None:
        number = int(struct.unpack_from("!H", body)[0])
        assert self.session is not None
        self.session.unanswered.pop(number, None)
        self.broker.pubacks.append((self._client_id, number, body[2] if len(body) > 2 else SUCCESS))

    def _on_subscribe(self, body: bytes) -> None:
        at = 2
        if self._level == 5:
            _, at = take_properties(PacketTypes.SUBSCRIBE, body, at)
        reasons: list[int] = []
        asked: list[str] = []
        assert self.session is not None
        while at < len(body):
            raw, at = take_text(body, at)
            topic_filter, options, at = raw.decode(), body[at], at + 1
            reason = min(self.broker.rules.suback(topic_filter), 0x80 if self._level == 4 else 0xFF)
            if reason < 0x80:
                reason = min(reason, options & 3)
                self.session.subscriptions[topic_filter] = reason
                asked.append(topic_filter)
            self.broker.subscribed.append((self._client_id, topic_filter))
            reasons.append(reason)
        if self.broker.rules.says_suback:
            self._write(packet(0x90, body[:2] + (b"\x00" if self._level == 5 else b"") + bytes(reasons)))
        for topic_filter in asked:
            if _share(topic_filter)[0] is None:
                for retained in list(self.broker.retained.values()):
                    if topic_matches_sub(topic_filter, retained.topic):
                        self.broker._hand(self.session, retained, self.session.subscriptions[topic_filter])

    def _on_unsubscribe(self, body: bytes) -> None:
        at = 2
        if self._level == 5:
            _, at = take_properties(PacketTypes.UNSUBSCRIBE, body, at)
        gone = 0
        assert self.session is not None
        while at < len(body):
            raw, at = take_text(body, at)
            self.session.subscriptions.pop(raw.decode(), None)
            gone += 1
        self._write(packet(0xB0, body[:2] + (b"\x00" + bytes(gone) if self._level == 5 else b"")))


def _read_connect(body: bytes) -> Connect:
    _, at = take_text(body, 0)
    level, flags, keepalive_s = struct.unpack_from("!BBH", body, at)
    at += 4
    about: dict[str, Any] = {}
    if level == 5:
        about, at = take_properties(PacketTypes.CONNECT, body, at)
    client_id, at = take_text(body, at)
    will = None
    about_will: dict[str, Any] = {}
    if flags & 4:
        if level == 5:
            about_will, at = take_properties(PacketTypes.WILLMESSAGE, body, at)
        topic, at = take_text(body, at)
        payload, at = take_text(body, at)
        will = Publish(
            topic=topic.decode(),
            payload=payload,
            qos=(flags >> 3) & 3,
            retain=bool(flags & 32),
            content_type=about_will.get("ContentType"),
        )
    username = None
    if flags & 128:
        raw, at = take_text(body, at)
        username = raw.decode()
    return Connect(
        client_id=client_id.decode(),
        level=level,
        clean_start=bool(flags & 2),
        keepalive_s=keepalive_s,
        session_expiry_s=about.get("SessionExpiryInterval", 0),
        receive_maximum=about.get("ReceiveMaximum", 65535),
        username=username,
        will=will,
        will_delay_s=about_will.get("WillDelayInterval", 0),
    )


def _share(topic_filter: str) -> tuple[str | None, str]:
    """The group of a shared subscription, None for a plain one, and the filter itself."""
    if topic_filter.startswith("$share/"):
        _, group, plain = topic_filter.split("/", 2)
        return group, plain
    return None, topic_filter
