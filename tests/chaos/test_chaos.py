"""A minute of chaos: whatever is killed, frozen and cut, every committed message is in the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.run import unleash

pytestmark = [pytest.mark.broker, pytest.mark.timeout(600)]


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
    assert verdict.streams > 2  # at least one was noticed
    assert verdict.good, (verdict, outcome)
    assert verdict.stored + verdict.given_up == verdict.generated
    assert outcome.drain_s is not None
