"""A broker for the length of a demo: amqtt inside this program, on a loopback port that was free."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import logging
import socket
import threading
import warnings
from types import TracebackType

from edge_resad.errors import EdgeResadError

START_S = 20.0  # a laptop that is busy may take a while
NOISY = ("amqtt", "transitions")  # their loggers tell every packet and every client's goodbye


class EmbeddedBroker:
    """Speaks MQTT 3.1.1 to this machine alone, in a thread with an event loop of its own."""

    def __init__(self) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self._up = threading.Event()
        self._down: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="broker", daemon=True)
        self._levels: dict[str, int] = {}

    def __enter__(self) -> EmbeddedBroker:
        try:
            import amqtt.broker  # noqa: F401  # an extra: with a broker of one's own the demo runs without it
        except ImportError as missing:
            raise EdgeResadError(
                "the demo brings its own MQTT broker in an extra that is not installed. "
                "Install it from the checkout with pip install '.[demo]', or name a broker with --broker HOST[:PORT]."
            ) from missing
        self._levels = {name: logging.getLogger(name).level for name in NOISY}
        for name in NOISY:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self.port = _free_port()
        self._thread.start()
        if not self._up.wait(START_S) or self._problem is not None:
            self.__exit__(None, None, None)
            raise EdgeResadError(
                f"the demo's own broker does not start on {self.host}:{self.port}: {self._problem or 'it hangs'}. "
                "Try again, or name a broker with --broker HOST[:PORT]."
            ) from self._problem
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._down is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(10)
        with (
            warnings.catch_warnings()
        ):  # amqtt leaves sockets of clients that never said hello to the garbage collector
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)

    def __str__(self) -> str:
        return f"amqtt {importlib.metadata.version('amqtt')}, MQTT 3.1.1"

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as problem:  # told by the thread that waits for the start
            self._problem = problem
        finally:
            self._up.set()

    async def _serve(self) -> None:
        from amqtt.broker import Broker

        broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        self._loop, self._down = asyncio.get_running_loop(), asyncio.Event()
        await broker.start()
        self._up.set()
        await self._down.wait()
        await broker.shutdown()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
