"""A wire between a client and its broker that does what bad networks do, when a test says so."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from tests.mqtt.packets import Framer, Piece

Way = Literal["up", "down"]  # to the broker, to the client
_CHUNK = 65536
_ON_THE_WAY = 64  # chunks that a slow wire holds before it reads no more


@dataclass(frozen=True, kw_only=True)
class Wire:
    """How the wire is, both ways."""

    latency_s: float = 0.0
    jitter_s: float = 0.0  # at most this much more; the order stays
    bytes_per_s: float | None = None
    slice_bytes: int | None = None  # so many in one write: 1 shows who trusts in whole packets


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where the wire breaks: inside one packet, once."""

    packet: str  # a name such as PUBLISH or PUBACK
    way: Way = "up"
    number: int = 1  # the first, second ... of its kind on its way, over all connections
    after: int = 1  # bytes of it that still arrive
    how: Literal["reset", "close", "silence"] = "reset"  # silence: both ends stay connected and hear nothing


class FaultProxy:
    """Listens on the loopback and carries bytes to and from a broker's port. All methods are for the test's thread."""

    def __init__(self, target: int, *, wire: Wire | None = None, cuts: tuple[Cut, ...] = (), seed: int = 0) -> None:
        """target: the broker's port. seed: of the jitter."""
        self.port = 0
        self.connections = 0
        self.packets: Counter[tuple[Way, str]] = Counter()  # that began, by way and kind
        self.carried: Counter[Way] = Counter()  # bytes
        self.cuts_done: list[Cut] = []
        self._target = target
        self._wire = wire or Wire()
        self._cuts = list(cuts)
        self._random = random.Random(seed)
        self._refusing = False
        self._lines: set[_Line] = set()
        self._ready = threading.Event()

    def __enter__(self) -> FaultProxy:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="fault proxy", daemon=True)
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(60)
        assert not self._thread.is_alive()

    def cut(self, cut: Cut) -> None:
        """Plan one more cut; `number` counts from the beginning."""
        self._call(self._plan(cut))

    def change(self, wire: Wire) -> None:
        """Be another wire from now on."""
        self._wire = wire

    def freeze(self) -> None:
        """Read nothing more of any connection, and close none: both ends are half open."""
        self._call(self._freeze(True))

    def thaw(self) -> None:
        """Go on where `freeze` or a silent cut stopped; nothing is lost."""
        self._call(self._freeze(False))

    def reset(self) -> None:
        """End all connections with a RST: what is on the way is lost."""
        self._call(self._end_all("reset"))

    def close(self) -> None:
        """End all connections in an orderly way."""
        self._call(self._end_all("close"))

    def refuse(self, refusing: bool = True) -> None:
        """End new connections at once."""
        self._refusing = refusing

    def _call(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(60)

    async def _plan(self, cut: Cut) -> None:
        self._cuts.append(cut)

    async def _freeze(self, frozen: bool) -> None:
        for line in self._lines:
            line.freeze(frozen)

    async def _end_all(self, how: Literal["reset", "close"]) -> None:
        for line in list(self._lines):
            line.end(how)

    async def _serve(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        await self._closing.wait()
        server.close()
        await self._end_all("reset")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # so that what was aborted is closed before the loop is

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._refusing:
                _reset(writer)
                return
            self.connections += 1
            with suppress(OSError, asyncio.CancelledError):  # a cancelled connection would be logged as a mistake
                await self._carry(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        line = _Line(near=writer, far=far_writer)
        self._lines.add(line)
        try:
            await asyncio.gather(
                self._pump(line, reader, far_writer, "up"), self._pump(line, far_reader, writer, "down")
            )
        finally:
            self._lines.discard(line)
            far_writer.transport.abort()

    async def _pump(self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        """Carry one way until it ends; a chunk is delivered when its time has come, in order."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_ON_THE_WAY)
        deliver = asyncio.create_task(self._deliver(line, chunks, writer, way))
        framer = Framer()
        try:
            while not line.ended:
                await line.flows.wait()
                chunk = await reader.read(_CHUNK)
                await line.flows.wait()
                if not chunk:
                    await chunks.put((0.0, b""))
                    await deliver
                    return
                for kept, cut in self._parts(framer, chunk, way):
                    due = self._loop.time() + self._wire.latency_s + self._random.uniform(0, self._wire.jitter_s)
                    if kept:
                        await chunks.put((due, kept))
                    if cut is not None:
                        await _emptied(chunks, deliver)
                        self._break(line, cut)
                        if line.ended:
                            return
                        await line.flows.wait()
        except OSError:
            line.end("reset")
        finally:
            deliver.cancel()
            await asyncio.gather(deliver, return_exceptions=True)

    def _break(self, line: _Line, cut: Cut) -> None:
        if cut.how == "silence":
            line.freeze(True)
        else:
            line.end(cut.how)
        self.cuts_done.append(cut)

    def _parts(self, framer: Framer, chunk: bytes, way: Way) -> Iterator[tuple[bytes, Cut | None]]:
        """What arrives of a chunk up to each cut that is due in it, and the rest."""
        kept = b""
        for piece in framer.split(chunk):
            if piece.offset == 0:
                self.packets[way, piece.kind] += 1
            cut = self._due(piece, way)
            if cut is None:
                kept += piece.content
                continue
            at = cut.after - piece.offset
            yield kept + piece.content[:at], cut
            kept = piece.content[at:]
        yield kept, None

    def _due(self, piece: Piece, way: Way) -> Cut | None:
        for cut in self._cuts:
            meant = (cut.way, cut.packet, cut.number) == (way, piece.kind, self.packets[way, piece.kind])
            if meant and piece.offset <= cut.after < piece.offset + len(piece.content):
                self._cuts.remove(cut)
                return cut
        return None

    async def _deliver(
        self, line: _Line, chunks: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, way: Way
    ) -> None:
        try:
            while True:
                due, chunk = await chunks.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                await line.flows.wait()
                if not chunk:
                    writer.write_eof()
                    return
                await self._write(writer, chunk, way)
                chunks.task_done()
        except OSError:
            line.end("reset")

    async def _write(self, writer: asyncio.StreamWriter, chunk: bytes, way: Way) -> None:
        wire = self._wire
        step = wire.slice_bytes or len(chunk)
        if wire.bytes_per_s is not None:
            step = max(1, min(step, int(wire.bytes_per_s / 50)))
        for at in range(0, len(chunk), step):
            some = chunk[at : at + step]
            self.carried[way] += len(some)  # before it arrives, so that whoever has it can ask
            writer.write(some)
            await writer.drain()
            await asyncio.sleep(len(some) / wire.bytes_per_s if wire.bytes_per_s else 0)


class _Line:
    """One connection through the proxy."""

    def __init__(self, *, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._ends = (near, far)
        self.ended = False
        self.flows = asyncio.Event()
        self.flows.set()
        for end in self._ends:
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def freeze(self, frozen: bool) -> None:
        if frozen:
            self.flows.clear()
        else:
            self.flows.set()
        for end in self._ends:  # else asyncio itself would go on reading into its own buffer
            with suppress(RuntimeError):
                transport: Any = end.transport
                if frozen:
                    transport.pause_reading()
                else:
                    transport.resume_reading()

    def end(self, how: Literal["reset", "close"]) -> None:
        self.ended = True
        for end in self._ends:
            if how == "reset":
                _reset(end)
            else:
                end.close()
        self.flows.set()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _emptied(chunks: asyncio.Queue[tuple[float, bytes]], deliver: asyncio.Task[None]) -> None:
    """Wait until all of it was written, or cannot be."""
    joined = asyncio.create_task(chunks.join())
    try:
        await asyncio.wait({joined, deliver}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        joined.cancel()
