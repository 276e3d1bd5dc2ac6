"""The publisher delivers everything on any wire and with any broker, and takes nothing for delivered that is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge_resad.device.lights import Light, broker_light
from edge_resad.device.publisher import Heard, Publisher, Timing
from edge_resad.device.settings import BrokerSection, StationSection
from edge_resad.device.spool import Kind, Spool
from edge_resad.device.stages import StageTimes
from edge_resad.messages import Birth, Offline, read_message
from tests.mqtt.fault_proxy import Cut, FaultProxy, Wire
from tests.mqtt.packets import Publish
from tests.mqtt.scripted_broker import (
    NOT_AUTHORIZED,
    QUOTA_EXCEEDED,
    SHUTTING_DOWN,
    TAKEN_OVER,
    TOO_LARGE,
    Rules,
    ScriptedBroker,
)
from tests.mqtt_peers import Mosquitto, Subscriber, eventually

STATION = StationSection(site="graz", line="l4", device="jetson-07", product="bolt")
PREFIX = "er/v1/graz/l4/jetson-07"
EVT = f"{PREFIX}/evt/cam0"
ALERT = f"{PREFIX}/alert/major"
QUICK = Timing(retry_s=0.1, connack_s=2.0, puback_s=1.0)
"""Gives up a connection that only stands still for a while: for tests that count no connections."""
PATIENT = Timing(retry_s=0.1, connack_s=60.0, puback_s=60.0)
WITHIN_S = 60.0


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db", max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0) as spool:
        yield spool


def _publisher(spool: Spool, port: int, *, timing: Timing = QUICK, **more: object) -> Publisher:
    """It takes the broker's word that a message is delivered."""
    settings = {"host": "127.0.0.1", "port": port, "reconnect_min_s": 0.02, "reconnect_max_s": 0.2, **more}
    return Publisher(spool, BrokerSection.model_validate(settings), STATION, birth={"version": "0.1.0"}, timing=timing)


def _put(spool: Spool, count: int, topic: str = EVT, size: int = 0, kind: Kind = "fail") -> set[int]:
    return {spool.put(topic, lambda stamp: str(stamp.seq).encode().ljust(size), kind=kind).seq for _ in range(count)}


def _came(broker: ScriptedBroker, topic: str = EVT) -> set[int]:
    return {int(publish.payload) for publish in broker.on(topic)}


def _delivered(spool: Spool) -> bool:
    return eventually(lambda: spool.waiting() == 0, WITHIN_S)


@pytest.mark.parametrize(
    "wire",
    [
        Wire(slice_bytes=1),
        Wire(latency_s=0.02, jitter_s=0.05),
        Wire(bytes_per_s=300_000),
        Wire(latency_s=0.005, jitter_s=0.02, bytes_per_s=500_000, slice_bytes=7),
    ],
    ids=["one byte at a time", "late", "narrow", "all of it"],
)
def test_a_bad_wire_delivers_everything_once(spool: Spool, wire: Wire) -> None:
    seqs = _put(spool, 100)
    with ScriptedBroker() as broker, FaultProxy(broker.port, wire=wire) as proxy:
        with _publisher(spool, proxy.port, timing=PATIENT):
            assert _delivered(spool)
        assert _came(broker) == seqs
        assert len(broker.on(EVT)) == len(seqs)
        assert broker.violations == []


def test_a_station_hears_before_it_says_that_it_is_there(spool: Spool) -> None:
    rules, ear = Rules(says_suback=False), f"{PREFIX}/cmd/+"  # so that it waits until the test has looked
    _put(spool, 1)
    heard: list[Heard] = []
    with ScriptedBroker(rules) as broker:
        publisher = _publisher(spool, broker.port, timing=Timing(suback_s=1000.0))
        publisher.subscribe(ear, heard.append)
        with publisher:
            assert eventually(lambda: ear in broker.subscriptions(STATION.device), WITHIN_S)
            broker.publish(f"{PREFIX}/cmd/snapshot", b"now")
            assert eventually(lambda: bool(heard), WITHIN_S)
            assert broker.published == []
        assert eventually(lambda: bool(broker.on(f"{PREFIX}/state")), WITHIN_S)
        assert isinstance(read_message(broker.published[0].payload).data, Birth)


def test_a_station_tells_of_no_letter_that_a_power_cut_could_take_back(spool: Spool, tmp_path: Path) -> None:
    _put(spool, 3)
    assert spool.flush(WITHIN_S)
    with closing(sqlite3.connect(tmp_path / "spool.db", isolation_level=None, timeout=WITHIN_S)) as disk:
        disk.execute("BEGIN IMMEDIATE")  # so that it takes nothing now
        _put(spool, 2)
        with ScriptedBroker() as broker, _publisher(spool, broker.port, timing=PATIENT):
            assert eventually(lambda: bool(broker.on(f"{PREFIX}/state")), WITHIN_S)
            disk.execute("ROLLBACK")
            assert _delivered(spool)
            birth = read_message(broker.published[0].payload).data
    assert isinstance(birth, Birth)
    assert (birth.live_from_seq, birth.waiting) == (4, 5)


def test_a_broker_that_never_says_whether_we_hear_is_told_that_we_are_there_all_the_same(spool: Spool) -> None:
    seqs = _put(spool, 3)
    with ScriptedBroker(Rules(says_suback=False)) as broker:
        publisher = _publisher(spool, broker.port, timing=Timing(suback_s=0.05))
        publisher.subscribe(f"{PREFIX}/cmd/+", lambda _: None)
        with publisher:
            assert _delivered(spool)
        assert _came(broker) == seqs
        assert broker.published[0].topic == f"{PREFIX}/state"


@pytest.mark.parametrize("after", [0, 1, 2, 20, 60])
@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_cut_inside_a_message_loses_nothing(spool: Spool, after: int, how: str) -> None:
    seqs = _put(spool, 40)
    cuts = tuple(Cut(packet="PUBLISH", number=number, after=after, how=how) for number in (1, 7, 30))  # type: ignore[arg-type]
    with ScriptedBroker() as broker, FaultProxy(broker.port, cuts=cuts) as proxy:
        with _publisher(spool, proxy.port):
            assert _delivered(spool)
        assert set(proxy.cuts_done) == set(cuts)
        assert _came(broker) == seqs
        assert broker.violations == []


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_cut_inside_an_answer_repeats_and_loses_nothing(spool: Spool, after: int) -> None:
    seqs = _put(spool, 40)
    cuts = tuple(Cut(packet="PUBACK", way="down", number=number, after=after) for number in (1, 5, 20))
    with ScriptedBroker() as broker, FaultProxy(broker.port, cuts=cuts) as proxy:
        with _publisher(spool, proxy.port):
            assert _delivered(spool)
        assert set(proxy.cuts_done) == set(cuts)
        assert _came(broker) == seqs
        assert broker.violations == []


def test_a_wire_that_falls_silent_in_a_message_is_noticed(spool: Spool) -> None:
    seqs = _put(spool, 20)
    cut = Cut(packet="PUBLISH", number=6, after=10, how="silence")
    with ScriptedBroker() as broker, FaultProxy(broker.port, cuts=(cut,)) as proxy:
        with _publisher(spool, proxy.port):
            assert _delivered(spool)
            assert proxy.connections >= 2
        assert _came(broker) == seqs


def test_a_half_open_connection_is_given_up_and_the_next_one_delivers(spool: Spool) -> None:
    with ScriptedBroker() as broker, FaultProxy(broker.port) as proxy, _publisher(spool, proxy.port) as publisher:
        assert eventually(lambda: publisher.status.connected, WITHIN_S)
        proxy.freeze()
        seqs = _put(spool, 5)
        assert _delivered(spool)
        assert proxy.connections >= 2
        assert _came(broker) == seqs


def test_resets_again_and_again_lose_nothing(spool: Spool) -> None:
    seqs: set[int] = set()
    with ScriptedBroker() as broker, FaultProxy(broker.port, wire=Wire(jitter_s=0.002)) as proxy:
        with _publisher(spool, proxy.port):
            for round_ in range(8):
                heard = len(broker.published)
                seqs |= _put(spool, 25)
                assert eventually(lambda heard=heard: len(broker.published) > heard, WITHIN_S)  # type: ignore[misc]
                proxy.reset() if round_ % 2 else proxy.close()
            assert _delivered(spool)
        assert _came(broker) == seqs
        assert broker.violations == []


def test_a_wire_that_lets_nobody_in_for_a_while_is_only_a_delay(spool: Spool) -> None:
    seqs = _put(spool, 10)
    with ScriptedBroker() as broker, FaultProxy(broker.port) as proxy:
        proxy.refuse()
        with _publisher(spool, proxy.port) as publisher:
            assert eventually(lambda: publisher.status.problem is not None, WITHIN_S)
            assert broker.published == []
            proxy.refuse(False)
            assert _delivered(spool)
        assert _came(broker) == seqs


@pytest.mark.broker
def test_mosquitto_behind_a_bad_wire_has_everything_in_the_end(spool: Spool, tmp_path: Path) -> None:
    seqs = _put(spool, 150)
    cuts = (
        Cut(packet="PUBLISH", number=10, after=30),
        Cut(packet="PUBACK", way="down", number=30, after=2, how="close"),
        Cut(packet="PUBLISH", number=80, after=1, how="silence"),
        Cut(packet="CONNACK", way="down", number=3, after=1),
    )
    wire = Wire(latency_s=0.001, jitter_s=0.003, slice_bytes=50)
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker.port, topics=EVT) as heard,
        FaultProxy(broker.port, wire=wire, cuts=cuts) as proxy,
        _publisher(spool, proxy.port, max_inflight=10),
    ):
        assert _delivered(spool)
        assert eventually(lambda: {int(one.payload) for one in heard.heard} == seqs, WITHIN_S)
        assert set(proxy.cuts_done) == set(cuts)


def test_a_message_without_an_answer_is_not_taken_for_delivered(spool: Spool) -> None:
    (seq,) = _put(spool, 1)
    answers = iter([(), (), (0,)])

    def puback(publish: Publish) -> tuple[int, ...]:
        return next(answers, (0,)) if publish.topic == EVT else (0,)

    with ScriptedBroker(Rules(puback=puback)) as broker, _publisher(spool, broker.port):
        assert _delivered(spool)
        came = [int(publish.payload) for publish in broker.on(EVT)]
    assert set(came) == {seq}
    assert len(came) >= 3  # a third answer that comes late is none either


def test_an_answer_that_comes_twice_settles_one_message_only(spool: Spool) -> None:
    seqs = _put(spool, 60)
    rules = Rules(puback=lambda publish: (0, 0), receive_maximum=5)
    with ScriptedBroker(rules) as broker, _publisher(spool, broker.port):
        assert _delivered(spool)
        assert _came(broker) == seqs
        assert broker.violations == []


@pytest.mark.parametrize("reason", [NOT_AUTHORIZED, QUOTA_EXCEEDED])
def test_a_message_that_is_refused_for_now_waits_and_others_go_on(spool: Spool, reason: int) -> None:
    held, others = _put(spool, 3), _put(spool, 20, ALERT, kind="alert")
    rules = Rules(puback=lambda publish: (reason,) if publish.topic == EVT else (0,))
    with ScriptedBroker(rules) as broker, _publisher(spool, broker.port) as publisher:
        assert eventually(lambda: spool.waiting() == len(held), WITHIN_S)
        assert _came(broker, ALERT) == others
        assert eventually(lambda: publisher.status.problem is not None, WITHIN_S)
        rules.puback = lambda publish: (0,)
        assert _delivered(spool)
        assert _came(broker) == held
        assert publisher.status.dead == 0


def test_a_message_that_is_too_large_in_the_brokers_eyes_becomes_a_dead_letter(spool: Spool) -> None:
    bad, *_ = sorted(_put(spool, 30))
    rules = Rules(puback=lambda publish: (TOO_LARGE,) if publish.payload == str(bad).encode() else (0,))
    with ScriptedBroker(rules) as broker, _publisher(spool, broker.port) as publisher:
        assert _delivered(spool)
        assert publisher.status.dead == 1
    assert broker.violations == []


def test_one_at_a_time_is_kept_with_states_and_messages_together(spool: Spool) -> None:
    seqs = _put(spool, 40)
    with ScriptedBroker(Rules(receive_maximum=1)) as broker:
        with _publisher(spool, broker.port, timing=Timing(state_s=0.02)):
            assert _delivered(spool)
        assert _came(broker) == seqs
        assert len(broker.on(f"{PREFIX}/state")) >= 2
        assert broker.violations == []


def test_a_packet_limit_is_never_exceeded(spool: Spool) -> None:
    small = _put(spool, 10, size=10)
    for size in range(300, 900, 20):
        _put(spool, 1, size=size)
    with ScriptedBroker(Rules(maximum_packet=700)) as broker, _publisher(spool, broker.port) as publisher:
        assert _delivered(spool)
        assert small <= _came(broker)
        assert publisher.status.dead > 0
        assert broker.violations == []
        largest = max(publish.size for publish in broker.on(EVT))
    assert largest > 700 - 25  # what would fit was not given up


def _with_large_state(spool: Spool, port: int) -> Publisher:
    broker = BrokerSection(host="127.0.0.1", port=port, reconnect_min_s=0.02, reconnect_max_s=0.2)
    took = StageTimes(p50=8.0, p95=9.0, p99=9.5, max=12.0)
    stages = {f"stage{number}": took for number in range(10)}
    facts = {"version": "0.1.0", "outputs": {f"gate{number}": {"fired": 0} for number in range(30)}}
    return Publisher(spool, broker, STATION, birth=facts, stages=lambda: stages, timing=PATIENT)


def _said_last(broker: ScriptedBroker) -> object:
    """What the station said last of itself."""
    return read_message(broker.on(f"{PREFIX}/state")[-1].payload).data


@pytest.mark.parametrize(
    ("limit", "left_out"),
    [
        (3500, []),
        (2700, ["stages_ms"]),
        (2200, ["stages_ms", "machine"]),
        (1700, ["stages_ms", "machine", "about"]),
        (1200, ["stages_ms", "machine", "about", "problems"]),
        (850, ["stages_ms", "machine", "about", "problems", "faults"]),
    ],
)
def test_a_state_that_is_larger_than_the_broker_takes_goes_with_less_in_it_and_that_is_said(
    spool: Spool, caplog: pytest.LogCaptureFixture, limit: int, left_out: list[str]
) -> None:
    _put(spool, 3)
    with ScriptedBroker(Rules(maximum_packet=limit)) as broker:
        publisher = _with_large_state(spool, broker.port)
        with publisher:
            publisher.say_machine({f"disk{number}_free_mb": 61.5 for number in range(20)})
            publisher.say_problem("pictures", "its disk is full " * 20)
            publisher.say_faults({"cam0": ("frozen",) * 40})
            assert _delivered(spool)

            def last() -> Birth:
                found = _said_last(broker)
                assert isinstance(found, Birth)
                return found

            assert eventually(lambda: last().about.get("left_out", []) == left_out), last()
            birth = last()
            assert eventually(lambda: (publisher.status.state_problem is not None) is bool(left_out), WITHIN_S)
        assert eventually(lambda: isinstance(_said_last(broker), Offline), WITHIN_S)
        assert broker.violations == []
        assert len(broker.connects) == 1
    assert birth.version == "0.1.0"
    assert (birth.stages_ms is None) is ("stages_ms" in left_out)
    assert (birth.machine is None) is ("machine" in left_out)
    assert ("outputs" in birth.about) is ("about" not in left_out)
    assert ("problems" in birth.about) is ("problems" not in left_out)
    assert (birth.faults is None) is ("faults" in left_out)
    assert sum("takes no message of more than" in one for one in caplog.messages) == bool(left_out)


@pytest.mark.parametrize("limit", [300, 600])
def test_a_state_that_the_broker_takes_in_no_form_is_left_out_and_everything_else_goes_on(
    spool: Spool, limit: int
) -> None:
    seqs = _put(spool, 3)
    with ScriptedBroker(Rules(maximum_packet=limit)) as broker:
        with _with_large_state(spool, broker.port) as publisher:
            assert _delivered(spool)
            said = str(publisher.status.state_problem)
            assert broker_light(publisher.status) == Light(name="broker", colour="amber", says=said)
            assert publisher.status.problem is None
        assert _came(broker) == seqs
        assert broker.violations == []
        assert len(broker.connects) == 1
        # It leaves without a goodbye where that would be too large as well: then the broker says its will.
        assert eventually(lambda: f"{PREFIX}/state" in broker.retained)
        assert isinstance(read_message(broker.retained[f"{PREFIX}/state"].payload).data, Offline)
    assert f"takes no message of more than {limit} bytes: this station's state is larger and is not sent" in said


def test_no_alias_is_used_where_none_is_offered_and_none_beyond_what_is(spool: Spool) -> None:
    for limit in (None, 1, 10):
        _put(spool, 10)
        _put(spool, 10, ALERT, kind="alert")
        with ScriptedBroker(Rules(topic_alias_maximum=limit)) as broker, _publisher(spool, broker.port):
            assert _delivered(spool)
            assert broker.violations == []


@pytest.mark.parametrize("reason", [SHUTTING_DOWN, TAKEN_OVER])
def test_a_broker_that_hangs_up_in_the_middle_gets_the_rest_afterwards(spool: Spool, reason: int) -> None:
    seqs = _put(spool, 30)
    rules = Rules(hangs_up=lambda publish: reason if publish.payload == b"11" and publish.connection == 1 else None)
    with ScriptedBroker(rules) as broker, _publisher(spool, broker.port, timing=PATIENT) as publisher:
        assert _delivered(spool)
        assert _came(broker) == seqs
        if reason == TAKEN_OVER:
            assert "Another station seems to use the name" in str(publisher.status.problem)
        assert publisher.status.dead == 0


@pytest.mark.parametrize("lie", [True, False])
def test_a_lie_about_the_session_changes_nothing(spool: Spool, lie: bool) -> None:
    seqs = _put(spool, 10)
    with ScriptedBroker(Rules(session_present=lie)) as broker, _publisher(spool, broker.port) as publisher:
        assert _delivered(spool)
        broker.disconnect(STATION.device, SHUTTING_DOWN)
        assert eventually(lambda: len(broker.connects) >= 2 and publisher.status.connected, WITHIN_S)
        seqs |= _put(spool, 10)
        assert _delivered(spool)
        assert _came(broker) == seqs
        assert broker.violations == []


def test_a_broker_that_takes_nothing_after_its_greeting_is_left(spool: Spool) -> None:
    seqs = _put(spool, 10)
    rules = Rules(reads=False)
    with ScriptedBroker(rules) as broker, _publisher(spool, broker.port):
        assert eventually(lambda: len(broker.connects) >= 2, WITHIN_S)
        rules.reads = True
        assert _delivered(spool)
        assert _came(broker) == seqs


def test_the_station_says_it_is_there_on_every_connection_and_its_will_is_paired(spool: Spool) -> None:
    states = f"{PREFIX}/state"
    with ScriptedBroker() as broker, _publisher(spool, broker.port, timing=PATIENT):
        for count in (1, 2, 3):
            assert eventually(lambda count=count: _connections(broker, states) == count, WITHIN_S)  # type: ignore[misc]
            broker.disconnect(STATION.device, SHUTTING_DOWN)
        assert eventually(lambda: _connections(broker, states) == 4, WITHIN_S)
        births = [read_message(publish.payload).data for publish in broker.on(states)]
    numbers = [birth.bd_seq for birth in births if isinstance(birth, Birth)]
    assert numbers == sorted(set(numbers))
    wills = [connect.will for connect in broker.connects]
    assert all(will is not None and will.retain and will.topic == states for will in wills)
    gone = [read_message(will.payload).data for will in wills if will is not None]
    assert [data.bd_seq for data in gone if isinstance(data, Offline)] == numbers


def _connections(broker: ScriptedBroker, topic: str) -> int:
    """On how many connections something came on a topic."""
    return len({publish.connection for publish in broker.on(topic)})
