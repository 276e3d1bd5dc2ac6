"""The ingest: from the broker into the store, and only then the acknowledgement."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from edge_resad.fleet.chores import Chores
from edge_resad.fleet.conflicts import sentence
from edge_resad.fleet.crash_points import crash_point
from edge_resad.fleet.database import cause
from edge_resad.fleet.inbox import Inbox
from edge_resad.fleet.link import Link, packet_size
from edge_resad.fleet.reading import Arrival, read
from edge_resad.fleet.rereading import reread
from edge_resad.fleet.settings import FleetFile
from edge_resad.fleet.store import Receipt, Store, StoreAway
from edge_resad.messages import MAX_RANGES, Address, acknowledgement_message

log = logging.getLogger(__name__)

_RETRY_S = (0.2, 10.0)  # first and longest pause while the store is away
_REPORT_S = 60.0


@dataclass
class Totals:
    """What an ingest has done since it began."""

    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    commits: int = 0
    conflicts: Counter[tuple[Address, str]] = field(default_factory=Counter)
    dropped: int = 0  # of what was set aside

    def __str__(self) -> str:
        others = f"conflicts {sum(self.conflicts.values())}, " if self.conflicts else ""
        others += f"dropped {self.dropped}, " if self.dropped else ""
        return (
            f"stored {self.stored}, duplicates {self.duplicates}, not readable {self.rejected}, {others}"
            f"commits {self.commits}"
        )


def ingest(fleet: FleetFile, engine: Engine, stop: threading.Event) -> Totals:
    """Store what comes until `stop` is set; answers what was done."""
    collector = fleet.collector
    inbox = Inbox(collector.waiting)
    store = Store(engine, raw=fleet.store.raw, rejected_rows_of_device=fleet.retention.rejected_rows_of_device)
    chores = Chores(engine, fleet.retention)
    totals = Totals()
    name = uuid.uuid4().hex  # of this start: acknowledgements are numbered below it
    reported = time.monotonic()
    _reread(engine, store)
    with Link(fleet.broker, collector, inbox) as link:
        while not stop.is_set():
            arrivals = inbox.take(collector.batch, gather_s=collector.batch_ms / 1000, patience_s=0.5)
            if arrivals:
                receipt = _stored(store, arrivals, stop)
                if receipt is None:
                    break
                _count(totals, receipt)
                says = list(_acknowledgements(receipt, f"{name}-{totals.commits}", collector.id, link.largest))
                link.answer(arrivals, says)
                crash_point("after-acknowledgement")
            chores.step(time.monotonic(), time.time_ns() // 1_000_000, busy=len(arrivals) == collector.batch)
            if time.monotonic() - reported >= _REPORT_S:
                reported = time.monotonic()
                log.info("%s; %s", "connected" if link.connected else link.problem or "not connected", totals)
                if inbox.dropped:
                    log.warning("%d messages of telemetry were dropped while the store was slow", inbox.dropped)
            if not link.alive:
                raise RuntimeError("the thread of the broker connection has ended")
    return totals


def _reread(engine: Engine, store: Store) -> None:
    """Give what an older program could not read another chance."""
    try:
        number = reread(engine, store)
    except (StoreAway, SQLAlchemyError) as away:
        log.warning("what could not be read is not looked at again now: %s", cause(away))
        return
    if number:
        log.info("%d messages that an older collector could not read are stored now", number)


def _stored(store: Store, arrivals: list[Arrival], stop: threading.Event) -> Receipt | None:
    """Store a batch, however long that takes; None where we were told to stop before."""
    batch = [read(arrival) for arrival in arrivals]
    pause, said = _RETRY_S[0], None
    while True:
        try:
            receipt = store.add(batch)
            if said is not None:
                log.warning("the store takes messages again")
            return receipt
        except StoreAway as away:
            if str(away) != said:
                said = str(away)
                log.error("the store takes nothing: %s. Nothing is acknowledged; it is tried again.", said)
        if stop.wait(random.uniform(0.5, 1.0) * pause):
            return None
        pause = min(2 * pause, _RETRY_S[1])


def _count(totals: Totals, receipt: Receipt) -> None:
    totals.stored += receipt.stored
    totals.duplicates += receipt.duplicates
    totals.commits += 1
    if receipt.rejected and not totals.rejected:
        log.warning("a message could not be read; edge-resad fleet status counts them, and the store keeps them")
    totals.rejected += receipt.rejected
    for (address, stream_id), number in receipt.conflicts.items():
        if (address, stream_id) not in totals.conflicts:
            log.error("%s", sentence(address.device, stream_id, number))
    totals.conflicts += receipt.conflicts
    if receipt.dropped and not totals.dropped:
        log.error(
            "a station has sent more that cannot be read than [retention] rejected_rows_of_device: the oldest of it is "
            "dropped. edge-resad fleet status says whose it is and counts it"
        )
    totals.dropped += receipt.dropped


def _acknowledgements(receipt: Receipt, name: str, collector: str, largest: int | None) -> Iterator[tuple[str, bytes]]:
    """Topic and payload of one acknowledgement for every stream of a batch; several where one would be too large."""
    number = 0
    for (address, stream_id), ranges in receipt.acknowledged.items():
        waiting = [ranges[first : first + MAX_RANGES] for first in range(0, len(ranges), MAX_RANGES)][::-1]
        while waiting:
            some = waiting.pop()
            payload = acknowledgement_message(
                address,
                event_id=f"{name}-{number + 1}",
                wall=time.time(),
                stream_id=stream_id,
                stored=some,
                collector=collector,
            )
            if largest is not None and len(some) > 1 and packet_size(address.ack_topic, payload) > largest:
                waiting += [some[len(some) // 2 :], some[: len(some) // 2]]
                continue
            number += 1
            yield address.ack_topic, payload
