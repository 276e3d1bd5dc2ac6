"""Sending: a command to one station, and what the station answers."""

from __future__ import annotations

import queue
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_resad.errors import BrokerError
from edge_resad.messages import (
    JSON_TYPE,
    Address,
    Birth,
    Desired,
    DesiredMessage,
    Offline,
    Reply,
    Reported,
    SigningKey,
    StateMessage,
    command_message,
    desired_message,
    is_id,
    read_message,
)
from edge_resad.sections import BrokerAddress, read_password, read_tls

CONNECT_S = 10.0
STATE_S = 3.0  # how long a broker may take to hand out a station's retained state
OTHERS_S = 0.3  # and those of others of that name after it
NOBODY = 0x10  # MQTT 5's reason: the broker took it, and has nobody to hand it to


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A command that was sent."""

    command_id: str
    online: bool | None  # whether the station says that it is there; None: it has never said anything
    heard: bool  # whether the broker has anybody who will get it
    reply: Reply | None  # the last there was; None: no answer in time


class Sender:
    """A connection to the broker for as long as a person waits."""

    def __init__(self, broker: BrokerAddress, *, host: str = "operator") -> None:
        """host: who we are; also our MQTT client id, where the broker does not take the certificate's name."""
        self._broker = broker
        self._host = host
        self._came: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._news: queue.Queue[tuple[str, int, int]] = queue.Queue()  # what was answered, of which packet, how

    def __enter__(self) -> Sender:
        """Raises BrokerError where the broker is not there, or does not let us in."""
        client = self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"{self._host}-{uuid.uuid4().hex[:8]}", protocol=mqtt.MQTTv5
        )
        client.on_connect = lambda _c, _u, _f, reason, _p: self._news.put(("connect", 0, reason.value))
        client.on_subscribe = lambda _c, _u, mid, reasons, _p: self._news.put(("subscribe", mid, reasons[0].value))
        client.on_unsubscribe = lambda _c, _u, mid, _reasons, _p: self._news.put(("unsubscribe", mid, 0))
        client.on_publish = lambda _c, _u, mid, reason, _p: self._news.put(("publish", mid, reason.value))
        client.on_message = lambda _c, _u, message: self._came.put((message.topic, bytes(message.payload)))
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, read_password(self._broker))
        tls = read_tls(self._broker)
        if tls is not None:
            client.tls_set_context(tls)
        client.connect_timeout = 5.0
        try:
            client.connect(self._broker.host, self._broker.port, self._broker.keepalive_s)
        except (OSError, ssl.SSLError) as error:
            raise BrokerError(
                f"no broker at {self._broker.where} ({error}). Check [broker] in the fleet file, and the network."
            ) from error
        client.loop_start()
        try:
            reason = self._answer("connect", 0, CONNECT_S)
        except BrokerError:
            self.__exit__(None, None, None)
            raise
        if reason >= 0x80:
            self.__exit__(None, None, None)
            raise BrokerError(
                f"the broker at {self._broker.where} does not let us in (reason {reason}). Check [broker]."
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def find(self, device: str) -> tuple[Address, bool | None]:
        """A station by its name or as site/line/name, and whether it is there.

        Raises:
            BrokerError: nobody of that name has ever said anything, or more than one have.
        """
        place = device.split("/")
        if len(place) not in (1, 3) or not all(is_id(part) for part in place):
            raise BrokerError(f"{device!r} is no station. Say its name, such as press-7, or site/line/name.")
        site, line, name = place if len(place) == 3 else ("+", "+", device)
        found: dict[Address, bool] = {}
        for _, kept in self._retained(f"er/v1/{site}/{line}/{name}/state", STATE_S, OTHERS_S):
            state = _state(kept)
            if state is not None:
                address = Address(site=state.site, line=state.line, device=state.device)
                found[address] = isinstance(state, Birth)
        if len(found) > 1:
            where = ", ".join(f"{one.site}/{one.line}/{one.device}" for one in found)
            raise BrokerError(f"there are several stations {device}: {where}. Say which.")
        for address, online in found.items():
            return address, online
        if len(place) == 1:
            raise BrokerError(
                f"no station {device} has said anything to the broker at {self._broker.where}. "
                "Check its name, or say site/line/name."
            )
        return Address(site=site, line=line, device=name), None

    def command(
        self,
        address: Address,
        online: bool | None,
        command: str,
        arguments: Mapping[str, object],
        *,
        key: SigningKey | None,
        issued_by: str,
        timeout_s: float,
        expires_s: float,
        command_id: str | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> Sent:
        """Send a command and wait for its end. say: hears what happens on the way.

        Raises:
            BrokerError: the broker does not take it, or the arguments are not the command's.
        """
        command_id = command_id or uuid.uuid4().hex
        try:
            payload = command_message(
                address,
                command,
                command_id=command_id,
                issued_by=issued_by,
                wall=time.time(),
                expires_s=expires_s,
                host=self._host,
                arguments=arguments,
                key=key,
            )
        except ValueError as error:
            raise BrokerError(f"{' '.join(str(error).split())}. See docs/commands.md.") from error
        reply_topic = address.reply_topic(command_id)
        self._subscribe(reply_topic)
        about = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        about.MessageExpiryInterval = max(1, round(expires_s))
        about.ResponseTopic = reply_topic
        about.CorrelationData = command_id.encode()
        about.ContentType = JSON_TYPE
        reason = self._publish(address.command_topic(command), payload, about)
        heard = reason != NOBODY
        if online is False and heard:
            say(f"{address.device} is offline. The command waits at the broker for {expires_s:g} s.")
        last: Reply | None = None
        until = time.monotonic() + timeout_s
        while (came := self._next(until)) is not None:
            reply = _reply(came, reply_topic, command_id)
            if reply is not None:
                last = reply
                if reply.status != "accepted":
                    break
                say(f"accepted. {reply.sentence or ''}".strip())
        return Sent(command_id=command_id, online=online, heard=heard, reply=last)

    def configure(
        self,
        address: Address,
        settings: Mapping[str, object],
        *,
        key: SigningKey | None,
        issued_by: str,
        timeout_s: float,
        version: int | None = None,
    ) -> tuple[int, Reported | None]:
        """Wish for settings that hold until others are wished for: the wish's version, and what the station reports.

        version: of the wish; without it the one after the last.

        Raises:
            BrokerError: somebody else has wished this version, as at the same moment, and the station takes theirs.
        """
        self._subscribe(address.reported_topic)
        last = 0
        for kept in self._retained(address.desired_topic, STATE_S / 3, STATE_S / 3):
            last = max(last, _version(kept))
        version, own = version or last + 1, f"cfg-{uuid.uuid4().hex}"
        try:
            payload = desired_message(
                address,
                event_id=own,
                version=version,
                settings=settings,
                issued_by=issued_by,
                wall=time.time(),
                host=self._host,
                key=key,
            )
        except ValueError as error:
            raise BrokerError(f"{' '.join(str(error).split())}. See docs/commands.md.") from error
        about = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        about.ContentType = JSON_TYPE
        self._subscribe(address.desired_topic)
        self._publish(address.desired_topic, payload, about, retain=True)
        is_first = False  # of who wishes at this moment: a broker hands wishes out in the order in which it took them
        until = time.monotonic() + timeout_s
        while (came := self._next(until)) is not None:
            wish = _desired(came)
            if wish is not None and wish.id == own:
                is_first = True
            elif wish is not None and wish.data.version == version and not is_first:
                raise BrokerError(
                    f"version {version} is what {wish.data.issued_by} wished of {address.device}, and a station takes "
                    "each version once. Look at what it has now, and send yours again."
                )
            reported = _reported(came, address.reported_topic)
            if reported is not None and reported.version == version:
                return version, reported
        return version, None

    def _retained(self, topic: str, first_s: float, more_s: float) -> Iterator[tuple[str, bytes]]:
        """What the broker keeps on a topic. first_s: for the first of it, more_s: for any other after it.

        Whoever stands still on the way - broker, network, this computer - only delays it: what a broker had begun to
        hand out comes before its answer to who wants no more.
        """
        self._subscribe(topic)
        until = time.monotonic() + first_s
        while (came := self._next(until)) is not None:
            yield came
            until = min(until, time.monotonic() + more_s)
        _, mid = self._client.unsubscribe(topic)
        self._answer("unsubscribe", mid or 0, CONNECT_S)
        while (came := self._next(0.0)) is not None:
            yield came

    def _subscribe(self, topic: str) -> None:
        _, mid = self._client.subscribe(topic, qos=1)
        reason = self._answer("subscribe", mid or 0, CONNECT_S)
        if reason >= 0x80:
            raise BrokerError(f"the broker does not let us hear {topic} (reason {reason}). Check what it allows us.")

    def _publish(self, topic: str, payload: bytes, about: Properties, *, retain: bool = False) -> int:
        sent = self._client.publish(topic, payload, qos=1, retain=retain, properties=about)
        reason = self._answer("publish", sent.mid, CONNECT_S)
        if reason >= 0x80:
            raise BrokerError(f"the broker does not let us write {topic} (reason {reason}). Check what it allows us.")
        return reason

    def _answer(self, what: str, mid: int, within_s: float) -> int:
        until = time.monotonic() + within_s
        while True:
            try:
                kind, of, reason = self._news.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise BrokerError(f"the broker at {self._broker.where} does not answer. Try again later.") from None
            if (kind, of) == (what, mid):
                return reason

    def _next(self, until: float) -> tuple[str, bytes] | None:
        try:
            return self._came.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return None


def _message(payload: bytes) -> Any:
    """None where it cannot be read."""
    try:
        return read_message(payload)
    except ValueError:
        return None


def _content(payload: bytes) -> Any:
    return getattr(_message(payload), "data", None)


def _state(payload: bytes) -> Birth | Offline | None:
    message = _message(payload)
    return message.data if isinstance(message, StateMessage) else None


def _reply(came: tuple[str, bytes], topic: str, command_id: str) -> Reply | None:
    content = _content(came[1]) if came[0] == topic else None
    return content if isinstance(content, Reply) and content.command_id == command_id else None


def _reported(came: tuple[str, bytes], topic: str) -> Reported | None:
    content = _content(came[1]) if came[0] == topic else None
    return content if isinstance(content, Reported) else None


def _desired(came: tuple[str, bytes]) -> DesiredMessage | None:
    message = _message(came[1])
    return message if isinstance(message, DesiredMessage) else None


def _version(came: tuple[str, bytes]) -> int:
    content = _content(came[1])
    return content.version or 0 if isinstance(content, Desired | Reported) else 0
