"""The operator's page served in a thread, beside a board that a test fills."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edge_resad.device.board import Board
from edge_resad.device.bypass import Bypass
from edge_resad.device.control import ControlClient, Controls, ControlSocket
from edge_resad.device.desk import CameraDesk, Desk
from edge_resad.device.labels import Labels
from edge_resad.device.lights import Light
from edge_resad.device.pipeline import Inspection, Latency
from edge_resad.live.app import live_app
from edge_resad.live.guard import Guard
from edge_resad.recipe import Shelf
from edge_resad.web_server import listen, web_server
from tests.fakes import frame, verdict
from tests.mqtt_peers import eventually

GOOD, BAD = 50, 150  # scores against the threshold of 100
MAP = np.zeros((4, 4), np.float32)


class Line:
    """A board, its desk and its socket, without a line before them."""

    def __init__(self, folder: Path, *, about: Mapping[str, Any] | None = None, shelf: Shelf | None = None) -> None:
        self.socket = folder / "control.sock"
        self.labels = folder / "labels.jsonl"
        self.board = Board(["cam0"], run="r")
        self.bypass = Bypass()
        self.lights = [Light(name="disk", colour="green", says="9.0 GB free")]
        self.controls = Controls()
        self.told: list[tuple[str, dict[str, Any]]] = []
        self._parts = 0
        lane = CameraDesk(
            camera="cam0",
            shelf=shelf,
            threshold=lambda _: 1.0,
            check_product=lambda choice: None,
            self_test=lambda: None,
        )
        facts = {"site": "berlin", "line": "a", "device": "press-7", "started": time.time(), **(about or {})}
        desk = Desk(self.board, [lane], self.bypass, Labels(self.labels), about=facts, lights=lambda: self.lights)
        desk.register(self.controls)
        self._open = ExitStack()

    def __enter__(self) -> Line:
        self._open.enter_context(self.board)
        self._open.enter_context(ControlSocket(self.socket, self.controls))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def judge(self, score: int | None, **changes: Any) -> Inspection:
        """One more part, as the line would tell of it; None: it could not be inspected."""
        judged = None if score is None else verdict(float(score))
        part = Inspection(
            frame=frame(self._parts, brightness=score or 0, captured_mono=1.0),
            verdict=judged,
            not_inspected=None if judged else changes.get("reason", "black"),
            latency=Latency(waiting_ms=1.0, inspecting_ms=9.0),
        )
        self._parts += 1
        self.board.inspected(part, MAP + (score or 0))
        return part


@contextmanager
def served(
    control: Path,
    *,
    password: str | None = None,
    station: str = "press-7.toml",
    answers_within_s: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[str]:
    """The page's address. clock: the guard's, by which who guesses passwords has to wait."""
    client = ControlClient(control, timeout_s=answers_within_s)
    app = Guard(live_app(client, station, lambda: server.should_exit), password=password, clock=clock)
    server = web_server(app, certificate=None, key=None, goodbye_s=1, most_connections=100)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        assert eventually(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(60)
