"""One run of chaos: break, heal, drain, count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.nemesis import Nemesis
from tests.chaos.site import Site
from tests.chaos.verdict import Verdict, judge

STEP_S = 0.1


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    verdict: Verdict
    kills: int
    crashes: int
    exits: list[str]  # processes that ended neither by a kill nor at a crash point
    done: dict[str, int]
    drain_s: float | None  # from the healing until every spool was empty; None where they never were


def unleash(
    folder: Path,
    *,
    seconds: float,
    kills: int,
    seed: int,
    stations: int = 3,
    a_second: float = 20.0,
    on: str = "sqlite",
    ack_s: float = 30.0,
    drain_s: float = 300.0,
    damages: int = 0,
    budget: int = 5_000_000,
    look: Callable[[float, Nemesis, list[int | None]], None] = lambda *_: None,
) -> Outcome:
    """Break a new site for so long, heal it, and judge.

    a_second: parts of each station. budget: messages that may wait on each.
    drain_s:  the longest time for what waits in the end.
    look:     called now and then.
    """
    with Site(folder, stations=stations, a_second=a_second, on=on, ack_s=ack_s, budget=budget, seed=seed) as site:
        nemesis = Nemesis(site, seconds=seconds, kills=kills, seed=seed, damages=damages)
        began = time.monotonic()
        while (past := time.monotonic() - began) < seconds or nemesis.kills < kills:
            nemesis.step()
            look(past, nemesis, [])
            time.sleep(STEP_S)
        site.quiet()
        nemesis.heal()
        healed, drained, verdict = time.monotonic(), None, Verdict(lost=1)
        histories = {station.name: station.history for station in site.stations}
        while not verdict.good and time.monotonic() - healed < drain_s:
            nemesis.tend()
            look(time.monotonic() - began, nemesis, [station.waiting for station in site.stations])
            if all(station.rests for station in site.stations):
                drained = time.monotonic() - healed if drained is None else drained
                verdict = judge(site.url, histories)  # what was given up is told a few seconds later
            time.sleep(5 * STEP_S)
        if drained is None:
            verdict = judge(site.url, histories)
        return Outcome(
            verdict, nemesis.kills, nemesis.crashes, nemesis.exits, dict(nemesis.done), drained,
        )  # fmt: skip
