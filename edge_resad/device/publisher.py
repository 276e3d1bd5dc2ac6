"""The publisher: takes what waits in the spool to the broker, in order, for ever."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from edge_resad.clock_floor import is_set
from edge_resad.device.access import Access, Certificate, read_access
from edge_resad.device.acknowledgements import Acknowledgements, AckRefusal
from edge_resad.device.bell import Bell
from edge_resad.device.collectors import Collectors
from edge_resad.device.connection import Connection, Protocol, Will
from edge_resad.device.hearing import Handler, Heard, Hearing
from edge_resad.device.link import Backoff, LinkStatus, PoisonDetector, blames_a_letter
from edge_resad.device.presence import AskFacts, AskStages, Presence
from edge_resad.device.refusal import (
    UNSUPPORTED_PROTOCOL,
    certificate_ended,
    hung_up,
    no_answer,
    no_broker,
    no_clock,
    refusal,
)
from edge_resad.device.session import Session
from edge_resad.device.settings import BrokerSection, SpoolSection, StationSection
from edge_resad.device.spool import Spool
from edge_resad.device.telegram import Telegram, Telegrams
from edge_resad.device.timing import Timing
from edge_resad.errors import SettingsError
from edge_resad.messages import COLLECTOR_STATES
from edge_resad.takeover import TAKEN_OVER, TakeoverDetector

__all__ = ["Heard", "LinkStatus", "Publisher", "Telegram", "Timing"]

log = logging.getLogger(__name__)

THROWN_OUT = 3  # times that a broker hangs up at a question that we can do without, before we do


class Publisher:
    """Owns one thread, which alone speaks with the broker. A line never waits for it."""

    def __init__(
        self,
        spool: Spool,
        broker: BrokerSection,
        station: StationSection,
        *,
        birth: Mapping[str, object],
        stages: AskStages | None = None,
        delivery: SpoolSection | None = None,
        changing: AskFacts | None = None,
        timing: Timing | None = None,
    ) -> None:
        """birth: what the station says of itself when it connects: version, bundle, product, anything else.
        stages: what each stage of a part's way takes by now; said when it connects and once a minute.
        delivery: whose word lets a letter leave the spool; without it the broker's.
        changing: more of what the station says of itself, asked for each time.
        """
        self._spool = spool
        self._broker = broker
        self._station = station
        self._facts = birth
        self._stages = stages
        self._delivery = delivery or SpoolSection(ack="broker")
        self._changing = changing
        self._timing = timing or Timing()
        self._hearing = Hearing()
        self._telegrams = Telegrams()
        self._bell: Bell | None = None
        self._acknowledgements = Acknowledgements(station.address)
        self._collectors = Collectors(station.site)
        self._thrown_out = 0  # times in a row that the broker hung up when it was asked for collectors' states
        self._address = station.address
        if self._delivery.ack == "collector":
            self._hearing.add(self._address.ack_topic, self._on_acknowledgement)
            self._unhear = self._hearing.add(COLLECTOR_STATES, self._on_collector)

    def __enter__(self) -> Publisher:
        self._presence = Presence(self._station, self._spool, self._facts, self._stages, self._changing)
        self._access()  # a missing file is said now, not in the thread
        self._presence.birth(bd_seq=0, live_from_seq=1)  # so is a fact that cannot be sent
        self._backoff = Backoff(self._broker.reconnect_min_s, self._broker.reconnect_max_s)
        self._takeover = TakeoverDetector(short_s=self._timing.short_s)
        self._poison = PoisonDetector()
        self._state_poison = PoisonDetector()  # of the one message that is no letter
        self._link_problem: str | None = None
        self._certificate: Certificate | None = None  # the station's own, of the last try
        self._older_said = False  # that the broker seems to know no newer protocol
        self._session: Session | None = None  # the last there was
        self._protocol: Protocol | None = None  # while connected
        self._stopping = threading.Event()
        bell = self._bell = Bell()
        self._unlisten = self._spool.listen(bell.ring)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        bell, self._bell = self._bell, None
        assert bell is not None
        self._unlisten()
        self._stopping.set()
        bell.ring()
        self._thread.join(self._timing.close_s)
        if self._thread.is_alive():
            log.warning("the broker at %s did not let us go in time; what waits stays in the spool", self._broker.where)

    def say_faults(self, faults: Mapping[str, tuple[str, ...]]) -> None:
        """Say in the station's state what is wrong with its cameras: camera -> faults. From any thread, at once."""
        self._presence.set_faults(faults)
        self._wake()

    def subscribe(self, topic_filter: str, handler: Handler) -> Callable[[], None]:
        """Have `handler` called, in the publisher's thread, with what comes on these topics; the answer ends that.

        It holds over every reconnection. What a handler raises is logged. A message is acknowledged to the broker after
        the handler returned, so after a crash it comes again; while the station is away, up to an hour with MQTT 5, it
        waits at the broker.
        """
        stop = self._hearing.add(topic_filter, handler)
        self._wake()
        return stop

    def say(self, telegram: Telegram) -> None:
        """Send what is worth something only now, past the spool. From any thread, at once; it may be lost."""
        self._telegrams.put(telegram)
        self._wake()

    def say_machine(self, figures: Mapping[str, float]) -> None:
        """How the machine does: goes with the next state. From any thread."""
        self._presence.set_machine(figures)

    def say_problem(self, part: str, sentence: str | None) -> None:
        """Say in the station's state what is wrong with another part of it, or with None that it is well again."""
        self._presence.set_problem(part, sentence)
        self._wake()

    def say_facts(self, **facts: object) -> None:
        """Say in the station's state what has changed of it, such as its product. From any thread, at once."""
        self._presence.set_facts(**facts)
        self._wake()

    @property
    def status(self) -> LinkStatus:
        """How it stands now; may be asked from any thread."""
        protocol, session = self._protocol, self._session
        problem = self._link_problem or (session.problem if session else None)
        if not self._thread.is_alive() and not self._stopping.is_set():
            protocol, problem = None, "the publisher has stopped. Restart the station; its log says why."
        return LinkStatus(
            connected=protocol is not None,
            protocol=protocol,
            waiting=self._spool.waiting(),
            dead=self._spool.dead,
            problem=problem,
            state_problem=self._presence.too_large if protocol is not None else None,
        )

    @property
    def refused_acknowledgements(self) -> Mapping[AckRefusal, int]:
        """What came where collectors say what they have stored, and was no such message for this station, by why."""
        return dict(self._acknowledgements.refused)

    def _wake(self) -> None:
        bell = self._bell
        if bell is not None:
            bell.ring()

    def _on_acknowledgement(self, heard: Heard) -> None:
        """A collector says what it has stored. Only letters of this station that were sent can leave for it."""
        said = self._acknowledgements.read(heard)
        if said is None:
            return
        self._collectors.acknowledged()
        ranges = self._spool.acknowledged(said.stream_id, said.stored)
        if ranges and self._session is not None:
            self._session.acknowledged(ranges)

    def _on_collector(self, heard: Heard) -> None:
        """A collector says that it is there or gone, or the broker says it for it."""
        before = self._collectors.gone
        came = self._collectors.hear(heard)
        if before and self._collectors.there:
            log.info("a collector is there again: %s", ", ".join(self._collectors.there))
        if came and self._session is not None:
            self._session.collector_came()

    def _run(self) -> None:
        bell = self._bell
        assert bell is not None
        self._rings = bell
        with contextlib.closing(bell):  # by this thread, which may be left behind
            while not self._stopping.is_set():
                try:
                    wait_s = self._live_once()
                except Exception as error:
                    log.exception("the publisher of %s stumbled", self._station.device)
                    self._say(f"the publisher stumbled ({error}) and begins again; messages wait in the spool.")
                    wait_s = self._backoff.next()
                self._stopping.wait(wait_s)

    def _live_once(self) -> float:
        """Connect and stay as long as it lasts; how long to wait before the next time, in seconds."""
        protocols: list[Protocol] = ["5", "3.1.1"] if self._broker.protocol == "auto" else [self._broker.protocol]
        for protocol in protocols:
            bd_seq = self._spool.begin_session()
            self._spool.flush(0.5)  # the number is on the disk before the broker hears it
            connection = self._connect(protocol, bd_seq)
            if connection is None:
                return self._backoff.next()
            if connection.accepted:
                return self._serve(connection, bd_seq)
            knows_no_better = connection.refused is None or connection.refused[0] == UNSUPPORTED_PROTOCOL
            if protocol == protocols[-1] or not knows_no_better or self._stopping.is_set():
                return self._not_let_in(connection)
            if connection.given_up:
                self._say(no_answer(where=self._broker.where))
            elif not self._older_said:
                self._older_said = True
                log.info("the broker at %s does not answer in MQTT %s", self._broker.where, protocol)
        raise AssertionError("one of the protocols was the last")

    def _connect(self, protocol: Protocol, bd_seq: int) -> Connection | None:
        """A connection that the broker has answered or closed; None where there is no broker."""
        will = Will(
            topic=self._presence.topic,
            payload=self._presence.offline(bd_seq=bd_seq),
            delay_s=self._timing.will_delay_s,
        )
        try:
            access = self._access()
            if access.tls is not None and self._broker.without_clock == "wait" and not is_set(time.time()):
                self._say(no_clock(time.time(), where=self._broker.where))
                return None
            self._certificate = access.certificate
            connection = Connection(access, protocol, will, clean_start=False)
            connection.open()
        except SettingsError as error:
            self._say(str(error))
            return None
        except OSError as error:
            self._say(no_broker(error, where=self._broker.where))
            return None
        until = time.monotonic() + self._timing.connack_s
        while not (connection.accepted or connection.refused or connection.closed or self._stopping.is_set()):
            left = until - time.monotonic()
            if left <= 0:
                connection.give_up("it does not answer")
                break
            connection.pump(left, self._rings)
        if not connection.accepted:
            connection.close()
        return connection

    def _access(self) -> Access:
        device = self._station.device
        return read_access(self._broker, client_id=device, connect_timeout_s=self._timing.connect_s, device=device)

    def _not_let_in(self, connection: Connection) -> float:
        broker = self._broker
        if self._stopping.is_set():
            return 0.0
        if connection.given_up:
            self._say(no_answer(where=broker.where))
            return self._backoff.next()
        if connection.refused is None and self._certificate is not None and self._certificate.ends_s < time.time():
            self._say(certificate_ended(self._certificate.ends_s, where=broker.where, file=broker.cert_file))
            return self._backoff.slow()
        if connection.refused is None:
            self._say(hung_up(str(connection.closed), where=broker.where, with_tls=broker.ca_file is not None))
            return self._backoff.next()
        reason, name = connection.refused
        why = refusal(reason, name, where=broker.where, username=broker.username, device=self._station.device)
        self._say(why.problem)
        return self._backoff.slow() if why.slowly else self._backoff.next()

    def _serve(self, connection: Connection, bd_seq: int) -> float:
        """Deliver letters until the connection ends or we are told to stop."""
        self._collectors.forget()
        session = self._session = Session(
            connection,
            self._spool,
            self._presence,
            self._poison,
            self._rings,
            self._hearing,
            self._telegrams,
            collectors=self._collectors,
            bd_seq=bd_seq,
            broker=self._broker,
            delivery=self._delivery,
            timing=self._timing,
        )
        self._protocol = connection.protocol
        self._say(self._suspicion())
        log.info("connected to %s with MQTT %s", self._broker.where, connection.protocol)
        try:
            while session.step(stopping=self._stopping.is_set()):
                self._holds(session)
            session.leave()
        finally:
            connection.close()
            session.give_back()
            self._protocol = None
        return 0.0 if self._stopping.is_set() else self._after(session)

    def _holds(self, session: Session) -> None:
        """A connection works: after a while that says that all is well."""
        now = time.monotonic()
        if now - session.began >= self._timing.short_s:
            self._backoff.reset()
            self._takeover.holds(session.began, now)
            if self._link_problem is not None:
                self._say(self._suspicion())

    def _after(self, session: Session) -> float:
        """A connection was lost: draw the lessons, and answer how long to wait."""
        now = time.monotonic()
        connection, window = session.connection, session.window
        answered_else = not connection.awaits(self._address.ack_topic)  # or it is the network that breaks
        self._thrown_out = self._thrown_out + 1 if answered_else and connection.awaits(COLLECTOR_STATES) else 0
        if self._thrown_out >= THROWN_OUT:  # there are brokers that hang up rather than say no
            log.info(
                "the broker at %s hangs up when it is asked who stores messages: it is not asked", self._broker.where
            )
            self._unhear()
        taken_over = connection.close_reason == TAKEN_OVER
        hung_up = not connection.given_up and now - session.began < self._timing.short_s
        if not connection.given_up:
            self._takeover.ended(session.began, now, told=taken_over)
        if hung_up and window.acknowledged == 0 and not taken_over:
            guilty = self._poison.hung_up(window.on_the_way, blamed=blames_a_letter(connection.close_reason))
            if guilty is not None:
                session.bury_at(guilty, f"the broker hangs up whenever it comes ({connection.closed})")
                self._takeover.forget()
        if not session.state_waits:
            self._state_poison.acknowledged()
        elif hung_up and not window.on_the_way and not taken_over:
            self._judge_state(blamed=blames_a_letter(connection.close_reason))
        lost = (
            f"the connection to the broker at {self._broker.where} was lost: {connection.closed}. "
            "Messages wait in the spool."
        )
        self._say(self._suspicion() or lost)
        return self._backoff.next()

    def _judge_state(self, *, blamed: bool) -> None:
        """The broker hung up at nothing but the state. blamed: it said so; a bad network looks the same for a while."""
        if self._state_poison.hung_up([0], blamed=blamed) is not None:
            self._presence.spare(blamed=blamed)
            self._takeover.forget()

    def _suspicion(self) -> str | None:
        if self._poison.careful:
            return (
                f"the broker at {self._broker.where} hangs up without taking a message. "
                "Messages go one at a time now, to find the one it cannot take."
            )
        if self._takeover.suspicious:
            return (
                f"the connection to the broker at {self._broker.where} is lost again and again right after it was "
                f"made. Another station seems to use the name {self._station.device!r} too: "
                "give each its own [station] device."
            )
        return None

    def _say(self, problem: str | None) -> None:
        if problem is not None and problem != self._link_problem:
            log.warning("%s", problem)
        self._link_problem = problem
