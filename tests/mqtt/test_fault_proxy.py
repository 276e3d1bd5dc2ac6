"""The proxy carries every byte, until it is told to do what bad networks do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.mqtt.fault_proxy import Cut, FaultProxy, Wire
from tests.mqtt.packets import Publish, packet, write_publish
from tests.mqtt_peers import eventually, free_port

PUBLISH = write_publish(Publish(topic="t", payload=b"0123456789", qos=1, packet_id=1), 4)
PUBACK = packet(0x40, b"\x00\x01")


class Echo:
    """Says everything back, and remembers it."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.endings: list[str] = []  # of connections: closed or reset
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        try:
            while True:
                sock, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()
        except OSError:
            return

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                while some := sock.recv(4096):
                    self.heard += some
                    sock.sendall(some)
                self.endings.append("closed")
            except ConnectionError:  # a broken pipe, where it says something after the end
                self.endings.append("reset")


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@contextmanager
def _client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as sock:
        yield sock


def _read(sock: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        more = sock.recv(count - len(got))
        if not more:
            break
        got += more
    return got


def _rest(sock: socket.socket) -> bytes:
    return _read(sock, 1 << 20)


@pytest.mark.parametrize(
    "wire",
    [
        Wire(),
        Wire(slice_bytes=1),
        Wire(latency_s=0.01, jitter_s=0.02),
        Wire(bytes_per_s=200_000),
        Wire(latency_s=0.001, jitter_s=0.01, bytes_per_s=400_000, slice_bytes=3),
    ],
    ids=["plain", "slices", "late", "narrow", "all"],
)
def test_whatever_the_wire_every_byte_arrives_in_order(echo: Echo, wire: Wire) -> None:
    said = b"".join(bytes([number % 251]) * 5 for number in range(400))
    with FaultProxy(echo.port, wire=wire) as proxy, _client(proxy) as sock:
        for at in range(0, len(said), 300):
            sock.sendall(said[at : at + 300])
        assert _read(sock, len(said)) == said
        assert proxy.carried == {"up": len(said), "down": len(said)}


def test_an_end_on_one_side_is_an_end_on_the_other(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, _client(proxy) as sock:
        sock.sendall(PUBACK)
        sock.shutdown(socket.SHUT_WR)
        assert _read(sock, 100) == PUBACK
        assert eventually(lambda: echo.endings == ["closed"])


@pytest.mark.parametrize("after", [0, 1, 5, len(PUBLISH) - 1])
def test_a_cut_in_the_second_message_lets_through_what_was_before_it(echo: Echo, after: int) -> None:
    cut = Cut(packet="PUBLISH", number=2, after=after)
    with FaultProxy(echo.port, cuts=(cut,)) as proxy, _client(proxy) as sock:
        sock.sendall(PUBLISH + PUBACK + PUBLISH + PUBLISH)
        with pytest.raises(ConnectionResetError):
            _rest(sock)
        assert eventually(lambda: bool(echo.endings))
        assert bytes(echo.heard) == PUBLISH + PUBACK + PUBLISH[:after]
        assert echo.endings == ["reset"]
        assert proxy.cuts_done == [cut]


def test_a_cut_is_made_once_and_the_next_connection_works(echo: Echo) -> None:
    with FaultProxy(echo.port, wire=Wire(slice_bytes=1), cuts=(Cut(packet="PUBLISH", how="close"),)) as proxy:
        with _client(proxy) as sock:
            sock.sendall(PUBLISH)
            assert _read(sock, 100) in (b"", PUBLISH[:1])
        with _client(proxy) as sock:
            sock.sendall(PUBLISH)
            assert _read(sock, len(PUBLISH)) == PUBLISH
        assert proxy.connections == 2
        assert proxy.packets["up", "PUBLISH"] == 2


def test_an_answer_can_be_cut_on_its_way_back(echo: Echo) -> None:
    with FaultProxy(echo.port, cuts=(Cut(packet="PUBACK", way="down", after=3),)) as proxy, _client(proxy) as sock:
        sock.sendall(PUBACK)
        with pytest.raises(ConnectionResetError):
            _rest(sock)
        assert bytes(echo.heard) == PUBACK


def test_a_cut_into_silence_leaves_both_ends_connected_and_thaws_without_loss(echo: Echo) -> None:
    cut = Cut(packet="PUBLISH", number=2, after=4, how="silence")
    with FaultProxy(echo.port, cuts=(cut,)) as proxy, _client(proxy) as sock:
        sock.sendall(PUBLISH * 3)
        assert eventually(lambda: proxy.cuts_done == [cut])
        assert eventually(lambda: bytes(echo.heard) == PUBLISH + PUBLISH[:4])
        sock.sendall(PUBACK)
        assert echo.endings == []
        proxy.thaw()
        assert eventually(lambda: bytes(echo.heard) == PUBLISH * 3 + PUBACK)


def test_a_frozen_wire_carries_nothing_and_loses_nothing(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, _client(proxy) as sock:
        sock.sendall(PUBACK)
        assert _read(sock, len(PUBACK)) == PUBACK
        proxy.freeze()
        sock.sendall(PUBLISH)
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(100)
        sock.settimeout(60)
        proxy.thaw()
        assert _read(sock, len(PUBLISH)) == PUBLISH


def test_a_reset_is_seen_as_one_on_both_sides(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, _client(proxy) as sock:
        sock.sendall(PUBACK)
        assert _read(sock, len(PUBACK)) == PUBACK
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            sock.recv(100)
        assert eventually(lambda: echo.endings == ["reset"])


def test_an_orderly_end_is_seen_as_one(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, _client(proxy) as sock:
        sock.sendall(PUBACK)
        assert _read(sock, len(PUBACK)) == PUBACK
        proxy.close()
        assert sock.recv(100) == b""


def test_a_wire_that_refuses_lets_nobody_in(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy:
        proxy.refuse()
        with pytest.raises(ConnectionResetError), _client(proxy) as sock:
            _rest(sock)
        proxy.refuse(False)
        with _client(proxy) as sock:
            sock.sendall(PUBACK)
            assert _read(sock, len(PUBACK)) == PUBACK
        assert proxy.connections == 1


def test_a_broker_that_is_not_there_ends_the_connection() -> None:
    with FaultProxy(free_port()) as proxy, _client(proxy) as sock:
        assert sock.recv(100) == b""
