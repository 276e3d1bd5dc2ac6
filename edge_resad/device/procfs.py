"""What the kernel says of processor, memory and module."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
_VNNI = ("avx512_vnni", "avx_vnni", "asimddp")  # x86's two, and ARM's dot product


@dataclass(frozen=True, kw_only=True)
class Processor:
    """What computes where no GPU does."""

    name: str
    cores: int  # that this process may use
    has_int8: bool  # instructions that multiply and add 8-bit numbers


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Main memory, which a Jetson's GPU shares. Megabytes."""

    total_mb: float
    free_mb: float  # that can be had without swapping
    swap_mb: float


def processor(root: Path = ROOT) -> Processor:
    """This machine's processor."""
    lines = _pairs(root / "proc/cpuinfo")
    flags = set(f"{lines.get('flags', '')} {lines.get('Features', '')}".split())
    name = lines.get("model name") or lines.get("Model") or os.uname().machine
    return Processor(name=name, cores=len(os.sched_getaffinity(0)), has_int8=bool(flags & set(_VNNI)))


def memory(root: Path = ROOT) -> Memory | None:
    """This machine's memory; None where the kernel does not say."""
    lines = _pairs(root / "proc/meminfo")
    try:
        total, free, swap = (_mb(lines[key]) for key in ("MemTotal", "MemAvailable", "SwapTotal"))
    except (KeyError, ValueError):
        return None
    return Memory(total_mb=total, free_mb=free, swap_mb=swap)


def module(root: Path = ROOT) -> str | None:
    """The board as its device tree calls it, such as NVIDIA Jetson Orin Nano; None where there is no device tree."""
    try:
        return (root / "proc/device-tree/model").read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _pairs(file: Path) -> dict[str, str]:
    """`key : value` of every line; of a key that stands there once for each core, the first."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            pairs.setdefault(key.strip(), value.strip())
    return pairs


def _mb(value: str) -> float:
    return float(value.split()[0]) * 1024 / 1e6  # the kernel's kB are KiB
