"""A minute of chaos: whatever is killed, frozen and cut, every committed message is in the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.history import read
from tests.chaos.run import unleash
from tests.chaos.site import Site
from tests.chaos.verdict import judge_until_good
from tests.mqtt_peers import eventually

pytestmark = [pytest.mark.broker, pytest.mark.timeout(600)]
LONG_S = 120.0


@pytest.mark.parametrize(
    ("on", "seconds", "kills"),
    [("sqlite", 60.0, 20), pytest.param("postgresql", 30.0, 10, marks=pytest.mark.postgres)],
)
def test_a_minute_of_chaos_loses_nothing(tmp_path: Path, on: str, seconds: float, kills: int) -> None:
    outcome = unleash(tmp_path, seconds=seconds, kills=kills, seed=6, a_second=10.0, on=on, ack_s=2.0)
    verdict = outcome.verdict
    assert outcome.kills == kills
    assert verdict.generated > 100
    assert verdict.good, (verdict, outcome)
    assert verdict.stored == verdict.generated
    assert outcome.drain_s is not None


def test_outboxes_that_are_damaged_cost_no_more_than_is_told(tmp_path: Path) -> None:
    outcome = unleash(tmp_path, seconds=30.0, kills=3, damages=8, seed=11, a_second=10.0, stations=2, ack_s=2.0)
    verdict = outcome.verdict
    assert sum(count for what, count in outcome.done.items() if what.startswith("damage")) > 0
    assert verdict.good, (verdict, outcome)
    assert verdict.stored + verdict.given_up + verdict.unknown == verdict.generated
    assert outcome.drain_s is not None


def test_outboxes_that_are_too_small_give_up_good_parts_and_pictures_alone_and_tell_it(tmp_path: Path) -> None:
    outcome = unleash(tmp_path, seconds=30.0, kills=6, seed=5, stations=2, a_second=100.0, budget=1000, ack_s=5.0)
    verdict = outcome.verdict
    assert verdict.good, (verdict, outcome)
    assert set(verdict.sacrificed) <= {"pass", "image"}
    assert verdict.stored + verdict.given_up == verdict.generated
    assert outcome.drain_s is not None


def test_two_stations_of_one_name_are_told_and_lose_nothing(tmp_path: Path) -> None:
    with Site(tmp_path, stations=1, a_second=10.0, ack_s=2.0) as site:
        one, two = site.stations[0], site.add_station("press-1", folder="twin")
        assert eventually(
            lambda: any("seems to use the name 'press-1' too" in station.log for station in (one, two)), LONG_S
        ), one.log
        site.quiet()
        for station, other in ((one, two), (two, one)):
            other.kill()
            if not station.runs:
                station.start()
            assert eventually(lambda station=station: station.rests, LONG_S), station.log  # type: ignore[misc]
        together = tmp_path / "history"
        together.write_text(one.history.read_text() + two.history.read_text())
        verdict = judge_until_good(site.url, {"press-1": together}, LONG_S)
    streams = [{letter.stream_id for letter in read(station.history)} for station in (one, two)]
    assert streams[0].isdisjoint(streams[1])
    assert verdict.streams == 2
    assert verdict.good, verdict
    assert verdict.stored == verdict.generated
