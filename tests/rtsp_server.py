"""A small RTSP server: JPEG over RTP (RFC 2435) inside the RTSP connection (RFC 2326, section 10.12)."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=parts\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track0\r\n"
PAYLOAD = 1200  # bytes of a picture in one packet


class RtspServer:
    """Serves pictures to every caller, then does what `then` says: `begins anew` at once, `ends` or `hangs`."""

    def __init__(self, pictures: Sequence[NDArray[np.uint8]], *, then: str) -> None:
        self.callers = 0
        self._seq = 0
        self._pictures = pictures
        self._then = then
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/parts"
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> RtspServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._leaving.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(5.0)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._server.accept()
                self.callers += 1
                threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with suppress(OSError, EOFError), caller, caller.makefile("rb") as lines:
            self._answer(caller, lines)

    def _answer(self, caller: socket.socket, lines: BinaryIO) -> None:
        while True:
            request = lines.readline().decode()
            if not request:
                raise EOFError
            headers = dict(_header(line) for line in iter(lambda: lines.readline().decode().strip(), ""))
            method = request.split()[0]
            more = {
                "OPTIONS": "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
                "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n",
                "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
            }.get(method, "Session: 1\r\n")
            answer = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n{more}\r\n"
            caller.sendall((answer + (SDP if method == "DESCRIBE" else "")).encode())
            if method == "PLAY":
                first = self._play(caller.sendall, 0)
                while self._then == "begins anew" and not self._leaving.is_set():
                    first = self._play(caller.sendall, first)
                if self._then == "hangs":
                    self._leaving.wait(20.0)
                return

    def _play(self, send: Callable[[bytes], None], first: int) -> int:
        """Send all pictures at 200 a second; the number of the next one. A picture is one packet or more."""
        for number, picture in enumerate(self._pictures, first):
            self._leaving.wait(0.005)
            height, width = picture.shape[:2]
            tables, scan = _taken_apart(picture)
            for start in range(0, len(scan), PAYLOAD):
                part = scan[start : start + PAYLOAD]
                header = struct.pack(">B3sBBBB", 0, start.to_bytes(3, "big"), 1, 255, width // 8, height // 8)
                if start == 0:
                    header += struct.pack(">BBH", 0, 0, len(tables)) + tables
                is_last = start + PAYLOAD >= len(scan)
                rtp = struct.pack(">BBHII", 0x80, 26 | (0x80 if is_last else 0), self._seq & 0xFFFF, 450 * number, 7)
                packet = rtp + header + part
                send(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                self._seq += 1
        return first + len(self._pictures)


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


def _taken_apart(picture: NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """A picture's quantisation tables, and its scan, as RTP carries them: JPEG 4:2:0, standard Huffman codes."""
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420])
    jpeg, at, tables = encoded.tobytes(), 2, b""
    while True:
        marker, size = struct.unpack_from(">HH", jpeg, at)
        if marker == 0xFFDB:
            segment = jpeg[at + 4 : at + 2 + size]
            tables += b"".join(segment[first + 1 : first + 65] for first in range(0, len(segment), 65))
        at += 2 + size
        if marker == 0xFFDA:
            return tables, jpeg[at:-2]
