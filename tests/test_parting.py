"""Why a broker hung up is known also where its word came while we were writing."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge_resad.device.access import read_access
from edge_resad.device.bell import Bell
from edge_resad.device.connection import Connection, Will
from edge_resad.device.settings import BrokerSection
from edge_resad.parting import parting_reason
from edge_resad.takeover import TAKEN_OVER

PUBACK = b"\x40\x02\x00\x07"


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (b"\xe0\x01\x8e", 0x8E),
        (b"\xe0\x02\x8e\x00", 0x8E),
        (b"\xe0\x00", 0),
        (PUBACK + PUBACK + b"\xe0\x01\x95", 0x95),
        (PUBACK, None),
        (b"", None),
        (b"\xe0\x01\x8e" + PUBACK, None),  # a broker says nothing after it: this began in the middle of a packet
        (b"\xe0\x05\x8e", None),
        (b"\xff\xff\xff\xff\xff", None),
    ],
)
def test_the_last_whole_packet_says_why(rest: bytes, reason: int | None) -> None:
    assert parting_reason(rest) == reason


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_a_takeover_is_known_where_writing_fails_before_the_reason_was_read(server: socket.socket) -> None:
    broker = BrokerSection(host="127.0.0.1", port=server.getsockname()[1])
    access = read_access(broker, client_id="press-7", connect_timeout_s=5.0, device="press-7")
    connection = Connection(access, "5", Will(topic="t", payload=b"{}"), clean_start=False)
    connection.open()
    sock = connection._client.socket()
    assert isinstance(sock, socket.socket)
    far, _ = server.accept()
    far.sendall(b"\xe0\x01" + bytes([TAKEN_OVER]))
    assert select.select([sock], [], [], 20)[0]
    far.close()  # our CONNECT is unread there: the connection is reset
    hangs_up = select.poll()
    hangs_up.register(sock, select.POLLHUP | select.POLLERR)
    assert hangs_up.poll(20_000)
    connection.send("t", b"{}", content_type="application/json", user={})
    assert connection.closed is not None
    assert connection.close_reason == TAKEN_OVER
    with suppress(OSError):
        connection.close()


def test_a_connection_that_breaks_without_a_word_has_no_reason(server: socket.socket, tmp_path: Path) -> None:
    broker = BrokerSection(host="127.0.0.1", port=server.getsockname()[1])
    access = read_access(broker, client_id="press-7", connect_timeout_s=5.0, device="press-7")
    connection = Connection(access, "5", Will(topic="t", payload=b"{}"), clean_start=False)
    connection.open()
    far, _ = server.accept()
    far.close()
    bell = Bell()
    while connection.closed is None:
        connection.pump(20.0, bell)
    bell.close()
    assert connection.close_reason is None
