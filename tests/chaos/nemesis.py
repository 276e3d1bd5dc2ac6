"""The nemesis: kills, freezes and cuts at random, by a seed, and puts everything right in the end."""

from __future__ import annotations

import heapq
import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import Callable

from edge_resad.device.crash_points import CRASH_CODE
from edge_resad.fleet.crash_points import EXIT_CODE
from tests.chaos.site import Program, Site, Station, Victim
from tests.mqtt.fault_proxy import FaultProxy, Wire

STATIONS_POINTS = ("before-insert", "before-commit", "after-commit", "after-publish", "after-ack")
COLLECTORS_POINTS = ("before-insert", "after-insert", "after-commit", "after-acknowledgement")
WIRE_EVERY_S = 2.0  # on the mean
FREEZE_EVERY_S = 10.0


class Nemesis:
    """Does what is due at a `step`; only who calls it waits."""

    def __init__(self, site: Site, *, seconds: float, kills: int, seed: int, damages: int = 0) -> None:
        """damages: how often a station's outbox is damaged while the station is down."""
        self.done: Counter[str] = Counter()  # what was done to whom
        self.kills = 0  # kill -9, and PostgreSQL stopped as a crash does
        self.crashes = 0  # processes that ended themselves at a crash point
        self.exits: list[str] = []  # those that ended in another way
        self._site = site
        self._dice = random.Random(seed)
        self._healed = False
        self._count = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._restarting: set[str] = set()
        self._began = time.monotonic()
        for _ in range(kills):
            self._plan(self._dice.uniform(0, seconds), self._kill)
        for _ in range(damages):
            self._plan(self._dice.uniform(0, seconds), self._damage)
        for _ in range(int(seconds / WIRE_EVERY_S)):
            self._plan(self._dice.uniform(0, seconds), self._spoil_a_wire)
        for _ in range(int(seconds / FREEZE_EVERY_S)):
            self._plan(self._dice.uniform(0, seconds), self._freeze)

    def step(self) -> None:
        """Do what is due, and let whoever ended by itself begin again."""
        now = time.monotonic() - self._began
        while self._agenda and self._agenda[0][0] <= now:
            heapq.heappop(self._agenda)[2]()
        for victim in self._site.victims:
            if self._lies(victim) and not self._healed and victim.name not in self._restarting:
                self._restart_later(victim)

    def heal(self) -> None:
        """Kill and cut nothing more; everything runs and every wire is good."""
        self._healed = True
        self._agenda.clear()
        for wire in self._site.wires:
            wire.change(Wire())
            wire.refuse(False)
            wire.thaw()
        for victim in self._site.victims:
            if isinstance(victim, Program):
                victim.signal(signal.SIGCONT)
        self.tend()

    def tend(self) -> None:
        """Start what does not run, without a crash point."""
        self.step()
        for victim in reversed(self._site.victims):  # the store before its collector
            if self._lies(victim):
                victim.start()

    def _lies(self, victim: Victim) -> bool:
        """Whether it is down, which is noted. One look: it may end by itself between two."""
        if victim.runs:
            return False
        if isinstance(victim, Program) and victim.process is not None:
            self._bury(victim)
        return True

    def _plan(self, at_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (at_s, next(self._count), act))

    def _in(self, seconds: float, act: Callable[[], None]) -> None:
        self._plan(time.monotonic() - self._began + seconds, act)

    def _kill(self) -> None:
        running = [victim for victim in self._site.victims if victim.runs]
        if not running:
            self._in(0.2, self._kill)
            return
        victim = self._dice.choice(running)
        victim.kill()
        self.kills += 1
        self.done[f"kill {victim.name}"] += 1

    def _damage(self) -> None:
        """A disk that fails: the station dies, and its outbox has other bytes somewhere, or has lost its end."""
        station = self._dice.choice(self._site.stations)
        if station.spool.exists():  # it has begun
            station.kill()
        files = [station.spool, station.spool.with_name("spool.db-wal")]  # unless it was setting them aside
        files = [file for file in files if not station.runs and file.exists() and file.stat().st_size]
        if not files:
            self._in(1.0, self._damage)
            return
        path = self._dice.choice(files)
        size = max(1, path.stat().st_size)
        with path.open("r+b") as file:
            if self._dice.random() < 0.3:
                file.truncate(self._dice.randrange(size))
            else:
                file.seek(self._dice.randrange(size))
                file.write(self._dice.randbytes(self._dice.choice((1, 16, 4096))))
        self.done[f"damage {station.name}"] += 1

    def _restart_later(self, victim: Victim) -> None:
        def start() -> None:
            self._restarting.discard(victim.name)
            victim.start(self._crash_point(victim))

        self._restarting.add(victim.name)
        self._in(self._dice.choice((0.0, self._dice.uniform(0, 3))), start)

    def _crash_point(self, victim: Victim) -> str | None:
        if self._dice.random() > 0.3:
            return None
        if isinstance(victim, Station):
            return f"{self._dice.choice(STATIONS_POINTS)}:{self._dice.randint(1, 200)}"
        return f"{self._dice.choice(COLLECTORS_POINTS)}:{self._dice.randint(1, 100)}"

    def _bury(self, victim: Program) -> None:
        assert victim.process is not None
        code = victim.process.wait()
        if code in (CRASH_CODE, EXIT_CODE):
            self.crashes += 1
            self.done[f"crash point of {victim.name}"] += 1
        else:
            self.exits.append(f"{victim.name} ended with {code}")
        victim.process = None

    def _freeze(self) -> None:
        programs = [victim for victim in self._site.victims if isinstance(victim, Program) and victim.runs]
        victim = self._dice.choice([self._site.broker, *programs])
        victim.signal(signal.SIGSTOP)
        self.done[f"stop {victim.name}"] += 1
        self._in(self._dice.uniform(0.5, 8), lambda: victim.signal(signal.SIGCONT))

    def _spoil_a_wire(self) -> None:
        wire = self._dice.choice(self._site.wires)
        way = self._dice.choice(("slow", "sliced", "reset", "close", "half open", "refused"))
        self.done[f"wire {way}"] += 1
        if way == "slow":
            wire.change(Wire(latency_s=self._dice.uniform(0, 0.3), jitter_s=self._dice.uniform(0, 0.2)))
            self._in(self._dice.uniform(1, 5), lambda: wire.change(Wire()))
        elif way == "sliced":
            wire.change(Wire(slice_bytes=self._dice.randint(50, 500)))
            self._in(self._dice.uniform(0.5, 2), lambda: wire.change(Wire()))
        elif way == "reset":
            wire.reset()
        elif way == "close":
            wire.close()
        elif way == "half open":
            wire.freeze()
            self._in(self._dice.uniform(0.5, 15), wire.thaw if self._dice.random() < 0.7 else wire.reset)
        else:
            self._refuse(wire)

    def _refuse(self, wire: FaultProxy) -> None:
        wire.refuse()
        wire.reset()
        self._in(self._dice.uniform(0.5, 4), lambda: wire.refuse(False))
