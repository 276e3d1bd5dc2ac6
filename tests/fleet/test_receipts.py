"""What came while the collector's clock was not set has no date: it is given one, and does not go by its age before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from edge_resad.clock_floor import FLOOR_S
from edge_resad.fleet import receipts, schema
from edge_resad.fleet.backdating import backdate
from edge_resad.fleet.chores import Chores
from edge_resad.fleet.clock import EARLIEST_MS, receipt_ms
from edge_resad.fleet.database import open_database
from edge_resad.fleet.doubt import trust_clock
from edge_resad.fleet.reading import Arrival, refuse
from edge_resad.fleet.receipts import date_receipts
from edge_resad.fleet.report import alerts, devices
from edge_resad.fleet.retention import retain
from edge_resad.fleet.settings import RetentionSection
from edge_resad.fleet.store import Store, StoreAway
from tests.fleet.letters import Writer, reads

DAY_MS = 86_400_000
SET_S = FLOOR_S + 100 * 86_400
SET_MS = round(SET_S * 1000)
short = RetentionSection(passed_days=1, verdict_days=1, alert_days=1, thumbnail_days=1, raw_days=1, state_days=1)
press = Writer(wall=SET_S)
early = Writer(device="press-2", stream_id="stream-b", boot_id="boot-b", wall=5.0, synced=False)  # its own is not set


def received(arrivals: Iterable[Arrival], wall_s: float) -> list[Arrival]:
    """One a second from when the collector's clock said this; the computer runs for five seconds then."""
    return [
        replace(arrival, received_ms=receipt_ms(wall_s + number, 5.0 + number))
        for number, arrival in enumerate(arrivals)
    ]


def everything() -> list[Arrival]:
    """Of each table one at least."""
    return [
        *(press.verdict(1), press.verdict(2, "fail"), press.alert(3, "new", picture=True), press.picture(4, of=3)),
        *(press.alert(5, "end"), press.gap(6, ((20, 21),)), press.audit(7, "k1"), press.reply("k1"), press.birth(1)),
        *(press.telemetry(1), press.reported(1, 1, "applied"), early.verdict(1), early.not_inspected(2)),
        Arrival(press.address.gap_topic, b"rubbish", 0),
    ]


def numbers(engine: Engine) -> dict[str, int]:
    """How many rows each table has."""
    with engine.connect() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in schema.metadata.sorted_tables
            if table not in (schema.settled, schema.clock)
        }


def undated(engine: Engine) -> dict[str, int]:
    """Rows of which a time is before 1971, of every table that has a time."""
    found: dict[str, int] = {}
    with engine.connect() as connection:
        for table in schema.metadata.sorted_tables:
            for column in table.c:
                if column.name in ("received_ms", "first_ms", "seen_ms", "state_ms", "at_ms", "hour_ms"):
                    asked = select(func.count()).select_from(table).where(column < EARLIEST_MS)
                    found[f"{table.name}.{column.name}"] = connection.execute(asked).scalar_one()
    return {name: number for name, number in found.items() if number}


def run(chores: Chores, now: float, wall_s: float) -> None:
    """A round of retention and all that comes with it. now: s of the monotonic clock."""
    chores.step(now, round(wall_s * 1000), busy=False)
    while next(chores._work, None) is not None:
        pass


def test_a_collector_that_begins_in_1970_loses_nothing_when_its_clock_is_set(engine: Engine) -> None:
    store, chores = Store(engine, raw="all"), Chores(engine, short)
    store.add(reads(*received(everything(), 5.0)))
    before = numbers(engine)
    assert [name for name, number in before.items() if not number] == ["dropped"]  # every table has something to lose
    run(chores, 10.0, 10.0)
    assert numbers(engine) == before
    assert undated(engine)
    run(chores, 100.0, SET_S)  # set meanwhile
    assert numbers(engine) == before
    assert undated(engine) == {}
    run(chores, 200.0 + 0.9 * 86_400, SET_S + 0.9 * 86_400)
    assert numbers(engine) == before
    with engine.connect() as connection:
        assert {status.device: status.seen_ms for status in devices(connection)} == {
            "press-1": SET_MS - 90_000,  # as of the round before
            "press-2": SET_MS - 90_000,
        }
    run(chores, 300.0 + 1.1 * 86_400, SET_S + 1.1 * 86_400)  # a day old by then, and not before
    after = numbers(engine)
    assert all(after[name] == 0 for name in ("verdict", "alert", "alert_message", "thumbnail", "raw", "command"))
    assert after["device"] == before["device"]


def test_what_a_right_station_says_is_dated_by_its_clock_though_the_collectors_is_not_set(engine: Engine) -> None:
    Store(engine).add(reads(*received([press.verdict(1)], 5.0)))
    with engine.connect() as connection:
        ((at_ms, quality),) = connection.execute(select(schema.verdict.c.at_ms, schema.verdict.c.at_quality)).all()
    assert (at_ms, quality) == (SET_MS + 1000, "synced")


def test_a_part_that_happened_when_it_was_received_is_counted_in_the_hour_when_that_is_known(engine: Engine) -> None:
    Store(engine).add(reads(*received([early.verdict(1), early.verdict(2, "fail")], 5.0)))
    Store(engine).add(reads(*received([early.verdict(3)], SET_S)))
    list(date_receipts(engine, SET_MS))
    hour = schema.hour
    with engine.connect() as connection:
        counted = connection.execute(select(hour.c.hour_ms, hour.c.parts, hour.c.passed, hour.c.failed)).all()
    assert [tuple(row) for row in counted] == [(SET_MS // 3_600_000 * 3_600_000, 3, 2, 1)]


def test_an_old_alert_that_ends_while_the_clock_is_not_set_is_not_old(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(*received([press.alert(1, "new"), press.alert(2, "new", alert_id="a2")], SET_S - 30 * 86_400)))
    store.add(reads(*received([press.alert(3, "end")], 5.0)))
    store.add(reads(*received([press.alert(4, "end", alert_id="a2")], SET_S - 29 * 86_400)))
    list(retain(engine, short, SET_MS))  # of another collector, whose clock is right
    list(date_receipts(engine, SET_MS))
    list(retain(engine, short, SET_MS + DAY_MS // 2))
    with engine.connect() as connection:
        assert [(alert.alert_id, alert.messages) for alert in alerts(connection)] == [("a1", 2)]
    list(retain(engine, short, SET_MS + 2 * DAY_MS))
    assert numbers(engine)["alert_message"] == 0


def test_what_was_set_aside_comes_again_without_a_date_and_stays(engine: Engine) -> None:
    store = Store(engine)
    for wall_s in (SET_S - 30 * 86_400, 5.0):
        (arrival,) = received([press.alert(1, "new")], wall_s)
        store.add([refuse(arrival, "of a newer station", press.address)])
    list(retain(engine, short, SET_MS))
    list(date_receipts(engine, SET_MS))
    list(retain(engine, short, SET_MS + DAY_MS // 2))
    assert numbers(engine)["rejected"] == 1


def test_rows_that_have_a_date_keep_it_and_many_are_dated_in_small_transactions(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "_CHUNK", 3)
    store = Store(engine, raw="none")
    store.add(reads(*received([press.verdict(1)], SET_S - 86_400)))
    store.add(reads(*received([press.verdict(seq) for seq in range(2, 12)], 5.0)))
    assert max(date_receipts(engine, SET_MS)) == 3
    assert list(date_receipts(engine, SET_MS)) == []
    with engine.connect() as connection:
        asked = select(schema.verdict.c.received_ms, func.count()).group_by(schema.verdict.c.received_ms)
        dated = {row[0]: row[1] for row in connection.execute(asked)}
    assert dated == {SET_MS - DAY_MS: 1, SET_MS: 10}


def test_what_a_station_reported_after_the_clock_was_set_is_its_newest(engine: Engine) -> None:
    store, chores = Store(engine), Chores(engine, short)
    store.add(reads(*received([press.birth(1), press.reported(1, 1, "applied")], 5.0)))
    run(chores, 7.0, 7.0)
    store.add(reads(*received([press.birth(2), press.reported(2, 2, "applied")], SET_S)))
    run(chores, 12.0, SET_S + 3)
    run(chores, 90_000.0, SET_S + 90_000)
    with engine.connect() as connection:
        assert [status.settings_version for status in devices(connection)] == [2]
        assert list(connection.execute(select(schema.state.c.bd_seq)).scalars()) == [2]


def test_what_came_by_a_clock_that_stood_still_while_the_collector_was_off_is_not_as_old_as_it_seems(
    engine: Engine,
) -> None:
    """A computer without a battery begins with the time at which it was switched off, until a time server is there."""
    store, chores, off_s = Store(engine, raw="all"), Chores(engine, short), 90 * 86_400
    run(Chores(engine, short), 0.0, SET_S)
    store.add(reads(*received(everything(), SET_S + 20)))
    run(chores, 20.0, SET_S + 40)
    before = numbers(engine)
    run(chores, 30.0, SET_S + off_s)  # set ahead
    store.add(reads(*received([press.verdict(8)], SET_S + 41)))  # had waited in memory meanwhile
    run(chores, 40.0, SET_S + off_s + 10)
    trust_clock(engine, SET_MS + off_s * 1000)
    run(chores, 110.0, SET_S + off_s + 80)
    after = numbers(engine)
    more = {name: after[name] - number for name, number in before.items() if after[name] != number}
    assert more == {"verdict": 1, "raw": 1}
    run(chores, 110.0 + 1.1 * 86_400, SET_S + off_s + 1.1 * 86_400)
    assert numbers(engine)["verdict"] == 0


@pytest.mark.timeout(600)
def test_one_collector_removes_nothing_that_another_receives_in_1970(engine: Engine, url: str) -> None:
    """Both work on one store at the same time, and at the end nothing but what is old has gone."""
    early_engine, done = open_database(url), threading.Event()

    def receive() -> int:
        store, stored = Store(early_engine, raw="all"), 0
        for seq in range(1, 201, 4):
            said = [early.verdict(seq), early.verdict(seq + 1, "fail"), early.alert(seq + 2, "new", alert_id=f"a{seq}")]
            said += [early.alert(seq + 3, "end", alert_id=f"a{seq}")]
            while True:
                try:
                    stored += store.add(reads(*received(said, float(seq)))).stored
                    break
                except StoreAway:  # as the ingest does
                    time.sleep(0.01)
        done.set()
        return stored

    with ThreadPoolExecutor(1) as pool:
        stored = pool.submit(receive)
        rounds = 0
        while not done.is_set() or not rounds:
            with suppress(SQLAlchemyError):  # the other had the store for too long: another time, as the chores do
                list(backdate(engine))
                list(date_receipts(engine, SET_MS))
                list(retain(engine, short, SET_MS + DAY_MS // 2))
                rounds += 1
        assert stored.result() == 200
    early_engine.dispose()
    list(date_receipts(engine, SET_MS))
    list(retain(engine, short, SET_MS + DAY_MS // 2))
    now = numbers(engine)
    assert (now["verdict"], now["alert"], now["alert_message"], now["raw"]) == (100, 50, 100, 200)
    assert undated(engine) == {}
    with engine.connect() as connection:
        assert [row[0] for row in connection.execute(select(schema.hour.c.parts))] == [100]
