"""The real station and the real collector, a real broker between them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from edge_resad.device import open_station
from edge_resad.device.publisher import Timing
from edge_resad.device.settings import StationFile
from edge_resad.device.spool import Spool
from edge_resad.device.station import run_station
from edge_resad.fleet.database import opened
from edge_resad.fleet.report import StreamAccount, accounts, alerts, devices
from tests.fakes import FakeCamera, FakeJudge
from tests.fleet.peers import Collector
from tests.mqtt_peers import Mosquitto, eventually

pytestmark = [pytest.mark.broker, pytest.mark.timeout(600)]
GOOD, CRITICAL = 50, 200  # brightnesses against the fake judge's threshold of 100
LONG_S = 60.0
PATIENT = Timing(drain_s=LONG_S, goodbye_s=LONG_S, close_s=3 * LONG_S)
"""Of a station that ends when all of it is stored."""


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


def told(url: str) -> tuple[bool | None, str | None]:
    """Whether the station is there, and its product."""
    with opened(url) as engine, engine.connect() as connection:
        (status,) = devices(connection)
        return status.online, status.product


def test_a_station_and_a_collector_that_is_killed_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    parts = [GOOD, GOOD, CRITICAL, GOOD] * 25
    with Mosquitto(tmp_path / "broker") as broker, Collector(tmp_path, broker.port, url) as collector:
        assert eventually(lambda: "connected" in collector.log, LONG_S), collector.log
        station(tmp_path, broker.port, parts)
        collector.kill()
        station(tmp_path, broker.port, parts)
        collector.start()
        assert eventually(lambda: collector.log.count("connected to") == 2, LONG_S), collector.log
        monkeypatch.setattr(open_station, "CLOSING", PATIENT)
        station(tmp_path, broker.port, [])  # no part: what waits goes out, and leaves when it is stored
        waiting, written = waiting_and_written(tmp_path)
        assert waiting == 0, collector.log
        assert written >= 2 * (len(parts) + 25 * 3)  # a verdict each; an alert's begin, end and picture
        assert eventually(lambda: account(url).stored == written, LONG_S), account(url)
        assert account(url).missing == []
        assert eventually(lambda: told(url) == (False, "flange"), LONG_S), told(url)  # it is no letter: it comes apart
        with opened(url) as engine, engine.connect() as connection:
            ranked = alerts(connection, most=100)
        assert len(ranked) == 50
        assert all(alert.picture and not alert.open for alert in ranked)
