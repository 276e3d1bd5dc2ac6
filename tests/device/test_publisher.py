"""The publisher delivers what waits, in order, whatever the broker does; and says what is wrong in a sentence."""

from __future__ import annotations

import logging
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import UserDict
from collections.abc import Iterator, KeysView
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge_resad.device.connection import Connection
from edge_resad.device.presence import Presence
from edge_resad.device.publisher import Publisher, Timing
from edge_resad.device.refusal import no_broker
from edge_resad.device.session import Session
from edge_resad.device.settings import BrokerSection, StationSection
from edge_resad.device.spool import Kind, Spool
from edge_resad.device.stages import StageTimes
from edge_resad.device.telegram import Telegram
from edge_resad.errors import SettingsError
from edge_resad.messages import Birth, Message, Offline, read_message
from tests.mqtt_peers import (
    FakeBroker,
    Mosquitto,
    Packet,
    Relay,
    Script,
    Subscriber,
    amqtt_broker,
    eventually,
    free_port,
    make_certificates,
)

STATION = StationSection(site="graz", line="l4", device="jetson-07", product="bolt")
PREFIX = "er/v1/graz/l4/jetson-07"
EVT = f"{PREFIX}/evt/cam0"
ALERT = f"{PREFIX}/alert/major"
PATIENT = Timing(retry_s=0.1, connack_s=1000.0, puback_s=1000.0)  # a machine that is busy is no reason to begin anew
QUICK = Timing(retry_s=0.1, connack_s=1.0, puback_s=0.5)

real_broker = pytest.mark.broker


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db", max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0) as spool:
        yield spool


def _publisher(
    spool: Spool, port: int, *, timing: Timing = PATIENT, station: StationSection = STATION, **more: object
) -> Publisher:
    settings = {"host": "127.0.0.1", "port": port, "reconnect_min_s": 0.02, "reconnect_max_s": 0.2, **more}
    broker = BrokerSection.model_validate(settings)
    return Publisher(spool, broker, station, birth={"version": "0.1.0", "bundle": "edge@1"}, timing=timing)


def _put(spool: Spool, count: int, topic: str = EVT, size: int = 0, kind: Kind = "fail") -> list[int]:
    return [spool.put(topic, lambda stamp: str(stamp.seq).encode().ljust(size), kind=kind).seq for _ in range(count)]


def _firsts(seqs: list[int]) -> list[int]:
    """The order in which each was first seen."""
    return list(dict.fromkeys(seqs))


def _numbers(packets: list[Packet], topic: str = EVT) -> list[int]:
    return [int(packet.payload) for packet in packets if packet.topic == topic]


def _states(broker: FakeBroker) -> list[Message]:
    return [read_message(packet.payload) for packet in broker.packets if packet.topic == f"{PREFIX}/state"]


def _births(broker: FakeBroker) -> list[Birth]:
    return [message.data for message in _states(broker) if isinstance(message.data, Birth)]


def _delivered(spool: Spool) -> bool:
    return spool.waiting() == 0


def test_what_waits_goes_out_in_order_and_leaves_the_spool(spool: Spool) -> None:
    seqs = _put(spool, 300)
    with FakeBroker(Script()) as broker, _publisher(spool, broker.port):
        assert eventually(lambda: _delivered(spool))
    assert _numbers(broker.letters()) == seqs


def test_a_new_letter_rings_and_nobody_waits_for_the_next_look(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "_pause_s", 1000.0)
    with FakeBroker(Script()) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: publisher.status.connected and len(broker.packets) == 1)
        _put(spool, 1)
        assert eventually(lambda: _delivered(spool))


def test_a_station_announces_itself_first_and_takes_its_leave_last(spool: Spool) -> None:
    _put(spool, 2)
    assert spool.flush(60)
    with FakeBroker(Script()) as broker:
        with _publisher(spool, broker.port):
            assert eventually(lambda: _delivered(spool))
        assert eventually(lambda: broker.goodbyes == 1)
    first, last = broker.packets[0], broker.packets[-1]
    birth, leave = read_message(first.payload).data, read_message(last.payload).data
    assert first.retain
    assert last.retain
    assert isinstance(birth, Birth)
    assert isinstance(leave, Offline)
    assert (birth.version, birth.bundle, birth.product) == ("0.1.0", "edge@1", "bolt")
    assert (birth.stream_id, birth.live_from_seq, birth.waiting) == (spool.stream_id, 3, 2)
    assert leave.bd_seq == birth.bd_seq


def test_how_the_machine_does_goes_with_the_next_state(spool: Spool) -> None:
    with FakeBroker(Script()) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: publisher.status.connected and len(broker.packets) == 1)
        publisher.say_machine({"hottest_c": 61.5})
        publisher.say_faults({"machine": ("low_disk",)})
        assert eventually(lambda: len(broker.packets) == 2)
        said = [read_message(packet.payload).data for packet in broker.packets]
    assert [birth.machine for birth in said if isinstance(birth, Birth)] == [None, {"hottest_c": 61.5}]


def test_a_camera_that_falls_ill_is_said_at_once_on_the_same_connection_under_another_id(spool: Spool) -> None:
    with FakeBroker(Script()) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: publisher.status.connected and len(broker.packets) == 1)
        publisher.say_faults({"cam0": ("frozen",)})
        assert eventually(lambda: len(broker.packets) == 2)
        publisher.say_faults({"cam0": ()})
        assert eventually(lambda: len(broker.packets) == 3)
        said = [read_message(packet.payload) for packet in broker.packets]
        assert all(packet.retain for packet in broker.packets)
    births = [message.data for message in said if isinstance(message.data, Birth)]
    assert [birth.faults for birth in births] == [None, {"cam0": ("frozen",)}, {"cam0": ()}]
    assert len({birth.bd_seq for birth in births}) == 1
    assert len({message.id for message in said}) == 3


def test_a_connection_says_again_how_the_station_does(spool: Spool) -> None:
    took = StageTimes(p50=8.0, p95=9.0, p99=9.5, max=12.0)
    asked: list[int] = []

    def stages() -> dict[str, StageTimes]:
        asked.append(1)
        return {"engine": took} if len(asked) > 2 else {}  # no part before the connection; one ask is a rehearsal

    with FakeBroker(Script()) as broker:
        settings = BrokerSection(host="127.0.0.1", port=broker.port)
        with Publisher(spool, settings, STATION, birth={}, stages=stages, timing=Timing(state_s=0.01)):
            assert eventually(lambda: len(_states(broker)) >= 3)
    messages = _states(broker)
    assert len({message.id for message in messages}) == len(messages)
    first, second, *_ = [message.data for message in messages if isinstance(message.data, Birth)]
    assert isinstance(first, Birth)
    assert first.stages_ms is None
    assert second.stages_ms is not None
    assert second.stages_ms["engine"].p99 == 9.5
    assert (second.bd_seq, second.live_from_seq) == (first.bd_seq, first.live_from_seq)


def test_what_two_threads_say_of_a_station_at_once_is_all_in_its_state(spool: Spool) -> None:
    presence = Presence(STATION, spool, {})
    begun, go_on = threading.Event(), threading.Event()

    class Slow(UserDict[str, tuple[str, ...]]):
        def keys(self) -> KeysView[str]:
            begun.set()
            assert go_on.wait(60)
            return super().keys()

    before = presence.version
    others = [
        threading.Thread(target=presence.set_faults, args=({"machine": ("hot",)},)),
        threading.Thread(target=presence.set_problem, args=("pictures", "no room")),
        threading.Thread(target=presence.set_facts, kwargs={"bypass": "new lamp"}),
    ]
    one = threading.Thread(target=presence.set_faults, args=(Slow({"cam0": ("silent",)}),))
    one.start()
    assert begun.wait(60)  # it is in the middle of it
    for other in others:
        other.start()
    eventually(lambda: not any(other.is_alive() for other in others), 0.2)  # the time in which they would be done
    go_on.set()
    for thread in (one, *others):
        thread.join(60)
    said = read_message(presence.birth(bd_seq=1, live_from_seq=1)).data
    assert isinstance(said, Birth)
    assert said.faults == {"cam0": ("silent",), "machine": ("hot",)}
    assert (said.about["problems"], said.about["bypass"]) == ({"pictures": "no room"}, "new lamp")
    assert presence.version == before + 4


def test_every_connection_has_a_session_number_of_its_own(spool: Spool) -> None:
    numbers = []
    with FakeBroker(Script()) as broker:
        for _ in range(3):
            before = len(_births(broker))
            with _publisher(spool, broker.port):
                assert eventually(lambda before=before: len(_births(broker)) > before)  # type: ignore[misc]
        numbers = [birth.bd_seq for birth in _births(broker)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 3


def test_a_broker_that_comes_later_gets_everything_in_order(spool: Spool) -> None:
    port = free_port()
    seqs = _put(spool, 50)
    with _publisher(spool, port) as publisher:
        assert eventually(lambda: publisher.status.problem is not None)
        status = publisher.status
        assert (status.connected, status.protocol) == (False, None)
        assert f"no broker at 127.0.0.1:{port}" in str(status.problem)
        seqs += _put(spool, 50)
        with FakeBroker(Script(), port) as broker:
            assert eventually(lambda: _delivered(spool))
            assert publisher.status.problem is None
            assert publisher.status.protocol == "5"
    assert _numbers(broker.letters()) == seqs


def test_a_connection_cut_in_the_middle_loses_nothing_and_keeps_the_order(spool: Spool) -> None:
    seqs = _put(spool, 400)
    script = Script(hangs_up=lambda packet: packet.payload in (b"57", b"230") and packet.connection < 3)
    with FakeBroker(script) as broker, _publisher(spool, broker.port):
        assert eventually(lambda: _delivered(spool))
    got = _numbers(broker.letters())
    assert _firsts(got) == seqs
    assert len(broker.connects) == 3
    for connection in (1, 2, 3):
        of_one = _numbers([packet for packet in broker.letters() if packet.connection == connection])
        assert of_one == sorted(of_one)


def test_only_what_was_not_acknowledged_is_sent_again(spool: Spool) -> None:
    _put(spool, 30)
    script = Script(puback=lambda packet: None if packet.payload == b"20" and packet.connection == 1 else 0)
    with FakeBroker(script) as broker, _publisher(spool, broker.port):
        assert eventually(lambda: spool.waiting() == 1)
        broker.cut()
        assert eventually(lambda: _delivered(spool))
    got = _numbers(broker.letters())
    assert sorted(got) == sorted([*range(1, 31), 20])


def test_a_broker_that_never_acknowledges_is_named_and_asked_again(spool: Spool) -> None:
    _put(spool, 3)
    silent = Script(puback=lambda packet: None)
    with FakeBroker(silent) as broker, _publisher(spool, broker.port, timing=QUICK) as publisher:
        assert eventually(lambda: "acknowledges none" in str(publisher.status.problem))
        assert eventually(lambda: len(broker.connects) >= 2)
        broker.script.puback = lambda packet: 0
        assert eventually(lambda: _delivered(spool))
        assert eventually(lambda: publisher.status.problem is None)


def test_a_state_says_at_once_that_the_disk_of_the_outbox_does_not_answer(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_resad.device.spool._SLOW_S", 0.05)
    timing = replace(PATIENT, ill_s=0.0)
    with FakeBroker(Script()) as broker, _publisher(spool, broker.port, timing=timing) as publisher:

        def said() -> str:
            problems = _births(broker)[-1].about.get("problems", {})
            assert isinstance(problems, dict)
            return str(problems.get("spool", "well"))

        assert eventually(lambda: publisher.status.connected and bool(_births(broker)))
        assert said() == "well"
        with closing(sqlite3.connect(tmp_path / "spool.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # the outbox's thread hangs in its disk
            _put(spool, 3)
            assert eventually(lambda: "3 messages wait in memory" in said())
            other.execute("ROLLBACK")
        assert eventually(lambda: said() == "well")


def test_telemetry_that_goes_on_is_no_answer_of_the_broker(spool: Spool) -> None:
    _put(spool, 3)
    with FakeBroker(Script(puback=lambda packet: None)) as broker, _publisher(spool, broker.port, timing=QUICK) as said:

        def is_found_out() -> bool:
            said.say(Telegram(topic="er/v1/berlin/a/press-7/tm", payload=b"{}"))
            return "acknowledges none" in str(said.status.problem)

        assert eventually(is_found_out)


def test_never_more_letters_are_on_their_way_than_the_broker_allows(spool: Spool) -> None:
    seqs = _put(spool, 10)
    receive_maximum = b"\x21\x00\x03"
    script = Script(connack_properties=receive_maximum, puback=lambda packet: None)
    with FakeBroker(script) as broker, _publisher(spool, broker.port):
        assert eventually(lambda: len(broker.packets) == 3)
        time.sleep(0.2)  # the time in which more would come
        assert len(broker.packets) == 3  # the birth and two letters
    assert _numbers(broker.letters()) == seqs[:2]


def test_a_broker_that_takes_one_at_a_time_gets_everything(spool: Spool) -> None:
    seqs = _put(spool, 40)
    with FakeBroker(Script(connack_properties=b"\x21\x00\x01")) as broker, _publisher(spool, broker.port):
        assert eventually(lambda: _delivered(spool))
    assert _numbers(broker.letters()) == seqs


def test_what_is_larger_than_the_broker_takes_is_put_aside_and_the_rest_goes_on(spool: Spool) -> None:
    _put(spool, 1)
    _put(spool, 1, size=5000)
    _put(spool, 1, f"{PREFIX}/img/e1", size=5000, kind="image")
    _put(spool, 1)
    maximum_packet = b"\x27\x00\x00\x03\xe8"
    with FakeBroker(Script(connack_properties=maximum_packet)) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: _delivered(spool))
        assert publisher.status.dead == 1
        assert spool.dropped == 1
    assert _numbers(broker.letters()) == [1, 4]
    assert all(packet.size <= 1000 for packet in broker.packets)


@pytest.mark.parametrize("reason", [0x90, 0x99])
def test_a_letter_that_the_broker_refuses_for_ever_becomes_a_dead_letter(spool: Spool, reason: int) -> None:
    _put(spool, 3)
    script = Script(puback=lambda packet: reason if packet.payload == b"2" else 0)
    with FakeBroker(script) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: _delivered(spool))
        assert (publisher.status.dead, publisher.status.waiting) == (1, 0)
    assert _numbers(broker.letters()) == [1, 2, 3]


def test_the_first_dead_letter_is_in_the_state_at_once_and_one_after_the_other_is_no_state_each(spool: Spool) -> None:
    _put(spool, 1)
    script = Script(puback=lambda packet: 0x99 if packet.topic == ALERT else 0)
    with FakeBroker(script) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: _delivered(spool))
        _put(spool, 30, ALERT)
        assert eventually(lambda: publisher.status.dead == 30)
        _put(spool, 1)
        assert eventually(lambda: _delivered(spool))
        said = [message.data.dead for message in _states(broker) if isinstance(message.data, Birth)]
    assert said[0] == 0
    assert len(said) == 2
    assert said[1] > 0
    with FakeBroker(script) as broker, _publisher(spool, broker.port):
        assert eventually(lambda: len(_states(broker)) == 1)
        birth = _states(broker)[0].data
    assert isinstance(birth, Birth)
    assert birth.dead == 30


@pytest.mark.parametrize("reason", [0x87, 0x97])
def test_a_topic_that_is_refused_for_now_waits_says_so_and_keeps_its_order(spool: Spool, reason: int) -> None:
    is_open, taken = [False, False], []  # the topic: soon, and now

    def puback(packet: Packet) -> int:
        if packet.topic != EVT:
            return 0
        is_open[1] |= is_open[0] and packet.payload == b"1"  # a probe is alone on its way
        taken.extend([int(packet.payload)] if is_open[1] else [])
        return 0 if is_open[1] else reason

    script = Script(puback=puback)
    _put(spool, 20)
    alerts = _put(spool, 5, ALERT)
    with FakeBroker(script) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: set(_numbers(broker.letters(), ALERT)) == set(alerts))
        assert eventually(lambda: spool.waiting() == 20)
        assert eventually(lambda: set(_numbers(broker.letters(), EVT)) == set(range(1, 21)))
        assert eventually(lambda: f"does not take messages on {EVT}" in str(publisher.status.problem))
        is_open[0] = True
        assert eventually(lambda: _delivered(spool))
        assert eventually(lambda: publisher.status.problem is None)
    assert _firsts(taken) == list(range(1, 21))
    assert spool.dead == 0


def test_a_refusal_that_the_client_cannot_read_leads_to_a_dead_letter_too(spool: Spool) -> None:
    _put(spool, 3)
    too_large = 0x95  # not a reason that a PUBACK may have, yet brokers send it
    script = Script(puback=lambda packet: too_large if packet.payload == b"2" else 0)
    with FakeBroker(script) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: _delivered(spool))
        assert publisher.status.dead == 1
        assert eventually(lambda: publisher.status.problem is None)


def test_a_letter_that_makes_an_old_broker_hang_up_is_found_and_put_aside(spool: Spool) -> None:
    _put(spool, 6)
    script = Script(protocols=(4,), hangs_up=lambda packet: packet.payload == b"3")
    with FakeBroker(script) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: _delivered(spool))
        assert publisher.status.dead == 1
    assert set(_numbers(broker.letters())) == {1, 2, 3, 4, 5, 6}


def test_a_letter_that_a_broker_blames_when_it_hangs_up_is_put_aside(spool: Spool) -> None:
    _put(spool, 3)
    script = Script(hangs_up=lambda packet: packet.payload == b"1", disconnect_reason=0x95)
    with FakeBroker(script) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: _delivered(spool))
        assert publisher.status.dead == 1
    assert set(_numbers(broker.letters())) == {1, 2, 3}


@pytest.mark.parametrize("others", [0, 1])
def test_a_letter_that_left_before_it_was_found_guilty_costs_no_other_one(
    spool: Spool, caplog: pytest.LogCaptureFixture, others: int
) -> None:
    _put(spool, 1)
    alerts = _put(spool, others, ALERT, kind="fail")

    def hangs_up(packet: Packet) -> bool:
        if packet.topic != EVT:
            return False
        if packet.connection == 2:  # blamed once more; meanwhile a collector says that it has it
            spool.acknowledged(spool.stream_id, [(1, 1)])
            assert eventually(lambda: spool.waiting() == others)
        return True

    with (
        FakeBroker(Script(hangs_up=hangs_up, disconnect_reason=0x95)) as broker,
        _publisher(spool, broker.port) as publisher,
    ):
        assert eventually(lambda: len(broker.connects) == 3 and publisher.status.connected)
        assert eventually(lambda: _delivered(spool))
        assert publisher.status.dead == 0
    assert _numbers(broker.letters(), ALERT)[-1:] == alerts
    assert "stumbled" not in caplog.text


@pytest.mark.parametrize(("says", "most_bytes"), [(None, 1000), (0x95, 1000), (0x95, 100)])
@pytest.mark.parametrize("letters", [0, 2])
@pytest.mark.parametrize("with_telemetry", [False, True])
def test_a_broker_that_hangs_up_at_a_state_that_is_too_large_gets_a_short_one_or_none(
    spool: Spool,
    caplog: pytest.LogCaptureFixture,
    says: int | None,
    most_bytes: int,
    letters: int,
    with_telemetry: bool,
) -> None:
    seqs = _put(spool, letters)

    def hangs_up(packet: Packet) -> bool:
        is_too_large = packet.topic.endswith("/state") and len(packet.payload) > most_bytes
        if is_too_large and with_telemetry:  # there is some by the next connection
            publisher.say(Telegram(topic="er/v1/berlin/a/press-7/tm", payload=b"{}"))
        return is_too_large

    script = Script(protocols=(4,) if says is None else (5,), hangs_up=hangs_up, disconnect_reason=says)
    settings = BrokerSection(host="127.0.0.1", port=1, reconnect_min_s=0.01, reconnect_max_s=0.02)
    with FakeBroker(script) as broker:
        told = settings.model_copy(update={"port": broker.port})
        with Publisher(spool, told, STATION, birth={"outputs": "x" * 1000}, timing=PATIENT) as publisher:
            becomes = "it goes with less in it until" if most_bytes == 1000 else "it is not sent until"
            sentence = (
                f"the broker at 127.0.0.1:{broker.port} hangs up at this station's state: {becomes} the next start"
            )
            assert eventually(lambda: sentence in str(publisher.status.state_problem))
            assert eventually(lambda: _delivered(spool))
        states = [packet for packet in broker.packets if packet.topic.endswith("/state")]
    assert _firsts(_numbers(broker.letters())) == seqs
    assert spool.dead == 0
    assert (len([packet for packet in states if len(packet.payload) <= most_bytes]) > 0) is (most_bytes == 1000)
    assert 1 <= sum("hangs up at this station's state" in one for one in caplog.messages) <= 2


def test_a_station_falls_back_to_the_old_protocol_by_itself(spool: Spool) -> None:
    seqs = _put(spool, 20)
    with FakeBroker(Script(protocols=(4,))) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: _delivered(spool))
        assert publisher.status.protocol == "3.1.1"
        assert publisher.status.problem is None
    assert _numbers(broker.letters()) == seqs
    assert broker.connects == [5, 4]


def test_a_protocol_that_was_set_is_kept_and_its_refusal_is_said(spool: Spool) -> None:
    with FakeBroker(Script(protocols=(4,))) as broker, _publisher(spool, broker.port, protocol="5") as publisher:
        assert eventually(lambda: len(broker.connects) > 1)
        assert publisher.status.problem is not None
    assert set(broker.connects) == {5}


def test_a_broker_that_accepts_and_says_nothing_is_said_once_and_nobody_speaks_of_tls(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edge_resad")
    timing = Timing(connack_s=0.05, close_s=60.0)
    with FakeBroker(Script(says_connack=False)) as broker, _publisher(spool, broker.port, timing=timing) as publisher:
        assert eventually(lambda: len(broker.connects) >= 5)
        problem = str(publisher.status.problem)
    assert problem.startswith(f"no answer from 127.0.0.1:{broker.port}. Check [broker] host and port")
    assert caplog.messages == [problem]


def test_a_broker_that_drops_every_connection_is_said_once(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edge_resad")
    with FakeBroker(Script(drops=True)) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: len(broker.connects) >= 8)
        assert "Does this port want TLS" in str(publisher.status.problem)
    assert sum("does not answer in MQTT 5" in said for said in caplog.messages) == 1


def test_a_connection_that_is_never_made_is_no_answer() -> None:
    said = no_broker(TimeoutError("timed out"), where="10.255.255.1:1883")
    assert said.startswith("no answer from 10.255.255.1:1883")


def test_a_frozen_broker_does_not_hold_up_the_end(spool: Spool) -> None:
    _put(spool, 200, size=60_000)
    with FakeBroker(Script(reads_after_connack=False)) as broker:
        publisher = _publisher(spool, broker.port)
        with publisher:
            assert eventually(lambda: publisher.status.connected)
    assert spool.waiting() == 200  # and we are here, though its patience has no end
    assert PATIENT.drain_s + PATIENT.goodbye_s < PATIENT.close_s < 2.0


def test_an_address_where_nobody_answers_does_not_hold_up_the_end(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked, let_go = threading.Event(), threading.Event()

    def hangs(_connection: Connection) -> None:
        asked.set()
        let_go.wait(100)
        raise TimeoutError("timed out")

    monkeypatch.setattr(Connection, "open", hangs)
    publisher = _publisher(spool, 1)
    try:
        with publisher:
            assert asked.wait(60)
        assert publisher._thread.is_alive()  # left to itself
        assert "did not let us go in time" in caplog.text
    finally:
        let_go.set()
        publisher._thread.join(60)
    assert publisher._rings.fileno() == -1  # nothing of it stays open


def test_two_stations_of_one_name_are_told(spool: Spool) -> None:
    script = Script(hangs_up=lambda packet: packet.topic.endswith("state"), disconnect_reason=0x8E)
    with FakeBroker(script) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: "seems to use the name 'jetson-07'" in str(publisher.status.problem))


def test_garbage_from_the_broker_is_survived(spool: Spool) -> None:
    seqs = _put(spool, 5)
    script = Script(connack_properties=b"\xff\xff\xff")
    with FakeBroker(script) as broker, _publisher(spool, broker.port, protocol="5") as publisher:
        assert eventually(lambda: len(broker.connects) >= 3)
        assert not publisher.status.connected
        broker.script.connack_properties = b""
        assert eventually(lambda: _delivered(spool))
    assert _numbers(broker.letters()) == seqs


def test_a_missing_password_file_is_said_before_anything_starts(spool: Spool, tmp_path: Path) -> None:
    publisher = _publisher(spool, 1, username="u", password_file=tmp_path / "nothing")
    with pytest.raises(SettingsError, match=r"\[broker\] password_file = .*nothing cannot be read"), publisher:
        pass


def test_a_ca_file_that_is_no_certificate_is_said_before_anything_starts(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    publisher = _publisher(spool, 1, ca_file=tmp_path / "ca.pem")
    with pytest.raises(SettingsError, match="cannot be used for TLS"), publisher:
        pass


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # amqtt's own
def test_a_broker_that_speaks_only_the_old_protocol_is_served(spool: Spool) -> None:
    seqs = _put(spool, 30)
    timing = Timing(retry_s=0.1, connack_s=1.0)  # it says nothing to what it does not know
    with (
        amqtt_broker() as port,
        Subscriber(port, v5=False) as ear,
        _publisher(spool, port, timing=timing) as publisher,
    ):
        assert eventually(lambda: len(ear.on("/evt/")) == 30)
        assert publisher.status.protocol == "3.1.1"
        assert eventually(lambda: _delivered(spool))
    assert [int(heard.payload) for heard in ear.on("/evt/")] == seqs


@real_broker
def test_mosquitto_gets_everything_with_its_type_and_id(spool: Spool, tmp_path: Path) -> None:
    seqs = _put(spool, 100)
    assert spool.flush(60)
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker.port) as ear,
        _publisher(spool, broker.port) as publisher,
    ):
        assert eventually(lambda: _delivered(spool))
        assert eventually(lambda: len(ear.on("/evt/")) == 100)
        assert publisher.status.protocol == "5"
    heard = ear.on("/evt/")
    assert [int(one.payload) for one in heard] == seqs
    assert heard[0].content_type == "application/json"
    assert dict(heard[0].user) == {
        "id": f"{spool.stream_id}-1",
        "type": "edge-resad.verdict",
        "historical": "true",
    }


@real_broker
def test_mosquitto_killed_in_the_middle_gets_what_it_had_not_confirmed(spool: Spool, tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker.port) as ear,
        _publisher(spool, broker.port) as publisher,
    ):

        def heard() -> list[int]:
            return [int(one.payload) for one in ear.on("/evt/")]

        assert eventually(lambda: publisher.status.connected)  # what is there before it is old, and goes later
        _put(spool, 200)
        assert eventually(lambda: len(heard()) >= 20)
        broker.kill()  # with what it confirmed and did not hand on yet
        new = _put(spool, 200)
        assert eventually(lambda: not publisher.status.connected)
        before = heard()
        unconfirmed = {letter.seq for letter in spool.oldest(400)} | set(new)
        broker.start()
        assert eventually(lambda: _delivered(spool))
        assert eventually(lambda: unconfirmed <= set(heard()))
    assert before == sorted(before)


@real_broker
def test_a_late_joiner_sees_who_is_there_and_who_left(spool: Spool, tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        with _publisher(spool, broker.port) as publisher:
            assert eventually(lambda: publisher.status.connected)
            with Subscriber(broker.port, topics="er/v1/+/+/+/state") as ear:
                assert eventually(lambda: len(ear.heard) >= 1)
                assert isinstance(read_message(ear.heard[-1].payload).data, Birth)
        with Subscriber(broker.port, topics="er/v1/+/+/+/state") as ear:
            assert eventually(
                lambda: any(isinstance(read_message(one.payload).data, Offline) for one in list(ear.heard))
            )
            assert ear.heard[0].retain


@real_broker
def test_a_topic_that_mosquitto_does_not_allow_waits_until_it_does(spool: Spool, tmp_path: Path) -> None:
    closed = f"topic readwrite {PREFIX}/alert/#\ntopic readwrite {PREFIX}/state\n"
    with (
        Mosquitto(tmp_path / "broker", acl=closed) as broker,
        Subscriber(broker.port),
        _publisher(spool, broker.port) as publisher,
    ):
        _put(spool, 5)
        _put(spool, 5, ALERT)
        assert eventually(lambda: spool.waiting() == 5)
        assert eventually(lambda: "Not authorized" in str(publisher.status.problem))
        broker.allow("topic readwrite #\n")
        broker.signal(signal.SIGHUP)
        assert eventually(lambda: _delivered(spool))
        assert eventually(lambda: publisher.status.problem is None)


@real_broker
def test_what_mosquitto_drops_because_nobody_subscribes_waits_until_somebody_does_and_it_is_said(
    spool: Spool, tmp_path: Path
) -> None:
    seqs = _put(spool, 5)
    alerts = _put(spool, 2, ALERT, kind="alert")
    pictures = [_put(spool, 1, f"{PREFIX}/img/e{number}", kind="image")[0] for number in range(3)]
    topics = (f"{PREFIX}/state", f"{PREFIX}/alert/+", f"{PREFIX}/#")
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker.port, topics=topics[0]) as states,
        _publisher(spool, broker.port) as publisher,
    ):
        problems = [f"nobody subscribes to {topic}" for topic in (ALERT, EVT, f"{PREFIX}/img/+")]
        assert eventually(lambda: any(problem in str(publisher.status.problem) for problem in problems))
        assert eventually(lambda: any(b"nobody subscribes" in one.payload for one in states.heard))
        assert spool.waiting() == 10
        with Subscriber(broker.port, topics=topics[1]) as some:
            assert eventually(lambda: spool.waiting() == 8)
            assert eventually(lambda: _firsts([int(one.payload) for one in list(some.heard)]) == alerts)
        with Subscriber(broker.port, topics=topics[2]) as all_of_it:
            assert eventually(lambda: _delivered(spool))
            assert eventually(lambda: publisher.status.problem is None)
            assert eventually(lambda: b"nobody subscribes" not in states.heard[-1].payload)
        came = [int(one.payload) for one in all_of_it.heard if not one.topic.endswith("/state")]
    assert [seq for seq in _firsts(came) if seq in seqs] == seqs
    assert set(pictures) <= set(came)


@real_broker
def test_a_wrong_password_is_one_sentence_and_a_right_one_needs_no_restart(spool: Spool, tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("wrong\n")
    _put(spool, 3)
    with (
        Mosquitto(tmp_path / "broker", users={"jetson": "right"}) as broker,
        Subscriber(broker.port, username="jetson", password="right"),
        _publisher(spool, broker.port, username="jetson", password_file=word) as publisher,
    ):
        assert eventually(lambda: "as the user 'jetson'" in str(publisher.status.problem))
        assert not publisher.status.connected
        word.write_text("right\n")
        assert eventually(lambda: _delivered(spool))
        assert publisher.status.problem is None


@real_broker
def test_two_stations_of_one_name_at_mosquitto_are_told(spool: Spool, tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Spool(tmp_path / "other.db", max_bytes=1 << 20) as other,
        _publisher(spool, broker.port) as one,
        _publisher(other, broker.port) as two,
    ):
        said = "seems to use the name"
        assert eventually(lambda: any(said in str(publisher.status.problem) for publisher in (one, two)))


@real_broker
def test_a_frozen_mosquitto_is_noticed_and_served_when_it_thaws(spool: Spool, tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker.port),
        _publisher(spool, broker.port, timing=QUICK) as publisher,
    ):
        assert eventually(lambda: publisher.status.connected)
        broker.signal(signal.SIGSTOP)
        _put(spool, 20)
        assert eventually(lambda: "acknowledges none" in str(publisher.status.problem))
        broker.signal(signal.SIGCONT)
        assert eventually(lambda: _delivered(spool))


@real_broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("limit", ["max_packet_size", "message_size_limit"])
def test_a_limit_of_mosquitto_stops_only_what_is_too_large(
    spool: Spool, tmp_path: Path, protocol: str, limit: str
) -> None:
    _put(spool, 3)
    _put(spool, 1, size=5000)
    _put(spool, 3)
    with (
        Mosquitto(tmp_path / "broker", settings=[f"{limit} 1000"]) as broker,
        Subscriber(broker.port) as ear,
        _publisher(spool, broker.port, protocol=protocol),
    ):
        assert eventually(lambda: _delivered(spool))
        assert eventually(lambda: {1, 2, 3, 5, 6, 7} <= {int(heard.payload) for heard in ear.on("/evt/")})


_STATION = """
import sys, time
from pathlib import Path
from edge_resad.device.publisher import Publisher, Timing
from edge_resad.device.settings import BrokerSection, StationSection
from edge_resad.device.spool import Spool
station = StationSection(site="graz", line="l4", device="jetson-07")
broker = BrokerSection(host="127.0.0.1", port=int(sys.argv[2]))
timing = Timing(will_delay_s=1)
with Spool(Path(sys.argv[1]), max_bytes=1 << 20) as spool:
    with Publisher(spool, broker, station, birth={}, timing=timing) as publisher:
        while not publisher.status.connected:
            time.sleep(0.01)
        print("there", flush=True)
        time.sleep(60)
"""


@real_broker
def test_a_station_that_dies_is_said_to_be_offline_under_its_own_session_number(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker, Subscriber(broker.port) as ear:
        command = [sys.executable, "-c", _STATION, str(tmp_path / "spool.db"), str(broker.port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as station:
            assert station.stdout is not None
            station.stdout.readline()
            assert eventually(lambda: len(ear.on("/state")) == 1)
            station.kill()
        assert eventually(lambda: len(ear.on("/state")) == 2)
    birth, gone = (read_message(heard.payload).data for heard in ear.on("/state"))
    assert isinstance(birth, Birth)
    assert isinstance(gone, Offline)
    assert (gone.bd_seq, gone.stream_id) == (birth.bd_seq, birth.stream_id)


@real_broker
def test_a_short_loss_of_the_network_does_not_say_offline(spool: Spool, tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker.port) as ear,
        Relay(broker.port) as relay,
        _publisher(spool, relay.port, timing=Timing(will_delay_s=1000)) as publisher,
    ):
        assert eventually(lambda: len(ear.on("/state")) == 1)
        relay.cut()
        assert eventually(lambda: len(ear.on("/state")) == 2)
        _put(spool, 1)
        assert eventually(lambda: _delivered(spool))
        assert publisher.status.connected
        states = [read_message(heard.payload).data for heard in ear.on("/state")]
    assert [state.online for state in states if isinstance(state, Birth | Offline)] == [True, True]


@real_broker
def test_the_wire_is_encrypted_with_the_authority_that_was_set(spool: Spool, tmp_path: Path) -> None:
    ca, cert, key = make_certificates(tmp_path)
    plain = free_port()  # for somebody who subscribes
    settings = [f"cafile {ca}", f"certfile {cert}", f"keyfile {key}", f"listener {plain} 127.0.0.1"]
    with Mosquitto(tmp_path / "broker", settings=settings) as broker, Subscriber(plain):
        seqs = _put(spool, 300)
        with _publisher(spool, broker.port, ca_file=ca, host="localhost") as publisher:
            assert eventually(lambda: _delivered(spool)), publisher.status
        other, _, _ = make_certificates(tmp_path / "other")
        _put(spool, 1)
        with _publisher(spool, broker.port, ca_file=other, host="localhost") as publisher:
            assert eventually(lambda: "certificate that cannot be trusted" in str(publisher.status.problem))
            assert spool.waiting() == 1
        with _publisher(spool, broker.port) as publisher:
            assert eventually(lambda: "Does this port want TLS" in str(publisher.status.problem))
    assert len(seqs) == 300
