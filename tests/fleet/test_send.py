"""`edge-resad send`, `fleet key`, `fleet configure`: what a person who commands a station sees."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edge_resad.cli import app
from edge_resad.errors import BrokerError, EdgeResadError
from edge_resad.fleet import send
from edge_resad.fleet.audits import CommandAccount, audits
from edge_resad.fleet.database import opened
from edge_resad.fleet.report import devices
from edge_resad.fleet.settings import load_fleet
from edge_resad.messages import desired_message, read_key
from edge_resad.sections import BrokerAddress
from tests.device.certificates import make_certificate
from tests.device.commanded import ADDRESS, meet, running, station_file
from tests.device.test_broker_examples import USERS, Peer, example
from tests.device.test_broker_examples import authority as authority
from tests.device.test_broker_examples import port as port
from tests.fleet.letters import NOW_S, Writer
from tests.fleet.peers import Collector
from tests.fleet.test_store import moved
from tests.mqtt.scripted_broker import ScriptedBroker
from tests.mqtt_peers import Mosquitto, eventually

WAIT_S = 60.0  # a deadline, not a pause
PATIENTLY = ("--timeout", "60")


def edge_resad(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def refusal(*words: str | Path) -> str:
    error = edge_resad(*words).exception
    assert isinstance(error, EdgeResadError), error
    return str(error)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with keys, made as a person makes them."""
    for role in ("operator", "engineer", "admin"):
        assert edge_resad("fleet", "key", tmp_path / f"{role}.key", "--role", role).exit_code == 0
        derived = tmp_path / f"press-7-{role}.key"
        made = edge_resad("fleet", "key", derived, "--of", tmp_path / f"{role}.key", "--device", "berlin/a/press-7")
        assert made.exit_code == 0, made.output
    return tmp_path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


def test_a_key_is_for_its_owner_alone_and_that_of_a_station_tells_nothing_of_the_fleets(keys: Path) -> None:
    fleet, device = read_key(keys / "operator.key"), read_key(keys / "press-7-operator.key")
    assert (fleet.key_id, fleet.role, fleet.device) == ("operator", "operator", None)
    assert device == fleet.for_device(ADDRESS)
    assert device.secret != fleet.secret
    assert stat.S_IMODE((keys / "operator.key").stat().st_mode) == 0o600


def test_what_makes_no_key_is_said(keys: Path, tmp_path: Path) -> None:
    assert "is there already" in refusal("fleet", "key", keys / "operator.key", "--role", "operator")
    assert "a role is operator, engineer or admin" in refusal("fleet", "key", tmp_path / "x.key", "--role", "boss")
    assert "an id has 1 to 64" in refusal("fleet", "key", tmp_path / "x.key", "--role", "admin", "--id", "a b")
    assert "SITE/LINE/NAME" in refusal(
        "fleet", "key", tmp_path / "x.key", "--of", keys / "admin.key", "--device", "press-7"
    )
    assert edge_resad("fleet", "key", tmp_path / "x.key").exit_code == 2


@pytest.mark.broker
def test_a_command_shows_what_became_of_it(keys: Path, tmp_path: Path, broker: Mosquitto) -> None:
    where = ("--broker", f"127.0.0.1:{broker.port}")
    signed = (*where, "--key", keys / "operator.key")
    with running(station_file(tmp_path, broker.port)):
        meet(broker.port)
        done = edge_resad("send", "press-7", "snapshot", *signed, "--output", tmp_path / "now.jpg")
        assert done.exit_code == 0, done.output
        assert "done: The last part as its camera saw it." in done.output
        assert (tmp_path / "now.jpg").read_bytes().startswith(b"\xff\xd8")
        refused = edge_resad("send", "berlin/a/press-7", "restart", *signed)
        assert refused.exit_code == 1
        assert refused.output == ("refused: Restart needs the key of the role engineer, this is signed by operator.\n")
        told = edge_resad("send", "press-7", "capture", "count=1", *signed, "--json", "--id", "c1", "--as", "anna")
        assert json.loads(told.stdout)["status"] == "done"
        again = edge_resad("send", "press-7", "capture", "count=1", *signed, "--id", "c1")
        assert "done, as it was answered before" in again.output
        assert "count: Input should be" in refusal("send", "press-7", "capture", "count=many", *signed)
        assert "there is no command 'dance'" in refusal("send", "press-7", "dance", *signed)
        assert "not admin" in refusal("send", "press-7", "snapshot", *signed, "--role", "admin")
        engineer = (*where, "--key", keys / "engineer.key", *PATIENTLY)
        wished = edge_resad("fleet", "configure", "press-7", "pictures.passes=0.25", *engineer)
        assert wished.exit_code == 0, wished.output
        assert "version 1 applied" in wished.output
        assert "pictures.passes = 0.25" in wished.output
        wrong = edge_resad("fleet", "configure", "press-7", "pictures.passes=7", *engineer)
        assert wrong.exit_code == 1
        assert "pictures.passes: Input should be less than or equal to 1" in wrong.output
        assert "version 2 refused" in wrong.output
    with send.Sender(BrokerAddress(host="127.0.0.1", port=broker.port)) as sender:  # its will may come a little later
        assert eventually(lambda: sender.find("press-7") == (ADDRESS, False), WAIT_S)
    away = edge_resad("send", "press-7", "snapshot", *signed, "--timeout", "0.1")
    assert away.exit_code == 3
    assert "press-7 is offline. The command waits at the broker" in away.output
    assert "no station press-8 has said anything" in refusal("send", "press-8", "snapshot", *signed)
    nobody = edge_resad("send", "berlin/a/press-8", "snapshot", *signed, "--timeout", "0.1")
    assert nobody.exit_code == 3
    assert "the broker has nobody to hand it to" in nobody.output


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedBroker]:
    """A broker that is slower, with what it keeps, than the time that anybody waits for it."""
    monkeypatch.setattr(send, "STATE_S", 0.0)
    monkeypatch.setattr(send, "OTHERS_S", 0.0)
    with ScriptedBroker() as broker:
        yield broker


def test_a_station_is_found_at_a_broker_that_stands_still_for_a_while(hurried: ScriptedBroker) -> None:
    said = Writer(device="press-7").birth(1)
    hurried.publish(said.topic, said.payload, retain=True)
    with send.Sender(BrokerAddress(host="127.0.0.1", port=hurried.port)) as sender:
        for _ in range(5):
            assert sender.find("press-7") == (Writer(device="press-7").address, True)
        other = moved(said)
        hurried.publish(other.topic, other.payload, retain=True)
        for _ in range(5):
            with pytest.raises(BrokerError, match="there are several stations press-7"):
                sender.find("press-7")
        with pytest.raises(BrokerError, match="no station press-8"):
            sender.find("press-8")
    assert hurried.violations == []


def test_a_wish_follows_the_last_one_at_a_broker_that_stands_still_for_a_while(hurried: ScriptedBroker) -> None:
    about = {"issued_by": "anna", "wall": NOW_S, "host": "operator", "key": None}
    last = desired_message(ADDRESS, event_id="c", version=7, settings={"log.level": "info"}, **about)  # type: ignore[arg-type]
    hurried.publish(ADDRESS.desired_topic, last, retain=True)
    for version in (8, 9, 10):
        with send.Sender(BrokerAddress(host="127.0.0.1", port=hurried.port)) as sender:
            wish = sender.configure(ADDRESS, {"log.level": "debug"}, key=None, issued_by="anna", timeout_s=0.0)
            assert wish == (version, None)


def test_two_who_wish_at_the_same_moment_are_told_whose_wish_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"issued_by": "bert", "wall": NOW_S, "host": "office", "key": None}
    theirs = desired_message(ADDRESS, event_id="c", version=1, settings={"log.level": "info"}, **about)  # type: ignore[arg-type]
    with ScriptedBroker() as broker, send.Sender(BrokerAddress(host="127.0.0.1", port=broker.port)) as sender:
        publish = sender._publish

        def wish(*said: Any, **more: Any) -> int:
            broker.publish(ADDRESS.desired_topic, theirs, retain=True)
            return publish(*said, **more)

        monkeypatch.setattr(sender, "_publish", wish)
        with pytest.raises(BrokerError, match="version 1 is what bert wished of press-7"):
            sender.configure(ADDRESS, {"log.level": "debug"}, key=None, issued_by="anna", timeout_s=WAIT_S)
    assert broker.violations == []


def test_a_broker_that_is_not_there_is_said(keys: Path) -> None:
    says = refusal("send", "press-7", "snapshot", "--broker", "127.0.0.1:1", "--key", keys / "operator.key")
    assert "no broker at 127.0.0.1:1" in says


@pytest.mark.broker
def test_the_operators_certificate_commands_at_the_example_broker(
    keys: Path, tmp_path: Path, port: int, authority: Path
) -> None:
    cert, key = make_certificate(tmp_path, "press-7", authority=authority)
    tls = {"host": "localhost", "ca_file": str(authority / "ca.pem"), "cert_file": str(cert), "key_file": str(key)}
    make_certificate(tmp_path, "operator", authority=authority)
    make_certificate(tmp_path, "press-8", authority=authority)
    for name in ("operator", "press-8"):
        (tmp_path / f"{name}.toml").write_text(
            f'[broker]\nhost = "localhost"\nport = {port}\nca_file = "{authority}/ca.pem"\n'
            f'cert_file = "{name}.pem"\nkey_file = "{name}.key"\n'
        )
    (tmp_path / "keys").mkdir()
    signing = tmp_path / "keys" / "operator.key"
    assert edge_resad("fleet", "key", signing, "--role", "operator").exit_code == 0
    device = tmp_path / "keys" / "press-7.key"
    edge_resad("fleet", "key", device, "--of", signing, "--device", "berlin/a/press-7")
    told = station_file(tmp_path, port, broker=tls, commands={"keys": [str(device)]}, spool={"ack": "collector"})
    with running(told), Peer("collector", port, authority, tmp_path) as collector:
        collector.hear("er/v1/+/+/+/state")
        assert eventually(lambda: bool(collector.heard), WAIT_S)
        collector.hear("er/v1/+/+/+/audit")
        done = edge_resad("send", "press-7", "snapshot", "--fleet", tmp_path / "operator.toml", "--key", signing)
        assert done.exit_code == 0, (done.output, done.exception)
        assert eventually(lambda: any(topic.endswith("/audit") for topic, _ in collector.heard), WAIT_S)
        thief = refusal("send", "berlin/a/press-7", "snapshot", "--fleet", tmp_path / "press-8.toml", "--key", signing)
        assert "does not let us" in thief


@pytest.mark.broker
def test_station_collector_and_operator_meet_at_the_example_broker_with_passwords(
    keys: Path, tmp_path: Path, authority: Path
) -> None:
    for user in USERS:
        (tmp_path / f"{user}.word").write_text(f"word of {user}\n")
    with example(tmp_path / "broker", authority, "mosquitto-passwords.conf") as port:
        ours = f'ca_file = "{authority}/ca.pem"\n'
        (tmp_path / "operator.toml").write_text(
            f'[broker]\nhost = "127.0.0.1"\nport = {port}\n{ours}'
            'username = "operator"\npassword_file = "operator.word"\n'
        )
        named = f'{ours}username = "collector"\npassword_file = "collector.word"\n'
        access = {"username": "press-7", "password_file": str(tmp_path / "press-7.word")}
        access |= {"ca_file": str(authority / "ca.pem")}
        url = f"sqlite:///{tmp_path}/fleet.db"
        told = station_file(tmp_path, port, broker=access, spool={"ack": "collector"})
        with Collector(tmp_path, port, url, broker_more=named) as collector, running(told):
            assert eventually(lambda: "connected to" in collector.log, WAIT_S), collector.log
            with send.Sender(load_fleet(tmp_path / "operator.toml").broker) as sender:
                assert eventually(lambda: sender.find("berlin/a/press-7") == (ADDRESS, True), WAIT_S)
            signed = ("--fleet", tmp_path / "operator.toml", "--key", keys / "operator.key", "--as", "anna")
            done = edge_resad("send", "press-7", "snapshot", *signed)
            assert done.exit_code == 0, (done.output, done.exception)

            def who() -> list[str | None]:
                with opened(url) as engine, engine.connect() as connection:
                    return [account.issued_by for account in audits(connection)]

            assert eventually(lambda: who() == ["anna"], WAIT_S)


@pytest.mark.broker
def test_what_was_told_to_a_station_is_in_the_fleets_store(keys: Path, tmp_path: Path, broker: Mosquitto) -> None:
    told = station_file(tmp_path, broker.port, spool={"ack": "collector"})
    collector = Collector(tmp_path, broker.port, f"sqlite:///{tmp_path}/fleet.db")
    with collector, running(told):
        assert eventually(lambda: "connected to" in collector.log, WAIT_S)
        meet(broker.port)
        where = ("--broker", f"127.0.0.1:{broker.port}", "--key", str(keys / "operator.key"), "--as", "anna")
        assert edge_resad("send", "press-7", "snapshot", *where).exit_code == 0

        url = f"sqlite:///{tmp_path}/fleet.db"

        def stored() -> list[CommandAccount]:
            with opened(url) as engine, engine.connect() as connection:
                return audits(connection)

        def reported() -> list[int | None]:
            with opened(url) as engine, engine.connect() as connection:
                return [status.settings_version for status in devices(connection)]

        assert eventually(
            lambda: [(one.issued_by, one.result is None) for one in stored()] == [("anna", False)], WAIT_S
        )
        (account,) = stored()
        assert (account.command, account.role, account.status) == ("snapshot", "operator", "done")
        assert account.result is not None
        assert account.result["content_type"] == "image/jpeg"
        signed = ("--broker", f"127.0.0.1:{broker.port}", "--key", str(keys / "engineer.key"), "--as", "anna")
        assert edge_resad("fleet", "configure", "press-7", "log.level=debug", *signed, *PATIENTLY).exit_code == 0
        assert eventually(lambda: reported() == [1], WAIT_S)
        assert eventually(lambda: {one.command for one in stored()} == {"snapshot", "cfg-desired"}, WAIT_S)
