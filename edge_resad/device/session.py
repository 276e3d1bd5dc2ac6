"""A session: one connection at work, taking letters from the spool to the broker."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

from edge_resad.device.bell import Bell
from edge_resad.device.collectors import Collectors
from edge_resad.device.connection import Connection, packet_size
from edge_resad.device.crash_points import reach
from edge_resad.device.hearing import Hearing
from edge_resad.device.link import NOBODY_SUBSCRIBES, PoisonDetector, fate_of
from edge_resad.device.outgoing import Outgoing
from edge_resad.device.presence import Presence
from edge_resad.device.refusal import (
    collector_stores_nothing,
    collectors_gone,
    no_collector,
    nobody_acknowledges,
    nobody_subscribes,
    not_heard,
    state_too_large,
    topic_refused,
)
from edge_resad.device.settings import BrokerSection, SpoolSection
from edge_resad.device.spool import Letter, Spool
from edge_resad.device.telegram import Telegram, Telegrams
from edge_resad.device.timing import Timing
from edge_resad.device.window import Window, held_as
from edge_resad.messages import COLLECTOR_STATES, JSON_TYPE, birth_id, type_of

log = logging.getLogger(__name__)


class Session:
    """Sends letters, the new ones first, as many at a time as the broker allows, and settles what it answers.

    It ends when the outbox begins another stream: the station then announces itself anew.
    """

    def __init__(
        self,
        connection: Connection,
        spool: Spool,
        presence: Presence,
        poison: PoisonDetector,
        bell: Bell,
        hearing: Hearing,
        telegrams: Telegrams,
        *,
        collectors: Collectors,
        bd_seq: int,
        broker: BrokerSection,
        delivery: SpoolSection,
        timing: Timing,
    ) -> None:
        self.connection = connection
        self.began = time.monotonic()
        self.problem: str | None = None  # what the broker does not take now
        self.state_waits = False  # a state was sent, and the broker has not answered
        self._spool = spool
        self._presence = presence
        self._poison = poison
        self._bell = bell
        self._hearing = hearing
        self._telegrams = telegrams
        self._collectors = collectors
        self._bd_seq = bd_seq
        self._broker = broker
        self._timing = timing
        self.window = Window(1 if poison.careful else self._cap, retry_s=timing.retry_s)
        # Not what is in memory still: a power cut would take back numbers that others had been told of by then.
        self._live_from_seq = max(1, spool.committed_seq + 1)
        self._stream_id = spool.stream_id
        self._kept = delivery.ack == "collector"
        self.outgoing = Outgoing(
            self._live_from_seq,
            per_s=delivery.drain_per_s or None,
            now=self.began,
            ack_s=timing.ack_s,
            ack_max_s=timing.ack_max_s,
            come_s=timing.come_s,
        )
        self._unheard_since: float | None = None  # when the first letter went that came before any acknowledgement
        self._asked_for: set[str] = set()  # topic filters
        self._on_the_wire: dict[int, Telegram] = {}  # packet id -> what waits for the broker's answer
        self._tell_at = self.began
        self._refusals: dict[str, tuple[int, str]] = {}  # topic -> what the broker said last when it refused
        self._state_refusal: str | None = None  # what the broker said when it refused our birth
        self._stop_at: float | None = None
        self._said_version = 0  # of the presence
        self._said_dead = False  # that there are dead letters
        self._said_ill = False  # that something is wrong with the outbox
        self._announced = 0  # times
        self._announce_at = float("inf")  # when to say it again

    def announce(self) -> None:
        """Say that the station is there, and how it and its cameras do."""
        wrong = self._spool.health()
        self._said_ill = wrong is not None
        self._presence.set_problem("spool", wrong)
        self._said_version = self._presence.version
        self._said_dead = self._spool.dead > 0  # before it is counted: one that comes in between is said once more
        again = self._announced
        event_id = birth_id(self._spool.stream_id, self._bd_seq, again)
        for left_out in self._presence.forms:
            payload = self._presence.birth(
                bd_seq=self._bd_seq,
                live_from_seq=self._live_from_seq,
                again=again,
                left_out=left_out,
            )
            if self._send_state(payload, event_id) is not None:
                self._say_if_too_large(is_whole=not left_out, is_sent=True)
                break
        else:
            self._say_if_too_large(is_whole=False, is_sent=False)
        self._announced += 1
        self._announce_at = time.monotonic() + self._timing.state_s

    def _say_if_too_large(self, *, is_whole: bool, is_sent: bool) -> None:
        problem = None
        if not is_whole:
            problem = state_too_large(self.connection.maximum_packet, where=self._broker.where, is_sent=is_sent)
        if problem is not None and problem != self._presence.too_large:
            log.warning("%s", problem)
        self._presence.too_large = problem

    def step(self, *, stopping: bool) -> bool:
        """Settle, send and wait for news, at most a second; False where the session is over."""
        connection, window, now = self.connection, self.window, time.monotonic()
        self._settle(now)
        self._listen()
        if connection.closed is not None or self._spool.stream_id != self._stream_id:
            return False
        if not self._announced:
            left_s = self.began + self._timing.suback_s - now
            if connection.awaits_suback and left_s > 0 and not stopping:
                connection.pump(left_s, self._bell)
                return True
            self.announce()  # now that it hears: who reads this may speak to it at once
        # The first dead letter at once, how many there are with the next state: a broker may refuse part after part.
        changed = self._presence.version != self._said_version or (self._spool.dead > 0) != self._said_dead
        # An outbox may be ill and well again with every commit: that is said at once, and not all the time.
        calm = self._announce_at - now <= self._timing.state_s - self._timing.ill_s
        changed = changed or (calm and (self._spool.health() is not None) != self._said_ill)
        if (changed or now >= self._announce_at) and window.room and not stopping:
            self.announce()
        if now >= self._tell_at:
            self._spool.tell_gaps()
            self._tell_at = now + self._timing.gaps_s
        self._send_telegrams(now)
        more = self._fill(now)
        if stopping:
            self._stop_at = self._stop_at or now + self._timing.drain_s
            if now >= self._stop_at or (not window.on_the_way and self._spool.waiting() == 0):
                return False
        if window.silent_for(now) > self._timing.puback_s:
            connection.give_up("it takes messages and acknowledges none")
            return False
        connection.pump(0.0 if more or connection.heard else 0.05 if self._stop_at else self._pause_s, self._bell)
        return True

    def acknowledged(self, ranges: Iterable[tuple[int, int]]) -> None:
        """A collector has these letters."""
        self._unheard_since = None
        self.outgoing.acknowledged(ranges, time.monotonic())

    def collector_came(self) -> None:
        """There is one, and there was none."""
        self.outgoing.collector_came(time.monotonic())

    def give_back(self) -> None:
        """The connection is lost: telegrams that the broker did not answer wait for the next one."""
        self._telegrams.give_back(list(self._on_the_wire.values()))
        self._on_the_wire.clear()

    def leave(self) -> None:
        """Leave word that we went on purpose, and go."""
        if self.connection.closed is not None or self.window.room == 0:  # it takes no more: let it say our will
            return
        payload = self._presence.offline(bd_seq=self._bd_seq)
        packet_id = self._send_state(payload, f"{self._spool.stream_id}-d{self._bd_seq}")
        if packet_id is None:  # without a goodbye the broker says our will, which it has taken
            return
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
        self.outgoing.delivered(letter.seq)

    def bury_at(self, seq: int, why: str) -> None:
        """Give a letter up that is on its way, if it waits still: another may be first by now, or have its number."""
        sent = self.window.letter(seq)
        found = self._spool.oldest(1, seq - 1)
        if sent is None or not found or self._spool.event_id(found[0]) != self._spool.event_id(sent):
            return
        self.bury(sent, why)

    @property
    def _cap(self) -> int:
        return min(self._broker.max_inflight, self.connection.receive_maximum)

    def _settle(self, now: float) -> None:
        """Take the broker's answers to what we sent."""
        delivered: list[Letter] = []
        while self.connection.answers:
            packet_id, reason, name = self.connection.answers.popleft()
            fate = fate_of(reason, final=not self._kept)
            letter = self.window.answered(packet_id, fate, now)
            if letter is None:
                self._settle_other(packet_id, name if fate_of(reason) != "delivered" else None)
                continue
            if fate == "later":
                self._refusals[held_as(letter)] = (reason, name)
                self.outgoing.delivered(letter.seq)  # it is held, and asks again
                continue
            self._poison.acknowledged()
            if fate == "never":
                self.bury(letter, f"the broker said: {name}")
            elif not self._kept:
                delivered.append(letter)
            else:
                self.window.cap = self._cap
        again_from = self.window.take_back()
        if again_from is not None:
            self.outgoing.rewind(again_from)
        if delivered:
            self._spool.published(delivered)
            self.window.cap = self._cap
        self._report()

    def _settle_other(self, packet_id: int, refused: str | None) -> None:
        """The broker answered to a state or a telegram."""
        telegram = self._on_the_wire.pop(packet_id, None)
        if telegram is None:
            self._state_refusal, self.state_waits = refused, False
        elif refused is not None:
            log.warning("the broker does not take a message on %s: %s", telegram.topic, refused)

    def _listen(self) -> None:
        """Ask for what others want to hear, and hand on what came."""
        connection = self.connection
        new = [topic_filter for topic_filter in self._hearing.filters if topic_filter not in self._asked_for]
        # What can be done without is asked for by itself: a broker may refuse the whole of a request.
        for some in ([one for one in new if one != COLLECTOR_STATES], [one for one in new if one == COLLECTOR_STATES]):
            if some and connection.closed is None:
                connection.subscribe(some)
                self._asked_for.update(some)
        while connection.heard:
            heard, packet_id, qos = connection.heard.popleft()
            self._hearing.hand_on(heard)
            connection.dealt_with(packet_id, qos)

    def _send_telegrams(self, now: float) -> None:
        while self.window.room and self.connection.closed is None:
            telegram = self._telegrams.take(now)
            if telegram is None:
                return
            user = dict(telegram.user)
            payload = self._fitting(telegram, user)
            if payload is None:
                continue
            packet_id = self.connection.send(
                telegram.topic,
                payload,
                qos=telegram.qos,
                retain=telegram.retain,
                content_type=telegram.content_type,
                user=user,
                expiry_s=telegram.left_s(now),
                correlation=telegram.correlation,
            )
            if telegram.qos:
                self._on_the_wire[packet_id] = telegram
                self.window.sent(packet_id, None, now)

    def _fitting(self, telegram: Telegram, user: Mapping[str, str]) -> bytes | None:
        """What of it the broker takes: all, or what is short; None where it takes neither."""
        limit = self.connection.maximum_packet
        for payload in (telegram.payload, telegram.short):
            if payload is None:
                continue
            size = packet_size(telegram.topic, payload, content_type=telegram.content_type, user=user)
            if limit is None or size + 32 + len(telegram.correlation or b"") <= limit:
                return payload
            log.warning("a message on %s is larger than the broker takes: %d bytes", telegram.topic, size)
        return None

    @property
    def _pause_s(self) -> float:
        """How long nothing needs to be done where nobody rings."""
        wait_s = self.outgoing.rate.wait_s() if self.outgoing.has_backlog else 0.0
        return min(1.0, wait_s) if wait_s else 1.0

    def _report(self) -> None:
        """Keep the sentence about what the broker does not take now up to date."""
        deaf_to = [deaf for deaf in self.connection.deaf_to if deaf[0] != COLLECTOR_STATES]
        topic = next(iter(self.window.held_topics), None)
        if topic is None and self._state_refusal is not None:
            topic = self._presence.topic
        problem = unwanted = None
        if topic is not None:
            reason, said = self._refusals.get(topic, (None, str(self._state_refusal)))
            user = self._broker.username or self._presence.device
            problem = topic_refused(topic, said, where=self._broker.where, user=user)
            if reason == NOBODY_SUBSCRIBES:
                problem = unwanted = nobody_subscribes(topic, where=self._broker.where)
        elif deaf_to:
            topic_filter, said = deaf_to[0]
            user = self._broker.username or self._presence.device
            problem = not_heard(topic_filter, said, where=self._broker.where, user=user)
        elif self._kept:
            problem = self._unstored()
        if problem is not None and problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem
        self._presence.set_problem("delivery", unwanted)

    def _unstored(self) -> str | None:
        """Why nobody stores what we say; None where somebody seems to."""
        collectors, where = self._collectors, self._broker.where
        if collectors.gone:
            return collectors_gone(collectors.gone, where=where)
        if self.outgoing.silent:
            there = collectors.there
            return collector_stores_nothing(there, where=where) if there else nobody_acknowledges(where=where)
        hears = COLLECTOR_STATES in self.connection.hears and self.connection.retains
        since = self._unheard_since
        if collectors.unknown and hears and since is not None and time.monotonic() - since > self._timing.states_s:
            return no_collector(where=where)
        return None

    def _fill(self, now: float) -> bool:
        """Send what may go; True where more could follow at once."""
        window, outgoing = self.window, self.outgoing
        for topic, seq in window.due(now):
            if window.room == 0:
                return False
            asks = self._spool.oldest(1, seq - 1)
            if asks and held_as(asks[0]) == topic:
                self._send(asks[0], now)
            else:  # it was given up meanwhile
                window.release(topic)
        if self._kept:
            outgoing.sweep(now, self._first_waiting)
            self._report()
        outgoing.catch_up(self._spool.next_seq)
        more = self._fill_live(now)
        return self._fill_backlog(now) or more

    def _fill_live(self, now: float) -> bool:
        """What this connection has not sent: all that waits of one lane goes before the next one's turn."""
        window, outgoing, more = self.window, self.outgoing, False
        committed = self._spool.committed_seq  # no lane sees more: a picture could overtake its alert
        for lane in outgoing.lanes:
            if lane.live >= committed:
                continue
            if window.room == 0 or (lane.flooded and window.room * 2 < window.cap):
                return False
            limit = max(window.room, 16)
            page = self._spool.oldest(limit, lane.live, committed, lane.kinds)
            lane.flooded = len(page) == limit
            for letter in page:
                if window.room == 0 or self.connection.closed is not None:
                    return False
                if not outgoing.is_out(letter.seq):
                    if not outgoing.may_go(letter):
                        break
                    if window.admits(letter):
                        self._send(letter, now)
                        if letter.seq < self._live_from_seq:
                            outgoing.counted(letter)
                lane.live, more = letter.seq, True
            else:
                if lane.flooded:
                    return True
                lane.live = committed
        return more

    def _fill_backlog(self, now: float) -> bool:
        """What is old: it leaves a quarter of the window to what is new."""
        window, outgoing, more = self.window, self.outgoing, False
        room = min(outgoing.room(now), window.room - window.cap // 4)
        if room <= 0 or (room * 2 < window.cap and room < outgoing.room(now)):
            return False
        whole = self._spool.committed_seq >= outgoing.until
        for lane in outgoing.lanes:
            if lane.backlog >= outgoing.until:
                continue
            limit = max(room, 16)
            page = self._spool.oldest(limit, lane.backlog, outgoing.until, lane.kinds)
            for letter in page:
                if room == 0 or self.connection.closed is not None:
                    return False
                if not outgoing.is_out(letter.seq):
                    if not outgoing.may_go(letter):
                        break
                    if window.admits(letter):
                        self._send(letter, now)
                        outgoing.counted(letter)
                        room -= 1
                lane.backlog, more = letter.seq, True
            else:
                if len(page) == limit:
                    return True
                if whole:
                    lane.backlog = outgoing.until
        return more

    def _first_waiting(self) -> int | None:
        first = self._spool.oldest(1)
        return first[0].seq if first else None

    def _send(self, letter: Letter, now: float) -> None:
        user = {"id": self._spool.event_id(letter)}
        if letter.seq < self._live_from_seq:
            user["historical"] = "true"
        try:
            user["type"] = type_of(letter.topic)
            size = packet_size(letter.topic, letter.body, content_type=letter.content_type, user=user)
            limit = self.connection.maximum_packet
            if limit is not None and size > limit:
                self.bury(letter, f"{size} bytes are more than the {limit} that the broker takes")
                return
            self._spool.sent(letter)  # before it goes: a collector may be quicker than the broker's answer
            packet_id = self.connection.send(letter.topic, letter.body, content_type=letter.content_type, user=user)
        except ValueError as error:  # a topic that cannot be
            self.bury(letter, str(error))
            return
        self.window.sent(packet_id, letter, now)
        self.outgoing.sent(letter.seq, now, kept=self._kept)
        if self._unheard_since is None:
            self._unheard_since = now
        reach("after-publish")

    def _send_state(self, payload: bytes, event_id: str) -> int | None:
        """Its packet id; None where the broker takes no message so large, and would hang up."""
        topic = self._presence.topic
        user = {"id": event_id, "type": type_of(topic)}
        limit = self.connection.maximum_packet
        if limit is not None and packet_size(topic, payload, content_type=JSON_TYPE, user=user) > limit:
            return None
        packet_id = self.connection.send(topic, payload, retain=True, content_type=JSON_TYPE, user=user)
        self.window.sent(packet_id, None, time.monotonic())
        self.state_waits = True
        return packet_id

    def _waited(self, until: float) -> bool:
        """Wait for news once; False where there is no time left or nobody to hear from."""
        left = until - time.monotonic()
        if self.connection.closed is not None or left <= 0:
            return False
        self.connection.pump(left, self._bell)
        return True
