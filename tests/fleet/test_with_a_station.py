"""The real station and the real collector, a real broker between them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from edge_resad.device.settings import StationFile
from edge_resad.device.spool import Spool
from edge_resad.device.station import run_station
from edge_resad.fleet.database import opened
from edge_resad.fleet.report import StreamAccount, accounts, alerts, devices
from tests.fakes import FakeCamera, FakeJudge
from tests.fleet.peers import Collector
from tests.mqtt_peers import Mosquitto, eventually

pytestmark = pytest.mark.broker
GOOD, CRITICAL = 50, 200  # brightnesses against the fake judge's threshold of 100
LONG_S = 60.0


def station(folder: Path, broker: int, brightnesses: Iterable[int]) -> None:
    """A station that judges these parts and stops."""
    told = StationFile.model_validate(
        {
            "station": {"device": "press-7", "site": "berlin", "line": "a", "product": "flange"},
            "camera": {"source": "synthetic"},
            "inspection": {"bank": "bank.npz"},
            "broker": {"host": "127.0.0.1", "port": broker, "reconnect_min_s": 0.1, "reconnect_max_s": 0.5},
            "spool": {"path": str(folder / "spool.db"), "commit_ms": 1.0},
            "log": {"verdicts": False},
            "pictures": {"folder": False},
        }
    )
    run_station(
        told,
        stop=threading.Event(),
        open_source=lambda _settings, _halt: FakeCamera(brightnesses),
        open_judge=lambda _settings: FakeJudge(),
    )


def waiting_and_written(folder: Path) -> tuple[int, int]:
    with Spool(folder / "spool.db", max_bytes=10**9) as spool:
        return spool.waiting(), spool.next_seq - 1


def account(url: str) -> StreamAccount:
    with opened(url) as engine, engine.connect() as connection:
        (found,) = accounts(connection)
        return found


def test_a_station_and_a_collector_that_is_killed_lose_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    parts = [GOOD, GOOD, CRITICAL, GOOD] * 25
    with Mosquitto(tmp_path / "broker") as broker, Collector(tmp_path, broker.port, url) as collector:
        assert eventually(lambda: "connected" in collector.log, LONG_S), collector.log
        station(tmp_path, broker.port, parts)
        collector.kill()
        station(tmp_path, broker.port, parts)
        collector.start()
        assert eventually(lambda: collector.log.count("connected to") == 2, LONG_S), collector.log
        for _ in range(20):  # starts of a station with no part: what waits goes out, and leaves when it is stored
            station(tmp_path, broker.port, [])
            waiting, written = waiting_and_written(tmp_path)
            if waiting == 0:
                break
        assert waiting == 0, collector.log
        assert written >= 2 * (len(parts) + 25 * 3)  # a verdict each; an alert's begin, end and picture
        assert eventually(lambda: account(url).stored == written, LONG_S), account(url)
        assert account(url).missing == []
        with opened(url) as engine, engine.connect() as connection:
            (status,) = devices(connection)
            assert (status.online, status.product) == (False, "flange")
            ranked = alerts(connection, most=100)
        assert len(ranked) == 50
        assert all(alert.picture and not alert.open for alert in ranked)
