"""A host at a real broker sees a station being born, what changes of it, and that it is gone."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.device.control import ControlClient
from edge_resad.device.pipeline import Inspection
from edge_resad.device.post import Post
from edge_resad.device.settings import BrokerSection, SparkplugSection, StationFile
from edge_resad.device.sparkplug.edge_node import OF_DEVICE, OF_NODE
from edge_resad.device.sparkplug.payload import payload_class
from edge_resad.device.sparkplug.sparkplug import Sparkplug
from edge_resad.device.station import run_station
from edge_resad.errors import SettingsError
from edge_resad.recipe import Shelf
from tests.device.commanded import Running, Station, running, station_file
from tests.device.sparkplug.host import Host, Shown, rebirth_command, say
from tests.fakes import FakeJudge
from tests.mqtt.scripted_broker import NOT_AUTHORIZED, TAKEN_OVER, Rules, ScriptedBroker
from tests.mqtt_peers import Mosquitto, eventually, free_port
from tests.products import BUNDLE, stocked

CHECKOUT = Path(__file__).resolve().parents[3]
NEVER = 3600.0
BAD = 150
COMMANDS = "spBv1.0/graz/NCMD/press-7"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


def shows(
    view: Shown, port: int, folder: Path, *, every_s: float = 0.5, broker: Mapping[str, Any] | None = None, **told: Any
) -> Sparkplug:
    section = SparkplugSection.model_validate({"group": "graz", "every_s": every_s, **told})
    raw = {"host": "127.0.0.1", "port": port, "reconnect_min_s": 0.02, "reconnect_max_s": 0.2, **(broker or {})}
    return Sparkplug(
        section, BrokerSection.model_validate(raw), view, device="press-7", bd_seq_file=folder / "spool.bdseq"
    )


@contextmanager
def station(folder: Path, port: int, *, every_s: float, **sections: Mapping[str, Any]) -> Iterator[Station]:
    """A whole station that shows itself."""
    told = station_file(
        folder, port, commands={"keys": []}, sparkplug={"group": "graz", "every_s": every_s}, **sections
    )
    with running(told) as one:
        yield one


def heard(host: Host, verb: str, count: int = 1) -> bool:
    """Wait until so many messages of a kind have come."""
    return eventually(lambda: len(host.of(verb)) >= count)


def known(host: Host, device: str | None, metric: str, value: object) -> bool:
    """Wait until a metric is known to have a value."""
    return eventually(lambda: host.latest(device).get(metric, host) == value)


def unbroken(host: Host) -> bool:
    """Whether every message has the number that follows that of the one before."""
    numbers = [message.seq for message in host.messages if message.seq is not None]
    births = [message.verb == "NBIRTH" for message in host.messages if message.seq is not None]
    followed = zip(numbers, numbers[1:], births[1:], strict=False)
    return all(second == (0 if born else (first + 1) % 256) for first, second, born in followed)


@pytest.mark.broker
def test_a_station_is_born_with_every_metric_that_it_will_ever_tell(tmp_path: Path, broker: Mosquitto) -> None:
    with Host(broker.port) as host, station(tmp_path, broker.port, every_s=NEVER):
        assert eventually(lambda: len(host.messages) >= 2)
        node, camera = host.messages[:2]
        assert (node.verb, node.device, node.seq, node.retain) == ("NBIRTH", None, 0, False)
        assert node.metrics.keys() == {"bdSeq", "Node Control/Rebirth", *OF_NODE}
        assert node.kinds.keys() == node.metrics.keys()
        assert node.metrics["Node Control/Rebirth"] is False
        assert (camera.verb, camera.device, camera.seq) == ("DBIRTH", "cam0", 1)
        assert camera.metrics.keys() == OF_DEVICE.keys()
        assert camera.kinds == {name: int(kind) for name, kind in OF_DEVICE.items()}
        assert camera.metrics["Product"] == "flange"
        assert camera.metrics["Alerts/Active"] is False


@pytest.mark.broker
def test_what_changes_is_told_on_the_period(tmp_path: Path, broker: Mosquitto) -> None:
    with Host(broker.port) as host, station(tmp_path, broker.port, every_s=0.5) as one:
        assert eventually(lambda: int(host.latest("cam0").get("Parts/Passed") or 0) > 10)
        told = host.latest("cam0")
        assert (told["Last/Status"], told["Last/Score"], told["Last/Threshold"]) == ("pass", 50.0, 100.0)
        assert (told["State"], told["Faults"], told["Parts/Failed"]) == ("running", "", 0)
        assert float(told["Latency/p99"] or 0) >= float(told["Latency/p50"] or 0) > 0
        first = host.of("DDATA")[0]
        assert "Product" not in first.metrics
        assert first.kinds == {}
        assert one.error is None
    assert unbroken(host)


@pytest.mark.broker
def test_an_alert_is_told_at_once_when_it_begins_and_when_it_ends(tmp_path: Path, broker: Mosquitto) -> None:
    with Host(broker.port) as host, station(tmp_path, broker.port, every_s=NEVER) as one:
        assert heard(host, "DBIRTH")
        assert one.camera is not None
        one.camera.brightness = BAD
        assert known(host, "cam0", "Alerts/Active", True)
        assert host.latest("cam0")["Alerts/Severity"] in ("minor", "major", "critical")
        assert known(host, "cam0", "Alerts/Count", 1)  # it is open before it is counted
        one.camera.brightness = 50
        assert known(host, "cam0", "Alerts/Active", False)
        assert host.latest("cam0")["Alerts/Severity"] is None
    assert unbroken(host)


@pytest.mark.broker
def test_the_count_of_alerts_is_told_at_once_where_an_alert_was_told_before_it_was_counted(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Host(broker.port) as host:
        plain = Post.send

        def slow(post: Post, inspection: Inspection, score_map: NDArray[np.float32]) -> tuple[str, ...]:
            if inspection.alert is not None and inspection.alert.phase == "new":
                assert known(host, "cam0", "Alerts/Active", True)
                assert host.latest("cam0")["Alerts/Count"] == 0
            return plain(post, inspection, score_map)

        monkeypatch.setattr(Post, "send", slow)
        with station(tmp_path, broker.port, every_s=NEVER, drift={"on": False}) as one:  # nor any other news
            assert heard(host, "DBIRTH")
            assert one.camera is not None
            one.camera.brightness = BAD
            assert known(host, "cam0", "Alerts/Count", 1)


@pytest.mark.broker
def test_the_state_of_a_camera_is_told_at_once(tmp_path: Path, broker: Mosquitto) -> None:
    watch = {"frozen_s": 0.0, "dark": 60}
    with Host(broker.port) as host, station(tmp_path, broker.port, every_s=NEVER, watch=watch) as one:
        assert known(host, "cam0", "State", "fault")
        assert host.latest("cam0")["Faults"] == "underexposed"
        assert one.camera is not None
        one.camera.brightness = 90
        assert known(host, "cam0", "State", "running")
        control = ControlClient(tmp_path / "control.sock")
        control.ask("bypass", reason="the belt is changed")
        assert known(host, "cam0", "State", "bypassed")
        assert known(host, None, "Bypass", "the belt is changed")
        control.ask("resume")
        assert known(host, "cam0", "State", "running")


@pytest.mark.broker
def test_a_station_that_stops_says_so_by_the_number_of_its_birth(tmp_path: Path, broker: Mosquitto) -> None:
    with Host(broker.port) as host:
        with station(tmp_path, broker.port, every_s=NEVER):
            assert heard(host, "DBIRTH")
        assert heard(host, "NDEATH")
        (birth,), (death,) = host.of("NBIRTH"), host.of("NDEATH")
        assert (death.seq, death.metrics, death.retain) == (None, {"bdSeq": birth.bd_seq}, False)
        with station(tmp_path, broker.port, every_s=NEVER):
            assert heard(host, "NBIRTH", 2)
        assert host.of("NBIRTH")[1].bd_seq == int(birth.bd_seq or 0) + 1


@pytest.mark.broker
def test_the_broker_says_that_a_station_is_gone_which_was_killed(tmp_path: Path, broker: Mosquitto) -> None:
    file = tmp_path / "spool.bdseq"
    program = [sys.executable, "-m", "tests.device.sparkplug.killed", str(broker.port), str(file)]
    with Host(broker.port) as host:
        for run in (1, 2):
            with subprocess.Popen(program, cwd=CHECKOUT) as process:
                try:
                    assert heard(host, "NBIRTH", run)
                finally:
                    process.kill()
            assert heard(host, "NDEATH", run)
        assert [birth.bd_seq for birth in host.of("NBIRTH")] == [0, 1]
        assert [death.metrics for death in host.of("NDEATH")] == [{"bdSeq": 0}, {"bdSeq": 1}]


@pytest.mark.broker
def test_a_host_hears_everything_again_when_it_asks(tmp_path: Path, broker: Mosquitto) -> None:
    view = Shown()
    with Host(broker.port) as host, shows(view, broker.port, tmp_path, every_s=NEVER):
        assert heard(host, "DBIRTH")
        view.camera = {**view.camera, "Parts/Failed": 7}
        say(broker.port, COMMANDS, rebirth_command(False))
        say(broker.port, COMMANDS, b"\xff" * 40)
        say(broker.port, COMMANDS, rebirth_command())
        assert heard(host, "DBIRTH", 2)
        assert [message.verb for message in host.messages] == ["NBIRTH", "DBIRTH"] * 2
        first, second = host.of("NBIRTH")
        assert (second.seq, second.bd_seq) == (0, first.bd_seq)
        assert host.latest("cam0")["Parts/Failed"] == 7
    assert unbroken(host)


@pytest.mark.broker
def test_a_host_that_asks_without_end_is_answered_now_and_then(tmp_path: Path, broker: Mosquitto) -> None:
    with Host(broker.port) as host, shows(Shown(), broker.port, tmp_path, every_s=NEVER):
        assert heard(host, "DBIRTH")
        say(broker.port, COMMANDS, rebirth_command(), times=20)
        assert heard(host, "NBIRTH", 2)
        assert len(host.of("NBIRTH")) < 20


@pytest.mark.broker
def test_a_command_that_the_broker_kept_asks_for_nothing(tmp_path: Path, broker: Mosquitto) -> None:
    view = Shown()
    say(broker.port, COMMANDS, rebirth_command(), retain=True)
    with Host(broker.port) as host, shows(view, broker.port, tmp_path, every_s=NEVER):
        for number in range(8):
            view.pressing += 1
            view.node = {**view.node, "Spool/Waiting": 10 + number}
            assert known(host, None, "Spool/Waiting", 10 + number)
        assert len(host.of("NBIRTH")) == 1


@pytest.mark.broker
def test_a_broker_that_comes_back_hears_a_new_birth(tmp_path: Path, broker: Mosquitto) -> None:
    view = Shown()
    with Host(broker.port) as host, shows(view, broker.port, tmp_path, every_s=NEVER) as sparkplug:
        assert heard(host, "DBIRTH")
        assert sparkplug.problem() is None
        broker.kill()
        assert eventually(lambda: "connection" in str(sparkplug.problem()))
        view.camera = {**view.camera, "Parts/Failed": 7}
        broker.start()
        host.again()
        say(broker.port, COMMANDS, rebirth_command())  # the birth may have come before the host was back
        assert known(host, "cam0", "Parts/Failed", 7)
        assert sparkplug.problem() is None
        births = host.of("NBIRTH")
        assert int(births[-1].bd_seq or 0) > int(births[0].bd_seq or 0)


def test_a_line_runs_without_the_broker_and_the_page_has_a_light_for_it(tmp_path: Path) -> None:
    def light() -> tuple[str, str]:
        lights = ControlClient(tmp_path / "control.sock").ask("status")["lights"]
        return next((one["colour"], one["says"]) for one in lights if one["name"] == "sparkplug")

    with station(tmp_path, free_port(), every_s=0.5) as one:
        assert eventually(lambda: light()[0] == "amber" and "has no connection to the broker" in light()[1])
        before = one.parts
        assert eventually(lambda: one.parts > before + 20)


@pytest.mark.broker
def test_every_camera_is_a_device_and_says_which_version_of_its_product_and_which_bundle_judge(
    tmp_path: Path, broker: Mosquitto
) -> None:
    shelf = Shelf(tmp_path / "products")
    stocked(shelf, "flange")
    shelf.use(shelf.find("flange"))
    told = {
        "camera": [{"name": name, "source": "/dev/video0"} for name in ("top", "side")],
        "products": {"folder": str(shelf.folder)},
        "sparkplug": {"group": "graz", "node": "Press 7"},
    }
    raw = station_file(tmp_path, broker.port, commands={"keys": []}).model_dump(by_alias=True, exclude_unset=True)
    raw["inspection"].pop("bank")
    settings = StationFile.model_validate({**raw, **told})
    stop = threading.Event()
    line = threading.Thread(
        target=lambda: run_station(settings, stop=stop, open_source=lambda _told, halt: Running(halt))
    )
    with Host(broker.port) as host:
        line.start()
        try:
            assert heard(host, "DBIRTH", 2)
        finally:
            stop.set()
            line.join(60)
        assert [birth.device for birth in host.of("DBIRTH")] == ["top", "side"]
        assert {(birth.metrics["Product"], birth.metrics["Product version"]) for birth in host.of("DBIRTH")} == {
            ("flange", 1)
        }
        assert host.of("NBIRTH")[0].metrics["Properties/Bundle"] == BUNDLE.manifest.bundle_id
        assert host.heard[0].topic == "spBv1.0/graz/NBIRTH/Press 7"


@pytest.mark.broker
def test_a_station_without_the_section_says_nothing_there(tmp_path: Path, broker: Mosquitto) -> None:
    with Host(broker.port) as host, running(station_file(tmp_path, broker.port, commands={"keys": []})) as one:
        assert eventually(lambda: one.parts > 20)
    assert host.heard == []
    assert not (tmp_path / "spool.bdseq").exists()


def test_an_old_broker_is_spoken_to_in_its_own_protocol(tmp_path: Path) -> None:
    with ScriptedBroker(Rules(protocols=(4,))) as old, shows(Shown(), old.port, tmp_path):
        assert eventually(lambda: bool(old.on("spBv1.0/graz/DBIRTH/#")))
    connect = old.connects[-1]
    assert (connect.level, connect.clean_start, connect.client_id) == (4, True, "press-7-sparkplug")
    assert eventually(lambda: bool(old.on("spBv1.0/graz/NDEATH/press-7")))


def test_the_session_is_a_clean_one_whose_will_is_the_death_and_which_hears_before_it_is_born(tmp_path: Path) -> None:
    with ScriptedBroker() as new, shows(Shown(), new.port, tmp_path):
        assert eventually(lambda: bool(new.on("spBv1.0/graz/DBIRTH/#")))
        (connect,) = new.connects
        assert (connect.level, connect.clean_start, connect.session_expiry_s) == (5, True, 0)
        assert connect.will is not None
        assert (connect.will.topic, connect.will.qos, connect.will.retain) == ("spBv1.0/graz/NDEATH/press-7", 1, False)
        assert new.subscribed == [("press-7-sparkplug", COMMANDS)]
        assert {(said.qos, said.retain) for said in new.published} == {(0, False)}


def test_a_refusal_says_who_must_be_let_write_where(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    refuses = ScriptedBroker(Rules(connack_reason=NOT_AUTHORIZED))
    with caplog.at_level(logging.WARNING), refuses as strict, shows(Shown(), strict.port, tmp_path) as sparkplug:
        assert eventually(lambda: len(strict.connects) > 2)
        said = str(sparkplug.problem())
    assert "it lets 'press-7-sparkplug' write spBv1.0/graz/NDEATH/press-7 and what is beside it" in said
    assert len(caplog.records) == 1  # said once, not with every try


def test_a_host_that_may_not_ask_is_a_problem_that_is_said(tmp_path: Path) -> None:
    deaf = ScriptedBroker(Rules(suback=lambda topic: NOT_AUTHORIZED))
    with deaf as broker, shows(Shown(), broker.port, tmp_path, every_s=0.5) as sparkplug:
        assert eventually(lambda: "may not hear spBv1.0/graz/NCMD/press-7" in str(sparkplug.problem()))
        assert eventually(lambda: bool(broker.on("spBv1.0/graz/DBIRTH/#")))


def test_it_gives_way_to_who_has_its_name(tmp_path: Path) -> None:
    with ScriptedBroker() as broker, shows(Shown(), broker.port, tmp_path) as sparkplug:
        assert eventually(lambda: bool(broker.on("spBv1.0/graz/DBIRTH/#")))
        broker.disconnect("press-7-sparkplug", TAKEN_OVER)
        assert eventually(lambda: "gives way" in str(sparkplug.problem()))
        assert len(broker.connects) == 1


def test_a_view_that_fails_costs_a_pause_and_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Shown):
        broken = True

        def urgent(self) -> int:
            if self.broken:
                raise RuntimeError("out of order")
            return 0

    view = Broken()
    with ScriptedBroker() as broker, shows(view, broker.port, tmp_path) as sparkplug:
        assert eventually(lambda: "stumbled (RuntimeError)" in str(sparkplug.problem()))
        view.broken = False
        assert eventually(lambda: sparkplug.problem() is None and bool(broker.on("spBv1.0/graz/DBIRTH/#")))
    assert "out of order" in caplog.text


def test_a_disk_that_keeps_no_number_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with ScriptedBroker() as broker, shows(Shown(), broker.port, tmp_path / "file"):
        assert eventually(lambda: bool(broker.on("spBv1.0/graz/DBIRTH/#")))


def test_a_missing_certificate_is_said_before_anything_starts(tmp_path: Path) -> None:
    own: dict[str, Any] = {"cert_file": tmp_path / "no.pem", "key_file": tmp_path / "no.key"}
    sparkplug = shows(Shown(), 1883, tmp_path, broker={"ca_file": tmp_path / "no-ca.pem"}, **own)
    with pytest.raises(SettingsError, match="cannot be read"), sparkplug:
        pass


def test_a_station_with_the_section_and_without_protobuf_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload_class.cache_clear()
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    told = station_file(tmp_path, free_port(), commands={"keys": []}, sparkplug={"group": "graz"})
    try:
        with pytest.raises(SettingsError, match=r"pip install 'edge-resad\[sparkplug\]'"):
            run_station(
                told,
                stop=threading.Event(),
                open_source=lambda _told, halt: Running(halt),
                open_judge=lambda _told: FakeJudge(),
            )
    finally:
        payload_class.cache_clear()


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"sparkplug": {"group": "a"}}, r"\[sparkplug\] is set and there is no \[broker\]"),
        ({"sparkplug": {"group": "a/b"}}, "group"),
        ({"sparkplug": {"group": "a", "username": "scada"}}, "username and password_file belong together"),
        ({"sparkplug": {"group": "a", "key_file": "k"}}, "cert_file and key_file belong together"),
        (
            {"sparkplug": {"group": "a", "key_file": "k", "cert_file": "c"}, "broker": {"host": "h"}},
            r"cert_file is set without \[broker\] ca_file",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(sections: dict[str, Any], sentence: str) -> None:
    smallest = {
        "station": {"device": "press-7"}, "camera": {"source": "synthetic"}, "inspection": {"bank": "bank.npz"}
    }  # fmt: skip
    with pytest.raises(ValueError, match=sentence):
        StationFile.model_validate({**smallest, **sections})
