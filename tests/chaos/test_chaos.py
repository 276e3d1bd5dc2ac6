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
