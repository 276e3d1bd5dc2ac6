"""Clocks that jump by a day or begin in 1970, of a station or the collector: nothing is lost, no order changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from edge_resad.errors import StoreError
from edge_resad.fleet import schema
from edge_resad.fleet.database import opened
from tests.chaos.history import read
from tests.chaos.site import Program, Site, Station
from tests.chaos.verdict import judge_until_good
from tests.mqtt_peers import eventually
from tests.wall_clock import LIBFAKETIME, WallClock

LONG_S = 90.0
DAY_BACK, DAY_ON, YEARS_ON, EPOCH, RIGHT = "-1d", "+1d", "+3650d", "@1970-01-01 00:00:05", "+0"
LOOKED = 160  # parts, 8 seconds of them: a collector looks for what is too old every 5

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(600),
    pytest.mark.skipif(LIBFAKETIME is None, reason="no libfaketime: apt-get install faketime"),
]


def clock_of(program: Program, file: Path, says: str = RIGHT) -> WallClock:
    clock = WallClock(file, says)
    program.environment = clock.environment
    return clock


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "site", stations=1, a_second=20.0, ack_s=2.0, retention="every_s = 1") as entered:
        yield entered


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()


def restart(program: Program) -> None:
    program.kill()
    program.start()


def parts(station: Station) -> int:
    return sum(1 for _ in read(station.history))


def wait_for_parts(station: Station, more: int = 20) -> None:
    wanted = parts(station) + more
    assert eventually(lambda: parts(station) >= wanted, LONG_S), station.log[-3000:]


def stored(site: Site) -> int:
    try:
        with opened(site.url) as engine, engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(schema.raw)).scalar_one())
    except StoreError:  # the collector has not made it yet
        return 0


def assert_nothing_lost(site: Site) -> None:
    site.quiet()
    (station,) = site.stations
    assert eventually(lambda: station.rests, LONG_S), (station.log[-3000:], site.collector.log[-3000:])
    verdict = judge_until_good(site.url, {station.name: station.history}, LONG_S)
    assert verdict.good, verdict
    assert verdict.stored == verdict.generated > 0


def test_a_stations_clock_that_jumps_while_it_runs_changes_nothing(site: Site, tmp_path: Path) -> None:
    (station,) = site.stations
    clock = clock_of(station, tmp_path / "clock")
    restart(station)
    wait_for_parts(station)
    for says in (DAY_ON, DAY_BACK, EPOCH, RIGHT):
        clock.set(says)
        wait_for_parts(station)  # which may all have been judged before: the disk is slow
        if says == EPOCH:
            assert eventually(lambda: any(letter.year == "1970" for letter in read(station.history)), LONG_S)
    assert_nothing_lost(site)
    with opened(site.url) as engine, engine.connect() as connection:
        walls = connection.execute(select(schema.raw.c.payload).order_by(schema.raw.c.seq)).scalars()
        years = {bytes(payload).partition(b'"time":"')[2][:4] for payload in walls}
    assert len(years) > 1  # the clock did jump
    assert b"1970" in years


@pytest.mark.parametrize("says", [DAY_BACK, DAY_ON, EPOCH])
def test_a_station_that_starts_with_a_wrong_clock_keeps_everything_until_it_is_right(
    site: Site, tmp_path: Path, says: str
) -> None:
    (station,) = site.stations
    clock = clock_of(station, tmp_path / "clock", says)
    restart(station)
    wait_for_parts(station)
    clock.set(RIGHT)
    wait_for_parts(station)
    assert_nothing_lost(site)


def letters(site: Site) -> int:
    """Messages that the store really has, beside what it knows to have had."""
    with opened(site.url) as engine, engine.connect() as connection:
        numbers = (connection.execute(select(func.count()).select_from(table)) for table in schema.LETTERS)
        return sum(int(number.scalar_one()) for number in numbers)


@pytest.mark.parametrize("says", [DAY_BACK, DAY_ON, YEARS_ON, EPOCH])
def test_a_collector_with_a_wrong_clock_loses_nothing(site: Site, tmp_path: Path, says: str) -> None:
    (station,) = site.stations
    wait_for_parts(station)
    clock = clock_of(site.collector, tmp_path / "clock")
    restart(site.collector)
    before = stored(site)
    assert eventually(lambda: stored(site) > before, LONG_S), site.collector.log[-3000:]
    clock.set(says)  # while it runs
    wait_for_parts(station, LOOKED)
    restart(site.collector)  # and from its start on
    wait_for_parts(station, LOOKED)
    clock.set(RIGHT)
    wait_for_parts(station, LOOKED)
    assert_nothing_lost(site)
    assert letters(site) == parts(station)
