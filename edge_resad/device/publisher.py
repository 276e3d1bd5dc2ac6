"""The publisher: takes what waits in the spool to the broker, in order, for ever."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from edge_resad.device.connection import Access, Connection, Protocol, Will, packet_size
from edge_resad.device.link import (
    TAKEN_OVER,
    UNSUPPORTED_PROTOCOL,
    Backoff,
    LinkStatus,
    PoisonDetector,
    TakeoverDetector,
    blames_a_letter,
    fate_of,
    refusal,
)
from edge_resad.device.settings import BrokerSection, StationSection
from edge_resad.device.spool import Letter, Spool
from edge_resad.device.window import Window
from edge_resad.errors import SettingsError
from edge_resad.messages import JSON_TYPE, Address, birth_message, offline_message, type_of

__all__ = ["LinkStatus", "Publisher", "Timing"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How patient a publisher is, in seconds."""

    connect_s: float = 5.0  # for the socket and TLS
    connack_s: float = 10.0  # for the broker to let us in
    puback_s: float = 30.0  # without any answer to what was sent
    retry_s: float = 10.0  # before a letter that was refused for now asks again; doubles up to 5 minutes
    short_s: float = 5.0  # a connection that holds no longer says something
    drain_s: float = 0.8  # on close, for what still waits
    goodbye_s: float = 0.4  # on close, for the broker to take our leave
    close_s: float = 1.9  # then the thread is left to itself
    will_delay_s: int = 5


@dataclass(kw_only=True)
class _Session:
    """One connection at work."""

    connection: Connection
    window: Window
    bd_seq: int
    began: float
    live_from_seq: int
    refusals: dict[str, str] = field(default_factory=dict)  # topic -> what the broker said last when it refused
    state_refusal: str | None = None  # what the broker said when it refused our birth


class Publisher:
    """Owns one thread, which alone speaks with the broker. A line never waits for it."""

    def __init__(
        self,
        spool: Spool,
        broker: BrokerSection,
        station: StationSection,
        *,
        birth: Mapping[str, object],
        timing: Timing | None = None,
    ) -> None:
        """birth: what the station says of itself when it connects: version, bundle, product, anything else."""
        self._spool = spool
        self._broker = broker
        self._station = station
        self._facts = {"product": station.product, **birth}
        self._timing = timing or Timing()
        self._where = f"{broker.host}:{broker.port}"

    def __enter__(self) -> Publisher:
        self._address = Address(site=self._station.site, line=self._station.line, device=self._station.device)
        self._access()  # a missing file is said now, not in the thread
        self._birth(bd_seq=0, live_from_seq=1)  # so is a fact that cannot be sent
        self._backoff = Backoff(self._broker.reconnect_min_s, self._broker.reconnect_max_s)
        self._takeover = TakeoverDetector(short_s=self._timing.short_s)
        self._poison = PoisonDetector()
        self._link_problem: str | None = None
        self._letter_problem: str | None = None
        self._protocol: Protocol | None = None  # while connected
        self._known = False  # this run has been connected before
        self._stopping = threading.Event()
        self._bell, self._wake = socket.socketpair()
        self._bell.setblocking(False)
        self._wake.setblocking(False)
        self._unlisten = self._spool.listen(self._ring)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unlisten()
        self._stopping.set()
        self._ring()
        self._thread.join(self._timing.close_s)
        if self._thread.is_alive():
            log.warning("the broker at %s did not let us go in time; what waits stays in the spool", self._where)
            return
        self._bell.close()
        self._wake.close()

    @property
    def status(self) -> LinkStatus:
        """How it stands now; may be asked from any thread."""
        protocol = self._protocol
        problem = self._link_problem or self._letter_problem
        if not self._thread.is_alive() and not self._stopping.is_set():
            protocol, problem = None, "the publisher has stopped. Restart the station; its log says why."
        return LinkStatus(
            connected=protocol is not None,
            protocol=protocol,
            waiting=self._spool.waiting(),
            dead=self._spool.dead,
            problem=problem,
        )

    def _ring(self) -> None:
        with suppress(OSError):  # full: it rings already; closed: nobody listens
            self._bell.send(b"!")

    def _run(self) -> None:
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
            log.info("the broker at %s does not answer in MQTT %s", self._where, protocol)
        raise AssertionError("one of the protocols was the last")

    def _connect(self, protocol: Protocol, bd_seq: int) -> Connection | None:
        """A connection that the broker has answered or closed; None where there is no broker."""
        payload = offline_message(self._address, bd_seq=bd_seq, **self._when())
        will = Will(topic=self._address.state_topic, payload=payload, delay_s=self._timing.will_delay_s)
        try:
            connection = Connection(self._access(), protocol, will, clean_start=not self._known)
            connection.open()
        except SettingsError as error:
            self._say(str(error))
            return None
        except OSError as error:
            self._say(_no_broker(self._where, error))
            return None
        until = time.monotonic() + self._timing.connack_s
        while not (connection.accepted or connection.refused or connection.closed or self._stopping.is_set()):
            left = until - time.monotonic()
            if left <= 0:
                connection.give_up("it does not answer")
                break
            self._pump(connection, left)
        if not connection.accepted:
            connection.close()
        return connection

    def _not_let_in(self, connection: Connection) -> float:
        if self._stopping.is_set():
            return 0.0
        if connection.refused is None:
            wants = "a certificate ([broker] cert_file)" if self._broker.ca_file else "TLS ([broker] ca_file)"
            hint = f" Does this port want {wants}?"
            self._say(f"the broker at {self._where} does not let us in: {connection.closed}.{hint}")
            return self._backoff.next()
        reason, name = connection.refused
        username, device = self._broker.username, self._station.device
        why = refusal(reason, name, where=self._where, username=username, device=device)
        self._say(why.problem)
        return self._backoff.slow() if why.slowly else self._backoff.next()

    def _serve(self, connection: Connection, bd_seq: int) -> float:
        """Deliver letters until the connection ends or we are told to stop."""
        cap = 1 if self._poison.careful else min(self._broker.max_inflight, connection.receive_maximum)
        session = _Session(
            connection=connection,
            window=Window(cap, retry_s=self._timing.retry_s),
            bd_seq=bd_seq,
            began=time.monotonic(),
            live_from_seq=self._spool.next_seq,
        )
        self._known = True
        self._protocol = connection.protocol
        self._letter_problem = None
        self._say(self._suspicion())
        log.info("connected to %s with MQTT %s", self._where, connection.protocol)
        try:
            self._announce(session)
            self._deliver(session)
            if connection.closed is None:
                self._say_goodbye(session)
        finally:
            connection.close()
            self._protocol = None
        return 0.0 if self._stopping.is_set() else self._after(session)

    def _announce(self, session: _Session) -> None:
        payload = self._birth(bd_seq=session.bd_seq, live_from_seq=session.live_from_seq)
        self._send_state(session, payload, f"{self._spool.stream_id}-b{session.bd_seq}")

    def _deliver(self, session: _Session) -> None:
        connection, window = session.connection, session.window
        stop_at: float | None = None
        while connection.closed is None:
            now = time.monotonic()
            self._settle(session, now)
            more = self._fill(session, now)
            if self._stopping.is_set():
                stop_at = stop_at or now + self._timing.drain_s
                if now >= stop_at or (not window.on_the_way and self._spool.waiting() == 0):
                    return
            if window.silent_for(now) > self._timing.puback_s:
                connection.give_up("it takes messages and acknowledges none")
                return
            if now - session.began >= self._timing.short_s:
                self._backoff.reset()
                self._takeover.holds(session.began, now)
                if self._link_problem is not None:
                    self._say(self._suspicion())
            self._pump(connection, 0.0 if more else 0.05 if stop_at else 1.0)
        self._settle(session, time.monotonic())

    def _settle(self, session: _Session, now: float) -> None:
        """Take the broker's answers to what we sent."""
        delivered: list[int] = []
        while session.connection.answers:
            packet_id, reason, name = session.connection.answers.popleft()
            fate = fate_of(reason)
            letter = session.window.answered(packet_id, fate, now)
            if letter is None:
                session.state_refusal = None if fate == "delivered" else name
                continue
            if fate == "later":
                session.refusals[letter.topic] = name
                continue
            self._poison.acknowledged()
            if fate == "delivered":
                delivered.append(letter.seq)
            else:
                self._bury(letter, f"the broker said: {name}")
        if delivered:
            self._spool.published(delivered)
            session.window.cap = min(self._broker.max_inflight, session.connection.receive_maximum)
        self._report(session)

    def _fill(self, session: _Session, now: float) -> bool:
        """Send what may go; True where more could follow at once."""
        window = session.window
        for topic, seq in window.due(now):
            if window.room == 0:
                return False
            asks = self._spool.oldest(1, seq - 1)
            if asks and asks[0].topic == topic:
                self._send(session, asks[0], now)
            else:  # it was given up meanwhile
                window.release(topic)
        if window.room * 2 < window.cap:
            return False
        page = self._spool.oldest(max(window.room, 16), window.cursor)
        for letter in page:
            if window.room == 0 or session.connection.closed is not None:
                return False
            if window.admits(letter):
                self._send(session, letter, now)
        return bool(page)

    def _send(self, session: _Session, letter: Letter, now: float) -> None:
        user = {"id": f"{self._spool.stream_id}-{letter.seq}"}
        if letter.seq < session.live_from_seq:
            user["historical"] = "true"
        try:
            user["type"] = type_of(letter.topic)
            size = packet_size(letter.topic, letter.body, content_type=letter.content_type, user=user)
            limit = session.connection.maximum_packet
            if limit is not None and size > limit:
                self._bury(letter, f"{size} bytes are more than the {limit} that the broker takes")
                return
            packet_id = session.connection.send(letter.topic, letter.body, content_type=letter.content_type, user=user)
        except ValueError as error:  # a topic that cannot be
            self._bury(letter, str(error))
            return
        session.window.sent(packet_id, letter, now)

    def _bury(self, letter: Letter, why: str) -> None:
        log.error("the message %d for %s will never be taken: %s", letter.seq, letter.topic, why)
        self._spool.refused(letter, why)

    def _say_goodbye(self, session: _Session) -> None:
        """Leave word that we went on purpose, and go."""
        connection = session.connection
        if session.window.room == 0:  # it takes nothing any more: let it say our will
            return
        payload = offline_message(self._address, bd_seq=session.bd_seq, **self._when())
        packet_id = self._send_state(session, payload, f"{self._spool.stream_id}-d{session.bd_seq}")
        until = time.monotonic() + self._timing.goodbye_s
        while connection.closed is None and (left := until - time.monotonic()) > 0:
            if any(answered == packet_id for answered, _, _ in connection.answers):
                break
            self._pump(connection, left)
        self._settle(session, time.monotonic())
        connection.disconnect()
        until = time.monotonic() + 0.1
        while connection.closed is None and (left := until - time.monotonic()) > 0:
            self._pump(connection, left)

    def _send_state(self, session: _Session, payload: bytes, event_id: str) -> int:
        topic = self._address.state_topic
        user = {"id": event_id, "type": type_of(topic)}
        packet_id = session.connection.send(topic, payload, retain=True, content_type=JSON_TYPE, user=user)
        session.window.sent(packet_id, None, time.monotonic())
        return packet_id

    def _after(self, session: _Session) -> float:
        """A connection was lost: draw the lessons, and answer how long to wait."""
        now = time.monotonic()
        connection, window = session.connection, session.window
        taken_over = connection.close_reason == TAKEN_OVER
        hung_up = not connection.given_up and now - session.began < self._timing.short_s
        if not connection.given_up:
            self._takeover.ended(session.began, now, told=taken_over)
        if hung_up and window.acknowledged == 0 and not taken_over:
            guilty = self._poison.hung_up(window.on_the_way, blamed=blames_a_letter(connection.close_reason))
            if guilty is not None:
                letters = self._spool.oldest(1, guilty - 1)
                self._bury(letters[0], f"the broker hangs up whenever it comes ({connection.closed})")
                self._takeover.forget()
        lost = (
            f"the connection to the broker at {self._where} was lost: {connection.closed}. Messages wait in the spool."
        )
        self._say(self._suspicion() or lost)
        return self._backoff.next()

    def _suspicion(self) -> str | None:
        if self._poison.careful:
            return (
                f"the broker at {self._where} hangs up without taking a message. "
                "Messages go one at a time now, to find the one it cannot take."
            )
        if self._takeover.suspicious:
            return (
                f"the connection to the broker at {self._where} is lost again and again right after it was made. "
                f"Another station seems to use the name {self._station.device!r} too: "
                "give each its own [station] device."
            )
        return None

    def _report(self, session: _Session) -> None:
        """Keep the sentence about what the broker does not take now up to date."""
        topic = next(iter(session.window.held_topics), None)
        if topic is None and session.state_refusal is not None:
            topic = self._address.state_topic
        said = session.refusals.get(topic or "", session.state_refusal)
        problem = None if topic is None else self._refused_for_now(topic, str(said))
        if problem is not None and problem != self._letter_problem:
            log.warning("%s", problem)
        self._letter_problem = problem

    def _refused_for_now(self, topic: str, said: str) -> str:
        return (
            f"the broker at {self._where} does not take messages on {topic} ({said}). "
            f"Check what it allows the user {self._broker.username or self._station.device!r}; "
            "messages wait and are tried again."
        )

    def _say(self, problem: str | None) -> None:
        if problem is not None and problem != self._link_problem:
            log.warning("%s", problem)
        self._link_problem = problem

    def _pump(self, connection: Connection, timeout_s: float) -> None:
        connection.pump(timeout_s, self._wake)
        with suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass

    def _birth(self, *, bd_seq: int, live_from_seq: int) -> bytes:
        spool = self._spool
        return birth_message(
            self._address,
            bd_seq=bd_seq,
            **self._when(),
            live_from_seq=live_from_seq,
            waiting=spool.waiting(),
            dropped=spool.dropped,
            facts=self._facts,
        )

    def _when(self) -> dict[str, Any]:
        return {"stream_id": self._spool.stream_id, "boot_id": self._spool.boot_id, "wall": time.time()}

    def _access(self) -> Access:
        """How to reach the broker; the files are read each time, so that a new password needs no restart."""
        broker = self._broker
        return Access(
            host=broker.host,
            port=broker.port,
            client_id=self._station.device,
            username=broker.username,
            password=_password(broker),
            tls=_tls(broker),
            keepalive_s=broker.keepalive_s,
            connect_timeout_s=self._timing.connect_s,
        )


def _password(broker: BrokerSection) -> str | None:
    if broker.password_file is None:
        return None
    if broker.username is None:
        raise SettingsError("[broker] has a password_file and no username. Set username, or remove password_file.")
    return _read(broker.password_file, "password_file").rstrip("\r\n")


def _tls(broker: BrokerSection) -> ssl.SSLContext | None:
    if broker.ca_file is None and broker.cert_file is None and broker.key_file is None:
        return None
    for name, path in _tls_files(broker):
        _read(path, name)
    if broker.key_file is not None and broker.cert_file is None:
        raise SettingsError("[broker] has a key_file and no cert_file. Set cert_file, or remove key_file.")
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
        context.sslsocket_class = _TidySocket
        if broker.cert_file is not None:
            context.load_cert_chain(broker.cert_file, broker.key_file)
    except (ssl.SSLError, OSError) as error:
        files = ", ".join(f"{name} = {path}" for name, path in _tls_files(broker))
        raise SettingsError(f"[broker] {files} cannot be used for TLS: {error}. They must be PEM files.") from error
    return context


class _TidySocket(ssl.SSLSocket):
    """Closes itself when the handshake fails, which the MQTT client leaves to chance."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _tls_files(broker: BrokerSection) -> Iterator[tuple[str, Path]]:
    files = (("ca_file", broker.ca_file), ("cert_file", broker.cert_file), ("key_file", broker.key_file))
    return ((name, path) for name, path in files if path is not None)


def _read(path: Path, setting: str) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(
            f"[broker] {setting} = {path} cannot be read: {why}. Check the path and its rights."
        ) from error


def _no_broker(where: str, error: OSError) -> str:
    waits = "Messages wait in the spool."
    if isinstance(error, ssl.SSLCertVerificationError):
        clock = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        return (
            f"the broker at {where} shows a certificate that cannot be trusted ({error.verify_message}). "
            f"Check [broker] ca_file, host and this station's clock (it says {clock} UTC). {waits}"
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"no TLS with the broker at {where} ({error.reason}). Check [broker] port, cert_file and key_file. {waits}"
        )
    return f"no broker at {where} ({error.strerror or error}). Check [broker] host and port, and the network. {waits}"
