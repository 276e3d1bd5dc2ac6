"""The fleet commands a station: by a real broker, with real keys, and each command once."""

from __future__ import annotations

import base64
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import edge_resad.device.open_station as station_module
from edge_resad.device.control import ControlClient
from edge_resad.device.metrics import commands_text
from edge_resad.device.telemetry import Telemeter
from edge_resad.fleet.send import Sender, Sent
from edge_resad.messages import (
    AuditMessage,
    Birth,
    Reply,
    ReplyMessage,
    ReportedMessage,
    Role,
    SigningKey,
    StateMessage,
    TelemetryMessage,
    command_message,
    desired_message,
    new_key,
    read_message,
)
from edge_resad.sections import BrokerAddress
from tests.device.commanded import ADDRESS, make_keys, meet, running, station_file
from tests.mqtt.fault_proxy import Cut, FaultProxy
from tests.mqtt_peers import Mosquitto, Subscriber, eventually

pytestmark = pytest.mark.broker
WAIT_S = 60.0  # a deadline, not a pause


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def keys(tmp_path: Path) -> dict[Role, SigningKey]:
    return make_keys(tmp_path)


class Office:
    """Whoever commands: sends by the fleet's own means, or bytes as they are."""

    def __init__(self, port: int) -> None:
        self._broker = BrokerAddress(host="127.0.0.1", port=port)
        self.heard: list[tuple[str, bytes, bool]] = []
        self.correlations: list[bytes | None] = []
        self._ready: list[int] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="office", protocol=mqtt.MQTTv5)
        self._client.on_subscribe = lambda _c, _u, mid, _r, _p: self._ready.append(mid)
        self._client.on_message = self._on_message

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload), message.retain))
        self.correlations.append(getattr(message.properties, "CorrelationData", None))

    def __enter__(self) -> Office:
        self._client.connect("127.0.0.1", self._broker.port)
        self._client.loop_start()
        _, mid = self._client.subscribe(f"{ADDRESS.prefix}/#", qos=1)
        assert eventually(lambda: mid in self._ready)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, command: str, key: SigningKey | None, *, timeout_s: float = WAIT_S, **arguments: object) -> Sent:
        assert eventually(lambda: bool(self.told(StateMessage)), WAIT_S)  # a sender waits only seconds for that
        with Sender(self._broker) as sender:
            address, online = sender.find("press-7")
            return sender.command(
                address, online, command, arguments, key=key, issued_by="anna", timeout_s=timeout_s, expires_s=60.0
            )

    def say(self, topic: str, payload: bytes, *, expiry_s: int | None = None, retain: bool = False) -> None:
        about = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        about.CorrelationData = b"whatever"
        if expiry_s is not None:
            about.MessageExpiryInterval = expiry_s
        self._client.publish(topic, payload, qos=1, retain=retain, properties=about).wait_for_publish(WAIT_S)

    def meets(self) -> None:
        """Wait until the station has said that it is there: from then on it hears."""
        assert eventually(lambda: any(isinstance(state, Birth) for state in self.told(StateMessage)), WAIT_S)

    def replies(self, command_id: str) -> list[Reply]:
        topic = ADDRESS.reply_topic(command_id)
        found = [read_message(payload) for where, payload, _ in list(self.heard) if where == topic]
        return [message.data for message in found if isinstance(message, ReplyMessage)]

    def told(self, kind: type[Any]) -> list[Any]:
        found = []
        for topic, payload, _ in list(self.heard):
            if "/img/" not in topic and payload:
                message = read_message(payload)
                if isinstance(message, kind):
                    found.append(message.data)
        return found


def command(name: str, key: SigningKey | None, command_id: str = "c1", *, wall: float = 0.0, **more: Any) -> bytes:
    about: dict[str, Any] = {"issued_by": "anna", "expires_s": 60.0, "host": "office", **more}
    return command_message(ADDRESS, name, command_id=command_id, wall=wall or time.time(), key=key, **about)


def done(sent: Sent) -> Reply:
    assert sent.reply is not None
    assert sent.reply.status == "done", sent.reply.sentence
    return sent.reply


def test_a_snapshot_comes_with_its_picture_and_is_written_down(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    with running(station_file(tmp_path, broker.port)), Office(broker.port) as office:
        reply = done(office.send("snapshot", keys["operator"]))
        assert reply.result is not None
        jpeg = base64.b64decode(str(reply.result["jpeg"]))
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) is not None
        assert eventually(lambda: bool(office.told(AuditMessage)), WAIT_S)
        (audit,) = office.told(AuditMessage)
    assert (audit.command, audit.issued_by, audit.role, audit.status) == ("snapshot", "anna", "operator", "done")
    (line,) = [json.loads(line) for line in (tmp_path / "commands.jsonl").read_text().splitlines()]
    assert (line["command_id"], line["status"], line["role"]) == (audit.command_id, "done", "operator")


def test_commands_do_what_the_operators_page_does(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    with running(station_file(tmp_path, broker.port)), Office(broker.port) as office:
        taken = done(office.send("capture", keys["operator"], count=2, label="good"))
        assert taken.result is not None
        folder = Path(str(taken.result["folder"]))
        assert len(list(folder.rglob("*.png"))) == 2  # it is done when they are there
        assert taken.sentence == f"2 of 2 frames are in {folder}."
        for name, arguments, says in (
            ("product-use", {"product": "cap"}, "one bank and no products"),
            ("threshold", {"value": 1.5}, "no threshold to set"),
            ("self-test", {}, "runs no engine"),
            ("trigger", {}, "knows no 'trigger'"),
            ("fetch-image", {"event": "e", "upload_url": "https://x.example/a"}, "sends no pictures to"),
            ("deploy-bundle", {"url": "https://x.example/a", "sha256": "0" * 64, "size_bytes": 1, "bundle_id": "b"},
             "cannot deploy bundles yet"),
        ):  # fmt: skip
            reply = office.send(name, keys["admin"], **arguments).reply
            assert reply is not None
            assert reply.status == ("refused" if name == "deploy-bundle" else "failed")
            assert says in str(reply.sentence), reply.sentence


def test_a_restart_is_answered_before_the_station_ends(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    with running(station_file(tmp_path, broker.port)) as station, Office(broker.port) as office:
        assert "ends now" in str(done(office.send("restart", keys["engineer"])).sentence)
        assert station.ended()
        assert station.stop.is_set()


def test_who_sits_at_the_machine_may_restart_it_too(tmp_path: Path, broker: Mosquitto) -> None:
    make_keys(tmp_path)
    with running(station_file(tmp_path, broker.port)) as station:
        ControlClient(tmp_path / "control.sock").ask("restart")
        assert station.ended()


def test_a_command_that_comes_again_is_answered_again_and_done_once(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    payload = command("capture", keys["operator"], arguments={"count": 1})
    told = station_file(tmp_path, broker.port)
    with running(told), Office(broker.port) as office:
        office.meets()
        for _ in range(3):
            office.say(ADDRESS.command_topic("capture"), payload)
        assert eventually(lambda: len(office.replies("c1")) == 4, WAIT_S)
        accepted, *others = office.replies("c1")
        assert (accepted.status, accepted.again) == ("accepted", False)
        assert sorted(other.again for other in others) == [False, True, True]
        (ended,) = (other for other in others if not other.again)
        assert ended.status == "done"
        assert b"whatever" in office.correlations
    with running(told), Office(broker.port) as office:  # an old signed command, played again after a restart
        office.meets()
        office.say(ADDRESS.command_topic("capture"), payload)
        assert eventually(lambda: len(office.replies("c1")) == 1, WAIT_S)
        (again,) = office.replies("c1")
        assert (again.again, again.status, again.result) == (True, "done", ended.result)
    assert len(list((tmp_path / "pictures" / "captures").iterdir())) == 1
    assert len((tmp_path / "commands.jsonl").read_text().splitlines()) == 1


def test_an_id_that_another_command_has_used_is_refused(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    with running(station_file(tmp_path, broker.port)), Office(broker.port) as office:
        office.meets()
        office.say(ADDRESS.command_topic("snapshot"), command("snapshot", keys["admin"]))
        office.say(ADDRESS.command_topic("restart"), command("restart", keys["admin"]))
        assert eventually(lambda: len(office.replies("c1")) == 2, WAIT_S)
        assert [reply.status for reply in office.replies("c1")] == ["done", "refused"]


def test_what_is_not_rightly_signed_is_refused_and_says_why(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    forged = json.loads(command("restart", keys["operator"], "forged"))
    forged["data"]["signature"]["role"] = "admin"
    changed = json.loads(command("capture", keys["admin"], "changed", arguments={"count": 1}))
    changed["data"]["arguments"]["count"] = 9999
    unknown = command("snapshot", keys["admin"], "dance").replace(b'"snapshot"', b'"dance"')
    wrong = {
        "unsigned": ("snapshot", command("snapshot", None, "unsigned"), "not signed"),
        "stranger": ("snapshot", command("snapshot", new_key("operator-1", "operator"), "stranger"), "does not fit"),
        "humble": ("restart", command("restart", keys["operator"], "humble"), "needs the key of the role engineer"),
        "forged": ("restart", json.dumps(forged).encode(), "is of the role operator, not admin"),
        "changed": ("capture", json.dumps(changed).encode(), "does not fit the message"),
        "elsewhere": ("restart", command("snapshot", keys["admin"], "elsewhere"), "it belongs on"),
        "dance": ("dance", unknown, "no command"),
    }
    with running(station_file(tmp_path, broker.port)) as station, Office(broker.port) as office:
        office.meets()
        for command_id, (name, payload, says) in wrong.items():
            office.say(ADDRESS.command_topic(name), payload)
            assert eventually(lambda: bool(office.replies(command_id)), WAIT_S), command_id  # noqa: B023
            (reply,) = office.replies(command_id)
            assert reply.status == "refused"
            assert says in str(reply.sentence), reply.sentence
        assert not station.stop.is_set()
    assert not (tmp_path / "pictures" / "captures").exists()
    with sqlite3.connect(tmp_path / "commands.db") as ledger:
        assert ledger.execute("SELECT count(*) FROM command").fetchone() == (0,)  # strangers cannot fill it
    ledger.close()


def test_a_command_for_another_station_is_refused(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:

    other = replace(ADDRESS, device="press-8")
    import time

    payload = command_message(
        other,
        "restart",
        command_id="c1",
        issued_by="anna",
        wall=time.time(),
        expires_s=60.0,
        host="o",
        key=keys["admin"],
    )
    with running(station_file(tmp_path, broker.port)) as station, Office(broker.port) as office:
        office.meets()
        office.say(ADDRESS.command_topic("restart"), payload)
        assert eventually(lambda: bool(office.replies("c1")), WAIT_S)
        assert "is for er/v1/berlin/a/press-8" in str(office.replies("c1")[0].sentence)
        assert not station.stop.is_set()


def test_a_retained_command_is_refused(tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]) -> None:
    with Office(broker.port) as office:
        office.say(ADDRESS.command_topic("snapshot"), command("snapshot", keys["admin"]), retain=True)
        with running(station_file(tmp_path, broker.port)):
            assert eventually(lambda: bool(office.replies("c1")), WAIT_S)
            assert "It is retained" in str(office.replies("c1")[0].sentence)


def test_a_command_waits_for_a_station_that_is_away(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    told = station_file(tmp_path, broker.port)
    with running(told):
        meet(broker.port)
    meet(broker.port, is_there=False)  # its publisher is not waited for for long
    with Office(broker.port) as office:
        sent = office.send("set-config", keys["engineer"], timeout_s=0.2, settings={"log.level": "info"})
        assert (sent.online, sent.heard, sent.reply) == (False, True, None)
        with running(told):
            assert eventually(lambda: bool(office.replies(sent.command_id)), WAIT_S)
            assert office.replies(sent.command_id)[0].status == "done"


@pytest.mark.parametrize(("expires_s", "says"), [(60.0, {59, 60}), (5.4, {4, 5})])
def test_a_broker_is_told_when_a_command_is_too_old(
    broker: Mosquitto, keys: dict[Role, SigningKey], expires_s: float, says: set[int]
) -> None:
    with (
        Subscriber(broker.port, topics=f"{ADDRESS.prefix}/cmd/+") as ear,
        Sender(BrokerAddress(host="127.0.0.1", port=broker.port)) as sender,
    ):
        about: dict[str, Any] = {"key": keys["operator"], "issued_by": "anna", "timeout_s": 0.0}
        sender.command(ADDRESS, None, "snapshot", {}, expires_s=expires_s, **about)
        assert eventually(lambda: bool(ear.heard), WAIT_S)
    assert [one.expiry_s in says for one in ear.heard] == [True]


def test_the_answer_to_a_command_is_forgotten_after_an_hour(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    with (
        Subscriber(broker.port, topics=f"{ADDRESS.prefix}/rsp/+") as ear,
        Office(broker.port) as office,
        running(station_file(tmp_path, broker.port)),
    ):
        done(office.send("snapshot", keys["operator"]))
        assert eventually(lambda: bool(ear.heard), WAIT_S)
    # It counts from when it was answered: the publisher may have come to it late.
    assert [3600 - WAIT_S < (one.expiry_s or 0) <= 3600 for one in ear.heard] == [True] * len(ear.heard)


def test_an_answer_that_is_larger_than_the_broker_takes_is_said_in_short(
    tmp_path: Path, keys: dict[Role, SigningKey]
) -> None:
    told = ["max_packet_size 1500"]
    with (
        Mosquitto(tmp_path / "broker", settings=told) as broker,
        Office(broker.port) as office,
        running(station_file(tmp_path, broker.port)),
    ):
        reply = done(office.send("snapshot", keys["operator"]))
        again = done(office.send("set-config", keys["engineer"], settings={"log.level": "info"}))
    assert reply.result is None
    assert str(reply.sentence).startswith("The last part as its camera saw it. The rest of this answer is larger than")
    assert again.result is not None  # what fits is not cut


def test_a_command_whose_acknowledgement_is_cut_off_comes_again_and_is_done_once(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    cut = Cut(packet="PUBACK", way="up", after=1)
    with (
        FaultProxy(broker.port, cuts=(cut,)) as proxy,
        Office(broker.port) as office,
        running(station_file(tmp_path, proxy.port)),
    ):
        office.meets()
        office.say(ADDRESS.command_topic("capture"), command("capture", keys["operator"], arguments={"count": 1}))
        assert eventually(lambda: any(reply.again for reply in office.replies("c1")), WAIT_S)
        assert proxy.cuts_done == [cut]
        assert eventually(lambda: "done" in {reply.status for reply in office.replies("c1")}, WAIT_S)
        assert {reply.status for reply in office.replies("c1")} == {"accepted", "done"}
    assert len(list((tmp_path / "pictures" / "captures").iterdir())) == 1


def test_prometheus_is_told_what_became_of_commands() -> None:
    text = commands_text({"device": "press-7"}, {"done": 2, "expired": 1}, {"signature": 3})
    assert 'edge_resad_commands_total{device="press-7",status="done"} 2' in text
    assert 'edge_resad_commands_refused_total{device="press-7",reason="signature"} 3' in text


def test_a_station_writes_down_for_prometheus_what_became_of_messages_to_it(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    told = station_file(
        tmp_path,
        broker.port,
        spool={"ack": "collector"},
        metrics={"prometheus_file": str(tmp_path / "press-7.prom")},
    )
    with running(told), Office(broker.port) as office:
        office.meets()
        office.say(ADDRESS.ack_topic, command("snapshot", keys["operator"], "c9"))
        done(office.send("snapshot", keys["operator"]))  # what was said before it was dealt with before it
    text = (tmp_path / "press-7.prom").read_text()
    labels = 'site="berlin",line="a",device="press-7"'
    assert f'edge_resad_acknowledgements_refused_total{{{labels},reason="other_kind"}} 1' in text
    assert f'edge_resad_commands_total{{{labels},status="done"}} 1' in text


def test_a_station_whose_ledger_cannot_be_opened_inspects_and_refuses_commands(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    (tmp_path / "file").write_text("")
    told = station_file(tmp_path, broker.port, commands={"ledger": str(tmp_path / "file" / "commands.db")})
    with running(told), Office(broker.port) as office:
        reply = office.send("snapshot", keys["operator"]).reply
        assert reply is not None
        assert (reply.status, "Check [commands] ledger" in str(reply.sentence)) == ("refused", True)


def test_a_station_without_keys_hears_no_commands(tmp_path: Path, broker: Mosquitto) -> None:
    told = station_file(tmp_path, broker.port, commands={"keys": []})
    with running(told), Office(broker.port), Sender(BrokerAddress(host="127.0.0.1", port=broker.port)) as sender:
        assert eventually(lambda: sender.find("berlin/a/press-7")[1] is True, WAIT_S)
    assert not (tmp_path / "commands.db").exists()


def test_a_station_may_be_told_to_ask_for_no_signature(tmp_path: Path, broker: Mosquitto) -> None:
    told = station_file(tmp_path, broker.port, commands={"keys": [], "allow_unsigned": True})
    with running(told), Office(broker.port) as office:
        assert done(office.send("snapshot", None)).result is not None


def test_a_configuration_is_taken_once_holds_over_a_restart_and_is_reported(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    told = station_file(tmp_path, broker.port)
    section = BrokerAddress(host="127.0.0.1", port=broker.port)
    about = {"key": keys["engineer"], "issued_by": "anna", "timeout_s": WAIT_S}
    with Office(broker.port) as office:
        with running(told), Sender(section) as sender:
            wish = {"pictures.passes": 0.5, "inspection.debounce_k": 2, "inspection.debounce_n": 3}
            version, reported = sender.configure(ADDRESS, wish, **about)  # type: ignore[arg-type]
            assert reported is not None
            assert (version, reported.version, reported.status) == (1, 1, "applied")
            assert wish.items() <= reported.settings.items()
            nonsense = {"pictures.passes": 3.0, "broker.host": "thief.example"}
            version, reported = sender.configure(ADDRESS, nonsense, **about)  # type: ignore[arg-type]
            assert reported is not None
            assert (version, reported.status) == (2, "refused")
            assert set(reported.refused) == {"pictures.passes", "broker.host"}
            assert reported.settings["pictures.passes"] == 0.5
        office.heard.clear()
        with running(told):
            assert eventually(lambda: bool(office.told(ReportedMessage)), WAIT_S)
            last = office.told(ReportedMessage)[-1]
            assert (last.version, last.status, last.settings["pictures.passes"]) == (2, "refused", 0.5)
            office.say(
                ADDRESS.desired_topic,
                desired_message(
                    ADDRESS, event_id="e", version=1, settings={}, issued_by="x", wall=1.0, host="o", key=keys["admin"]
                ),
            )  # an old wish, played again
            reply = done(office.send("set-config", keys["engineer"], settings={"log.level": "error"}))
            assert reply.result is not None
            settings = reply.result["settings"]
            assert isinstance(settings, dict)
            assert (settings["pictures.passes"], settings["log.level"]) == (0.5, "error")


def test_an_unsigned_configuration_changes_nothing(
    tmp_path: Path, broker: Mosquitto, keys: dict[Role, SigningKey]
) -> None:
    wish = {"event_id": "e", "version": 9, "settings": {"pictures.passes": 1.0}, "issued_by": "x", "wall": 1.0}
    with running(station_file(tmp_path, broker.port)), Office(broker.port) as office:
        office.meets()
        for key in (None, keys["operator"]):
            office.say(ADDRESS.desired_topic, desired_message(ADDRESS, **wish, host="o", key=key))  # type: ignore[arg-type]
        reply = done(office.send("set-config", keys["engineer"], settings={"log.level": "info"}))
        assert reply.result is not None
        settings = reply.result["settings"]
        assert isinstance(settings, dict)
        assert settings["pictures.passes"] == 0.01


def test_a_station_says_how_it_does_and_what_holds(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_keys(tmp_path)
    monkeypatch.setattr(station_module, "Telemeter", lambda *given: Telemeter(*given, every_s=0.05))
    with (
        Subscriber(broker.port, topics=ADDRESS.telemetry_topic) as ear,
        Office(broker.port) as office,
        running(station_file(tmp_path, broker.port)),
    ):
        assert eventually(lambda: bool(office.told(ReportedMessage)), WAIT_S)
        assert eventually(lambda: any(said.parts["passed"] for said in office.told(TelemetryMessage)), WAIT_S)
        # A broker counts in whole seconds, and the publisher may have come late to some of them.
        assert eventually(lambda: any(said.expiry_s in (59, 60) for said in list(ear.heard)), WAIT_S)
    assert max(said.expiry_s or 0 for said in ear.heard) <= 60
    said = office.told(TelemetryMessage)[-1]
    assert said.memory.total_mb > said.memory.free_mb > 0
    assert {"total", "engine"} & set(said.stages_ms)
    assert said.outbox is not None
