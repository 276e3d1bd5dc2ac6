"""A bell: wakes a thread that waits for the network."""

from __future__ import annotations

import socket
from contextlib import suppress


class Bell:
    """Rung from any thread; the one that waits polls it together with its socket, and hushes it."""

    def __init__(self) -> None:
        self._rope, self._clapper = socket.socketpair()
        self._rope.setblocking(False)
        self._clapper.setblocking(False)

    def ring(self) -> None:
        """Wake the thread that waits, or the next that will."""
        with suppress(OSError):  # full: it rings already; closed: nobody listens
            self._rope.send(b"!")

    def hush(self) -> None:
        """Stop ringing."""
        with suppress(BlockingIOError):
            while self._clapper.recv(4096):
                pass

    def fileno(self) -> int:
        """What to poll: readable while it rings."""
        return self._clapper.fileno()

    def close(self) -> None:
        """Give the sockets back."""
        self._rope.close()
        self._clapper.close()
