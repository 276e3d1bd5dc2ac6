"""Stations without a clock battery begin in 1970; the fleet finds out when it was."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, select

from edge_resad.fleet import schema
from edge_resad.fleet.backdating import backdate
from edge_resad.fleet.report import alerts
from edge_resad.fleet.store import Store
from tests.fleet.letters import NOW_MS, NOW_S, Writer, reads

HOUR_MS = 3_600_000
just_started = Writer(wall=30.0, mono=30.0, synced=False)  # 1970
after_sync = Writer(wall=NOW_S, mono=30.0)


def dates(engine: Engine) -> list[tuple[Any, ...]]:
    table = schema.verdict
    with engine.connect() as connection:
        asked = select(table.c.seq, table.c.at_ms, table.c.at_quality).order_by(table.c.seq)
        return [tuple(row) for row in connection.execute(asked)]


def hours(engine: Engine) -> list[tuple[Any, ...]]:
    table = schema.hour
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(table.c.hour_ms, table.c.parts, table.c.ratio_sum))]


def test_what_was_written_before_the_clock_was_right_is_dated_when_it_is(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(just_started.verdict(1), just_started.verdict(2), just_started.alert(3, "new")))
    assert dates(engine) == [(1, NOW_MS + 1000, "received"), (2, NOW_MS + 2000, "received")]
    late = Writer(wall=NOW_S - 7200, mono=30.0)  # two hours before all of this reached the collector
    store.add(reads(late.verdict(4)))
    assert sum(backdate(engine)) == 3
    before = NOW_MS - 2 * HOUR_MS
    assert dates(engine) == [
        (1, before + 1000, "backdated"),
        (2, before + 2000, "backdated"),
        (4, before + 4000, "synced"),
    ]
    with engine.connect() as connection:
        (alert,) = alerts(connection)
    assert (alert.began_ms, alert.began_quality) == (before + 3000, "backdated")


def test_parts_move_to_the_hour_in_which_they_were(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(just_started.verdict(1), just_started.verdict(2)))
    assert [(hour, parts) for hour, parts, _ in hours(engine)] == [(NOW_MS // HOUR_MS * HOUR_MS, 2)]
    late = Writer(wall=NOW_S - 7200, mono=30.0)
    store.add(reads(late.verdict(3)))
    list(backdate(engine))
    assert hours(engine) == [((NOW_MS // HOUR_MS - 2) * HOUR_MS, 3, 1.5)]


def test_what_comes_after_the_clock_is_known_needs_no_second_look(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(after_sync.verdict(5)))
    store.add(reads(just_started.verdict(1)))
    assert dates(engine) == [(1, NOW_MS + 1000, "backdated"), (5, NOW_MS + 5000, "synced")]
    assert sum(backdate(engine)) == 0


def test_another_boot_session_is_not_dated_by_this_ones_clock(engine: Engine) -> None:
    store = Store(engine)
    store.add(reads(Writer(boot_id="boot-0", wall=5.0, mono=5.0, synced=False).verdict(1), after_sync.verdict(2)))
    assert sum(backdate(engine)) == 0
    assert dates(engine)[0] == (1, NOW_MS + 1000, "received")


def test_a_clock_that_says_it_is_right_and_cannot_be_is_not_believed(engine: Engine) -> None:
    dreaming = Writer(wall=NOW_S + 10 * 365 * 86400)
    Store(engine).add(reads(dreaming.verdict(1)))
    assert dates(engine) == [(1, NOW_MS + 1000, "received")]


def test_a_clock_of_which_nobody_knows_is_used_and_marked(engine: Engine) -> None:
    Store(engine).add(reads(Writer(wall=NOW_S - 86400, synced=None).verdict(1)))
    assert dates(engine) == [(1, NOW_MS - 86_400_000 + 1000, "unsure")]


def test_the_order_of_a_stream_is_that_of_its_numbers_whatever_the_clock_did(engine: Engine) -> None:
    store = Store(engine)
    back = Writer(wall=NOW_S - 86400)
    store.add(reads(after_sync.alert(1, "new", "critical"), back.alert(2, "end", "minor")))
    with engine.connect() as connection:
        (alert,) = alerts(connection)
    assert (alert.open, alert.severity) == (False, "minor")
