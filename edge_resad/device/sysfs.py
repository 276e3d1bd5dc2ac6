"""What the kernel says of heat, throttling and the GPU's clock, on a Jetson and on a plain PC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
_IGPUS = re.compile(r"gpu|gv11b|gp10b|ga10b")  # as the device tree calls a Jetson's GPU, from Xavier to Thor
_PLAUSIBLE_C = (-40.0, 150.0)  # a sensor that is switched off says something outside


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A place with a thermometer."""

    name: str
    celsius: float
    slows_c: float | None  # from here on clocks are lowered; None: the kernel does not say
    off_c: float | None  # from here on the machine switches itself off


@dataclass(frozen=True, kw_only=True)
class Throttling:
    """What holds this machine back, or did."""

    now: tuple[str, ...]  # alerts that are on, such as gpu-throttle-alert
    over_current: int  # times that the supply asked for less since the start
    hot_cores: int  # times that a PC's core was slowed for heat since the start


@dataclass(frozen=True, kw_only=True)
class GpuClock:
    """The clock of a Jetson's GPU; None is not known."""

    name: str
    now_mhz: float | None
    most_mhz: float | None  # in this power mode
    load_percent: float | None


def zones(root: Path = ROOT) -> tuple[Zone, ...]:
    """Every thermometer that answers, the hottest first."""
    found = []
    for folder in _sorted(root / "sys/class/thermal", "thermal_zone*"):
        celsius = _number(folder / "temp", 1e-3)
        if celsius is None or not _PLAUSIBLE_C[0] < celsius < _PLAUSIBLE_C[1]:
            continue
        trips = _trips(folder)
        found.append(
            Zone(
                name=_text(folder / "type") or folder.name,
                celsius=celsius,
                slows_c=min((trips[kind] for kind in ("passive", "hot") if kind in trips), default=None),
                off_c=trips.get("critical"),
            )
        )
    return tuple(sorted(found, key=lambda zone: -zone.celsius))


def throttling(root: Path = ROOT) -> Throttling:
    """Alerts that are on, and what was counted since the start."""
    alerts = [
        _text(folder / "type")
        for folder in _sorted(root / "sys/class/thermal", "cooling_device*")
        if "throttle-alert" in _text(folder / "type") and (_number(folder / "cur_state") or 0) > 0
    ]
    events = (root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt")
    cores = (root / "sys/devices/system/cpu").glob("cpu*/thermal_throttle/core_throttle_count")
    return Throttling(
        now=tuple(alerts),
        over_current=int(sum(_number(file) or 0 for file in events)),
        hot_cores=int(sum(_number(file) or 0 for file in cores)),
    )


def gpu_clock(root: Path = ROOT) -> GpuClock | None:
    """The integrated GPU's clock; None where there is no such GPU."""
    for folder in _sorted(root / "sys/class/devfreq", "*"):
        name = _text(folder / "device/of_node/name") or folder.name
        if _IGPUS.search(name):
            return GpuClock(
                name=name,
                now_mhz=_number(folder / "cur_freq", 1e-6),
                most_mhz=_number(folder / "max_freq", 1e-6),
                load_percent=_number(folder / "device/load", 0.1),  # the kernel counts in thousandths
            )
    return None


def cpu_mhz(root: Path = ROOT) -> float | None:
    """The clock of the fastest core now; None where the kernel scales none."""
    files = (root / "sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_cur_freq")
    return max((mhz for file in files if (mhz := _number(file, 1e-3)) is not None), default=None)


def _trips(zone: Path) -> dict[str, float]:
    """Kind of trip point -> the lowest temperature of that kind, °C."""
    trips: dict[str, float] = {}
    for file in sorted(zone.glob("trip_point_*_type")):
        celsius = _number(file.with_name(file.name.replace("_type", "_temp")), 1e-3)
        if celsius is not None and celsius > 0:
            kind = _text(file)
            trips[kind] = min(trips.get(kind, celsius), celsius)
    return trips


def _sorted(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern)) if folder.is_dir() else []


def _text(file: Path) -> str:
    """What a file says; nothing where it cannot be read, as of a sensor without power."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip().strip("\0")
    except OSError:
        return ""


def _number(file: Path, unit: float = 1.0) -> float | None:
    try:
        return float(_text(file)) * unit
    except ValueError:
        return None
