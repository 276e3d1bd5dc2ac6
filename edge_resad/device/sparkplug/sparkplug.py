"""Shows the station to a SCADA by Sparkplug B, in a thread and a connection of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edge_resad.clock_floor import is_set
from edge_resad.device.access import Access, read_access
from edge_resad.device.bell import Bell
from edge_resad.device.connection import Connection, Will
from edge_resad.device.connection import Protocol as Version
from edge_resad.device.link import Backoff
from edge_resad.device.refusal import UNSUPPORTED_PROTOCOL
from edge_resad.device.settings import BrokerSection, SparkplugSection
from edge_resad.device.sparkplug.bd_seq import BdSeq
from edge_resad.device.sparkplug.edge_node import EdgeNode, Readings, SparkplugMessage
from edge_resad.device.sparkplug.payload import asks_for_rebirth, payload_class
from edge_resad.device.timing import Timing
from edge_resad.device.worker import Worker
from edge_resad.errors import SettingsError
from edge_resad.takeover import TAKEN_OVER, TakeoverDetector

log = logging.getLogger(__name__)

LOOK_S = 0.2  # between two looks at what is said at once
REBIRTH_S = 1.0  # between two rebirths, however often they are asked for
GIVE_WAY_S = 600.0  # before the next try where the broker takes this connection for the station's own
CLOSE_S = 0.3
GOODBYE_S = 0.2


class View(Protocol):
    """What is shown, such as `edge_resad.device.sparkplug.station_view.StationView`."""

    def urgent(self) -> Hashable:
        """What is worth a message at once when it is another."""

    def readings(self) -> Readings:
        """All of it."""


class Sparkplug:
    """While the context lasts a SCADA sees the station. What fails here is a sentence in `problem` and in the log."""

    def __init__(
        self,
        told: SparkplugSection,
        broker: BrokerSection,
        view: View,
        *,
        device: str,
        bd_seq_file: Path,
        timing: Timing | None = None,
        give_way_s: float = GIVE_WAY_S,
    ) -> None:
        """device: the station's name, of which the node and the client have theirs where none are set."""
        self._told = told
        self._broker = told.access(broker)
        self._view = view
        self._client_id = told.client_of(device)
        self._node = EdgeNode(told.group, told.node_of(device))
        self._bd_seq = BdSeq(bd_seq_file)
        self._timing = timing or Timing()
        self._give_way_s = give_way_s
        self._backoff = Backoff(broker.reconnect_min_s, broker.reconnect_max_s)
        self._takeover = TakeoverDetector(short_s=self._timing.short_s)
        self._problem: str | None = "Sparkplug is not connected yet"
        self._closing = threading.Event()
        self._worker = Worker(self._work, name="sparkplug", closing=self._closing)

    def __enter__(self) -> Sparkplug:
        """Raises SettingsError where protobuf, a password or a certificate is missing."""
        payload_class()
        self._access()
        self._bell = Bell()
        self._worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._closing.set()
        self._bell.ring()
        self._worker.join(CLOSE_S)
        if not self._worker.is_alive():  # one that still waits for the network keeps its bell, not us
            self._bell.close()

    def problem(self) -> str | None:
        """What is wrong now, in a sentence; None: a SCADA can see the station. From any thread."""
        return self._problem

    @property
    def _who(self) -> str:
        return self._broker.username or self._client_id

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                wait_s = self._live_once()
            except Exception as error:
                self._say(f"stumbled ({type(error).__name__}) and begins anew; the log says over what")
                raise
            self._closing.wait(wait_s)

    def _live_once(self) -> float:
        """Connect and stay as long as it lasts; how long to wait before the next time, in seconds."""
        versions: list[Version] = ["5", "3.1.1"] if self._broker.protocol == "auto" else [self._broker.protocol]
        for version in versions:
            bd_seq = self._bd_seq.next()
            connection = self._connect(version, bd_seq)
            if connection is None:
                return self._backoff.next()
            if connection.accepted:
                return self._serve(connection, bd_seq)
            knows_no_better = connection.refused is None or connection.refused[0] == UNSUPPORTED_PROTOCOL
            if version == versions[-1] or not knows_no_better or self._closing.is_set():
                return self._not_let_in(connection)
        raise AssertionError("one of the protocols was the last")

    def _connect(self, version: Version, bd_seq: int) -> Connection | None:
        """A connection that the broker has answered or closed; None where there is none."""
        where = self._broker.where
        try:
            access = self._access()
            if access.tls is not None and self._broker.without_clock == "wait" and not is_set(time.time()):
                self._say("waits for this station's clock to be set, without which no certificate can be judged")
                return None
            death = self._node.death(bd_seq, time.time())
            will = Will(topic=death.topic, payload=death.payload, delay_s=0, retain=False, content_type=None)
            connection = Connection(access, version, will, clean_start=True, session_s=0)
            connection.open()
            self._bd_seq.used()
        except SettingsError as error:
            self._say(f"cannot connect: {error}")
            return None
        except OSError as error:
            self._say(f"has no connection to the broker at {where} ({error.strerror or error})")
            return None
        if not self._pumped(connection, self._timing.connack_s, lambda: connection.accepted or connection.refused):
            connection.give_up("it does not answer")
        if not connection.accepted:
            connection.close()
        return connection

    def _access(self) -> Access:
        return read_access(self._broker, client_id=self._client_id, connect_timeout_s=self._timing.connect_s)

    def _not_let_in(self, connection: Connection) -> float:
        where = self._broker.where
        if self._closing.is_set():
            return 0.0
        if connection.refused is None:
            self._say(f"is not let in by the broker at {where}: {connection.closed}")
            return self._backoff.next()
        self._say(
            f"is refused by the broker at {where} ({connection.refused[1]}). Check that it lets "
            f"{self._who!r} write {self._node.topic('NDEATH')} and what is beside it, "
            "and [sparkplug] username, password_file, cert_file and client_id"
        )
        return self._backoff.slow()

    def _serve(self, connection: Connection, bd_seq: int) -> float:
        """Say what there is until the connection ends or we are told to stop."""
        began = time.monotonic()
        commands = self._node.topic("NCMD")
        try:
            connection.subscribe([commands])
            self._pumped(connection, self._timing.suback_s, lambda: not connection.awaits_suback)
            self._say(None)
            log.info("Sparkplug: connected to %s with MQTT %s", self._broker.where, connection.protocol)
            self._converse(connection, bd_seq, began)
            if self._closing.is_set() and connection.closed is None:
                self._send(connection, [self._node.death(bd_seq, time.time())], qos=1)
                connection.disconnect()
                self._pumped(connection, GOODBYE_S, lambda: False, leaving=True)
                return 0.0
        finally:
            connection.close()
        return self._after(connection, began)

    def _converse(self, connection: Connection, bd_seq: int, began: float) -> None:
        urgent: Hashable = None
        due = born = float("-inf")  # when to say what has changed; when all was said last
        reborn = True  # to be said is everything
        while connection.closed is None and not self._closing.is_set():
            if self._heard_rebirth(connection):
                reborn = True
            now, seen = time.monotonic(), self._view.urgent()
            if reborn and now >= born + REBIRTH_S:
                self._send(connection, self._node.births(bd_seq, self._view.readings(), time.time()))
                reborn, born, urgent, due = False, now, seen, now + self._told.every_s
            elif not reborn and (seen != urgent or now >= due):
                self._send(connection, self._node.changes(self._view.readings(), time.time()))
                urgent, due = seen, now + self._told.every_s
            self._holds(connection, began, now)
            connection.pump(LOOK_S, self._bell)

    def _heard_rebirth(self, connection: Connection) -> bool:
        """Deal with what came; whether a host asked for everything."""
        asked = False
        while connection.heard:
            heard, packet_id, qos = connection.heard.popleft()
            connection.dealt_with(packet_id, qos)
            asked |= not heard.retain and asks_for_rebirth(heard.payload)  # a retained one would ask each time
        return asked

    def _holds(self, connection: Connection, began: float, now: float) -> None:
        """A connection works: after a while that says that all is well."""
        if now - began >= self._timing.short_s:
            self._backoff.reset()
            self._takeover.holds(began, now)
        if connection.deaf_to:
            topic, said = connection.deaf_to[0]
            self._say(
                f"may not hear {topic} ({said}), so no host can ask for a rebirth. Let {self._who!r} read there, "
                f"and see that it may write {self._node.topic('NBIRTH')} and what is beside it"
            )

    def _after(self, connection: Connection, began: float) -> float:
        """A connection was lost: how long to wait."""
        where = self._broker.where
        self._takeover.ended(began, time.monotonic(), told=connection.close_reason == TAKEN_OVER)
        if self._takeover.suspicious:
            self._say(
                f"is thrown out by the broker at {where} right after it came ({connection.closed}), as another client "
                "has its name, which may be the station itself; it gives way. Where the broker takes names from "
                "certificates, give [sparkplug] a cert_file of its own; else see that its client_id is one of a kind"
            )
            self._takeover.forget()
            return self._give_way_s
        self._say(f"lost its connection to the broker at {where}: {connection.closed}")
        return self._backoff.next()

    def _send(self, connection: Connection, messages: Iterable[SparkplugMessage], *, qos: int = 0) -> None:
        for message in messages:
            connection.send(message.topic, message.payload, qos=qos, content_type=None, user={})

    def _pumped(
        self, connection: Connection, within_s: float, done: Callable[[], object], *, leaving: bool = False
    ) -> bool:
        """Wait for something to be so; False where it did not come, and nobody closed or is closing."""
        until = time.monotonic() + within_s
        while not done() and connection.closed is None and (leaving or not self._closing.is_set()):
            left = until - time.monotonic()
            if left <= 0:
                return False
            connection.pump(left, self._bell)
        return True

    def _say(self, problem: str | None) -> None:
        """problem: goes on from the word Sparkplug."""
        sentence = None if problem is None else f"Sparkplug {problem.rstrip('.')}. Nothing else waits for it."
        if sentence is not None and sentence != self._problem:
            log.warning("%s", sentence)
        self._problem = sentence
