"""Several collectors write the same things at the same time, in different orders: counts stay exact."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from edge_resad.fleet import schema
from edge_resad.fleet.backdating import backdate
from edge_resad.fleet.database import open_database
from edge_resad.fleet.reading import Arrival
from edge_resad.fleet.report import accounts, alerts
from edge_resad.fleet.store import Store, StoreAway
from tests.fleet.letters import NOW_S, Writer, reads

STATIONS = 6
LETTERS = 40  # of each station


@pytest.mark.timeout(600)
def test_counts_are_exact_whatever_the_collectors_do_at_the_same_time(engine: Engine, url: str) -> None:
    said: list[Arrival] = []
    for number in range(STATIONS):
        early = Writer(device=f"d{number}", stream_id=f"s{number}", wall=30.0, mono=30.0, synced=False)
        right = Writer(device=f"d{number}", stream_id=f"s{number}", wall=NOW_S, mono=30.0)
        for seq in range(1, LETTERS + 1):
            writer = early if seq < LETTERS // 2 else right
            if seq % 10 == 9:
                said += [writer.alert(seq, "new", alert_id=f"d{number}-{seq}")]
            elif seq % 10 == 0:
                said += [writer.alert(seq, "end", alert_id=f"d{number}-{seq - 1}")]
            else:
                said += [writer.verdict(seq, "fail" if seq % 7 == 0 else "pass")]

    def collect(seed: int) -> int:
        dice = random.Random(seed)
        mine = [arrival for arrival in said if dice.random() < 0.8] if seed else list(said)
        dice.shuffle(mine)
        own = open_database(url)
        store, new = Store(own), 0
        for first in range(0, len(mine), 16):
            batch = reads(*mine[first : first + 16])
            while True:
                try:
                    new += store.add(batch).stored
                    break
                except StoreAway:  # another one was faster, or they waited for each other: as the ingest does
                    time.sleep(0.01)
            with suppress(SQLAlchemyError):  # the others had the store for too long: another time, as the chores do
                list(backdate(own))
        own.dispose()
        return new

    with ThreadPoolExecutor(3) as pool:
        stored = sum(pool.map(collect, range(3)))
    assert stored == STATIONS * LETTERS
    list(backdate(engine))
    with engine.connect() as connection:
        assert all(account.stored == LETTERS and account.missing == [] for account in accounts(connection))
        verdicts = connection.execute(select(func.count()).select_from(schema.verdict)).scalar_one()
        hours = connection.execute(select(func.sum(schema.hour.c.parts), func.count())).one()
        assert tuple(hours) == (verdicts, STATIONS)  # one hour each: what was at 1970 is dated
        ranked = alerts(connection, most=1000)
        assert {(alert.messages, alert.open) for alert in ranked} == {(2, False)}
        assert len(ranked) == STATIONS * LETTERS // 10
        undated = select(func.count()).where(schema.verdict.c.at_quality.in_(("unsure", "received")))
        assert connection.execute(undated).scalar_one() == 0
