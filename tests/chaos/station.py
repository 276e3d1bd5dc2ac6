"""A real station with a camera that is scripted: `python -m tests.chaos.station PLAN`, a process to be killed."""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import edge_resad.device.open_station as open_station
from edge_resad.device.frame import Clock, Frame, Pace
from edge_resad.device.pipeline import Inspection
from edge_resad.device.settings import StationFile
from edge_resad.device.station import run_station
from edge_resad.signals import stopped_by_signals
from tests.chaos.history import WitnessedSpool
from tests.fakes import FakeJudge

BAD_IN_A_ROW = 3  # parts of one alert, at most
LOOK_S = 0.1  # between two looks whether the line goes on


class ScriptedCamera:
    """So many parts a second by a plan of good and bad ones, but none while a file is there."""

    live = False
    unreadable = 0

    def __init__(self, a_second: float, *, quiet: Path, halt: threading.Event, stands: Callable[[int], None]) -> None:
        """quiet: the file that stops the line. stands: hears again and again that it stands, after so many parts."""
        self._quiet, self._halt, self._stands = quiet, halt, stands
        self._pace = Pace(a_second, halt, Clock())
        self._dice = random.Random()
        self._taken = self._bad = 0

    def __enter__(self) -> ScriptedCamera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def read(self) -> Frame | None:
        while self._quiet.exists():
            self._stands(self._taken)
            if self._halt.wait(LOOK_S):
                return None
        if not self._pace.wait():
            return None
        if self._bad == 0 and self._dice.random() < 0.1:
            self._bad = self._dice.randint(1, BAD_IN_A_ROW)
        brightness = self._dice.randint(150, 220) if self._bad else self._dice.randint(30, 90)
        self._bad = max(0, self._bad - 1)
        image = np.full((16, 16, 3), brightness, np.uint8)
        image[1:, ::2] += np.uint8(self._taken % 16)  # no two pictures in a row are alike
        clock, taken = Clock(), self._taken
        self._taken += 1
        return Frame(image=image, frame_id=taken, captured_mono=clock.monotonic(), captured_wall=clock.wall())


def main(plan: Path) -> None:
    told: dict[str, Any] = json.loads(plan.read_text())
    WitnessedSpool.history = Path(told["history"])
    vars(open_station).update(Spool=WitnessedSpool, CLOSING=replace(open_station.CLOSING, **told["timing"]))
    settings = StationFile.model_validate(told["station"])
    judged = 0

    def count(_inspection: Inspection) -> None:
        nonlocal judged
        judged += 1

    def stands(shown: int) -> None:
        """Leave a sign once all that the parts brought is on the disk, and in the history."""
        spool = WitnessedSpool.only
        if judged == shown and spool is not None and spool.flush(0):
            Path(told["still"]).touch()

    with stopped_by_signals() as stop:
        run_station(
            settings,
            stop=stop,
            open_source=lambda _, halt: ScriptedCamera(
                told["a_second"], quiet=Path(told["quiet"]), halt=halt, stands=stands
            ),
            open_judge=lambda _: FakeJudge(),
            on_inspection=count,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
