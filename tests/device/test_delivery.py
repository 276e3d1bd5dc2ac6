"""A letter leaves when a collector has it: sent again until then, never for another's word, the new ones first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_resad.device.acknowledgements import SAID
from edge_resad.device.metrics import acknowledgements_text
from edge_resad.device.outgoing import LIVE_MOST, MOST_OUT, Outgoing, Rate
from edge_resad.device.publisher import Heard, Publisher, Telegram, Timing
from edge_resad.device.ration import Ration
from edge_resad.device.settings import BrokerSection, SpoolSection, StationSection
from edge_resad.device.spool import Kind, Letter, Spool
from edge_resad.messages import Address, acknowledgement_message, collector_state_message
from tests.mqtt.scripted_broker import ScriptedBroker
from tests.mqtt_peers import FakeBroker, Mosquitto, Packet, Script, eventually

STATION = StationSection(site="graz", line="l4", device="jetson-07")
ADDRESS = Address(site="graz", line="l4", device="jetson-07")
EVT = ADDRESS.verdict_topic("cam0")
QUICK = Timing(retry_s=0.1, ack_s=0.2, ack_max_s=0.8)

real_broker = pytest.mark.broker


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db", max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0) as spool:
        yield spool


def publisher_of(
    spool: Spool, port: int, *, drain_per_s: float = 0, timing: Timing = QUICK, protocol: str = "auto"
) -> Publisher:
    pauses = {"reconnect_min_s": 0.02, "reconnect_max_s": 0.2}
    settings = {"host": "127.0.0.1", "port": port, "protocol": protocol, **pauses}
    broker = BrokerSection.model_validate(settings)
    delivery = SpoolSection(ack="collector", drain_per_s=drain_per_s)
    return Publisher(spool, broker, STATION, birth={}, delivery=delivery, timing=timing)


def put(spool: Spool, count: int, kind: Kind = "fail") -> list[int]:
    return [spool.put(EVT, lambda stamp: str(stamp.seq).encode(), kind=kind).seq for _ in range(count)]


def ack(stream_id: str, *stored: tuple[int, int], address: Address = ADDRESS) -> bytes:
    about = {"event_id": "a1", "wall": 1.79e9, "stream_id": stream_id, "collector": "c1"}
    return acknowledgement_message(address, stored=stored, **about)  # type: ignore[arg-type]


class Reader:
    """Somebody at the broker who hears the letters and can say something; as a collector it acknowledges each."""

    def __init__(self, port: int, spool: Spool, *, acknowledges: Callable[[int], bool] = lambda seq: False) -> None:
        self.seqs: list[int] = []
        self.others: list[mqtt.MQTTMessage] = []
        self._port, self._spool, self._acknowledges = port, spool, acknowledges
        self._ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"c{id(self)}", protocol=mqtt.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("er/v1/#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message

    def __enter__(self) -> Reader:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, topic: str, payload: bytes, **more: Any) -> None:
        self._client.publish(topic, payload, qos=1, **more)

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic != EVT:
            self.others.append(message)
            return
        seq = int(message.payload)
        self.seqs.append(seq)
        if self._acknowledges(seq):
            self.say(ADDRESS.ack_topic, ack(self._spool.stream_id, (seq, seq)))


@contextmanager
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", settings=["max_queued_messages 20000"]) as broker:
        yield broker


@real_broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_letter_stays_until_a_collector_says_that_it_is_stored(spool: Spool, tmp_path: Path, protocol: str) -> None:
    seqs = put(spool, 50)
    calm = Timing(ack_s=60)
    with (
        mosquitto(tmp_path) as broker,
        Reader(broker.port, spool) as reader,
        publisher_of(spool, broker.port, timing=calm, protocol=protocol) as publisher,
    ):
        assert eventually(lambda: len(reader.seqs) == 50)
        assert publisher.status.protocol == protocol
        assert spool.waiting() == 50
        reader.say(ADDRESS.ack_topic, ack(spool.stream_id, (1, 20), (41, 50)))
        assert eventually(lambda: spool.waiting() == 20)
        assert [letter.seq for letter in spool.oldest(100)] == list(range(21, 41))
        seqs += put(spool, 10)
        assert eventually(lambda: len(reader.seqs) == 60)
        reader.say(ADDRESS.ack_topic, ack(spool.stream_id, (1, 60)))
        assert eventually(lambda: spool.waiting() == 0)
    assert reader.seqs == seqs


@real_broker
def test_what_nobody_acknowledges_is_sent_again_and_the_absence_of_a_collector_is_said(
    spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(spool, 3)
    with mosquitto(tmp_path) as broker, publisher_of(spool, broker.port) as publisher:
        with Reader(broker.port, spool) as deaf:
            assert eventually(lambda: deaf.seqs.count(1) >= 3)
            assert eventually(lambda: "says that it has stored" in str(publisher.status.problem))
            assert "Start edge-resad fleet ingest" in str(publisher.status.problem)
            assert spool.waiting() == 3
            assert sum("says that it has stored" in said for said in caplog.messages) == 1  # once for all
        with Reader(broker.port, spool, acknowledges=lambda seq: True):
            put(spool, 3)
            assert eventually(lambda: spool.waiting() == 0)
            assert eventually(lambda: publisher.status.problem is None)


@real_broker
def test_a_single_letter_that_got_lost_behind_the_broker_comes_again(spool: Spool, tmp_path: Path) -> None:
    met: set[int] = set()

    def acknowledges(seq: int) -> bool:
        first_time = seq not in met
        met.add(seq)
        return not (first_time and seq in (7, 30))

    put(spool, 20)
    with (
        mosquitto(tmp_path) as broker,
        Reader(broker.port, spool, acknowledges=acknowledges) as reader,
        publisher_of(spool, broker.port) as publisher,
    ):
        assert eventually(lambda: 20 in reader.seqs)
        put(spool, 20)
        assert eventually(lambda: spool.waiting() == 0)
        assert eventually(lambda: publisher.status.problem is None)
    assert reader.seqs.count(7) >= 2
    assert reader.seqs.count(30) >= 2


@real_broker
def test_nobody_can_make_a_station_forget_what_it_has_not_sent(spool: Spool, tmp_path: Path) -> None:
    with (
        mosquitto(tmp_path) as broker,
        Reader(broker.port, spool) as reader,
        publisher_of(spool, broker.port, drain_per_s=1, timing=Timing(ack_s=60)),
    ):
        assert eventually(lambda: len(reader.others) >= 1)  # it is there
        last = 2**53 - 1
        put(spool, 1)
        assert eventually(lambda: reader.seqs == [1])
        other = Address(site="graz", line="l4", device="jetson-08")
        for payload in (
            b"",
            b"not json",
            b"[" * 100_000,
            ack("another-stream", (1, last)),
            ack(spool.stream_id, (1, last), address=other),
            ack(spool.stream_id, (2, last)),
            ack(spool.stream_id, (1, 1)).replace(b"[1,1]", b"[1,-1]"),
            ack(spool.stream_id, (1, 1)).replace(b"[[1,1]]", b"[[1,1],[1,1]]"),
        ):
            reader.say(ADDRESS.ack_topic, payload)
        assert spool.waiting() == 1
        reader.say(ADDRESS.ack_topic, ack(spool.stream_id, (1, last)))
        assert eventually(lambda: spool.waiting() == 0)  # and all before it was dealt with
        put(spool, 1)
        assert eventually(lambda: reader.seqs == [1, 2])
        assert spool.waiting() == 1


def test_what_is_no_acknowledgement_is_counted_by_why_and_does_not_fill_the_log(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    other = Address(site="graz", line="l4", device="jetson-08")
    another_kind = collector_state_message("c1", online=True, group="g", sites=(), connection="one", wall=1.79e9)
    with ScriptedBroker() as broker, Reader(broker.port, spool) as hostile, publisher_of(spool, broker.port) as station:
        put(spool, 1)
        assert eventually(lambda: hostile.seqs[:1] == [1])
        for _ in range(30):
            for payload in (b"", b"[" * 100_000, another_kind, ack(spool.stream_id, (1, 1), address=other)):
                hostile.say(ADDRESS.ack_topic, payload)
        hostile.say(ADDRESS.ack_topic, ack(spool.stream_id, (1, 1)))
        assert eventually(lambda: spool.waiting() == 0)
        refused = station.refused_acknowledgements
    assert refused == {"unreadable": 60, "other_kind": 30, "other_station": 30}
    assert sum("an acknowledgement on" in said for said in caplog.messages) == SAID
    text = acknowledgements_text({"device": "jetson-07"}, refused)
    assert 'edge_resad_acknowledgements_refused_total{device="jetson-07",reason="unreadable"} 60' in text


def test_messages_that_are_too_large_to_be_heard_do_not_fill_the_log(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        ScriptedBroker() as broker,
        Reader(broker.port, spool) as hostile,
        publisher_of(spool, broker.port, protocol="3.1.1"),  # MQTT 5 tells the broker how large they may be
    ):
        put(spool, 1)
        assert eventually(lambda: hostile.seqs[:1] == [1])
        for _ in range(30):
            hostile.say(ADDRESS.ack_topic, b"x" * (256 * 1024 + 1))
        hostile.say(ADDRESS.ack_topic, ack(spool.stream_id, (1, 1)))
        assert eventually(lambda: spool.waiting() == 0)
    assert sum("is passed over" in said for said in caplog.messages) == 20


def test_a_ration_allows_so_many_within_each_minute() -> None:
    now = [0.0]
    ration = Ration(2, clock=lambda: now[0])
    assert [ration.take(), ration.take(), ration.take()] == [True, True, False]
    now[0] = 59.9
    assert not ration.take()
    now[0] = 60.0
    assert [ration.take(), ration.take(), ration.take()] == [True, True, False]


def test_an_acknowledgement_removes_only_letters_that_were_sent(spool: Spool) -> None:
    put(spool, 10)
    assert spool.flush(60)
    for letter in spool.oldest(5):
        if letter.seq != 4:
            spool.sent(letter)
    assert spool.acknowledged(spool.stream_id, [(1, 10)]) == [(1, 3), (5, 5)]
    assert spool.acknowledged("another", [(1, 10)]) == []
    assert [letter.seq for letter in spool.oldest(20)] == [4, 6, 7, 8, 9, 10]
    assert eventually(lambda: spool.waiting() == 6)


@real_broker
@pytest.mark.parametrize("kind", ["alert", "fail", "pass"])
def test_a_new_letter_does_not_wait_behind_a_backlog(spool: Spool, tmp_path: Path, kind: Kind) -> None:
    backlog = put(spool, 2000, "fail")
    assert spool.flush(60)
    with mosquitto(tmp_path) as broker, Reader(broker.port, spool, acknowledges=lambda seq: True) as reader:
        with publisher_of(spool, broker.port, drain_per_s=1):
            assert eventually(lambda: len(reader.seqs) >= 2)
            new = put(spool, 5, kind)
            assert eventually(lambda: set(new) <= set(reader.seqs))
            assert reader.seqs.index(new[-1]) < 50  # at one a second: the backlog has hardly begun
        with publisher_of(spool, broker.port, timing=Timing(ack_s=60)):  # a reader that is slow is sent nothing twice
            assert eventually(lambda: spool.waiting() == 0)
    firsts = list(dict.fromkeys(reader.seqs))
    assert [seq for seq in firsts if seq in backlog] == backlog  # each lane in its order
    assert [seq for seq in firsts if seq in new] == new


def wire_order(broker: FakeBroker, connection: int) -> list[int]:
    """The numbers of the letters of one connection, as they came."""
    return [int(packet.payload) for packet in broker.letters() if packet.connection == connection]


def test_what_waits_goes_by_kind_alerts_first_then_failed_parts_and_each_kind_in_its_order(spool: Spool) -> None:
    waiting: dict[str, list[int]] = {"alert": [], "fail": [], "rest": []}
    for _ in range(30):
        waiting["rest"] += put(spool, 5, "pass") + put(spool, 1, "gap")
        waiting["fail"] += put(spool, 3, "fail")
        waiting["alert"] += put(spool, 1, "alert")
        waiting["rest"] += put(spool, 1, "image") + put(spool, 2, "pass")
    assert spool.flush(60)
    with FakeBroker(Script()) as broker, publisher_of(spool, broker.port, timing=Timing(ack_s=60)):
        assert eventually(lambda: len(broker.letters()) == 390)
        assert wire_order(broker, 1) == waiting["alert"] + waiting["fail"] + waiting["rest"]


def test_an_alert_that_is_raised_while_the_broker_is_away_is_the_first_to_go_when_it_is_back(spool: Spool) -> None:
    put(spool, 3000, "pass")
    assert spool.flush(60)
    with FakeBroker(Script()) as broker:
        with publisher_of(spool, broker.port, drain_per_s=200, timing=Timing(ack_s=60)):
            assert eventually(lambda: len(broker.letters()) >= 100)
        alert = put(spool, 1, "alert") + put(spool, 1, "image")
        assert spool.flush(60)
        with publisher_of(spool, broker.port, drain_per_s=200, timing=Timing(ack_s=60)):
            assert eventually(lambda: alert[0] in wire_order(broker, 2))
            assert wire_order(broker, 2)[0] == alert[0]


def test_alerts_go_first_and_in_their_order_however_many_letters_came_since(spool: Spool) -> None:
    """The broker stands still, with a full window, while more new letters come than the live lane holds."""
    go_on = threading.Event()

    def stands_still(packet: Packet) -> int:
        if "/evt/" in packet.topic:
            assert go_on.wait(60)
        return 0

    alerts = put(spool, 60, "alert")  # more than a window
    put(spool, 60, "pass")
    assert spool.flush(60)
    with FakeBroker(Script(puback=stands_still)) as broker, publisher_of(spool, broker.port, timing=Timing(ack_s=60)):
        assert eventually(lambda: len(broker.letters()) == 1)
        for _ in range(3):
            put(spool, LIVE_MOST, "pass")
            alerts += put(spool, 5, "alert")
        fails = put(spool, 5, "fail")
        assert spool.flush(60)
        go_on.set()
        assert eventually(lambda: {*alerts, *fails} <= set(wire_order(broker, 1)))
        order = wire_order(broker, 1)
        assert [seq for seq in order if seq in alerts] == alerts
        assert order.index(alerts[-1]) < len(alerts) + 50  # a window was on its way before they came
        assert order.index(fails[-1]) <= order.index(alerts[-1]) + 50 + len(fails)


@real_broker
def test_others_are_heard_on_the_same_connection_and_a_handler_that_fails_harms_nobody(
    spool: Spool, tmp_path: Path
) -> None:
    heard: list[Heard] = []

    def fails(_heard: Heard) -> None:
        raise RuntimeError("a handler of somebody else")

    with (
        mosquitto(tmp_path) as broker,
        Reader(broker.port, spool, acknowledges=lambda seq: True) as reader,
        publisher_of(spool, broker.port) as publisher,
    ):
        publisher.subscribe(f"{ADDRESS.prefix}/cmd/+", fails)
        stop = publisher.subscribe(f"{ADDRESS.prefix}/cmd/+", heard.append)
        assert eventually(lambda: publisher.status.connected)
        about = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        about.ResponseTopic, about.CorrelationData = "er/v1/answer", b"c7"
        about.MessageExpiryInterval = 60

        def command() -> bool:
            reader.say(ADDRESS.command_topic("snapshot"), b"{}", properties=about)
            return bool(heard)

        assert eventually(command)
        assert heard[0].topic == ADDRESS.command_topic("snapshot")
        assert (heard[0].response_topic, heard[0].correlation, heard[0].retain) == ("er/v1/answer", b"c7", False)
        assert heard[0].expiry_s is not None
        publisher.say(Telegram(topic="er/v1/answer", payload=b"done", qos=1, correlation=heard[0].correlation))
        publisher.say(Telegram(topic=ADDRESS.telemetry_topic, payload=b"{}", expiry_s=60))
        assert eventually(lambda: {"er/v1/answer", ADDRESS.telemetry_topic} <= {one.topic for one in reader.others})
        answer = next(one for one in reader.others if one.topic == "er/v1/answer")
        telemetry = next(one for one in reader.others if one.topic == ADDRESS.telemetry_topic)
        assert answer.properties is not None
        assert answer.properties.CorrelationData == b"c7"  # type: ignore[attr-defined]
        assert telemetry.properties is not None
        assert 0 < telemetry.properties.MessageExpiryInterval <= 60  # type: ignore[attr-defined]
        assert telemetry.qos == 0
        broker.kill()
        assert eventually(lambda: not publisher.status.connected)
        broker.start()
        assert eventually(lambda: publisher.status.connected)
        heard.clear()
        assert eventually(command)  # the reader is back as well
        put(spool, 1)
        assert eventually(lambda: spool.waiting() == 0)
        stop()


@real_broker
def test_what_is_said_to_a_station_that_is_away_waits_for_it(spool: Spool, tmp_path: Path) -> None:
    heard: list[bytes] = []
    topic = ADDRESS.command_topic("restart")
    with mosquitto(tmp_path) as broker, Reader(broker.port, spool) as reader:

        def station() -> Publisher:
            publisher = publisher_of(spool, broker.port)
            publisher.subscribe(topic, lambda one: heard.append(one.payload))
            return publisher

        def called() -> bool:
            reader.say(topic, b"here")
            return b"here" in heard

        with station():
            assert eventually(called)  # it listens
        reader.say(topic, b"while away")
        assert eventually(lambda: any(one.payload == b"while away" for one in reader.others))
        assert b"while away" not in heard
        with station():
            assert eventually(lambda: b"while away" in heard)


def test_a_telegram_that_is_too_old_is_not_sent(spool: Spool) -> None:
    with FakeBroker(Script()) as broker, publisher_of(spool, broker.port) as publisher:
        publisher.say(Telegram(topic="er/v1/old", payload=b"", qos=1, expiry_s=1.0, written_mono=-1e9))
        publisher.say(Telegram(topic="er/v1/new", payload=b"", qos=1, expiry_s=60.0))
        assert eventually(lambda: "er/v1/new" in [packet.topic for packet in broker.packets])
    assert "er/v1/old" not in [packet.topic for packet in broker.packets]


def test_a_rate_gives_so_many_a_second_and_no_more_than_a_seconds_worth_at_once() -> None:
    rate = Rate(10, now=0.0)
    assert rate.allows(0.0) == 10
    for _ in range(10):
        rate.take()
    assert rate.allows(0.0) == 0
    assert rate.wait_s() == pytest.approx(0.1)
    assert rate.allows(0.55) == 5
    assert rate.allows(100.0) == 10


def outgoing_of(live_from: int = 1) -> Outgoing:
    return Outgoing(live_from, per_s=None, now=0.0, ack_s=10.0, ack_max_s=100.0, uniform=lambda low, _high: low)


def letter(seq: int, kind: Kind = "pass") -> Letter:
    return Letter(seq=seq, topic=EVT, content_type="text/plain", kind=kind, body=b"")


def test_while_no_collector_answers_letters_are_sent_again_ever_more_seldom_and_only_a_few() -> None:
    outgoing = outgoing_of()
    lane = outgoing.lanes[-1]
    for seq in range(1, 2001):
        for each in outgoing.lanes:
            each.live = seq
        outgoing.sent(seq, 0.0, kept=True)
    swept, now = [], 0.0
    while now < 400:
        outgoing.sweep(now, lambda: 1)
        if outgoing.room(now):
            swept.append(now)
            assert outgoing.room(now) <= 50
            for other in outgoing.lanes[:-1]:
                other.backlog = outgoing.until
            while outgoing.room(now):
                lane.backlog = max(0, lane.backlog) + 1
                outgoing.sent(lane.backlog, now, kept=True)
                outgoing.counted(letter(lane.backlog))
        now += 1.0
    pauses = [later - earlier for earlier, later in pairwise(swept)]
    assert outgoing.silent
    assert pauses == sorted(pauses)
    assert max(pauses) <= 101
    assert pauses[0] < pauses[-1]


def test_an_acknowledgement_opens_the_backlog_again() -> None:
    outgoing = outgoing_of(live_from=5001)
    assert outgoing.room(0.0) == MOST_OUT
    for seq in range(1, MOST_OUT + 1):
        outgoing.sent(seq, 0.0, kept=True)
        outgoing.counted(letter(seq))
    assert outgoing.room(0.0) == 0
    assert not outgoing.may_go(letter(5000, "alert"))  # of long ago; a new one does not wait for acknowledgements
    assert outgoing.may_go(letter(5001, "alert"))
    outgoing.acknowledged([(1, 300)], 1.0)
    assert outgoing.room(1.0) == 300
    assert outgoing.may_go(letter(5000, "alert"))


def test_a_picture_waits_until_its_alert_went() -> None:
    outgoing = outgoing_of(live_from=10)
    assert not outgoing.may_go(letter(12, "image"))
    outgoing.lanes[0].live = 11
    assert not outgoing.may_go(letter(12, "image"))
    outgoing.lanes[0].live = 12
    assert outgoing.may_go(letter(12, "image"))


def test_new_letters_that_come_faster_than_they_go_join_the_backlog_but_for_alerts() -> None:
    outgoing = outgoing_of()
    alerts, *others = outgoing.lanes
    for lane in outgoing.lanes:
        lane.live = 10
    outgoing.catch_up(11 + LIVE_MOST)
    assert [lane.live for lane in others] == [10, 10]
    outgoing.catch_up(12 + LIVE_MOST)
    assert all(lane.live == outgoing.until > 10 > lane.backlog for lane in others)
    assert alerts.live == 10
    assert alerts.backlog == outgoing.until


@pytest.mark.parametrize("reason", [*range(0x80, 0xA3)])
def test_every_refusal_of_a_broker_is_a_sentence_that_says_what_happens(spool: Spool, reason: int) -> None:
    with FakeBroker(Script(connack_reason=reason, protocols=(5,))) as broker:
        settings = {"host": "127.0.0.1", "port": broker.port, "protocol": "5", "reconnect_min_s": 0.02}
        publisher = Publisher(spool, BrokerSection.model_validate(settings), STATION, birth={}, timing=QUICK)
        with publisher:
            assert eventually(lambda: publisher.status.problem is not None)
            said = str(publisher.status.problem)
    assert said.endswith(".")
    assert f"127.0.0.1:{broker.port}" in said
    assert not publisher.status.connected


def test_a_broker_that_takes_no_qos_1_is_refused(spool: Spool) -> None:
    with FakeBroker(Script(connack_properties=b"\x24\x00")) as broker, publisher_of(spool, broker.port) as publisher:
        assert eventually(lambda: "takes no QoS 1" in str(publisher.status.problem))
        assert broker.packets == []


def test_a_broker_that_retains_nothing_is_not_asked_to(spool: Spool) -> None:
    with FakeBroker(Script(connack_properties=b"\x25\x00")) as broker, publisher_of(spool, broker.port):
        assert eventually(lambda: len(broker.packets) == 1)
    assert not broker.packets[0].retain
