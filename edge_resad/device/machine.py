"""The machine's own health: heat, throttling, clock, memory and disk, looked at every few seconds and said once."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge_resad.device.faults import Faults
from edge_resad.device.procfs import memory
from edge_resad.device.sysfs import ROOT, GpuClock, Zone, cpu_mhz, gpu_clock, throttling, zones
from edge_resad.device.worker import Worker

log = logging.getLogger(__name__)

NEAR_C = 5.0  # so close below a limit the machine is hot
COOL_C = 10.0  # so far below it is no longer
USUAL_LIMIT_C = 85.0  # where the kernel names no limit
CALM_LOOKS = 12  # looks in a row without throttling after which it is over
ENOUGH = 1.25  # times the least that must be free, before it is no longer too little


@dataclass(frozen=True, kw_only=True)
class MachineLook:
    """How the machine does at one moment. None is not known."""

    hottest: Zone | None
    near_c: float | None  # degrees to the closest limit of any place
    throttled_now: tuple[str, ...]  # what lowers clocks now, by the kernel's name
    throttled_times: int  # since the machine started: overloaded supply, cores slowed for heat
    gpu: GpuClock | None
    cpu_mhz: float | None  # of the fastest core
    memory_free_mb: float | None
    disk_free_mb: float | None

    @property
    def figures(self) -> dict[str, float]:
        """What is known, by its name with its unit."""
        found = {
            "hottest_c": self.hottest.celsius if self.hottest else None,
            "to_limit_c": self.near_c,
            "throttled": float(len(self.throttled_now)),
            "gpu_mhz": self.gpu.now_mhz if self.gpu else None,
            "cpu_mhz": self.cpu_mhz,
            "memory_free_mb": self.memory_free_mb,
            "disk_free_mb": self.disk_free_mb,
        }
        return {name: round(value, 1) for name, value in found.items() if value is not None}


def look_at(folder: Path, root: Path = ROOT) -> MachineLook:
    """See how the machine does. folder: whose disk counts."""
    found, slowed, room = zones(root), throttling(root), memory(root)
    limits = [(zone.slows_c or zone.off_c or USUAL_LIMIT_C) - zone.celsius for zone in found]
    return MachineLook(
        hottest=found[0] if found else None,
        near_c=min(limits, default=None),
        throttled_now=slowed.now,
        throttled_times=slowed.over_current + slowed.hot_cores,
        gpu=gpu_clock(root),
        cpu_mhz=cpu_mhz(root),
        memory_free_mb=None if room is None else room.free_mb,
        disk_free_mb=_free_mb(folder),
    )


class MachineHealth:
    """Turns looks at the machine into faults that begin and end: hot, throttled, low_memory, low_disk."""

    def __init__(self, *, low_memory_mb: float, low_disk_mb: float) -> None:
        self._low_memory_mb = low_memory_mb
        self._low_disk_mb = low_disk_mb
        self._on: set[str] = set()
        self._times: int | None = None
        self._calm = CALM_LOOKS

    def step(self, look: MachineLook) -> dict[str, str]:
        """What is wrong: fault -> sentence without its end."""
        found: dict[str, str] = {}
        if look.near_c is not None and look.hottest is not None:
            limit = COOL_C if "hot" in self._on else NEAR_C
            if look.near_c < limit:
                found["hot"] = f"{look.hottest.name} has {look.hottest.celsius:.0f} °C. Cool it, or clocks are lowered"
        if self._is_throttled(look):
            why = ", ".join(look.throttled_now) or "heat, or a supply that is too weak"
            found["throttled"] = f"clocks are lowered ({why}). Cool the machine, or check its supply and power mode"
        for fault, free_mb, least_mb, what in (
            ("low_memory", look.memory_free_mb, self._low_memory_mb, "of memory are free. Stop what else runs here"),
            ("low_disk", look.disk_free_mb, self._low_disk_mb, "of the disk are free. Make room"),
        ):
            least = least_mb * (ENOUGH if fault in self._on else 1.0)
            if free_mb is not None and free_mb < least:
                found[fault] = f"{free_mb:.0f} MB {what}"
        self._on = set(found)
        return found

    def _is_throttled(self, look: MachineLook) -> bool:
        more = self._times is not None and look.throttled_times > self._times
        self._times = look.throttled_times
        self._calm = 0 if more or look.throttled_now else self._calm + 1
        return self._calm < CALM_LOOKS


class Machine:
    """Looks at the machine in a thread of its own and says what is wrong with it."""

    def __init__(
        self,
        folder: Path,
        faults: Faults,
        health: MachineHealth,
        *,
        every_s: float,
        tell: Callable[[Mapping[str, float]], None] | None = None,
        look: Callable[[Path], MachineLook] = look_at,
    ) -> None:
        """folder: on the disk that counts, such as that of the spool. tell: who hears the figures of every look.

        look: who sees how the machine does.
        """
        self.last: MachineLook | None = None
        self._folder = folder
        self._faults = faults
        self._health = health
        self._every_s = every_s
        self._tell = tell
        self._look = look
        self._closing = threading.Event()
        self._has_failed = False
        self._watcher = Worker(self._work, name="machine", closing=self._closing)

    def __enter__(self) -> Machine:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._closing.set()
        self._watcher.join(1.0)  # a disk that hangs keeps its thread, not us
        if not self._watcher.is_alive():
            self._faults.end()

    def step(self) -> None:
        """Look once, and say what has changed."""
        self.last = self._look(self._folder)
        if self._tell is not None:
            self._tell(self.last.figures)
        self._faults.set(self._health.step(self.last))

    def _work(self) -> None:
        while True:
            try:
                self.step()
            except Exception:  # whatever the kernel says, parts are judged
                if not self._has_failed:
                    log.exception("the machine cannot be looked at; more of this kind are not said")
                self._has_failed = True
            if self._closing.wait(self._every_s):
                return


def _free_mb(folder: Path) -> float | None:
    try:
        return shutil.disk_usage(folder).free / 1e6
    except OSError:
        return None
