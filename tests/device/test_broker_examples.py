"""The example broker lets every station speak for itself alone, and nobody in who has no certificate of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_resad.device.publisher import Publisher, Timing
from edge_resad.device.settings import BrokerSection, SpoolSection, StationSection
from edge_resad.device.spool import Spool
from edge_resad.errors import SettingsError
from edge_resad.messages import Address, acknowledgement_message, collector_state_message, collector_topic
from tests.device.certificates import make_certificate
from tests.mqtt_peers import MOSQUITTO, _listens, eventually, free_port, make_certificates

EXAMPLE = Path(__file__).parents[2] / "deploy" / "broker"
ADDRESS = Address(site="graz", line="l4", device="press-7")
pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    make_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[int]:
    """The example as it stands, with other paths and another port."""
    folder, port = tmp_path_factory.mktemp("broker"), free_port()
    text = (EXAMPLE / "mosquitto.conf").read_text()
    for example, here in (
        ("/etc/mosquitto/certs", authority),
        ("/etc/mosquitto/edge-resad.acl", folder / "acl"),
        ("/var/lib/mosquitto/", f"{folder}/"),
        ("listener 8883", f"listener {port} 127.0.0.1"),
    ):
        assert example in text
        text = text.replace(example, str(here))
    (folder / "acl").write_text((EXAMPLE / "acl").read_text())
    (folder / "acl").chmod(0o600)
    (folder / "mosquitto.conf").write_text(f"user root\n{text}")
    assert MOSQUITTO is not None
    with (folder / "log").open("wb") as log:
        broker = subprocess.Popen([MOSQUITTO, "-c", str(folder / "mosquitto.conf")], stdout=log, stderr=log)
    assert eventually(lambda: _listens(port)), (folder / "log").read_text()
    yield port
    broker.kill()
    broker.wait()


@contextmanager
def spool_of(folder: Path) -> Iterator[Spool]:
    with Spool(folder / "spool.db", max_bytes=1 << 24, commit_ms=1.0, reserve_bytes=0) as spool:
        yield spool


def publisher_of(
    spool: Spool,
    port: int,
    authority: Path,
    folder: Path,
    *,
    name: str = "press-7",
    device: str = "press-7",
    **more: bool,
) -> Publisher:
    signer = more.get("foreign", False)
    if signer:
        make_certificates(folder / "foreign")
    by = folder / "foreign" if signer else authority
    cert, key = make_certificate(folder, name, authority=by, expired=more.get("expired", False))
    broker = BrokerSection.model_validate(
        {
            "host": "localhost",
            "port": port,
            "ca_file": authority / "ca.pem",
            "cert_file": cert,
            "key_file": key,
            "reconnect_min_s": 0.02,
            "reconnect_max_s": 0.2,
        }
    )
    station = StationSection(site="graz", line="l4", device=device)
    delivery = SpoolSection(ack="collector")
    return Publisher(spool, broker, station, birth={}, delivery=delivery, timing=Timing(retry_s=0.1, ack_s=0.5))


class Peer:
    """Anybody with a certificate."""

    def __init__(self, name: str, port: int, authority: Path, folder: Path) -> None:
        cert, key = make_certificate(folder, name, authority=authority)
        self.heard: list[tuple[str, bytes]] = []
        self.answers: dict[int, int] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self._client.tls_set(str(authority / "ca.pem"), str(cert), str(key))
        self._client.on_message = lambda _client, _data, message: self.heard.append(
            (message.topic, bytes(message.payload))
        )
        self._client.on_publish = lambda _client, _data, mid, reason, _about: self.answers.update({mid: reason.value})
        self._subscribed: list[int] = []
        self._client.on_subscribe = lambda _client, _data, mid, _reasons, _about: self._subscribed.append(mid)
        self._port = port

    def __enter__(self) -> Peer:
        self._client.connect("localhost", self._port)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def hear(self, topics: str) -> None:
        _, mid = self._client.subscribe(topics, qos=1)
        assert eventually(lambda: mid in self._subscribed)

    def say(self, topic: str, payload: bytes) -> int:
        """Publish; the broker's reason code."""
        mid = self._client.publish(topic, payload, qos=1).mid
        assert eventually(lambda: mid in self.answers)
        return self.answers[mid]


def ack(stream_id: str, last: int) -> bytes:
    about = {"event_id": "a1", "wall": 1.79e9, "stream_id": stream_id, "collector": "c1"}
    return acknowledgement_message(ADDRESS, stored=[(1, last)], **about)  # type: ignore[arg-type]


def test_a_station_is_heard_by_the_collector_and_its_letters_leave_when_that_says_so(
    tmp_path: Path, port: int, authority: Path
) -> None:
    with spool_of(tmp_path) as spool, Peer("collector", port, authority, tmp_path) as collector:
        collector.hear("er/v1/#")
        stamp = spool.put(ADDRESS.alert_topic("major"), lambda stamp: b"alert")
        with publisher_of(spool, port, authority, tmp_path) as publisher:
            assert eventually(lambda: (ADDRESS.alert_topic("major"), b"alert") in collector.heard)
            assert spool.waiting() == 1
            assert collector.say(ADDRESS.ack_topic, ack(stamp.stream_id, stamp.seq)) < 0x80
            assert eventually(lambda: spool.waiting() == 0)
            assert publisher.status.problem is None


def test_a_stolen_certificate_speaks_and_hears_for_its_own_station_alone(
    tmp_path: Path, port: int, authority: Path
) -> None:
    other = Address(site="graz", line="l4", device="press-8")
    with Peer("press-8", port, authority, tmp_path) as thief, Peer("collector", port, authority, tmp_path) as collector:
        collector.hear("er/v1/#")
        thief.hear("er/v1/#")
        for topic in (
            ADDRESS.alert_topic("critical"),
            ADDRESS.verdict_topic("cam0"),
            ADDRESS.state_topic,
            ADDRESS.ack_topic,
            other.ack_topic,
            ADDRESS.command_topic("restart"),
            other.command_topic("restart"),
            ADDRESS.desired_topic,
            collector_topic("collector"),
            collector_topic("press-8"),
        ):
            assert thief.say(topic, b"lie") == 0x87, topic
        assert thief.say(other.alert_topic("minor"), b"mine") < 0x80
        assert eventually(lambda: (other.alert_topic("minor"), b"mine") in collector.heard)
        assert b"lie" not in [payload for _, payload in collector.heard]
        assert collector.say(ADDRESS.ack_topic, b"for press-7") < 0x80
        assert collector.say(other.ack_topic, b"for press-8") < 0x80
        assert eventually(lambda: len(thief.heard) == 1)
        assert thief.heard == [(other.ack_topic, b"for press-8")]


def test_a_station_sees_whether_a_collector_is_there(tmp_path: Path, port: int, authority: Path) -> None:
    with (
        Peer("press-9", port, authority, tmp_path) as station,
        Peer("collector", port, authority, tmp_path) as collector,
    ):
        station.hear("er/v1/host/+/state")
        assert collector.say(collector_topic("collector"), b"there") < 0x80
        assert eventually(lambda: station.heard == [(collector_topic("collector"), b"there")])


def test_a_station_says_that_its_collector_is_gone_and_that_it_is_back(
    tmp_path: Path, port: int, authority: Path
) -> None:
    def said(online: bool) -> bytes:
        about = {"group": "collectors", "sites": (), "connection": "one", "wall": 1.79e9}
        return collector_state_message("collector", online=online, **about)  # type: ignore[arg-type]

    with (
        spool_of(tmp_path) as spool,
        Peer("collector", port, authority, tmp_path) as collector,
        publisher_of(spool, port, authority, tmp_path) as publisher,
    ):
        collector.hear(ADDRESS.state_topic)
        assert eventually(lambda: bool(collector.heard))  # then the station hears as well
        assert collector.say(collector_topic("collector"), said(False)) < 0x80
        assert eventually(lambda: "the collector collector behind" in str(publisher.status.problem))
        assert collector.say(collector_topic("collector"), said(True)) < 0x80
        assert eventually(lambda: publisher.status.problem is None)
        assert publisher.status.connected


def test_the_operator_commands_and_cannot_say_that_something_is_stored(
    tmp_path: Path, port: int, authority: Path
) -> None:
    with Peer("operator", port, authority, tmp_path) as operator:
        assert operator.say(ADDRESS.command_topic("restart"), b"{}") < 0x80
        assert operator.say(ADDRESS.ack_topic, ack("s", 9)) == 0x87
        assert operator.say(ADDRESS.alert_topic("minor"), b"lie") == 0x87
        assert operator.say(collector_topic("collector"), b"lie") == 0x87


def test_a_certificate_that_ended_is_said_with_its_date(tmp_path: Path, port: int, authority: Path) -> None:
    with spool_of(tmp_path) as spool, publisher_of(spool, port, authority, tmp_path, expired=True) as publisher:
        assert eventually(lambda: "this station's certificate" in str(publisher.status.problem))
        assert "ended on" in str(publisher.status.problem)
        assert not publisher.status.connected


def test_a_certificate_of_another_authority_stays_outside(tmp_path: Path, port: int, authority: Path) -> None:
    with spool_of(tmp_path) as spool, publisher_of(spool, port, authority, tmp_path, foreign=True) as publisher:
        assert eventually(lambda: "does not let us in" in str(publisher.status.problem))
        assert not publisher.status.connected


def test_a_certificate_of_another_station_is_refused_before_anything_starts(
    tmp_path: Path, port: int, authority: Path
) -> None:
    with (
        spool_of(tmp_path) as spool,
        pytest.raises(SettingsError, match=r"is the certificate of 'press-8' and this station is 'press-7'\. Give it"),
        publisher_of(spool, port, authority, tmp_path, name="press-8"),
    ):
        pass


def test_who_has_no_certificate_stays_outside(port: int, authority: Path) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="x", protocol=mqtt.MQTTv5)
    client.tls_set(str(authority / "ca.pem"))
    let_in: list[object] = []
    closed: list[object] = []
    client.on_connect = lambda _c, _d, _f, reason, _p: let_in.append(reason)
    client.on_disconnect = lambda *_: closed.append(1)
    client.on_connect_fail = lambda *_: closed.append(1)
    with suppress(OSError):
        client.connect("localhost", port)
        client.loop_start()
        assert eventually(lambda: bool(closed))
        client.loop_stop()
    assert let_in == []
