"""The ingest end to end: a real broker, a real store, a station that keeps what was not acknowledged."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge_resad.fleet.crash_points import EXIT_CODE
from edge_resad.fleet.database import opened
from edge_resad.fleet.report import StreamAccount, accounts, alerts, devices
from edge_resad.messages import CollectorState, collector_topic, read_message
from tests.device.certificates import make_certificate
from tests.fleet.letters import NOW_S, Writer
from tests.fleet.peers import CHECKOUT, Collector, ScriptedStation
from tests.mqtt_peers import Heard, Mosquitto, Subscriber, eventually, make_certificates
from tests.postgres_server import Postgres

pytestmark = [pytest.mark.broker, pytest.mark.timeout(600)]
LONG_S = 60.0


def account_of(url: str) -> dict[str, StreamAccount]:
    with opened(url) as engine, engine.connect() as connection:
        return {account.device: account for account in accounts(connection)}


def assert_nothing_lost(url: str, *stations: ScriptedStation) -> None:
    found = account_of(url)
    for station in stations:
        account = found[station.writer.device]
        assert (account.generated, account.stored, account.missing) == (station.generated, station.generated, [])


def test_what_a_station_says_is_stored_and_acknowledged(tmp_path: Path, url: str) -> None:
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Collector(tmp_path, broker.port, url) as collector,
        ScriptedStation(broker.port, Writer()) as station,
    ):
        station.judge(100)
        assert eventually(lambda: station.waiting == 0, LONG_S), collector.log
        assert_nothing_lost(url, station)
        assert {said.collector for said in station.acknowledgements} == {"c1"}
        with opened(url) as engine, engine.connect() as connection:
            assert [alert.open for alert in alerts(connection)] == [False] * (station.generated // 10)
        assert collector.stop() == 0
        assert f"stored {station.generated}" in collector.log


@pytest.mark.parametrize("point", ["before-insert", "after-insert", "after-commit", "after-acknowledgement"])
def test_a_collector_that_dies_at_any_point_loses_nothing(tmp_path: Path, point: str) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    with Mosquitto(tmp_path / "broker") as broker, ScriptedStation(broker.port, Writer()) as station:
        collector = Collector(tmp_path, broker.port, url)
        collector.start(crash_at=f"{point}:2")
        assert eventually(lambda: "connected" in collector.log, LONG_S), collector.log
        station.judge(120)
        assert eventually(lambda: collector.ended() is not None, LONG_S), collector.log
        assert collector.ended() == EXIT_CODE
        with collector:
            assert eventually(lambda: station.waiting == 0, LONG_S), collector.log
        assert_nothing_lost(url, station)


def _acknowledged_by(collector: str, station: ScriptedStation) -> bool:
    """Whether this collector has acknowledged something; until it has, the station judges on, unless much waits."""
    if any(said.collector == collector for said in list(station.acknowledgements)):
        return True
    if station.waiting < 100:
        station.judge(1)
    return False


def test_of_two_collectors_one_may_die_at_any_time(tmp_path: Path, url: str) -> None:
    with (
        Mosquitto(tmp_path / "broker") as broker,
        ScriptedStation(broker.port, Writer()) as station,
        ScriptedStation(broker.port, Writer(device="press-2", stream_id="stream-b")) as other,
        Collector(tmp_path, broker.port, url, name="c1") as one,
        Collector(tmp_path, broker.port, url, name="c2") as two,
    ):
        assert eventually(lambda: "connected" in one.log and "connected" in two.log, LONG_S), one.log + two.log
        for _ in range(3):
            station.judge(40)
            other.judge(40)
            one.kill()
            station.judge(40)
            one.start()
            station.acknowledgements.clear()
            assert eventually(lambda: _acknowledged_by("c1", station), LONG_S), one.log
        for name in ("c1", "c2"):  # of so many messages each has its share, sooner or later
            assert eventually(lambda name=name: _acknowledged_by(name, other), LONG_S), one.log + two.log  # type: ignore[misc]
        assert eventually(lambda: station.waiting == other.waiting == 0, LONG_S), one.log + two.log
        assert_nothing_lost(url, station, other)


def test_a_broker_that_forgets_everything_costs_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Collector(tmp_path, broker.port, url) as collector,
        ScriptedStation(broker.port, Writer()) as station,
    ):
        for _ in range(3):
            station.acknowledgements.clear()
            assert eventually(lambda: _acknowledged_by("c1", station), LONG_S), collector.log
            station.judge(50)
            broker.kill()
            station.judge(50)
            broker.start()
        assert eventually(lambda: station.waiting == 0, LONG_S), collector.log
        assert_nothing_lost(url, station)
        assert "was lost" in collector.log


@pytest.mark.postgres
def test_a_store_that_is_away_gets_everything_when_it_is_back(tmp_path: Path) -> None:
    with (
        Postgres("fsync = on") as server,
        Mosquitto(tmp_path / "broker") as broker,
        ScriptedStation(broker.port, Writer()) as station,
    ):
        url = server.new_database()
        with Collector(tmp_path, broker.port, url) as collector:
            station.judge(50)
            assert eventually(lambda: station.waiting == 0, LONG_S), collector.log
            station.judge(50)
            server.stop("immediate")
            station.judge(50)
            assert eventually(lambda: "the store takes nothing" in collector.log, LONG_S), collector.log
            waiting = station.waiting
            assert waiting >= 50
            server.start()
            assert eventually(lambda: station.waiting == 0, LONG_S), collector.log
            assert "the store takes messages again" in collector.log
            assert_nothing_lost(url, station)


def test_nothing_is_acknowledged_while_another_program_holds_the_store(tmp_path: Path) -> None:
    file = tmp_path / "fleet.db"
    url = f"sqlite:///{file}"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Collector(tmp_path, broker.port, url) as collector,
        ScriptedStation(broker.port, Writer()) as station,
    ):
        assert eventually(lambda: "connected" in collector.log, LONG_S), collector.log
        with closing(sqlite3.connect(file, isolation_level=None, timeout=LONG_S)) as other:
            other.execute("BEGIN IMMEDIATE")
            station.judge(20)
            assert eventually(lambda: "the store takes nothing" in collector.log, LONG_S), collector.log
            assert station.acknowledgements == []
            other.execute("ROLLBACK")
        assert eventually(lambda: station.waiting == 0, LONG_S), collector.log
        assert_nothing_lost(url, station)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_stops_the_acknowledgements_and_nothing_else(tmp_path: Path, small_disk: Path) -> None:
    url = f"sqlite:///{small_disk / 'fleet.db'}"
    ballast = small_disk / "ballast"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Collector(tmp_path, broker.port, url, more='raw = "all"\n') as collector,
        ScriptedStation(broker.port, Writer()) as station,
    ):
        station.judge(20)
        assert eventually(lambda: station.waiting == 0, LONG_S), collector.log
        with open(ballast, "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)) == 4096:
                    pass
            except OSError:
                pass
        station.judge(500)
        assert eventually(lambda: "the store takes nothing" in collector.log, LONG_S), collector.log
        assert station.waiting > 0
        ballast.unlink()
        assert eventually(lambda: station.waiting == 0, LONG_S), collector.log
        assert_nothing_lost(url, station)


@pytest.mark.parametrize("expired", [True, False])
def test_a_collector_with_a_certificate_that_ended_or_is_foreign_stays_outside_and_says_so(
    tmp_path: Path, expired: bool
) -> None:
    ca, cert, key = make_certificates(tmp_path / "authority")
    make_certificates(tmp_path / "foreign")
    signer = tmp_path / ("authority" if expired else "foreign")
    its_cert, its_key = make_certificate(tmp_path, "c1", authority=signer, expired=expired)
    tls = [f"cafile {ca}", f"certfile {cert}", f"keyfile {key}", "require_certificate true"]
    named = f'ca_file = "{ca}"\ncert_file = "{its_cert}"\nkey_file = "{its_key}"\n'
    with (
        Mosquitto(tmp_path / "broker", settings=tls) as broker,
        Collector(tmp_path, broker.port, f"sqlite:///{tmp_path / 'fleet.db'}", broker_more=named) as collector,
    ):
        says = f"hung up before it let us in: it broke. Does it trust who signed {its_cert}, and has that not ended?"
        assert eventually(lambda: says in collector.log, LONG_S), collector.log
        assert "connected to" not in collector.log


def test_a_station_that_floods_with_what_nobody_can_read_is_said_once_and_stopped_by_its_own_bound(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    bound = "[retention]\nrejected_rows_of_device = 5\n"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Collector(tmp_path, broker.port, url, more=bound) as collector,
        ScriptedStation(broker.port, Writer()) as station,
    ):
        for seq in range(1, 301):
            verdict = station.writer.verdict(seq)
            payload = verdict.payload.replace(b'"schemaversion":1', b'"schemaversion":99')
            assert payload != verdict.payload
            station.say(seq, replace(verdict, payload=payload))
        assert eventually(lambda: station.waiting == 0, LONG_S), collector.log
        with opened(url) as engine, engine.connect() as connection:
            (status,) = devices(connection)
        assert (status.set_aside, status.missing) == (5, 295)
        assert status.set_aside_dropped >= 295  # one that comes again after it went is counted again
        assert collector.log.count("rejected_rows_of_device: the oldest of it is dropped") == 1


def test_the_rights_on_the_page_suffice(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "fleet.md").read_text(encoding="utf-8")
    rights = page.split("```\nuser collector\n")[1].split("```")[0]
    stations = "pattern write er/v1/+/+/%u/evt/#\npattern read er/v1/+/+/%u/ack\n"
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    (tmp_path / "word").write_text("word")
    users = {"collector": "word", "press-1": "word"}
    named = 'username = "collector"\npassword_file = "word"\n'
    with (
        Mosquitto(tmp_path / "broker", users=users, acl=f"user collector\n{rights}\n{stations}") as broker,
        Collector(tmp_path, broker.port, url, broker_more=named) as collector,
        ScriptedStation(broker.port, Writer(), password="word") as station,
    ):
        station.judge(9)  # no alert among them
        assert eventually(lambda: station.waiting == 0, LONG_S), collector.log
        assert_nothing_lost(url, station)
        assert "does not take" not in collector.log


def test_a_broker_that_lets_a_collector_acknowledge_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("word")
    users = {"collector": "word", "press-1": "word"}
    named = 'username = "collector"\npassword_file = "word"\n'
    acl = "user collector\ntopic read er/v1/#\nuser press-1\ntopic readwrite er/v1/#\n"
    with (
        Mosquitto(tmp_path / "broker", users=users, acl=acl) as broker,
        Collector(tmp_path, broker.port, f"sqlite:///{tmp_path / 'fleet.db'}", broker_more=named) as collector,
        ScriptedStation(broker.port, Writer(), password="word") as station,
    ):
        station.judge(3)
        assert eventually(lambda: "does not take acknowledgements" in collector.log, LONG_S), collector.log


def states(heard: list[Heard]) -> list[CollectorState]:
    """What collectors said of themselves."""
    said = [read_message(each.payload).data for each in heard]
    assert all(isinstance(state, CollectorState) for state in said)
    return [state for state in said if isinstance(state, CollectorState)]


def test_a_collector_says_that_it_is_there_and_when_it_is_killed_the_broker_says_that_it_is_gone(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker.port, topics="er/v1/host/+/state") as ear,
        Collector(tmp_path, broker.port, url) as collector,
    ):
        assert eventually(lambda: len(ear.heard) == 1, LONG_S), collector.log
        collector.kill()
        assert eventually(lambda: len(ear.heard) == 2, LONG_S)
        there, gone = states(ear.heard)
        assert (there.online, there.collector, there.group, there.sites) == (True, "c1", "collectors", ())
        assert (gone.online, gone.connection, gone.version) == (False, there.connection, None)
        with Subscriber(broker.port, topics=collector_topic("c1")) as late:
            assert eventually(lambda: bool(late.heard), LONG_S)
            assert [each.retain for each in late.heard] == [True]
            assert states(late.heard) == [gone]
        collector.start()
        assert eventually(lambda: len(ear.heard) == 3, LONG_S), collector.log
        again = states(ear.heard)[2]
        assert again.online
        assert again.connection != there.connection


def test_a_collector_that_is_stopped_says_itself_that_it_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker.port, topics="er/v1/host/+/state") as ear,
        Collector(tmp_path, broker.port, url, name="c1") as one,
        Collector(tmp_path, broker.port, url, name="c2") as two,
    ):
        assert eventually(lambda: len(ear.heard) == 2, LONG_S), one.log + two.log
        assert one.stop() == 0
        assert eventually(lambda: len(ear.heard) == 3, LONG_S)
        with Subscriber(broker.port, topics="er/v1/host/+/state") as late:
            assert eventually(lambda: len(late.heard) == 2, LONG_S)
            assert {state.collector: state.online for state in states(late.heard)} == {"c1": False, "c2": True}
        assert not ear.heard[2].retain


def test_a_broker_that_lets_a_collector_not_say_that_it_is_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("word")
    named = 'username = "collector"\npassword_file = "word"\n'
    acl = "user collector\ntopic read er/v1/#\ntopic write er/v1/+/+/+/ack\nuser press-1\ntopic readwrite er/v1/#\n"
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    with (
        Mosquitto(tmp_path / "broker", users={"collector": "word", "press-1": "word"}, acl=acl) as broker,
        Collector(tmp_path, broker.port, url, broker_more=named) as collector,
        ScriptedStation(broker.port, Writer(), password="word") as station,
    ):
        assert eventually(lambda: "does not take its state" in collector.log, LONG_S), collector.log
        station.judge(3)
        assert eventually(lambda: station.waiting == 0, LONG_S), collector.log  # it works all the same
        assert_nothing_lost(url, station)


def test_a_broker_that_lets_a_collector_hear_nothing_is_said(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path / "broker", users={"c1": "word"}, acl="user c1\ntopic write nothing\n") as broker,
        Collector(tmp_path, broker.port, f"sqlite:///{tmp_path / 'fleet.db'}") as collector,
    ):
        assert eventually(lambda: "refuses this collector" in collector.log, LONG_S), collector.log


def test_a_broker_that_takes_small_packets_alone_gets_small_acknowledgements(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    first = 10**15  # fifty such numbers are more than 1500 bytes
    with (
        Mosquitto(tmp_path / "broker", settings=["max_packet_size 1500", "max_inflight_messages 2000"]) as broker,
        Collector(tmp_path, broker.port, url) as collector,
        ScriptedStation(broker.port, Writer(wall=NOW_S - first, mono=1e9 - first)) as station,
    ):
        assert eventually(lambda: "connected" in collector.log, LONG_S), collector.log
        for seq in range(first, first + 400, 2):  # the others never come, so that each number is a range of its own
            station.say(seq, station.writer.verdict(seq))
        assert eventually(lambda: station.waiting == 0, LONG_S), collector.log
        assert "lost" not in collector.log
        assert max(len(said.stored) for said in station.acknowledgements) > 1


def test_two_collectors_of_one_id_say_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    (tmp_path / "other").mkdir()
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Collector(tmp_path, broker.port, url) as one,
        Collector(tmp_path / "other", broker.port, url) as other,
    ):
        said = "Another collector seems to use the id 'c1' too: give each its own [collector] id."
        assert eventually(lambda: said in one.log and said in other.log, LONG_S), one.log + other.log
