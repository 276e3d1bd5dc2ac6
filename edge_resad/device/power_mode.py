"""A Jetson's power mode, by name: the numbers differ between modules and makers of carrier boards."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
ASK_S = 5.0  # how long the tool may take


@dataclass(frozen=True, kw_only=True)
class PowerMode:
    """How much this Jetson may draw."""

    name: str  # such as MAXN_SUPER or 15W
    known: tuple[str, ...]  # the names of all modes, in the order of their numbers


def power_mode(root: Path = ROOT, *, ask: Callable[[], str] | None = None) -> PowerMode | None:
    """The mode that is set; None where this is no Jetson, or where it does not say.

    ask: what `nvpmodel -q` prints.
    """
    names = _names(root / "etc/nvpmodel.conf")
    name = name_in((ask or ask_nvpmodel)())
    if name is None:  # the tool is missing or wants root; it keeps the number in a file
        name = names.get(_number(root / "var/lib/nvpmodel/status"))
    return PowerMode(name=name, known=tuple(names.values())) if name else None


def ask_nvpmodel() -> str:
    """What `nvpmodel -q` prints; nothing where it cannot be asked."""
    try:
        done = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def name_in(answer: str) -> str | None:
    """From `NV Power Mode: MAXN_SUPER` and a line with its number: MAXN_SUPER."""
    found = re.search(r"^NV Power Mode:[ \t]*(?:MODE_)?(\S+)", answer, re.MULTILINE)
    return found[1] if found else None


def _names(conf: Path) -> dict[int | None, str]:
    """Number -> name, from lines such as `< POWER_MODEL ID=2 NAME=MODE_15W >`."""
    found = re.findall(r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(?:MODE_)?(\S+)", _text(conf), re.MULTILINE)
    return {int(number): name for number, name in sorted(found, key=lambda pair: int(pair[0]))}


def _number(status: Path) -> int | None:
    found = re.search(r"pmode:(\d+)", _text(status))
    return int(found[1]) if found else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
