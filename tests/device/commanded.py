"""A station that is commanded: whole, at a real broker, with a camera that runs until it is told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_resad.device.frame import Frame
from edge_resad.device.settings import StationFile
from edge_resad.device.station import run_station
from edge_resad.device.summary import StationSummary
from edge_resad.fleet.send import Sender
from edge_resad.messages import Address, Role, SigningKey, new_key, write_key
from edge_resad.sections import BrokerAddress
from tests.fakes import FakeCamera, FakeJudge, picture
from tests.mqtt_peers import eventually

ADDRESS = Address(site="berlin", line="a", device="press-7")
GOOD = 50


def make_keys(folder: Path) -> dict[Role, SigningKey]:
    """A key of the fleet for every role, and beside it what the station needs of it."""
    keys: dict[Role, SigningKey] = {}
    roles: tuple[Role, ...] = ("operator", "engineer", "admin")
    for role in roles:
        keys[role] = new_key(f"{role}-1", role)
        write_key(keys[role], folder / f"{role}.key")
        write_key(keys[role].for_device(ADDRESS), folder / f"press-7-{role}.key")
    return keys


def meet(port: int, *, is_there: bool = True) -> None:
    """Wait until the station has said at the broker that it is there, or that it is gone."""
    with Sender(BrokerAddress(host="127.0.0.1", port=port)) as sender:
        assert eventually(lambda: sender.find(f"{ADDRESS.site}/{ADDRESS.line}/{ADDRESS.device}")[1] is is_there)


def station_file(folder: Path, port: int, **sections: Mapping[str, Any]) -> StationFile:
    """The settings of a station in a folder, whose keys are there."""
    raw: dict[str, Any] = {
        "station": {"device": "press-7", "site": "berlin", "line": "a", "product": "flange"},
        "camera": {"source": "/dev/video0"},
        "inspection": {"bank": "bank.npz", "max_age_s": 1000.0},
        "spool": {"path": str(folder / "spool.db"), "commit_ms": 1.0, "ack": "broker"},
        "log": {"verdicts": False},
        "pictures": {"folder": str(folder / "pictures"), "min_free_mb": 0},
        "watch": {"frozen_s": 0.0, "silent_s": 0.0},  # nor does a machine that stands still hang a camera
        "machine": {"watch": False},
        "control": {"socket": str(folder / "control.sock"), "labels": str(folder / "labels.jsonl")},
        "broker": {"host": "127.0.0.1", "port": port, "reconnect_min_s": 0.02, "reconnect_max_s": 0.2},
        "commands": {
            "keys": [str(folder / f"press-7-{role}.key") for role in ("operator", "engineer", "admin")],
            "ledger": str(folder / "commands.db"),
            "audit": str(folder / "commands.jsonl"),
        },
    }
    for section, keys in sections.items():
        raw[section] = {**raw.get(section, {}), **keys}
    return StationFile.model_validate(raw)


class Running(FakeCamera):
    """A camera that shows good parts until the station stops, or bad ones while it is told to."""

    def __init__(self, halt: threading.Event) -> None:
        super().__init__([], live=True)
        self.brightness = GOOD
        self._halt = halt
        self._number = 0

    def read(self) -> Frame | None:
        if self._halt.wait(0.01):
            return None
        self._number += 1
        return Frame(
            image=picture(self.brightness),
            frame_id=self._number,
            captured_mono=time.monotonic(),
            captured_wall=time.time(),
        )


class Station:
    """A station that runs in a thread of the test."""

    def __init__(self, told: StationFile) -> None:
        self.stop = threading.Event()
        self.summary: StationSummary | None = None
        self.error: BaseException | None = None
        self.camera: Running | None = None
        self.parts = 0
        self._thread = threading.Thread(target=self._run, args=(told,))
        self._thread.start()

    def _run(self, told: StationFile) -> None:
        def opened(_settings: StationFile, halt: threading.Event) -> Running:
            self.camera = Running(halt)
            return self.camera

        def count(_inspection: object) -> None:
            self.parts += 1

        try:
            self.summary = run_station(
                told, stop=self.stop, open_source=opened, open_judge=lambda _: FakeJudge(), on_inspection=count
            )
        except BaseException as error:
            self.error = error

    def ended(self) -> bool:
        """Wait until it has ended."""
        self._thread.join(60)
        return not self._thread.is_alive()


@contextmanager
def running(told: StationFile) -> Iterator[Station]:
    """A station that has judged its first part; it is stopped at the end."""
    station = Station(told)
    try:
        assert eventually(lambda: station.parts > 0 or station.error is not None), "it does not begin"
        assert station.error is None, station.error
        yield station
    finally:
        station.stop.set()
        assert station.ended()
    assert station.error is None, station.error
