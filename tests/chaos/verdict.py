"""What chaos cost: the stations' histories against the store."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, func, select

from edge_resad.fleet import schema
from edge_resad.fleet.coverage import given_up_ranges, missing_ranges, stored_ranges
from edge_resad.fleet.database import opened
from tests.chaos.history import Committed, digest, read


@dataclass
class Verdict:
    """The count. `lost`, `disorder`, `holes` and `rejected` must be 0."""

    generated: int = 0  # committed, as the histories or the store know
    stored: int = 0
    given_up: int = 0  # not stored, and told in a gap, number by number
    unknown: int = 0  # not stored, of a stream of which a gap says that nobody knows what it lost
    lost: int = 0
    duplicates: int = 0  # came again and were absorbed
    disorder: int = 0  # a number with another message, or one that was given twice, or out of the order of the clock
    holes: int = 0  # numbers that the store misses by its own account
    rejected: int = 0
    streams: int = 0
    kinds: Counter[str] = field(default_factory=Counter)  # of what was committed
    sacrificed: Counter[str] = field(default_factory=Counter)  # of what was given up
    first_losses: list[str] = field(default_factory=list)

    @property
    def costs(self) -> str:
        """What of the generated is not stored, and was said to be not."""
        return f"given up and told {self.given_up} gone with a damaged outbox that does not say which {self.unknown}"

    @property
    def good(self) -> bool:
        return not (self.lost or self.disorder or self.holes or self.rejected)

    def __str__(self) -> str:
        return f"generated {self.generated} stored {self.stored} lost {self.lost} duplicates {self.duplicates}"


def judge(url: str, histories: Mapping[str, Path]) -> Verdict:
    """histories: station -> the file of what it committed."""
    verdict = Verdict()
    with opened(url) as engine, engine.connect() as connection:
        verdict.rejected = connection.execute(select(func.count()).select_from(schema.rejected)).scalar_one()
        for station, path in histories.items():
            committed: dict[str, list[Committed]] = {}
            for letter in read(path):
                committed.setdefault(letter.stream_id, []).append(letter)
            for stream_id in {**committed, **dict.fromkeys(_streams(connection, station))}:
                _judge_stream(connection, station, stream_id, committed.get(stream_id, []), verdict)
    return verdict


def judge_until_good(url: str, histories: Mapping[str, Path], within_s: float) -> Verdict:
    """The judgement of lines at rest, as soon as it is good: what was given up is told a few seconds later."""
    until = time.monotonic() + within_s
    while not (verdict := judge(url, histories)).good and time.monotonic() < until:
        time.sleep(0.5)
    return verdict


def _streams(connection: Connection, station: str) -> list[str]:
    table, devices = schema.stream, schema.device
    asked = select(table.c.stream_id).join(devices, devices.c.id == table.c.device).where(devices.c.name == station)
    return list(connection.execute(asked).scalars())


def _judge_stream(
    connection: Connection, station: str, stream_id: str, committed: list[Committed], verdict: Verdict
) -> None:
    table = schema.stream
    row = connection.execute(select(table).where(table.c.stream_id == stream_id)).first()
    stored, given_up, knows_all = set[int](), set[int](), True
    digests: dict[int, str] = {}
    if row is not None:
        stored = _numbers(stored_ranges(connection, row.id))
        given_up = _numbers(given_up_ranges(connection, row.id)) - stored
        knows_all = _knows_what_it_lost(connection, row.id)
        digests, verdict.disorder = _raw(connection, row.id, verdict.disorder)
        verdict.duplicates += row.duplicates
        if row.replaced_by is None:
            generated = max(row.max_seq, row.announced_seq)
            verdict.holes += len(_numbers(missing_ranges(connection, row.id, generated)))
    witnessed: dict[int, str] = {}
    last = 0
    for letter in committed:
        verdict.kinds[letter.kind] += 1
        verdict.disorder += letter.seq <= last or digests.get(letter.seq, letter.digest) != letter.digest
        last = letter.seq
        witnessed[letter.seq] = letter.digest
    there = stored | witnessed.keys()
    gone = there - stored
    untold = gone - given_up
    lost, unknown = (untold, set[int]()) if knows_all else (set[int](), untold)
    verdict.streams += 1
    verdict.generated += len(there)
    verdict.stored += len(stored)
    verdict.given_up += len(gone & given_up)
    verdict.unknown += len(unknown)
    verdict.sacrificed.update(letter.kind for letter in committed if letter.seq in gone - lost)
    verdict.lost += len(lost)
    verdict.first_losses += [f"{station} {stream_id} {seq}" for seq in sorted(lost)[: 10 - len(verdict.first_losses)]]


def _knows_what_it_lost(connection: Connection, stream: int) -> bool:
    """Whether every gap that speaks of this stream names numbers; one of a damaged outbox may have none to name."""
    gap, raw = schema.gap, schema.raw
    asked = select(raw.c.payload).join(gap, (gap.c.stream == raw.c.stream) & (gap.c.seq == raw.c.seq))
    said = connection.execute(asked.where(gap.c.of_stream == stream)).scalars()
    return all(json.loads(payload)["data"]["ranges"] for payload in said)


def _raw(connection: Connection, stream: int, disorder: int) -> tuple[dict[int, str], int]:
    """Digests of the messages that are kept word for word; and how often the clock went back from one to the next."""
    table = schema.raw
    digests, before = {}, 0.0
    asked = select(table.c.seq, table.c.payload).where(table.c.stream == stream).order_by(table.c.seq)
    for seq, payload in connection.execute(asked):
        digests[seq] = digest(bytes(payload))
        mono_s = json.loads(payload)["data"]["mono_s"]
        disorder += mono_s < before
        before = mono_s
    return digests, disorder


def _numbers(ranges: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}
