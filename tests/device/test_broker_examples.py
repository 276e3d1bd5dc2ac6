"""The example broker lets every station speak for itself alone, and nobody in who has no certificate of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_resad.device.home_assistant import announce
from edge_resad.device.publisher import Publisher, Timing
from edge_resad.device.settings import BrokerSection, SpoolSection, StationFile, StationSection, load_station
from edge_resad.device.spool import Spool
from edge_resad.errors import BrokerError, SettingsError
from edge_resad.messages import Address, acknowledgement_message, collector_state_message, collector_topic
from tests.device.certificates import make_certificate
from tests.mqtt_peers import MOSQUITTO, _listens, eventually, free_port, make_certificates

EXAMPLE = Path(__file__).parents[2] / "deploy" / "broker"
ADDRESS = Address(site="graz", line="l4", device="press-7")
USERS = ("press-7", "press-8", "collector", "operator", "homeassistant")
"""Who has a password at the example with passwords: "word of" and the name."""
pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    make_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[int]:
    """The example with certificates."""
    with example(tmp_path_factory.mktemp("broker"), authority, "mosquitto.conf") as port:
        yield port


@contextmanager
def example(
    folder: Path, authority: Path, name: str, *, acl: str | None = None, revokes: bool = False
) -> Iterator[int]:
    """An example as it stands, with other paths and another port.

    acl: another access list than the one beside it. revokes: the line of the revocation list counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    text = (EXAMPLE / name).read_text()
    if revokes:
        text, lines = re.subn(r"^# (?=crlfile )", "", text, flags=re.M)
        assert lines == 1
    places = {
        "/etc/mosquitto/certs": authority,
        "/etc/mosquitto/edge-resad.acl": folder / "acl",
        "listener 8883": f"listener {port} 127.0.0.1",
    }
    if "passwords" in name:
        places["/etc/mosquitto/edge-resad.passwords"] = folder / "passwords"
        for first, user in enumerate(USERS):
            new = [] if first else ["-c"]
            command = ["mosquitto_passwd", *new, "-b", str(folder / "passwords"), user, f"word of {user}"]
            subprocess.run(command, check=True)
    for there, here in places.items():
        assert re.search(rf"^[^#]*{there}", text, re.M), there
        text = text.replace(there, str(here))
    (folder / "acl").write_text(acl or (EXAMPLE / "acl").read_text())
    (folder / "acl").chmod(0o600)
    (folder / "conf.d").mkdir(exist_ok=True)
    (folder / "conf.d" / "edge-resad.conf").write_text(text)
    debian = f"user root\npersistence true\npersistence_location {folder}/\ninclude_dir {folder}/conf.d\n"
    (folder / "mosquitto.conf").write_text(debian)  # two of one kind in both would stop the broker
    assert MOSQUITTO is not None
    with (folder / "log").open("wb") as log:
        broker = subprocess.Popen([MOSQUITTO, "-c", str(folder / "mosquitto.conf")], stdout=log, stderr=log)
    try:
        assert eventually(lambda: _listens(port)), (folder / "log").read_text()
        yield port
    finally:
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
    """Anybody with a certificate, or with a password."""

    def __init__(
        self,
        name: str,
        port: int,
        authority: Path,
        folder: Path,
        *,
        password: str | None = None,
        client_id: str | None = None,
    ) -> None:
        """client_id: the name without it."""
        self.heard: list[tuple[str, bytes]] = []
        self.answers: dict[int, int] = {}
        self.lost = False
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id or name, protocol=mqtt.MQTTv5)
        if password is None:
            cert, key = make_certificate(folder, name, authority=authority)
            self._client.tls_set(str(authority / "ca.pem"), str(cert), str(key))
        else:
            self._client.username_pw_set(name, password)
            self._client.tls_set(str(authority / "ca.pem"))
        self._client.on_disconnect = lambda *_: setattr(self, "lost", True)
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


def is_heard_and_leaves(spool: Spool, collector: Peer, station: Publisher) -> None:
    """What a station says reaches the collector, and leaves its spool when that says so."""
    collector.hear("er/v1/#")
    stamp = spool.put(ADDRESS.alert_topic("major"), lambda stamp: b"alert")
    with station as publisher:
        assert eventually(lambda: (ADDRESS.alert_topic("major"), b"alert") in collector.heard)
        assert spool.waiting() == 1
        assert collector.say(ADDRESS.ack_topic, ack(stamp.stream_id, stamp.seq)) < 0x80
        assert eventually(lambda: spool.waiting() == 0)
        assert eventually(lambda: publisher.status.problem is None)  # that nobody said so in time is over


def test_a_station_is_heard_by_the_collector_and_its_letters_leave_when_that_says_so(
    tmp_path: Path, port: int, authority: Path
) -> None:
    with spool_of(tmp_path) as spool, Peer("collector", port, authority, tmp_path) as collector:
        is_heard_and_leaves(spool, collector, publisher_of(spool, port, authority, tmp_path))


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


def test_a_certificate_that_was_revoked_as_the_readme_says_stays_outside_and_the_stations_new_one_does_not(
    tmp_path: Path,
) -> None:
    authority = tmp_path / "authority"
    make_certificates(authority)
    shutil.copy(EXAMPLE / "revocation.cnf", authority)
    section = (EXAMPLE / "README.md").read_text().partition("## A stolen certificate\n")[2].partition("\n## ")[0]
    commands = re.findall(r"^\$ (.+)$", section, re.M)
    assert len(commands) == 4
    with spool_of(tmp_path) as spool:
        stolen = publisher_of(spool, 1, authority, authority)
        for command in commands:
            subprocess.run(command, shell=True, cwd=authority, check=True, capture_output=True)
        with (
            example(tmp_path / "broker", authority, "mosquitto.conf", revokes=True) as port,
            Peer("collector", port, authority, tmp_path) as collector,
        ):
            stolen._broker = stolen._broker.model_copy(update={"port": port})
            with stolen as publisher:
                assert eventually(lambda: "does not let us in" in str(publisher.status.problem))
                assert not publisher.status.connected
            assert "certificate verify failed" in (tmp_path / "broker" / "log").read_text()
            is_heard_and_leaves(spool, collector, publisher_of(spool, port, authority, tmp_path / "new"))


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


@pytest.fixture(scope="module")
def port_for_passwords(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[int]:
    """The example with passwords."""
    with example(tmp_path_factory.mktemp("broker"), authority, "mosquitto-passwords.conf") as port:
        yield port


def with_password(
    spool: Spool, port: int, authority: Path, folder: Path, *, word: str = "word of press-7", **more: object
) -> Publisher:
    """The station press-7, as its file says how to prove itself by a password."""
    (folder / "word").write_text(f"{word}\n")
    told = {"host": "localhost", "port": port, "username": "press-7", "password_file": folder / "word"}
    told |= {"ca_file": authority / "ca.pem", "reconnect_min_s": 0.02, "reconnect_max_s": 0.2, **more}
    station = StationSection(site="graz", line="l4", device="press-7")
    broker, timing = BrokerSection.model_validate(told), Timing(retry_s=0.1, ack_s=0.5)
    return Publisher(spool, broker, station, birth={}, delivery=SpoolSection(ack="collector"), timing=timing)


def test_a_station_with_a_password_is_heard_and_its_letters_leave_when_the_collector_says_so(
    tmp_path: Path, port_for_passwords: int, authority: Path
) -> None:
    port = port_for_passwords
    with (
        spool_of(tmp_path) as spool,
        Peer("collector", port, authority, tmp_path, password="word of collector") as collector,
    ):
        is_heard_and_leaves(spool, collector, with_password(spool, port, authority, tmp_path))


def test_a_wrong_password_stays_outside_and_says_what_to_check(
    tmp_path: Path, port_for_passwords: int, authority: Path
) -> None:
    with (
        spool_of(tmp_path) as spool,
        with_password(spool, port_for_passwords, authority, tmp_path, word="guess") as publisher,
    ):
        assert eventually(lambda: "the user 'press-7': check [broker] username" in str(publisher.status.problem))
        assert not publisher.status.connected


@pytest.mark.parametrize("more", [{"username": None, "password_file": None}, {"ca_file": None}])
def test_who_has_no_password_or_speaks_no_tls_stays_outside(
    tmp_path: Path, port_for_passwords: int, authority: Path, more: dict[str, Any]
) -> None:
    with (
        spool_of(tmp_path) as spool,
        with_password(spool, port_for_passwords, authority, tmp_path, **more) as publisher,
    ):
        assert eventually(lambda: publisher.status.problem is not None)
        assert not publisher.status.connected


def test_a_stolen_password_speaks_and_hears_for_its_own_station_alone_and_throws_no_other_out(
    tmp_path: Path, port_for_passwords: int, authority: Path
) -> None:
    port = port_for_passwords
    with (
        Peer("press-7", port, authority, tmp_path, password="word of press-7") as station,
        Peer("press-8", port, authority, tmp_path, password="word of press-8", client_id="press-7") as thief,
        Peer("operator", port, authority, tmp_path, password="word of operator") as operator,
    ):
        station.hear(f"{ADDRESS.prefix}/cmd/+")
        thief.hear("er/v1/#")
        topics = (ADDRESS.alert_topic("critical"), ADDRESS.state_topic, ADDRESS.ack_topic, ADDRESS.desired_topic)
        for topic in (*topics, ADDRESS.command_topic("restart"), "homeassistant/device/press-7/x/config"):
            assert thief.say(topic, b"lie") == 0x87, topic
        assert thief.say("er/v1/graz/l4/press-8/alert/minor", b"mine") < 0x80
        assert operator.say(ADDRESS.ack_topic, ack("s", 9)) == 0x87
        assert operator.say(ADDRESS.command_topic("restart"), b"{}") < 0x80
        assert eventually(lambda: station.heard == [(ADDRESS.command_topic("restart"), b"{}")])
        assert thief.heard == []
        assert not station.lost


def station_for_home_assistant(folder: Path, port: int, authority: Path) -> StationFile:
    (folder / "word").write_text("word of press-7")
    (folder / "station.toml").write_text(
        '[station]\nsite = "graz"\nline = "l4"\ndevice = "press-7"\n[camera]\nsource = "synthetic"\n'
        f'[inspection]\nbank = "bank.npz"\n[broker]\nhost = "localhost"\nport = {port}\n'
        f'ca_file = "{authority}/ca.pem"\nusername = "press-7"\npassword_file = "word"\n'
    )
    return load_station(folder / "station.toml")


def test_with_its_lines_in_the_access_list_home_assistant_hears_of_stations_each_of_which_announces_itself_alone(
    tmp_path: Path, authority: Path
) -> None:
    acl = (EXAMPLE / "acl").read_text()
    with_lines = re.sub(r"^#(?=\S)", "", acl, flags=re.M)
    assert len(re.findall(r"^#(?=\S)", acl, re.M)) == 4
    with (
        example(tmp_path, authority, "mosquitto-passwords.conf", acl=with_lines) as port,
        Peer("homeassistant", port, authority, tmp_path, password="word of homeassistant") as home_assistant,
        Peer("press-8", port, authority, tmp_path, password="word of press-8") as other,
    ):
        home_assistant.hear("homeassistant/#")
        home_assistant.hear("er/v1/#")
        topic = announce(station_for_home_assistant(tmp_path, port, authority), version="1", prefix="homeassistant")
        assert eventually(lambda: [heard for heard, _ in home_assistant.heard] == [topic])
        assert other.say(topic, b"") == 0x87
        assert other.say("homeassistant/device/press-8/it/config", b"{}") < 0x80
        assert other.say("er/v1/graz/l4/press-8/alert/minor", b"alert") < 0x80
        assert eventually(lambda: len(home_assistant.heard) == 3)
        assert home_assistant.say("homeassistant/status", b"online") < 0x80
        for forbidden in (ADDRESS.command_topic("restart"), ADDRESS.ack_topic, ADDRESS.alert_topic("minor")):
            assert home_assistant.say(forbidden, b"{}") == 0x87, forbidden


def test_without_its_lines_in_the_access_list_a_station_is_not_announced(
    tmp_path: Path, port_for_passwords: int, authority: Path
) -> None:
    told = station_for_home_assistant(tmp_path, port_for_passwords, authority)
    with pytest.raises(BrokerError, match="does not take the announcement on homeassistant/device/press-7/"):
        announce(told, version="1", prefix="homeassistant")
