"""Telemetry: twice a minute a station says how its machine, its outbox and its parts do. It may be lost."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Protocol

from edge_resad.device.lights import oldest_s
from edge_resad.device.machine import MachineLook
from edge_resad.device.pipeline import Tally
from edge_resad.device.procfs import memory
from edge_resad.device.settings import StationFile
from edge_resad.device.spool import Spool
from edge_resad.device.stages import Stages
from edge_resad.device.telegram import Telegram
from edge_resad.device.worker import Worker
from edge_resad.messages import DELIVERY, Room, Waiting, telemetry_message

log = logging.getLogger(__name__)

EVERY_S = 30.0
_EXPIRY_S = DELIVERY["edge-resad.telemetry"].expiry_s


class Counting(Protocol):
    """A camera's lane, as far as its parts are counted."""

    @property
    def tally(self) -> Tally: ...


class Says(Protocol):
    """The publisher, as far as telemetry needs it."""

    def say(self, telegram: Telegram, /) -> None: ...


class Telemeter:
    """Says telemetry in a thread of its own while the context lasts."""

    def __init__(
        self,
        settings: StationFile,
        publisher: Says,
        spool: Spool,
        stages: Stages,
        lanes: Sequence[Counting],
        look: Callable[[], MachineLook | None],
        about: Callable[[], Mapping[str, object]] = dict,
        *,
        every_s: float = EVERY_S,
    ) -> None:
        """look: how the machine did when it was looked at last; None where nobody does. about: anything else."""
        station = settings.station
        self._address = station.address
        self._folder = settings.spool.path.parent
        self._publisher = publisher
        self._spool = spool
        self._stages = stages
        self._lanes = lanes
        self._look = look
        self._about = about
        self._every_s = every_s
        self._began = time.monotonic()
        self._said = 0
        self._closing = threading.Event()
        self._worker = Worker(self._work, name="telemetry", closing=self._closing)

    def __enter__(self) -> Telemeter:
        self._worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._closing.set()
        self._worker.join(1.0)

    def say(self) -> None:
        """Say once how everything does."""
        self._said += 1
        now = self._spool.moment()
        payload = telemetry_message(
            self._address,
            now,
            event_id=f"tm-{now.boot_id[:8]}-{int(now.mono * 1000)}-{self._said}",
            up_s=time.monotonic() - self._began,
            **self._figures(),
        )
        self._publisher.say(Telegram(topic=self._address.telemetry_topic, payload=payload, expiry_s=_EXPIRY_S))

    def _work(self) -> None:
        while not self._closing.wait(self._every_s):
            self.say()

    def _figures(self) -> dict[str, Any]:
        spool, look, room = self._spool, self._look(), memory()
        tally = Tally.of(lane.tally for lane in self._lanes)
        waiting = spool.waiting()
        found: dict[str, Any] = {
            "load": os.getloadavg()[0],
            "outbox": Waiting(
                messages=waiting,
                oldest_s=oldest_s(spool, time.time()) if waiting else None,
                dead=spool.dead,
                dropped=spool.dropped,
            ),
            "stages_ms": {name: asdict(times) for name, times in self._stages.times().items()},
            "parts": {"passed": tally.passed, "failed": tally.failed, "not_inspected": tally.not_inspected.total()},
            "not_inspected": dict(tally.not_inspected),
            "about": dict(self._about()),
        }
        if room is not None:
            found["memory"] = Room(total_mb=room.total_mb, free_mb=room.free_mb)
        try:
            disk = shutil.disk_usage(self._folder)
            found["disks"] = {"spool": Room(total_mb=disk.total / 1e6, free_mb=disk.free / 1e6)}
        except OSError:
            pass
        if look is not None:
            found["throttled"] = look.throttled_now
            if look.hottest is not None:
                found["temperatures_c"] = {look.hottest.name: look.hottest.celsius}
            if look.gpu is not None and look.gpu.now_mhz is not None:
                found["clocks_mhz"] = {"gpu": look.gpu.now_mhz}
        return found
