"""A broker's last word: why it hung up, read from a connection on which writing has failed already."""

from __future__ import annotations

import socket
from contextlib import suppress

_DISCONNECT = 0xE0
_MOST = 1 << 18  # bytes that are looked at


def last_word(sock: socket.socket) -> bytes:
    """What has come and nobody has read. A reset does not take it back; waits for nothing, and the socket is of no use
    afterwards.
    """
    rest = b""
    with suppress(OSError):  # no more of it; TLS's errors are such too
        sock.setblocking(False)
        while len(rest) < _MOST and (some := sock.recv(65536)):
            rest += some
    return rest


def parting_reason(rest: bytes) -> int | None:
    """The reason code of a DISCONNECT of MQTT 5 at the end of whole packets; None where there is none."""
    at = 0
    while at < len(rest):
        kind, length, shift = rest[at], 0, 0
        at += 1
        while at < len(rest):
            byte = rest[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 21:
                break
        body = rest[at : at + length]
        at += length
        if kind == _DISCONNECT and at == len(rest):
            return body[0] if body else 0
    return None
