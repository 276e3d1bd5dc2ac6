"""Processor, module, GPU, memory, heat, power and clock."""

from __future__ import annotations

import time

from edge_resad.device.doctor.case import Case
from edge_resad.device.doctor.check import Check, ok, problem, warning
from edge_resad.device.power_mode import power_mode
from edge_resad.device.procfs import memory as memory_of
from edge_resad.device.procfs import module
from edge_resad.device.procfs import processor as processor_of
from edge_resad.device.sysfs import GpuClock, gpu_clock, throttling, zones

_JETPACKS = {
    "35": "5.1",
    "36.3": "6.0",
    "36.4": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "36.5": "6.2.2",
    "38.2": "7.0",
    "38.4": "7.1",
    "39.2": "7.2",
    "39.2.1": "7.2.1",
}
"""L4T, or what it begins with -> JetPack."""
_OLDEST_L4T = (36, 4)  # JetPack 6.1, the first with a TensorRT that takes our graphs
_FREE_MB = 500.0  # what a station and its engine want to find
_NEAR_C = 5.0  # so close below a limit a warm afternoon reaches it
_HOT_C = 85.0  # where the kernel names no limit
_OLDEST_YEAR = 2025  # before this release was written


def processor(case: Case) -> Check:
    """What computes where no GPU does."""
    found = processor_of(case.root)
    int8 = "with 8-bit instructions" if found.has_int8 else "without 8-bit instructions, so INT8 gains little here"
    return ok("processor", f"{found.name}, {found.cores} cores, {int8}")


def jetson(case: Case) -> Check:
    """Which JetPack, and whether it is new enough for engines."""
    name, l4t = "jetson", case.host.l4t
    if not case.is_jetson:
        return ok(name, "this is no Jetson")
    board = module(case.root) or "a Jetson"
    if l4t is None:
        return warning(name, f"{board} does not say its L4T version. Flash JetPack 6.1 or newer")
    said = f"{board} with L4T {l4t}, JetPack {jetpack_of(l4t) or 'of unknown version'}"
    if _numbers(l4t)[:2] >= _OLDEST_L4T:
        return ok(name, said)
    say = problem if case.provider == "tensorrt" else warning
    return say(name, f"{said}: too old for engines. Flash JetPack 6.1 or newer; until then ONNX Runtime inspects")


def gpu(case: Case) -> Check:
    """The GPU as pycuda sees it; no GPU is a fact where nobody asks for one."""
    name, found = "gpu", case.host.gpu
    if found is not None:
        clock = gpu_clock(case.root)
        said = f"{found.name} ({found.sm}), driver for CUDA {found.driver_cuda}, pycuda of CUDA {found.cuda}"
        return ok(name, said + (_clocked(clock) if clock else ""))
    look = "pycuda sees no GPU. Install it with edge-resad[jetson], and in a container use --runtime nvidia"
    if case.provider != "cpu":
        return problem(name, f'{look}; or set [engine] provider = "cpu"')
    return warning(name, look) if case.is_jetson else ok(name, "none is seen; the processor inspects")


def memory(case: Case) -> Check | None:
    """Whether there is room for a station."""
    found = memory_of(case.root)
    if found is None:
        return None
    said = f"{found.free_mb:.0f} of {found.total_mb:.0f} MB are free, {found.swap_mb:.0f} MB swap"
    if found.free_mb < _FREE_MB:
        return warning("memory", f"{said}. Stop what else runs here: a station wants {_FREE_MB:.0f} MB")
    return ok("memory", said)


def heat(case: Case) -> Check | None:
    """The place that is closest to its limit, and whether heat or supply slow the machine down."""
    name, found, slowed = "heat", zones(case.root), throttling(case.root)
    if slowed.now:
        return warning(name, f"clocks are lowered now ({', '.join(slowed.now)}). Cool the machine or check its supply")
    if slowed.over_current:
        return warning(
            name,
            f"the supply was overloaded {slowed.over_current} times since the start, which lowers clocks. "
            "Use the supply of the maker, or a smaller power mode",
        )
    if not found:
        return None
    limits = [(zone.slows_c or zone.off_c or _HOT_C) - zone.celsius for zone in found]
    worst = found[limits.index(min(limits))]
    said = f"{worst.name} has {worst.celsius:.0f} °C" + (f", slows at {worst.slows_c:.0f} °C" if worst.slows_c else "")
    if worst.off_c is not None and worst.celsius > worst.off_c - _NEAR_C:
        return problem(name, f"{said} and the machine switches off at {worst.off_c:.0f} °C. Cool it")
    if min(limits) < _NEAR_C:
        return warning(name, f"{said}. Cool it, or its clocks will be lowered")
    if slowed.hot_cores:
        return ok(name, f"{said}; cores were slowed for heat {slowed.hot_cores} times since the start")
    return ok(name, said)


def power(case: Case) -> Check | None:
    """A Jetson's power mode, by name."""
    if not case.is_jetson:
        return None
    found = power_mode(case.root, ask=case.ask_power_mode)
    if found is None:
        return warning("power mode", "it cannot be read. Ask: sudo nvpmodel -q")
    others = [mode for mode in found.known if mode != found.name]
    return ok("power mode", found.name + (f"; there are also {', '.join(others)}" if others else ""))


def clock(case: Case) -> Check:
    """Whether the time is set: alerts carry it, and certificates are judged by it."""
    now = case.now()
    said = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    if time.gmtime(now).tm_year < _OLDEST_YEAR:
        return problem("clock", f"it says {said}, which is past. Set it: sudo timedatectl set-ntp true")
    synchronised = (case.root / "run/systemd/timesync/synchronized").exists()
    return ok("clock", f"{said}, {'synchronised' if synchronised else 'not known to be synchronised'}")


def jetpack_of(l4t: str) -> str | None:
    """The JetPack of an L4T: 36.4.3 is 6.2."""
    parts = l4t.split(".")
    begins = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((_JETPACKS[begin] for begin in begins if begin in _JETPACKS), None)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _clocked(clock: GpuClock) -> str:
    if clock.now_mhz is None or clock.most_mhz is None:
        return ""
    load = "" if clock.load_percent is None else f", {clock.load_percent:.0f} % busy"
    return f", at {clock.now_mhz:.0f} of {clock.most_mhz:.0f} MHz{load}"
