"""A long backlog goes out behind what is new, and the station's memory does not grow with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.spool import BYTES, backlog
from tests.mqtt_peers import MOSQUITTO

ROWS = 100_000


@pytest.mark.broker
@pytest.mark.timeout(600)
def test_a_long_backlog_lets_new_alerts_go_first_and_memory_stays_flat(tmp_path: Path) -> None:
    assert MOSQUITTO is not None
    found = backlog(MOSQUITTO, tmp_path, ROWS)
    assert found["rows"] == ROWS
    assert found["live_alerts"] >= 20
    assert found["most_rows_before_a_live"] < ROWS / 20
    grown_mb = found["rss_highest_while_draining_mb"] - found["rss_waiting_mb"]
    assert grown_mb < ROWS * BYTES / 1e6 / 2, found  # all of it in memory would be twice as much and more
