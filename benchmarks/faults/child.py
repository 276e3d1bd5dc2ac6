"""A station in a process of its own, which can be killed: its parts are files that somebody else puts into a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2

from benchmarks.faults.account import ALIVE, HALF_PERIOD_S, PULSE_S, REJECT, Account, Fate, Part, Write, account
from benchmarks.faults.account import missing as missing_heartbeat
from benchmarks.faults.belt import Belt
from benchmarks.faults.scene import FIRST_PARTS, RATE, WAIT_S, Said, Stage
from edge_resad.device.spool import Spool
from edge_resad.device.spool_look import look
from edge_resad.errors import SpoolError
from tests.plc import Plc

CHECKOUT = Path(__file__).parents[2]
LOOK_S = 0.02
_FATES: Mapping[str, Fate] = {"pass": "pass", "fail": "fail", "not inspected": "not inspected"}


class ChildScene:
    """Entered, the process runs and files come; left, it is ended. It may be ended and begun again in between."""

    def __init__(self, stage: Stage, name: str, *, environment: Mapping[str, str] | None = None) -> None:
        self.folder = stage.folder / name
        self.plc = Plc()
        self.said: list[Said] = []
        self.wall = time.time()  # when the newest part was there by the station's own clock, seconds since 1970
        self.committed = 0  # messages that were in the spool's file when somebody last looked
        self._stage = stage
        self._environment = {**os.environ, **(environment or {})}
        self._inbox = self.folder / "inbox"
        self._file = self.folder / "station.toml"
        self._stack = ExitStack()
        self._ending = threading.Event()
        self._written: list[float] = []  # when each part's file was there
        self._fates: dict[int, tuple[Fate, float]] = {}
        self._ended = threading.Event()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> ChildScene:
        self._inbox.mkdir(parents=True)
        self._stack.enter_context(self.plc)
        self._file.write_text(self._settings())
        self.start()
        self._belt = Belt(self._stage.parts, RATE)
        self._writer = threading.Thread(target=self._write, name="parts")
        self._follower = threading.Thread(target=self._follow, name="verdicts")
        self._writer.start()
        self._follower.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._ending.set()
        self._writer.join(WAIT_S)
        self.kill()
        self._ended.set()
        self._follower.join(WAIT_S)
        self._stack.close()

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Begin a process. environment: more than it has anyway."""
        command = [sys.executable, "-m", "edge_resad", "run", str(self._file)]
        told = {**self._environment, **(environment or {})}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=told, cwd=CHECKOUT)
        threading.Thread(target=self._hear, args=(process,), name="log", daemon=True).start()
        self._process = process

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(WAIT_S)

    def wait(self) -> int:
        """Wait for the process to end by itself, and its exit code."""
        assert self._process is not None
        self.until(lambda: self._process is not None and self._process.poll() is not None)
        return self._process.wait()

    def until(self, happened: Callable[[], bool], within_s: float = WAIT_S) -> None:
        """Wait until something is so, and look into the spool meanwhile."""
        end = time.monotonic() + within_s
        while not happened():
            if time.monotonic() > end:
                last = "; ".join(said.text for said in self.said[-4:])
                raise RuntimeError(f"nothing happened within {within_s:.0f} s. The station said last: {last}")
            self.look()
            time.sleep(LOOK_S)

    def until_judged(self, count: int = FIRST_PARTS) -> None:
        """Wait for so many parts more in the log of verdicts."""
        before = len(self.fates())
        self.until(lambda: len(self.fates()) >= before + count)

    def look(self) -> None:
        """See what the spool's file holds by now: none of it may ever be missing again."""
        try:
            self.committed = max(self.committed, look(self.folder / "spool.db").next_seq - 1)
        except SpoolError:
            return  # it is being made

    def fates(self) -> Mapping[int, tuple[Fate, float]]:
        """What became of each part by the station's own log, and when it was there."""
        return dict(self._fates)

    def finish(self) -> tuple[Account, int]:
        """End the belt and then the process in order: what became of all parts, and how many messages were lost."""
        self._ending.set()
        self._writer.join(WAIT_S)
        last = len(self._written) - 1
        self.until(lambda: last in self.fates())
        time.sleep(4 * PULSE_S)
        until = time.monotonic()
        assert self._process is not None
        self._process.terminate()
        self._process.wait(WAIT_S)
        self._ended.set()
        self._follower.join(WAIT_S)
        fates = self.fates()
        parts = [Part(moment=moment) for moment in self._written]
        for part, (fate, told_at) in fates.items():
            parts[part] = Part(moment=self._written[part], fate=fate, told_at=told_at)
        with Spool(self.folder / "spool.db", max_bytes=10**9) as spool:
            there = {letter.seq for letter in spool.oldest(100_000)}
        return account(parts, self.plc.writes, until), len(set(range(1, self.committed + 1)) - there)

    def missing_after(self, mono: float) -> float | None:
        """When the PLC missed the heartbeat first after a moment; None where it did not."""
        writes: list[Write] = list(self.plc.writes)
        return next((begin for begin, _ in missing_heartbeat(writes, time.monotonic()) if begin >= mono), None)

    def warned(self, after: float) -> Said | None:
        """The first line of the log since then that is no mere fact."""
        words = (" WARNING ", " ERROR ", "Error")
        return next((said for said in self.said if said.mono >= after and any(w in said.text for w in words)), None)

    def _write(self) -> None:
        """Put a file into the folder for every part on the belt."""
        number = 0
        while not self._ending.is_set():
            time.sleep(max(0.0, self._belt.moment(number) - time.monotonic()))
            scratch = self._inbox / f"{number}.part"
            scratch.write_bytes(cv2.imencode(".png", self._belt.picture(number))[1].tobytes())
            scratch.rename(self._inbox / f"{number}.png")
            self._written.append(time.monotonic())
            number += 1

    def _follow(self) -> None:
        """Read the log of verdicts as it grows, over the ends of processes."""
        path, rest = self.folder / "verdicts.jsonl", b""
        while not self._ended.wait(LOOK_S) and not path.exists():
            pass
        with path.open("rb") as file:
            while not self._ended.wait(LOOK_S):
                *lines, rest = (rest + file.read()).split(b"\n")
                for line in lines:
                    if line.startswith(b"{") and line.endswith(b"}"):
                        said = json.loads(line)
                        self.wall = datetime.fromisoformat(said["time"].replace("Z", "+00:00")).timestamp()
                        self._fates[int(Path(said["name"]).stem)] = (_FATES[said["status"]], time.monotonic())

    def _hear(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.said.append(Said(time.monotonic(), 0, line.rstrip()))

    def _settings(self) -> str:
        plc: dict[str, Any] = {"kind": "modbus", "host": self.plc.server.host, "port": self.plc.server.port}
        outputs: tuple[dict[str, Any], ...] = (
            {**plc, "name": "reject", "coil": REJECT, "pulse_ms": 1e3 * PULSE_S},
            {**plc, "name": "alive", "coil": ALIVE, "on": ["heartbeat"], "pulse_ms": 1e3 * HALF_PERIOD_S},
        )
        told = [
            '[station]\ndevice = "press-7"\nproduct = "flange"',
            f'[camera]\nsource = "folder:{self._inbox}"\nwatch = true',
            f'[inspection]\nbank = "{self._stage.bank}"',
            '[spool]\nack = "broker"\n[pictures]\nmin_free_mb = 0\n[machine]\nwatch = false\n[control]\nsocket = false',
        ]
        for output in outputs:
            told.append("[[output]]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in output.items()))
        return "\n".join(told) + "\n"
