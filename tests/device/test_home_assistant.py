"""Home Assistant is told once what a station says, in words that it understands of the station's own messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
from paho.mqtt.client import topic_matches_sub
from typer.testing import CliRunner

from edge_resad.cli import app
from edge_resad.device.home_assistant import announce, discovery
from edge_resad.device.settings import StationFile, load_station
from edge_resad.errors import BrokerError, SettingsError
from edge_resad.messages import Address
from tests.mqtt.scripted_broker import NOT_AUTHORIZED, Rules, ScriptedBroker
from tests.mqtt_peers import Mosquitto, Subscriber, eventually, free_port

ADDRESS = Address(site="graz", line="l4", device="jetson-07")
RECORDED = Path(__file__).parents[1] / "messages" / "v1"
TOPIC = "homeassistant/device/jetson-07/edge_resad_graz_l4_jetson-07/config"


def _told() -> dict[str, Any]:
    topic, payload = discovery(ADDRESS, ["cam0", "cam1"], version="0.1.0", prefix="homeassistant")
    assert topic == TOPIC
    told = json.loads(payload)
    assert isinstance(told, dict)
    return told


def _shown(part: str, recorded: str) -> str:
    """What Home Assistant makes of a recorded message."""
    template = _told()["cmps"][part]["value_template"]
    value = json.loads((RECORDED / f"{recorded}.json").read_text())
    return jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(template).render(value_json=value)


def _station(folder: Path, port: int, more: str = "") -> Path:
    path = folder / "station.toml"
    path.write_text(
        '[station]\nsite = "graz"\nline = "l4"\ndevice = "jetson-07"\n[camera]\nsource = "synthetic"\n'
        f'[inspection]\nbank = "bank.npz"\n[broker]\nhost = "127.0.0.1"\nport = {port}\n{more}'
    )
    return path


@pytest.mark.parametrize(
    ("part", "recorded", "shown"),
    [
        ("cam0_result", "verdict-pass", "pass"),
        ("cam0_result", "verdict-not-inspected", "not_inspected"),
        ("cam0_score", "verdict-fail", "2.0"),
        ("cam0_score", "verdict-not-inspected", "None"),
        ("waiting", "state-birth", "5"),
        ("waiting", "state-offline", "None"),
        ("product", "state-birth", "bolt"),
        ("cam0_fault", "state-birth", "ON"),
        ("cam1_fault", "state-birth", "OFF"),
        ("cam0_fault", "state-offline", "OFF"),
    ],
)
def test_a_message_of_the_station_is_understood(part: str, recorded: str, shown: str) -> None:
    assert _shown(part, recorded) == shown


@pytest.mark.parametrize(("recorded", "phase"), [("alert-new", "new"), ("alert-end", "end"), ("alert-fault", "new")])
def test_an_alert_is_an_event_of_its_phase(recorded: str, phase: str) -> None:
    event = json.loads(_shown("alert", recorded))
    assert event["event_type"] == phase
    assert event["event_type"] in _told()["cmps"]["alert"]["event_types"]
    assert event["camera"] == "cam0"


@pytest.mark.parametrize(("recorded", "shown"), [("state-birth", "online"), ("state-offline", "offline")])
def test_a_station_that_is_gone_is_unavailable(recorded: str, shown: str) -> None:
    (availability,) = _told()["availability"]
    assert availability["topic"] == ADDRESS.state_topic
    value = json.loads((RECORDED / f"{recorded}.json").read_text())
    assert jinja2.Template(availability["value_template"]).render(value_json=value) == shown


def test_every_part_listens_to_a_topic_of_the_station_and_has_a_name_of_its_own() -> None:
    parts = _told()["cmps"]
    topics = [ADDRESS.state_topic, ADDRESS.verdict_topic("cam0"), ADDRESS.verdict_topic("cam1")]
    topics += [ADDRESS.alert_topic("minor"), ADDRESS.thumbnail_topic("e-1")]
    for part in parts.values():
        listens = part.get("state_topic") or part["image_topic"]
        assert any(topic_matches_sub(listens, topic) for topic in topics)
    assert len({part["unique_id"] for part in parts.values()}) == len(parts)


@pytest.mark.broker
def test_the_verb_leaves_a_retained_message_and_takes_it_away_again(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        path = str(_station(tmp_path, broker.port))
        assert CliRunner().invoke(app, ["home-assistant", path]).output == f"announced on {TOPIC}\n"
        with Subscriber(broker.port, topics="homeassistant/#") as late:
            assert eventually(lambda: [heard.topic for heard in late.heard] == [TOPIC])
            assert late.heard[0].retain
            assert json.loads(late.heard[0].payload)["dev"]["name"] == "jetson-07"
            assert CliRunner().invoke(app, ["home-assistant", path, "--remove"]).exit_code == 0
            assert eventually(lambda: [heard.payload for heard in late.heard[1:]] == [b""])


def _settings(folder: Path, port: int, more: str = "") -> StationFile:
    return load_station(_station(folder, port, more))


def test_a_station_that_runs_keeps_its_name_at_the_broker(tmp_path: Path) -> None:
    with ScriptedBroker() as broker:
        announce(_settings(tmp_path, broker.port), version="0.1.0", prefix="ha")
    assert [connect.client_id for connect in broker.connects] == ["jetson-07-home-assistant"]
    assert [publish.topic for publish in broker.published] == [TOPIC.replace("homeassistant", "ha")]
    assert broker.goodbyes == [("jetson-07-home-assistant", 0)]


def test_a_broker_that_knows_only_the_old_protocol_takes_it_too(tmp_path: Path) -> None:
    with ScriptedBroker(Rules(protocols=(4,))) as broker:
        announce(_settings(tmp_path, broker.port), version="0.1.0", prefix="homeassistant")
        assert TOPIC in broker.retained


def test_a_refusal_says_who_must_be_let_write_where(tmp_path: Path) -> None:
    with (
        ScriptedBroker(Rules(puback=lambda publish: (NOT_AUTHORIZED,))) as broker,
        pytest.raises(BrokerError, match=rf"does not take the announcement on {TOPIC}: Not authorized\. Let"),
    ):
        announce(_settings(tmp_path, broker.port), version="0.1.0", prefix="homeassistant")


def test_a_broker_that_does_not_let_us_in_says_so(tmp_path: Path) -> None:
    with (
        ScriptedBroker(Rules(connack_reason=NOT_AUTHORIZED)) as broker,
        pytest.raises(BrokerError, match="Not authorized"),
    ):
        announce(_settings(tmp_path, broker.port), version="0.1.0", prefix="homeassistant")


def test_a_broker_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"cannot be reached: .*Check \[broker\] host and port"):
        announce(_settings(tmp_path, free_port()), version="0.1.0", prefix="homeassistant")


def test_a_station_without_a_broker_cannot_be_announced(tmp_path: Path) -> None:
    settings = _settings(tmp_path, 1883).model_copy(update={"broker": None})
    with pytest.raises(SettingsError, match=r"has no \[broker\]"):
        announce(settings, version="0.1.0", prefix="homeassistant")
