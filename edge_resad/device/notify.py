"""What systemd hears of a station: that it is ready, that it makes progress, that it stops. See sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping

from edge_resad.device.frame import Clock

log = logging.getLogger(__name__)

STATUS_S = 5.0  # how often the line that `systemctl status` shows is renewed where there is no watchdog


class Service:
    """A socket that systemd reads. Without systemd it does nothing; a socket that fails costs a line of the log.

    The watchdog is fed by progress alone, at most four times in its time: a program that goes round in circles without
    getting anywhere is as dead to it as one that hangs.
    """

    def __init__(
        self,
        address: str | None,
        *,
        watchdog_s: float | None = None,
        describe: Callable[[], str] = lambda: "",
        clock: Clock | None = None,
    ) -> None:
        """address: a path, or @ and a name of Linux's abstract sockets; None: nobody listens.
        watchdog_s: how long systemd waits for progress before it kills us.
        describe: the state in one line.
        """
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._every_s = watchdog_s / 4 if watchdog_s else STATUS_S
        self._watchdog = watchdog_s is not None
        self._describe = describe
        self._clock = clock or Clock()
        self._is_ready = False
        self._is_told = False  # that we are ready: systemd ends a start of which it never hears
        self._fed_at = float("-inf")  # monotonic seconds

    @classmethod
    def of_environment(
        cls, *, describe: Callable[[], str] = lambda: "", environ: Mapping[str, str] = os.environ
    ) -> Service:
        """As systemd has set NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID for this process."""
        for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        limit_us = environ.get("WATCHDOG_USEC", "")
        watched = for_us and limit_us.isdecimal() and int(limit_us) > 0
        return cls(environ.get("NOTIFY_SOCKET"), watchdog_s=int(limit_us) / 1e6 if watched else None, describe=describe)

    def ready(self) -> None:
        """Say once that the work has begun."""
        if not self._is_ready:
            self._is_ready = True
            self._fed_at = self._clock.monotonic()
            self._is_told = self._send(f"READY=1\nSTATUS={self._line()}")

    def progress(self) -> None:
        """Something got done. Sends what is due; cheap enough to be called for every part."""
        now = self._clock.monotonic()
        if self._is_ready and now - self._fed_at >= self._every_s:
            self._fed_at = now
            ready, fed = "" if self._is_told else "READY=1\n", "WATCHDOG=1\n" if self._watchdog else ""
            self._is_told = self._send(f"{ready}{fed}STATUS={self._line()}") or self._is_told

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def _line(self) -> str:
        return " ".join(self._describe().split())

    def _send(self, message: str) -> bool:
        if self._address is None:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)  # a line waits for nobody
                sock.sendto(message.encode(), self._address)
        except OSError as error:
            log.warning("systemd cannot be told %s: %s", message.split("\n")[0], error.strerror or error)
            return False
        return True
