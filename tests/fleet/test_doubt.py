"""A clock that is suddenly far ahead removes nothing until a collector has run with it for a day."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import Engine, func, select

from edge_resad.fleet import schema
from edge_resad.fleet.chores import Chores
from edge_resad.fleet.doubt import doubt_in, look_at_clock, trust_clock
from edge_resad.fleet.settings import RetentionSection
from edge_resad.fleet.store import Store
from tests.fleet.letters import reads
from tests.fleet.test_receipts import SET_MS, SET_S, numbers, press, received, run, short

HOUR, DAY, YEAR = 3600.0, 86_400.0, 365 * 86_400.0


def fill(engine: Engine) -> dict[str, int]:
    """What is too old in two days."""
    said = [press.verdict(1), press.verdict(2, "fail"), press.alert(3, "new"), press.alert(4, "end")]
    Store(engine, raw="all").add(reads(*received(said, SET_S)))
    return numbers(engine)


def kept(engine: Engine) -> int:
    return numbers(engine)["verdict"]


def test_a_clock_that_jumps_years_ahead_removes_nothing_and_that_is_said_once(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    before, chores = fill(engine), Chores(engine, short)
    run(chores, 0.0, SET_S)
    for minutes in range(1, 10):
        run(chores, 60.0 * minutes, SET_S + 5 * YEAR + 60.0 * minutes)
    assert numbers(engine) == before
    (told,) = (record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
    assert "1825 days after the store was last looked after" in told
    with engine.connect() as connection:
        doubt = doubt_in(connection)
    assert doubt is not None
    assert "have run for 24 h more" in str(doubt)
    run(chores, 700.0, SET_S + 700.0)  # somebody has set it right
    assert numbers(engine) == before
    assert caplog.records[-1].getMessage() == "retention goes by the clock again"
    with engine.connect() as connection:
        assert doubt_in(connection) is None


def test_a_clock_that_is_not_set_is_said_once(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    before, chores = fill(engine), Chores(engine, short)
    for seconds in (5.0, 65.0, 125.0):
        run(chores, seconds, seconds)
    run(chores, 185.0, SET_S)
    assert numbers(engine) == before
    unset, again = (record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
    assert unset.startswith("the collector's clock is not set")
    assert again == "retention goes by the clock again"


def test_a_collector_that_was_off_for_months_waits_for_a_day_of_running(engine: Engine) -> None:
    fill(engine)
    run(Chores(engine, short), 0.0, SET_S)
    back = SET_S + 90 * DAY
    chores = Chores(engine, short)
    for hours in range(24):
        run(chores, 5000.0 + hours * HOUR, back + hours * HOUR)
        assert kept(engine) == 2
    run(chores, 5000.0 + 24 * HOUR, back + 24 * HOUR)
    assert kept(engine) == 0


def test_a_collector_that_is_killed_meanwhile_goes_on_waiting_and_does_not_count_when_it_was_off(
    engine: Engine,
) -> None:
    fill(engine)
    run(Chores(engine, short), 0.0, SET_S)
    back = SET_S + 90 * DAY
    for shift in range(3):  # eight hours a day; between them it is off, for a weekend once
        begin = back + (0, 1, 4)[shift] * DAY
        chores = Chores(engine, short)
        for hours in range(9):
            assert kept(engine) == 2
            run(chores, 7.0 + hours * HOUR, begin + hours * HOUR)
    assert kept(engine) == 0


def test_a_day_between_two_looks_and_a_store_that_was_away_are_no_jump(engine: Engine) -> None:
    fill(engine)
    chores = Chores(engine, short)
    for days in (0, 1, 2, 5):
        run(chores, 10.0 + days * DAY, SET_S + days * DAY)
    assert kept(engine) == 0


def test_a_clock_that_goes_back_is_not_doubted(engine: Engine) -> None:
    fill(engine)
    chores = Chores(engine, short)
    run(chores, 0.0, SET_S + 0.5 * DAY)
    run(chores, 60.0, SET_S - 30 * DAY)
    with engine.connect() as connection:
        assert doubt_in(connection) is None
    run(chores, 120.0, SET_S + 2 * DAY)
    assert kept(engine) == 2  # and that it jumps ahead from there is


def test_one_of_two_collectors_whose_clock_is_ahead_never_removes_anything(engine: Engine) -> None:
    fill(engine)
    right, ahead = Chores(engine, short), Chores(engine, short)
    for hours in range(0, 60, 2):
        run(right, 1.0 + hours * HOUR, SET_S + hours * HOUR / 10)
        run(ahead, 1.0 + hours * HOUR, SET_S + 5 * YEAR + hours * HOUR)
        assert kept(engine) == 2


def test_two_collectors_that_wait_together_wait_as_long_as_one(engine: Engine) -> None:
    fill(engine)
    run(Chores(engine, short), 0.0, SET_S)
    back = SET_S + 90 * DAY
    one, other = Chores(engine, short), Chores(engine, short)
    for hours in range(24):
        run(one, 5.0 + hours * HOUR, back + hours * HOUR)
        run(other, 9.0 + hours * HOUR, back + (hours + 0.5) * HOUR)
        assert kept(engine) == 2, hours
    run(one, 5.0 + 25 * HOUR, back + 25 * HOUR)
    assert kept(engine) == 0


def test_a_store_that_is_too_large_shrinks_whatever_the_clock_says(engine: Engine) -> None:
    store = Store(engine)
    for number in range(8):
        rubbish = press.arrival(press.address.gap_topic, b"rubbish %d" % number, 1)
        store.add(reads(*received([rubbish], SET_S)))
    chores = Chores(engine, RetentionSection(rejected_rows=3))
    look_at_clock(engine, SET_MS, 0)
    run(chores, 0.0, SET_S + 5 * YEAR)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(schema.rejected)).scalar_one() == 3


def test_a_person_may_say_that_the_clock_is_right(engine: Engine) -> None:
    fill(engine)
    later_ms = SET_MS + round(90 * DAY * 1000)
    look_at_clock(engine, SET_MS, 0)
    assert look_at_clock(engine, later_ms, 0) is not None
    trust_clock(engine, later_ms)
    assert look_at_clock(engine, later_ms + 1000, 0) is None


def test_the_store_is_not_written_at_every_look(engine: Engine) -> None:
    look_at_clock(engine, SET_MS, 0)
    look_at_clock(engine, SET_MS + 60_000, 60_000)
    with engine.connect() as connection:
        assert connection.execute(select(schema.clock.c.trusted_ms)).scalar_one() == SET_MS
