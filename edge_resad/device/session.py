"""A session: one connection at work, taking letters from the spool to the broker."""

from __future__ import annotations

import logging
import time

from edge_resad.device.bell import Bell
from edge_resad.device.connection import Connection, packet_size
from edge_resad.device.link import PoisonDetector, fate_of
from edge_resad.device.presence import Presence
from edge_resad.device.refusal import topic_refused
from edge_resad.device.settings import BrokerSection
from edge_resad.device.spool import Letter, Spool
from edge_resad.device.timing import Timing
from edge_resad.device.window import Window
from edge_resad.messages import JSON_TYPE, birth_id, type_of

log = logging.getLogger(__name__)


class Session:
    """Sends letters in order, as many at a time as the broker allows, and settles what it answers."""

    def __init__(
        self,
        connection: Connection,
        spool: Spool,
        presence: Presence,
        poison: PoisonDetector,
        bell: Bell,
        *,
        bd_seq: int,
        broker: BrokerSection,
        timing: Timing,
    ) -> None:
        self.connection = connection
        self.began = time.monotonic()
        self.problem: str | None = None  # what the broker does not take now
        self._spool = spool
        self._presence = presence
        self._poison = poison
        self._bell = bell
        self._bd_seq = bd_seq
        self._broker = broker
        self._timing = timing
        self.window = Window(1 if poison.careful else self._cap, retry_s=timing.retry_s)
        self._live_from_seq = spool.next_seq
        self._refusals: dict[str, str] = {}  # topic -> what the broker said last when it refused
        self._state_refusal: str | None = None  # what the broker said when it refused our birth
        self._stop_at: float | None = None
        self._said_version = 0  # of the presence
        self._announced = 0  # times
        self._announce_at = float("inf")  # when to say it again

    def announce(self) -> None:
        """Say that the station is there, and how it and its cameras do."""
        self._said_version = self._presence.version
        again = self._announced
        payload = self._presence.birth(bd_seq=self._bd_seq, live_from_seq=self._live_from_seq, again=again)
        self._send_state(payload, birth_id(self._spool.stream_id, self._bd_seq, again))
        self._announced += 1
        self._announce_at = time.monotonic() + self._timing.state_s

    def step(self, *, stopping: bool) -> bool:
        """Settle, send and wait for news, at most a second; False where the session is over."""
        connection, window, now = self.connection, self.window, time.monotonic()
        self._settle(now)
        if connection.closed is not None:
            return False
        changed = self._presence.version != self._said_version
        if (changed or now >= self._announce_at) and window.room and not stopping:
            self.announce()
        more = self._fill(now)
        if stopping:
            self._stop_at = self._stop_at or now + self._timing.drain_s
            if now >= self._stop_at or (not window.on_the_way and self._spool.waiting() == 0):
                return False
        if window.silent_for(now) > self._timing.puback_s:
            connection.give_up("it takes messages and acknowledges none")
            return False
        connection.pump(0.0 if more else 0.05 if self._stop_at else 1.0, self._bell)
        return True

    def leave(self) -> None:
        """Leave word that we went on purpose, and go."""
        if self.connection.closed is not None or self.window.room == 0:  # it takes no more: let it say our will
            return
        payload = self._presence.offline(bd_seq=self._bd_seq)
        packet_id = self._send_state(payload, f"{self._spool.stream_id}-d{self._bd_seq}")
        until = time.monotonic() + self._timing.goodbye_s
        while not any(answered == packet_id for answered, _, _ in self.connection.answers) and self._waited(until):
            pass
        self._settle(time.monotonic())
        self.connection.disconnect()
        until = time.monotonic() + 0.1
        while self._waited(until):
            pass

    def bury(self, letter: Letter, why: str) -> None:
        """Give a letter up: it would never be taken."""
        log.error("the message %d for %s will never be taken: %s", letter.seq, letter.topic, why)
        self._spool.refused(letter, why)

    @property
    def _cap(self) -> int:
        return min(self._broker.max_inflight, self.connection.receive_maximum)

    def _settle(self, now: float) -> None:
        """Take the broker's answers to what we sent."""
        delivered: list[int] = []
        while self.connection.answers:
            packet_id, reason, name = self.connection.answers.popleft()
            fate = fate_of(reason)
            letter = self.window.answered(packet_id, fate, now)
            if letter is None:
                self._state_refusal = None if fate == "delivered" else name
                continue
            if fate == "later":
                self._refusals[letter.topic] = name
                continue
            self._poison.acknowledged()
            if fate == "delivered":
                delivered.append(letter.seq)
            else:
                self.bury(letter, f"the broker said: {name}")
        if delivered:
            self._spool.published(delivered)
            self.window.cap = self._cap
        self._report()

    def _report(self) -> None:
        """Keep the sentence about what the broker does not take now up to date."""
        topic = next(iter(self.window.held_topics), None)
        if topic is None and self._state_refusal is not None:
            topic = self._presence.topic
        problem = None
        if topic is not None:
            said = self._refusals.get(topic, str(self._state_refusal))
            user = self._broker.username or self._presence.device
            problem = topic_refused(topic, said, where=self._broker.where, user=user)
        if problem is not None and problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem

    def _fill(self, now: float) -> bool:
        """Send what may go; True where more could follow at once."""
        window = self.window
        for topic, seq in window.due(now):
            if window.room == 0:
                return False
            asks = self._spool.oldest(1, seq - 1)
            if asks and asks[0].topic == topic:
                self._send(asks[0], now)
            else:  # it was given up meanwhile
                window.release(topic)
        if window.room * 2 < window.cap:
            return False
        page = self._spool.oldest(max(window.room, 16), window.cursor)
        for letter in page:
            if window.room == 0 or self.connection.closed is not None:
                return False
            if window.admits(letter):
                self._send(letter, now)
        return bool(page)

    def _send(self, letter: Letter, now: float) -> None:
        user = {"id": f"{self._spool.stream_id}-{letter.seq}"}
        if letter.seq < self._live_from_seq:
            user["historical"] = "true"
        try:
            user["type"] = type_of(letter.topic)
            size = packet_size(letter.topic, letter.body, content_type=letter.content_type, user=user)
            limit = self.connection.maximum_packet
            if limit is not None and size > limit:
                self.bury(letter, f"{size} bytes are more than the {limit} that the broker takes")
                return
            packet_id = self.connection.send(letter.topic, letter.body, content_type=letter.content_type, user=user)
        except ValueError as error:  # a topic that cannot be
            self.bury(letter, str(error))
            return
        self.window.sent(packet_id, letter, now)

    def _send_state(self, payload: bytes, event_id: str) -> int:
        topic = self._presence.topic
        user = {"id": event_id, "type": type_of(topic)}
        packet_id = self.connection.send(topic, payload, retain=True, content_type=JSON_TYPE, user=user)
        self.window.sent(packet_id, None, time.monotonic())
        return packet_id

    def _waited(self, until: float) -> bool:
        """Wait for news once; False where there is no time left or nobody to hear from."""
        left = until - time.monotonic()
        if self.connection.closed is not None or left <= 0:
            return False
        self.connection.pump(left, self._bell)
        return True
