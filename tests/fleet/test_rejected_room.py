"""What is set aside is bounded: a hostile or broken station fills its own room and nobody else's."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given
from sqlalchemy import Connection, Engine, select

from edge_resad.fleet import rejected_room, schema
from edge_resad.fleet.coverage import settle, settle_some
from edge_resad.fleet.database import alone, open_database, opened
from edge_resad.fleet.reading import Arrival, Unreadable, read, refuse
from edge_resad.fleet.rejected_room import NOBODY, fair_share
from edge_resad.fleet.report import accounts, devices, dropped
from edge_resad.fleet.rereading import reread
from edge_resad.fleet.retention import retain
from edge_resad.fleet.settings import RetentionSection
from edge_resad.fleet.store import Store, StoreAway
from tests.fleet.letters import NOW_MS, Writer
from tests.postgres_server import Postgres

press = Writer()
hostile = Writer(device="press-9", stream_id="stream-z")


def newer(*arrivals: Arrival) -> list[Unreadable]:
    """Messages of a station whose schema nobody knows yet: unreadable, but their places are known."""
    return [refuse(arrival, "of a newer station", press.address) for arrival in arrivals]


def rubbish(writer: Writer, numbers: Iterable[int]) -> list[Unreadable]:
    """Messages that can be neither read nor placed."""
    topic = writer.address.gap_topic
    return [
        refuse(Arrival(topic, b"rubbish %d" % number, NOW_MS + number), "no JSON", writer.address) for number in numbers
    ]


def kept(engine: Engine) -> list[tuple[int | None, str]]:
    """Seq and topic of what is set aside."""
    table = schema.rejected
    with engine.connect() as connection:
        return [(row.seq, row.topic) for row in connection.execute(select(table).order_by(table.c.received_ms))]


def lost(engine: Engine) -> dict[int, int]:
    """Device -> how many were dropped."""
    with engine.connect() as connection:
        return {row.device: row.messages for row in connection.execute(select(schema.dropped))}


def test_a_station_that_floods_keeps_its_newest_and_costs_no_other_station_anything(engine: Engine) -> None:
    store = Store(engine, rejected_rows_of_device=10)
    store.add(newer(press.verdict(1)))
    for first in range(2, 62, 20):
        flood = [replace(hostile.verdict(seq), received_ms=NOW_MS + 1000 * seq) for seq in range(first, first + 20)]
        receipt = store.add([refuse(one, "rubbish", hostile.address) for one in flood])
        (ranges,) = receipt.acknowledged.values()
        assert ranges == ((first, first + 19),)  # or the station would send them for ever
    assert [seq for seq, _ in kept(engine)] == [1, *range(52, 62)]
    with engine.connect() as connection:
        found = {status.device: (status.set_aside, status.set_aside_dropped) for status in devices(connection)}
        assert found == {"press-1": (1, 0), "press-9": (10, 50)}
        assert dropped(connection) == 50
    assert reread(engine, store) == 11  # a newer collector still reads what is there


def test_what_was_dropped_is_missing_for_nobody_ever_read_it(engine: Engine) -> None:
    store = Store(engine, rejected_rows_of_device=3)
    store.add([*newer(press.verdict(1), press.verdict(2), press.verdict(4), press.verdict(5)), read(press.verdict(3))])
    with engine.connect() as connection:
        (account,) = accounts(connection)
    assert (account.stored, account.missing) == (4, [(1, 1)])


def test_what_was_dropped_is_missing_although_the_stream_was_settled_meanwhile(engine: Engine) -> None:
    store = Store(engine, rejected_rows_of_device=5)
    store.add([*newer(*(press.verdict(seq) for seq in (1, 2, 4, 5, 6))), read(press.verdict(3))])
    with engine.begin() as connection:
        settle(connection, 1, 1, 6)
    store.add(newer(press.verdict(7), press.verdict(8)))
    with engine.connect() as connection:
        (account,) = accounts(connection)
    assert (account.stored, account.missing) == (6, [(1, 2)])
    assert store.add([read(press.verdict(1))]).stored == 1  # it comes again, and can be read: it is counted
    with engine.connect() as connection:
        (account,) = accounts(connection)
    assert (account.stored, account.missing) == (7, [(2, 2)])


def test_a_stream_whose_rows_were_dropped_holds_up_no_other(engine: Engine) -> None:
    store = Store(engine, rejected_rows_of_device=5)
    store.add(newer(replace(hostile.verdict(10**9), received_ms=NOW_MS)))
    flood = Writer(device="press-9", stream_id="stream-y")
    store.add(newer(*(flood.verdict(seq) for seq in range(1, 9))))
    assert all(seq != 10**9 for seq, _ in kept(engine))
    store.add([read(press.verdict(seq)) for seq in range(1, 41)])
    with engine.begin() as connection:
        settled = sum(settle_some(connection, 10) for _ in range(20))
    assert settled >= 30


def test_what_nobody_can_ever_read_goes_first_and_alerts_go_last(engine: Engine) -> None:
    store = Store(engine, rejected_rows_of_device=4)
    store.add(newer(press.alert(1, "new"), press.verdict(2), press.verdict(3)))
    store.add(rubbish(press, range(3)))
    assert [seq for seq, _ in kept(engine)] == [None, 1, 2, 3]
    store.add(newer(press.alert(4, "end"), press.verdict(5)))
    assert [seq for seq, _ in kept(engine)] == [1, 3, 4, 5]
    assert sum(lost(engine).values()) == 4


def test_what_comes_again_is_one_row_and_drops_nothing(engine: Engine) -> None:
    store = Store(engine, rejected_rows_of_device=3)
    for _ in range(5):
        receipt = store.add([*newer(press.verdict(1)), *rubbish(press, range(2))])
        assert receipt.dropped == 0
    assert len(kept(engine)) == 3


def test_what_goes_is_counted_as_often_as_it_came(engine: Engine) -> None:
    store = Store(engine, rejected_rows_of_device=3)
    for _ in range(4):
        store.add(rubbish(press, [1]))
    store.add(rubbish(press, range(2, 6)))
    assert (len(kept(engine)), sum(lost(engine).values())) == (3, 4 + 1)


def test_a_topic_that_names_no_station_is_bounded_and_counted_too(engine: Engine) -> None:
    store = Store(engine, rejected_rows_of_device=3)
    receipt = store.add([refuse(Arrival("no topic", b"%d" % at, NOW_MS + at), "no topic", None) for at in range(8)])
    assert receipt.dropped == 5
    assert (len(kept(engine)), lost(engine)) == (3, {NOBODY: 5})


def test_in_all_those_who_have_most_give_most(engine: Engine) -> None:
    store = Store(engine)
    store.add([*newer(press.verdict(1)), *rubbish(Writer(device="press-2", stream_id="b"), range(5))])
    store.add(rubbish(hostile, range(2500)))
    list(retain(engine, RetentionSection(rejected_rows=12), NOW_MS))
    with engine.connect() as connection:
        found = {status.device: (status.set_aside, status.set_aside_dropped) for status in devices(connection)}
    assert found == {"press-1": (1, 0), "press-2": (5, 0), "press-9": (6, 2494)}


def test_more_stations_than_there_is_room_for_leave_the_newest(engine: Engine) -> None:
    store = Store(engine)
    for number in range(9):
        store.add(rubbish(Writer(device=f"press-{number}"), [number]))
    list(retain(engine, RetentionSection(rejected_rows=4), NOW_MS))
    assert [topic.split("/")[4] for _, topic in kept(engine)] == ["press-5", "press-6", "press-7", "press-8"]
    assert sum(lost(engine).values()) == 5


def test_a_smaller_number_in_the_fleet_file_holds_for_what_is_there_already(engine: Engine) -> None:
    Store(engine).add(rubbish(press, range(30)))
    list(retain(engine, RetentionSection(rejected_rows_of_device=10), NOW_MS))
    assert (len(kept(engine)), sum(lost(engine).values())) == (10, 20)


@given(st.lists(st.integers(1, 50), max_size=12), st.integers(0, 200))
def test_a_fair_share_fills_the_room_and_no_more(numbers: list[int], room: int) -> None:
    share = fair_share(numbers, room)
    had = sum(min(number, share) for number in numbers)
    assert had <= room
    if had < sum(numbers):
        assert sum(min(number, share + 1) for number in numbers) > room


@pytest.mark.parametrize("stations", [1, 3])
def test_collectors_that_are_flooded_together_keep_the_bound_and_count_exactly(
    engine: Engine, url: str, stations: int
) -> None:
    writers = [Writer(device=f"press-{number}", stream_id=f"s{number}") for number in range(stations)]

    def collect(which: int) -> None:
        own = open_database(url)
        store = Store(own, rejected_rows_of_device=20)
        for first in range(which * 300, which * 300 + 300, 30):
            batch = [one for writer in writers for one in rubbish(writer, range(first, first + 30))]
            while True:
                try:
                    store.add(batch)
                    break
                except StoreAway:  # as the ingest does
                    time.sleep(0.01)
        own.dispose()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(collect, range(2)))
    list(retain(engine, RetentionSection(rejected_rows_of_device=20), NOW_MS))
    with engine.connect() as connection:
        found = [(status.set_aside, status.set_aside_dropped) for status in devices(connection)]
    assert len(found) == stations
    for there, gone in found:
        assert there + gone == 600
        assert 19 <= there <= 20  # one more than must goes, so that not every batch has to make room


@pytest.mark.postgres
def test_a_collector_that_makes_room_just_after_another_drops_nothing_more(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_database()
    with opened(url, writing=True) as engine:
        Store(engine).add(rubbish(press, range(600)))
        others = [open_database(url)]

        def alone_after_another(connection: Connection, lock: int) -> bool:
            while others:  # it has counted by now
                other = others.pop()
                list(retain(other, RetentionSection(rejected_rows=20), NOW_MS))
                other.dispose()
            return alone(connection, lock)

        monkeypatch.setattr(rejected_room, "alone", alone_after_another)
        list(retain(engine, RetentionSection(rejected_rows=20), NOW_MS))
        assert len(kept(engine)) == 19
