"""Random and changed messages for a whole collector with its store, and for all of a station that hears commands.

`python -m benchmarks.fuzz` gives them to the readers alone; here each goes its whole way. A collector has to count each
with a place in a stream once, as stored or as a repeat, and to set aside what it cannot read. A station may do nothing,
and has to count each as refused, but for the command that was signed: its envelope is not part of the signature. Exit
code 1 where something is not counted, or was done.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.fuzz import mutated
from edge_resad.fleet.database import opened
from edge_resad.fleet.reading import Arrival, News, Reading, Unreadable, read
from edge_resad.fleet.store import Receipt, Store
from edge_resad.messages import COMMANDS
from tests.device.commanded import ADDRESS, make_keys
from tests.device.wired import commanded, trigger
from tests.fleet.letters import NOW_MS, Writer
from tests.mqtt_peers import eventually

BATCH = 500
WAIT_S = 60.0  # a deadline, not a pause
Counts = Mapping[str, int]


def collector(messages: int, seed: int, folder: Path) -> tuple[Counts, list[str]]:
    """What became of messages, half of them right and each of those new, and what is wrong with that."""
    draw, counts, receipt = random.Random(seed), Counter[str](), Receipt()
    with opened(f"sqlite:///{folder / 'fleet.db'}", writing=True) as engine:
        store = Store(engine)
        for first in range(0, messages, BATCH):
            arrivals = [_arrival(draw, number) for number in range(first, min(messages, first + BATCH))]
            readings = [read(arrival) for arrival in arrivals]
            receipt += store.add(readings)
            for reading in readings:
                counts["news" if isinstance(reading, News) else "aside" if _is_aside(reading) else "with a place"] += 1
    counts.update(stored=receipt.stored, again=receipt.duplicates, conflicts=receipt.conflicts.total())
    missing = counts["with a place"] - counts["stored"] - counts["again"] - counts["conflicts"]
    return counts, [f"the collector did not count {missing} messages with a place in a stream"] if missing else []


def _is_aside(reading: Reading) -> bool:
    return isinstance(reading, Unreadable) and reading.seq is None


def _arrival(draw: random.Random, number: int) -> Arrival:
    writer = Writer(device=f"press-{number % 7}", stream_id=f"stream-{number % 7}")
    seq = number // 7 + 1
    if draw.random() < 0.1:  # a number that may be another's
        seq = max(1, seq - draw.randrange(50))
    write: list[Callable[[], Arrival]] = [
        lambda: writer.verdict(seq),
        lambda: writer.verdict(seq, "fail"),
        lambda: writer.not_inspected(seq),
        lambda: writer.alert(seq, "new"),
        lambda: writer.picture(seq, seq),
        lambda: writer.gap(seq, ((1, 3),)),
        lambda: writer.audit(seq, f"c-{number}"),
        lambda: writer.birth(number),
        lambda: writer.telemetry(number),
    ]
    right = draw.choice(write)()
    if draw.random() < 0.5:
        return right
    other = draw.choice(write)()
    topic, payload = mutated(draw, [(right.topic, right.payload), (other.topic, other.payload)])
    return replace(right, topic=topic, payload=payload, received_ms=NOW_MS + number)


def station(messages: int, seed: int, folder: Path) -> tuple[Counts, list[str]]:
    """What a station did with commands of which none may be done, and what is wrong with that."""
    draw = random.Random(seed)
    make_keys(folder)
    good = trigger(folder, "good", expires_s=86_400)
    sent = [(ADDRESS.command_topic("trigger"), good)]
    with commanded(folder) as (wire, line, commands):
        for _ in range(messages):
            payload = _otherwise(draw, good) if draw.random() < 0.5 else mutated(draw, sent)[1]
            if payload == good:
                payload = b""
            name = "trigger" if draw.random() < 0.7 else draw.choice([*COMMANDS, "dance", ""])
            if not eventually(lambda: not commands._came.full(), WAIT_S):
                return {}, ["the station takes no more commands"]
            wire.hear(f"{ADDRESS.prefix}/cmd/{name}", payload)

        def answered() -> int:
            return sum(reply.status == "done" for reply in wire.replies("good"))

        counted = eventually(lambda: commands.refused.total() + answered() >= messages, WAIT_S)
        counts: dict[str, int] = {name: count for name, count in commands.refused.items()}  # noqa: C416
        counts["the signed command, in another envelope"] = answered()
        counts["done"] = line.triggered
    problems = [] if counted else [f"the station counted {sum(commands.refused.values())} of {messages} commands"]
    if line.triggered > 1:
        problems.append(f"the station did {line.triggered} commands, and one was signed")
    return counts, problems


def _otherwise(draw: random.Random, good: bytes) -> bytes:
    """The command with something else in what was signed: read as a command, and refused for its signature alone."""
    said = json.loads(good)
    said["data"][draw.choice(["issued_by", "command_id", "issued_wall_s", "expires_s"])] = draw.choice(
        ["anna", "c-1", f"c-{draw.randrange(10**6)}", 1.0, 60.0, draw.random() * 1e9]
    )
    return json.dumps(said).encode()


def main(
    messages: Annotated[int, typer.Option(min=1, help="How many are given to each.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The same messages again.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send random and changed messages to a collector and a station; exit code 1 where one is not counted, or done."""
    found: dict[str, Counts] = {}
    problems: list[str] = []
    for name, subject in (("collector", collector), ("station", station)):
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="edge-resad-fuzz-") as scratch:
            counts, wrong = subject(messages, seed, Path(scratch))
        found[name] = {**counts, "seconds": round(time.perf_counter() - began)}
        problems += wrong
    if as_json:
        print(json.dumps({"messages": messages, "seed": seed, **found}))
    else:
        table = Table("who", "what became of them", title=f"{messages} messages each, seed {seed}")
        for name, counts in found.items():
            table.add_row(name, ", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
        Console().print(table)
    for problem in problems:
        print(problem)
    raise typer.Exit(1 if problems else 0)


if __name__ == "__main__":
    typer.run(main)
