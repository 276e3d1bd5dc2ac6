"""The station's spool and publisher with the real collector: nothing leaves before the store has it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from edge_resad.device.publisher import Publisher, Timing
from edge_resad.device.settings.broker import BrokerSection
from edge_resad.device.settings.place import StationSection
from edge_resad.device.settings.spool import SpoolSection
from edge_resad.device.spool import Spool
from edge_resad.fleet.database import opened
from edge_resad.fleet.report import accounts
from edge_resad.messages import verdict_message
from tests.fleet.letters import Writer, judged
from tests.fleet.peers import Collector
from tests.mqtt_peers import Mosquitto, eventually

pytestmark = [pytest.mark.broker, pytest.mark.timeout(600)]
LONG_S = 60.0


def test_with_broker_and_collector_killed_in_turn_everything_is_stored_before_it_leaves(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    writer = Writer(device="press-7")
    station = StationSection(site="graz", line="l4", device="press-7", product="bolt")
    timing = Timing(ack_s=1.0, ack_max_s=4.0, short_s=0.2)
    with (
        Mosquitto(tmp_path / "broker") as mosquitto,
        Collector(tmp_path, mosquitto.port, url) as collector,
        Spool(tmp_path / "spool.db", max_bytes=10**9, commit_ms=1.0) as spool,
    ):
        broker = BrokerSection(host="127.0.0.1", port=mosquitto.port, reconnect_min_s=0.1, reconnect_max_s=0.5)
        with Publisher(
            spool, broker, station, birth={"product": "bolt"}, delivery=SpoolSection(), timing=timing
        ) as publisher:
            written = 0

            def judge(count: int) -> None:
                nonlocal written
                for number in range(count):
                    compose = partial(
                        verdict_message,
                        writer.address,
                        product="bolt",
                        camera="cam0",
                        verdict=judged("fail" if number % 3 == 0 else "pass", 1.6),
                        frame_id=number,
                        latency_ms=1.0,
                    )
                    spool.put(writer.address.verdict_topic("cam0"), compose, kind="fail")
                    written += 1

            for victim in (collector, mosquitto, collector, mosquitto):
                judge(60)
                victim.kill()
                judge(60)
                victim.start()
            assert eventually(lambda: spool.waiting() == 0, LONG_S), (publisher.status, collector.log)
        with opened(url) as engine, engine.connect() as connection:
            (found,) = accounts(connection)
        assert (found.generated, found.stored, found.missing) == (written, written, [])


def test_a_station_hears_that_its_collector_was_stopped_and_gives_it_everything_when_it_is_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    writer = Writer(device="press-7")
    station = StationSection(site="graz", line="l4", device="press-7", product="bolt")
    never = Timing(ack_s=600.0, ack_max_s=600.0, come_s=0.5)  # no letter goes again for want of an answer
    with (
        # One that keeps nothing for a collector that is away: only the station can send it again.
        Mosquitto(tmp_path / "broker", settings=["max_queued_messages 1", "queue_qos0_messages false"]) as mosquitto,
        Collector(tmp_path, mosquitto.port, url) as collector,
        Spool(tmp_path / "spool.db", max_bytes=10**9, commit_ms=1.0) as spool,
    ):
        broker = BrokerSection(host="127.0.0.1", port=mosquitto.port, reconnect_min_s=0.1, reconnect_max_s=0.5)
        with Publisher(spool, broker, station, birth={}, delivery=SpoolSection(), timing=never) as publisher:
            assert eventually(lambda: "connected to" in collector.log, LONG_S), collector.log
            assert collector.stop() == 0
            assert eventually(lambda: "the collector c1 behind" in str(publisher.status.problem), LONG_S)
            for number in range(30):
                compose = partial(
                    verdict_message,
                    writer.address,
                    product="bolt",
                    camera="cam0",
                    verdict=judged("fail", 1.6),
                    frame_id=number,
                    latency_ms=1.0,
                )
                spool.put(writer.address.verdict_topic("cam0"), compose, kind="fail")
            assert spool.flush(LONG_S)
            collector.start()
            assert eventually(lambda: spool.waiting() == 0, LONG_S), (publisher.status, collector.log)
            assert eventually(lambda: publisher.status.problem is None, LONG_S)
