"""The other ends of the wire: a real mosquitto, an embedded amqtt, and a broker that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shutil
import socket
import struct
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

MOSQUITTO = shutil.which(  # Debian and Homebrew keep it outside users' PATH
    "mosquitto", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/opt/homebrew/sbin"))
)


_FIRST_PORT, _WORKERS = 10_000, 16


def _ports() -> Iterator[int]:
    """Ports that the kernel gives to no connection by itself, and that no other worker of pytest offers."""
    try:
        end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:  # not Linux
        end = 0
    end = end if end > 2 * _FIRST_PORT else 32_768  # where it gives out nearly all there are, none is safe
    share = (end - _FIRST_PORT) // _WORKERS
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    mine = list(range(_FIRST_PORT + worker * share, _FIRST_PORT + (worker + 1) * share))
    random.Random(os.getpid()).shuffle(mine)  # another run on this machine begins elsewhere
    return cycle(mine)


_offered = _ports()


def free_port() -> int:
    """A loopback port that nobody listens on now, nor soon: a port that the kernel gives out could be any
    connection's before it is listened on, or while a broker there is restarted.
    """
    while True:
        with suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", next(_offered)))
            return int(sock.getsockname()[1])


def eventually(condition: Callable[[], bool], within_s: float = 60.0) -> bool:
    """Wait for a condition; False where it did not come true."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class Mosquitto:
    """A real broker on a free loopback port, which can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        users: dict[str, str] | None = None,
        acl: str | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._users = users
        self._acl = acl
        self._settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Mosquitto:
        self._folder.mkdir(parents=True, exist_ok=True)
        lines = [f"listener {self.port} 127.0.0.1", "user root", "persistence false", *self._settings]
        if self._users is None:
            lines.append("allow_anonymous true")
        else:
            passwords = self._folder / "passwords"
            passwords.write_text("".join(f"{user}:{word}\n" for user, word in self._users.items()))
            passwords.chmod(0o600)
            subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        if self._acl is not None:
            lines.append(f"acl_file {self._folder / 'acl'}")
            self.allow(self._acl)
        (self._folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def allow(self, acl: str) -> None:
        """Write the access list; `reload` makes a running broker read it."""
        path = self._folder / "acl"
        path.write_text(acl)
        path.chmod(0o600)

    def start(self) -> None:
        assert MOSQUITTO is not None, "a test that needs mosquitto carries the marker `broker`"
        command = [MOSQUITTO, "-c", str(self._folder / "mosquitto.conf")]
        with open(self._folder / "mosquitto.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        ports = [self.port, *(int(line.split()[1]) for line in self._settings if line.startswith("listener "))]
        process = self.process
        assert eventually(lambda: process.poll() is not None or all(map(_listens, ports))), self._log
        assert process.poll() is None, self._log

    @property
    def _log(self) -> str:
        return (self._folder / "mosquitto.log").read_text()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@dataclass(frozen=True)
class Heard:
    """A message as a subscriber got it."""

    topic: str
    payload: bytes
    retain: bool
    content_type: str | None = None
    user: tuple[tuple[str, str], ...] = ()
    expiry_s: int | None = None  # what is left of it


class Subscriber:
    """Hears everything on a broker, again and again after each of its restarts."""

    def __init__(
        self, port: int, *, topics: str = "#", username: str | None = None, password: str | None = None, v5: bool = True
    ) -> None:
        self.heard: list[Heard] = []
        self._port = port
        self._topics = topics
        self._granted = self._known = 0  # subscriptions, and those of them that somebody has waited for
        protocol = mqtt.MQTTv5 if v5 else mqtt.MQTTv311
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"ear-{id(self)}", protocol=protocol)
        if username is not None:
            self._client.username_pw_set(username, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(self._topics, qos=1)
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def __enter__(self) -> Subscriber:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        self.again()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def again(self) -> None:
        """Wait until the subscription is back after the broker's restart; it may be already."""
        assert eventually(lambda: self._granted > self._known)
        self._known = self._granted

    def on(self, part: str) -> list[Heard]:
        """What came on topics that contain this."""
        return [heard for heard in list(self.heard) if part in heard.topic]

    def _on_subscribe(self, *_: Any) -> None:
        self._granted += 1

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        about: Any = getattr(message, "properties", None)
        user = tuple(getattr(about, "UserProperty", ()))
        kind = getattr(about, "ContentType", None)
        expiry_s = getattr(about, "MessageExpiryInterval", None)
        self.heard.append(Heard(message.topic, bytes(message.payload), message.retain, kind, user, expiry_s))


@contextmanager
def amqtt_broker() -> Iterator[int]:
    """An embedded broker that speaks MQTT 3.1.1 alone; yields its port."""
    from amqtt.broker import Broker

    port = free_port()
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        broker = Broker(config)
        await broker.start()
        started.set()
        while not stop.is_set():
            await asyncio.sleep(0.02)
        await broker.shutdown()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(60)
    try:
        yield port
    finally:
        stop.set()
        thread.join(60)
        with warnings.catch_warnings():  # amqtt leaves the sockets of clients that it refused to the garbage collector
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@dataclass(frozen=True)
class Packet:
    """A PUBLISH as it came over the wire."""

    topic: str
    payload: bytes
    packet_id: int
    retain: bool
    dup: bool
    size: int  # bytes, fixed header and all
    connection: int  # 1 for the first, 2 for the second ...


@dataclass
class Script:
    """How a fake broker behaves."""

    protocols: tuple[int, ...] = (4, 5)  # protocol levels it takes; others are refused
    connack_reason: int = 0
    connack_properties: bytes = b""  # MQTT 5, without their length
    says_connack: bool = True
    drops: bool = False  # hangs up instead of answering
    puback: Callable[[Packet], int | None] = field(default=lambda packet: 0)  # reason, or None for silence
    hangs_up: Callable[[Packet], bool] = field(default=lambda packet: False)
    reads_after_connack: bool = True  # False: the broker is frozen
    disconnect_reason: int | None = None  # MQTT 5: said before it hangs up


_Peer = TypeVar("_Peer", bound="_Server")


class _Server:
    """Listens on the loopback and gives every connection to `_serve`, each in a thread of its own."""

    def __init__(self, port: int = 0) -> None:
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = int(self._server.getsockname()[1])
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = []

    def __enter__(self: _Peer) -> _Peer:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        for thread in self._threads:
            thread.join(60)  # what a client said last is read, however slow this machine is

    def cut(self) -> None:
        """Cut every connection there is."""
        for sock in self._socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                self._socks.append(sock)
                if self._closing.is_set():  # nobody cuts it any more
                    sock.close()
                    return
                self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        raise NotImplementedError


def _suback(body: bytes, level: int) -> bytes:
    """Every topic filter of a SUBSCRIBE is granted with QoS 1. Its properties are few, where it has any."""
    at = 2 + (1 + body[2] if level == 5 else 0)
    granted = 0
    while at < len(body):
        at += 2 + int(struct.unpack_from("!H", body, at)[0]) + 1
        granted += 1
    answer = body[:2] + (b"\x00" if level == 5 else b"") + b"\x01" * granted
    return bytes([0x90, len(answer)]) + answer


class FakeBroker(_Server):
    """Plays a script, byte by byte; remembers what it was sent."""

    def __init__(self, script: Script, port: int = 0) -> None:
        super().__init__(port)
        self.script = script
        self.packets: list[Packet] = []
        self.connects: list[int] = []  # protocol level of each CONNECT
        self.goodbyes = 0  # DISCONNECT packets

    def letters(self) -> list[Packet]:
        """All but the station's state."""
        return [packet for packet in list(self.packets) if not packet.topic.endswith("/state")]

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError, EOFError), sock:
            level, number = 4, 0
            while True:
                first, body, size = _packet(sock)
                kind = first >> 4
                if kind == 1:
                    level = body[6]
                    self.connects.append(level)
                    number = len(self.connects)  # what is read late is of its own connection all the same
                    if not self._greet(sock, level):
                        return
                    if not self.script.reads_after_connack:
                        self._closing.wait()
                        return
                elif kind == 3 and not self._take(sock, first, body, size, level, number):
                    return
                elif kind == 8:
                    sock.sendall(_suback(body, level))
                elif kind == 12:
                    sock.sendall(b"\xd0\x00")
                elif kind == 14:
                    self.goodbyes += 1
                    return

    def _greet(self, sock: socket.socket, level: int) -> bool:
        script = self.script
        if script.drops:
            return False
        if not script.says_connack:
            self._closing.wait()
            return False
        if level not in script.protocols:
            sock.sendall(b"\x20\x02\x00\x01")
            return False
        if level == 5:
            about = script.connack_properties
            sock.sendall(bytes([0x20, 3 + len(about), 0, script.connack_reason, len(about)]) + about)
        else:
            sock.sendall(bytes([0x20, 2, 0, script.connack_reason]))
        return script.connack_reason == 0

    def _take(self, sock: socket.socket, first: int, body: bytes, size: int, level: int, number: int) -> bool:
        packet = _publish(first, body, size, level, number)
        self.packets.append(packet)
        if self.script.hangs_up(packet):
            if self.script.disconnect_reason is not None and level == 5:
                sock.sendall(bytes([0xE0, 2, self.script.disconnect_reason, 0]))
            return False
        reason = self.script.puback(packet)
        if reason is not None:
            answer = struct.pack("!H", packet.packet_id) + (bytes([reason, 0]) if level == 5 else b"")
            sock.sendall(bytes([0x40, len(answer)]) + answer)
        return True


class Relay(_Server):
    """A wire between a station and its broker that can be cut, without either being told by the other."""

    def __init__(self, target: int, port: int = 0) -> None:
        """target: the broker's port."""
        super().__init__(port)
        self._target = target

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError), sock:
            far = socket.create_connection(("127.0.0.1", self._target))
            self._socks.append(far)
            if self._closing.is_set():
                far.close()
                return
            self._start(self._carry, far, sock)
            self._carry(sock, far)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while some := source.recv(65536):
                target.sendall(some)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        source.close()


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """An authority and a broker's certificate for `localhost`: ca, cert and key, as PEM files."""
    folder.mkdir(parents=True, exist_ok=True)
    ca, ca_key, cert, key, request, names = (
        folder / name for name in ("ca.pem", "ca.key", "broker.pem", "broker.key", "broker.csr", "names")
    )
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    authority = ["-subj", "/CN=test authority", "-days", "2", "-keyout", ca_key, "-out", ca]
    of_broker = ["-subj", "/CN=localhost", "-keyout", key, "-out", request]
    signing = [
        "-in",
        request,
        "-CA",
        ca,
        "-CAkey",
        ca_key,
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        names,
        "-out",
        cert,
    ]
    for command in (
        ["openssl", "req", "-x509", *new_key, *authority],
        ["openssl", "req", *new_key, *of_broker],
        ["openssl", "x509", "-req", *signing],
    ):
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return ca, cert, key


def _packet(sock: socket.socket) -> tuple[int, bytes, int]:
    first = _exactly(sock, 1)[0]
    length = shift = 0
    header = 1
    while True:
        byte = _exactly(sock, 1)[0]
        header += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first, _exactly(sock, length), header + length


def _exactly(sock: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        more = sock.recv(count - len(got))
        if not more:
            raise EOFError
        got += more
    return got


def _publish(first: int, body: bytes, size: int, level: int, connection: int) -> Packet:
    end = 2 + struct.unpack("!H", body[:2])[0]
    topic, packet_id, rest = body[2:end].decode(), struct.unpack("!H", body[end : end + 2])[0], body[end + 2 :]
    if level == 5:
        length = shift = used = 0
        while True:
            byte = rest[used]
            length |= (byte & 0x7F) << shift
            shift, used = shift + 7, used + 1
            if byte < 0x80:
                break
        rest = rest[used + length :]
    return Packet(topic, rest, packet_id, bool(first & 1), bool(first & 8), size, connection)
