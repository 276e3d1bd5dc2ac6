"""What a process holds while it runs, looked at twice a second, and how warm its machine gets, every ten seconds."""

from __future__ import annotations

import os
import threading
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from edge_resad.device.sysfs import Throttling, throttling, zones

ROOT = Path("/")
EVERY_S = 0.5
HEAT_S = 10.0
SLOPE_S = 60.0  # a slope over less time says nothing
USUAL_S = 10.0  # of so much time the middle is taken: what is held for a moment is no growth


@dataclass(frozen=True, kw_only=True)
class Held:
    """What this process holds at a moment."""

    rss_mb: float | None  # None: the kernel does not say
    handles: int | None  # open files, sockets, pipes
    threads: int | None


@dataclass(frozen=True, kw_only=True)
class Heat:
    """How warm the machine got, and whether that or its supply slowed it down."""

    warmest_c: float | None  # None: no thermometer answers
    where: str | None
    alerts: tuple[str, ...]  # throttle alerts that were on at any time
    over_current: int  # times meanwhile
    hot_cores: int  # times meanwhile


class Watch:
    """Looks at memory and heat in a thread of its own."""

    def __init__(self, root: Path = ROOT, *, every_s: float = EVERY_S) -> None:
        self._memory = array("d")  # seconds since the beginning, MB, and so on: objects would be a growth of their own
        self._root = root
        self._every_s = every_s
        self._heat_due = 0.0
        self._warmest: tuple[float, str] | None = None
        self._alerts: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self.began = time.monotonic()
        self._before: Throttling = throttling(self._root)
        self._after = self._before
        self.look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._closing.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Take one more look at memory and heat."""
        self._look_at_memory()
        self._heat_due = time.monotonic() + HEAT_S
        for zone in zones(self._root)[:1]:  # the hottest
            self._warmest = max(self._warmest or (zone.celsius, zone.name), (zone.celsius, zone.name))
        self._after = throttling(self._root)
        self._alerts.update(self._after.now)

    def _look_at_memory(self) -> None:
        rss_mb = _rss_mb(self._root)
        if rss_mb is not None:
            self._memory.extend((time.monotonic() - self.began, rss_mb))

    @property
    def memory(self) -> Sequence[tuple[float, float]]:
        """What was held when: (seconds since the beginning, MB)."""
        return list(zip(self._memory[::2], self._memory[1::2], strict=True))

    def clear(self) -> None:
        """Forget what was held so far."""
        del self._memory[:]

    @property
    def heat(self) -> Heat:
        """What was seen of heat."""
        celsius, name = self._warmest or (None, None)
        return Heat(
            warmest_c=celsius,
            where=name,
            alerts=tuple(sorted(self._alerts)),
            over_current=self._after.over_current - self._before.over_current,
            hot_cores=self._after.hot_cores - self._before.hot_cores,
        )

    def _work(self) -> None:
        while not self._closing.wait(self._every_s):
            if time.monotonic() < self._heat_due:
                self._look_at_memory()
            else:
                self.look()


def held(root: Path = ROOT) -> Held:
    """What this process holds now."""
    return Held(rss_mb=_rss_mb(root), handles=_count(f"{root}/proc/self/fd"), threads=_count(f"{root}/proc/self/task"))


def _rss_mb(root: Path) -> float | None:
    # No Path: pathlib puts each name that it takes apart into Python's table of strings, 2 MB that are then made anew
    # elsewhere every 56,000 names, and a look at memory must not be a growth of its own.
    try:
        with open(f"{root}/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, ValueError, IndexError):
        return None


def usual(samples: Sequence[tuple[float, float]], *, every_s: float = USUAL_S) -> list[tuple[float, float]]:
    """What was held most of the time: the medians of (seconds, value) of each `every_s`."""
    spans: dict[int, list[tuple[float, float]]] = {}
    for sample in samples:
        spans.setdefault(int((sample[0] - samples[0][0]) // every_s), []).append(sample)
    return [
        (float(np.median([at for at, _ in span])), float(np.median([v for _, v in span]))) for span in spans.values()
    ]


def slope_per_hour(samples: Sequence[tuple[float, float]], *, least_s: float = SLOPE_S) -> float | None:
    """How fast a value grows, per hour, by a line through (seconds, value); None where they span too little time."""
    if len(samples) < 3 or samples[-1][0] - samples[0][0] < least_s:
        return None
    seconds, values = np.array(samples, np.float64).T  # (2, N)
    seconds -= seconds.mean()
    return float(3600 * (seconds @ values) / (seconds @ seconds))


def _count(folder: str) -> int | None:
    try:
        return len(os.listdir(folder))
    except OSError:
        return None
