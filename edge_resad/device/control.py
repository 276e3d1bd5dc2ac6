"""What a running station can be asked and told: a name, arguments, an answer, over a socket of this machine.

One JSON object a line, both ways: `{"ask": "product", "arguments": {"use": "cap"}}` is answered by
`{"result": {...}}` or by `{"error": "one sentence"}`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from edge_resad.errors import ControlError, EdgeResadError

log = logging.getLogger(__name__)

Command = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Takes arguments by name, gives what JSON can say; an EdgeResadError is the answer of one that cannot be followed."""

REQUEST_BYTES = 64 * 1024
REPLY_BYTES = 4 * 2**20
MOST_CLIENTS = 16
QUEUE = 128  # who may wait to be let in
LONGEST_PATH = 107  # bytes of a socket's name that Linux takes
WAKE_S = 0.25  # how often the thread looks whether it should stop, should its wake-up be lost
CLOSE_S = 1.0


class Occupied(ControlError):
    """Another station that runs has this socket."""


class Controls:
    """The commands of a running station by their names. Whoever has one registers it; any thread may ask."""

    def __init__(self) -> None:
        self._commands: dict[str, tuple[Command, str]] = {}

    def register(self, name: str, command: Command, says: str) -> None:
        """Add a command, or put another in its place. says: what it does, with its arguments, in one line."""
        self._commands = {**self._commands, name: (command, says)}

    @property
    def known(self) -> dict[str, str]:
        """Every name, with what it does."""
        return {name: says for name, (_, says) in sorted(self._commands.items())}

    def answer(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """`{"result": ...}`, or `{"error": sentence}`. Raises nothing: whoever asks is no reason to stop."""
        command, _ = self._commands.get(name, (None, ""))
        if command is None:
            known = ", ".join(self.known) or "none"
            return {"error": f"this station knows no {name[:64]!r}. It knows: {known}."}
        try:
            return {"result": dict(command(dict(arguments)))}
        except EdgeResadError as error:
            return {"error": str(error)}
        except Exception:
            log.exception("%s, asked from outside, failed", name)
            return {"error": f"{name} failed, which is a fault of this program. The station's log says more."}


@dataclass(eq=False)
class _Client:
    """Somebody who asks. Nothing is read from it while an answer waits to be taken, so it holds one at most."""

    connection: socket.socket
    heard_at: float
    asked: bytearray = field(default_factory=bytearray)
    answer: memoryview = field(default_factory=lambda: memoryview(b""))


class ControlSocket:
    """Serves controls on a Unix socket with one thread, which waits for nobody: a client that hangs is only kept.

    A command is run by that thread, so it should take no longer than people wait for.
    """

    def __init__(self, path: Path, controls: Controls, *, most_clients: int = MOST_CLIENTS) -> None:
        self._path = path
        self._controls = controls
        self._most_clients = most_clients
        self._clients: dict[int, _Client] = {}
        self._closing = threading.Event()

    def __enter__(self) -> ControlSocket:
        """Raises Occupied where a station that lives has this socket, ControlError where none can be made."""
        self._listener = _listener(self._path)
        self._inode = self._path.stat().st_ino
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._bell, self._rung = socket.socketpair()
        self._selector.register(self._rung, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._bell.send(b"!")  # first: the thread closes it once it sees that it should stop
        self._closing.set()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:  # not another station's that came meanwhile
                self._path.unlink()
        self._thread.join(CLOSE_S)  # a command that hangs keeps its thread, not us
        if self._thread.is_alive():
            log.warning("a command from outside hangs; left behind, it ends with the program")

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                self._step()
            except Exception:  # the line does not care, and the next one who asks may fare better
                log.exception("the control socket %s stumbled", self._path)
                self._closing.wait(WAKE_S)
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.close()
        for end in (self._listener, self._bell, self._rung):
            end.close()

    def _step(self) -> None:
        ready = self._selector.select(WAKE_S)
        # Who comes is let in last: who has left meanwhile makes room, not one who is slow to ask.
        for key, events in sorted(ready, key=lambda one: one[0].fileobj is self._listener):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is not self._rung:
                client = self._clients.get(key.fd)
                if client is None:  # dropped for another one, a moment ago
                    continue
                try:
                    self._attend(client, events)
                except (OSError, ValueError) as gone:
                    log.debug("somebody who asked is gone: %s", gone)
                    self._drop(client)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as refused:  # no handle is free, or who asked has gone
            log.debug("nobody can ask now: %s", refused)
            self._closing.wait(0.05)
            return
        connection.setblocking(False)
        client = _Client(connection, time.monotonic())
        self._clients[connection.fileno()] = client
        self._selector.register(connection, selectors.EVENT_READ)
        if len(self._clients) > self._most_clients:
            self._drop(min(self._clients.values(), key=lambda one: one.heard_at))

    def _attend(self, client: _Client, events: int) -> None:
        """One read, one question or one piece of an answer: then it is another one's turn."""
        if client.answer:
            self._send(client)
        elif events & selectors.EVENT_READ:
            heard = client.connection.recv(REQUEST_BYTES)
            if not heard:
                self._drop(client)
                return
            client.heard_at = time.monotonic()
            client.asked += heard
            self._next(client)
        else:
            self._next(client)
        busy = bool(client.answer) or b"\n" in client.asked
        self._selector.modify(client.connection, selectors.EVENT_WRITE if busy else selectors.EVENT_READ)

    def _next(self, client: _Client) -> None:
        """Answer the first line that a client has asked."""
        line, newline, rest = client.asked.partition(b"\n")
        if newline:
            client.asked = bytearray(rest)
            client.answer = memoryview(self._answer(bytes(line)))
            self._send(client)
        elif len(client.asked) > REQUEST_BYTES:
            client.answer = memoryview(_line({"error": f"a question has {REQUEST_BYTES} bytes at most."}))
            self._send(client)
            raise ValueError("a question without an end")

    def _send(self, client: _Client) -> None:
        with contextlib.suppress(BlockingIOError):
            client.answer = client.answer[client.connection.send(client.answer) :]

    def _answer(self, line: bytes) -> bytes:
        try:
            asked = json.loads(line)
            name, arguments = asked["ask"], asked.get("arguments", {})
            if not isinstance(name, str) or not isinstance(arguments, dict) or not is_text(asked):
                raise TypeError
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return _line({"error": 'a question is a line of JSON such as {"ask": "status", "arguments": {}}.'})
        try:
            answer = _line(self._controls.answer(name, arguments))
        except (TypeError, ValueError):
            log.exception("the answer to %s cannot be said", name)
            return _line({"error": f"the answer to {name} cannot be said, a fault of this program."})
        return answer if len(answer) <= REPLY_BYTES else _line({"error": f"the answer to {name} is too long."})

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.connection.fileno(), None) is not None:
            self._selector.unregister(client.connection)
            client.connection.close()


class ControlClient:
    """Asks the station that serves this socket."""

    def __init__(self, path: Path, *, timeout_s: float = 10.0) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def ask(self, name: str, /, **arguments: object) -> dict[str, Any]:
        """What the station answers.

        Raises:
            ControlError: no station answers here, or it cannot do what it is told.
        """
        with self._connected() as connection:
            try:
                connection.sendall(_line({"ask": name, "arguments": arguments}))
                with connection.makefile("rb") as reader:
                    line = reader.readline(REPLY_BYTES + 1)
            except TimeoutError:
                raise ControlError(
                    f"the station at {self._path} has not answered for {self._timeout_s:g} s. Look at its log."
                ) from None
            except OSError as error:
                raise ControlError(f"the station at {self._path} hung up: {error.strerror}. Ask again.") from error
        if not line.endswith(b"\n"):
            raise ControlError(f"the station at {self._path} hung up before it answered. Ask again.")
        answer = json.loads(line)
        if "error" in answer:
            raise ControlError(str(answer["error"]))
        return dict(answer["result"])

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        _check_length(self._path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._timeout_s)
            try:
                self._connect(connection)
            except PermissionError:
                raise ControlError(
                    f"this user may not speak with the station at {self._path}. Ask as its user, or join its group."
                ) from None
            except OSError as error:
                is_away = error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR)
                why = "" if is_away else f" ({error.strerror or error})"
                raise ControlError(
                    f"no station answers at {self._path}{why}. Start it: edge-resad run STATION, "
                    "or see [control] socket in its file."
                ) from None
            yield connection

    def _connect(self, connection: socket.socket) -> None:
        """Unlike a network's, a Unix socket whose queue is full refuses at once: ask again."""
        end = time.monotonic() + self._timeout_s
        while True:
            try:
                connection.connect(os.fspath(self._path))
                return
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)


def _line(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def is_text(said: Mapping[str, Any]) -> bool:
    """Whether what JSON said can be written again: half of a surrogate pair is a letter that nobody can write."""
    try:
        json.dumps(said, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def check_path(path: Path) -> None:
    """Raises ControlError where no socket can have this path, whoever makes it."""
    _check_length(_scratch(path))
    if path.exists() and not path.is_socket():
        raise ControlError(f"{path} is no socket. Set [control] socket to a path that is free.")


def _check_length(path: Path) -> None:
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ControlError(
            f"{path} is too long a name for a socket, which may have {LONGEST_PATH} bytes. "
            "Set [control] socket to a shorter path."
        )


def _scratch(path: Path) -> Path:
    """Where a socket is made, before it takes its place."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def _listener(path: Path) -> socket.socket:
    """A socket at this path; that of a station that has died is replaced, that of one that lives is left alone."""
    scratch = _scratch(path)
    check_path(path)
    if _somebody_answers(path):
        raise Occupied(
            f"another station answers at {path}: is this one running already? Stop it, or give each station its own "
            "[control] socket."
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.unlink(missing_ok=True)
        listener.bind(os.fspath(scratch))
        scratch.chmod(0o660)
        listener.listen(QUEUE)
        listener.setblocking(False)
        scratch.replace(path)  # nobody finds it before it listens and has its rights
    except BaseException as error:
        listener.close()
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ControlError(
                f"no socket can be made at {path}: {error.strerror or error}. Set [control] socket to a path where "
                "this user may write."
            ) from error
        raise
    return listener


def _somebody_answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except TimeoutError:
            return True  # it is there, with too much to do
        except OSError as error:
            return error.errno == errno.EAGAIN  # its queue is full
    return True
