"""A station hears whether anybody stores what it says, says so at once, and needs none of it to deliver."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_resad.device.collectors import MOST, Collectors
from edge_resad.device.hearing import Heard
from edge_resad.device.lights import broker_light
from edge_resad.device.outgoing import PROBE, Outgoing
from edge_resad.device.publisher import THROWN_OUT, Publisher, Timing
from edge_resad.device.settings import BrokerSection, SpoolSection, StationSection
from edge_resad.device.spool import Letter, Spool
from edge_resad.messages import (
    COLLECTOR_STATES,
    Address,
    acknowledgement_message,
    collector_state_message,
    collector_topic,
)
from tests.mqtt.packets import Publish
from tests.mqtt.scripted_broker import Rules, ScriptedBroker
from tests.mqtt_peers import eventually

ADDRESS = Address(site="graz", line="l4", device="jetson-07")
EVT = ADDRESS.verdict_topic("cam0")
NEVER = Timing(ack_s=600.0, ack_max_s=600.0, states_s=0.2, come_s=0.1)  # no letter goes again for want of an answer
NOT_AUTHORIZED = 0x87
LONG_S = 20.0


def state(
    online: bool, name: str = "c1", *, connection: str = "one", sites: tuple[str, ...] = (), retain: bool = False
) -> Heard:
    about = {"group": "collectors", "connection": connection, "wall": 1.79e9}
    payload = collector_state_message(name, online=online, sites=sites, **about)  # type: ignore[arg-type]
    return Heard(topic=collector_topic(name), payload=payload, retain=retain)


# What is known of them


def test_nobody_knows_anything_until_one_says_something() -> None:
    collectors = Collectors("graz")
    assert (collectors.there, collectors.gone, collectors.unknown) == ((), (), True)


def test_one_that_comes_after_none_was_there_is_news_and_one_that_was_there_before_us_is_not() -> None:
    collectors = Collectors("graz")
    assert not collectors.hear(state(True, retain=True))
    assert not collectors.hear(state(True, retain=True))
    assert not collectors.hear(state(False))
    assert collectors.gone == ("c1",)
    assert collectors.hear(state(True, connection="two"))
    assert collectors.there == ("c1",)


def test_one_that_died_and_is_back_before_anybody_said_so_is_news() -> None:
    collectors = Collectors("graz")
    collectors.hear(state(True, retain=True))
    assert collectors.hear(state(True, connection="two"))
    assert not collectors.hear(state(True, connection="two"))  # said twice


def test_while_another_is_there_none_is_missed() -> None:
    collectors = Collectors("graz")
    collectors.hear(state(True))
    assert not collectors.hear(state(True, "c2"))
    assert not collectors.hear(state(False))
    assert (collectors.there, collectors.gone) == (("c2",), ())
    collectors.hear(state(False, "c2"))
    assert collectors.gone == ("c1", "c2")


def test_the_end_of_an_older_connection_is_of_the_past() -> None:
    collectors = Collectors("graz")
    collectors.hear(state(True, connection="two"))
    assert not collectors.hear(state(False, connection="one"))
    assert collectors.there == ("c1",)


def test_one_of_other_sites_stores_nothing_of_ours() -> None:
    collectors = Collectors("graz")
    assert not collectors.hear(state(True, sites=("linz",)))
    assert collectors.unknown
    assert collectors.hear(state(True, sites=("linz", "graz")))


def test_one_that_was_taken_away_is_forgotten() -> None:
    collectors = Collectors("graz")
    collectors.hear(state(False, retain=True))
    collectors.hear(Heard(topic=collector_topic("c1"), payload=b"", retain=True))
    assert (collectors.gone, collectors.unknown) == ((), True)


def test_who_acknowledges_is_there_whatever_is_said() -> None:
    collectors = Collectors("graz")
    collectors.hear(state(False, "old", retain=True))
    collectors.acknowledged()
    assert (collectors.gone, collectors.unknown) == ((), False)
    collectors.hear(state(True))
    collectors.hear(state(False))
    assert collectors.gone == ("c1", "old")


@pytest.mark.parametrize("payload", [b"{", b"\xff", b"[]", state(True, "c2").payload, b'{"type":"edge-resad.state"}'])
def test_what_cannot_be_read_or_is_anothers_is_nothing(payload: bytes) -> None:
    collectors = Collectors("graz")
    assert not collectors.hear(Heard(topic=collector_topic("c1"), payload=payload))
    assert collectors.unknown


def test_no_number_of_collectors_fills_the_memory() -> None:
    collectors = Collectors("graz")
    for number in range(3 * MOST):
        collectors.hear(state(True, f"c{number}"))
    assert len(collectors.there) == MOST


# What a station does about it


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db", max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0) as spool:
        yield spool


def publisher_of(spool: Spool, port: int, *, ack: str = "collector", timing: Timing = NEVER) -> Publisher:
    pauses = {"reconnect_min_s": 0.02, "reconnect_max_s": 0.2}
    broker = BrokerSection.model_validate({"host": "127.0.0.1", "port": port, **pauses})
    station = StationSection(site="graz", line="l4", device="jetson-07")
    delivery = SpoolSection.model_validate({"ack": ack})
    return Publisher(spool, broker, station, birth={}, delivery=delivery, timing=timing)


def put(spool: Spool, count: int) -> list[bytes]:
    stamps = [spool.put(EVT, lambda stamp: str(stamp.seq).encode(), kind="fail") for _ in range(count)]
    assert spool.flush(LONG_S)
    return [str(stamp.seq).encode() for stamp in stamps]


def say(broker: ScriptedBroker, said: Heard) -> None:
    """As a broker does: to all, and kept for those who come later."""
    broker.publish(said.topic, said.payload)
    broker.retained[said.topic] = Publish(topic=said.topic, payload=said.payload, qos=1, retain=True)


def came(broker: ScriptedBroker) -> Counter[bytes]:
    return Counter(publish.payload for publish in broker.on(EVT))


def hears(broker: ScriptedBroker) -> bool:
    return broker.subscriptions("jetson-07").get(COLLECTOR_STATES) == 1


def acknowledge(broker: ScriptedBroker, spool: Spool, first: int, last: int) -> None:
    about = {"event_id": "a1", "wall": 1.79e9, "stream_id": spool.stream_id, "collector": "c1"}
    payload = acknowledgement_message(ADDRESS, stored=[(first, last)], **about)  # type: ignore[arg-type]
    broker.publish(ADDRESS.ack_topic, payload)


def test_a_station_that_finds_no_collector_says_so_at_once_and_its_light_is_amber(spool: Spool) -> None:
    with ScriptedBroker() as broker:
        say(broker, state(False))
        with publisher_of(spool, broker.port) as publisher:
            assert eventually(lambda: "the collector c1 behind" in str(publisher.status.problem), LONG_S)
            assert "Start edge-resad fleet ingest" in str(publisher.status.problem)
            light = broker_light(publisher.status)
            assert light is not None
            assert (light.colour, light.says) == ("amber", publisher.status.problem)
            say(broker, state(True, connection="two"))
            assert eventually(lambda: publisher.status.problem is None, LONG_S)
            say(broker, state(False, connection="two"))
            assert eventually(lambda: "is gone" in str(publisher.status.problem), LONG_S)


def test_what_was_sent_to_nobody_goes_again_when_a_collector_has_come(spool: Spool) -> None:
    with ScriptedBroker() as broker, publisher_of(spool, broker.port) as publisher:
        assert eventually(lambda: hears(broker), LONG_S)
        say(broker, state(True))
        say(broker, state(False))
        assert eventually(lambda: publisher.status.problem is not None, LONG_S)
        said = put(spool, 5)
        assert eventually(lambda: came(broker) == Counter(said), LONG_S)
        say(broker, state(True, connection="two"))
        assert eventually(lambda: came(broker) == Counter(said * 2), LONG_S)
        acknowledge(broker, spool, 1, 5)
        assert eventually(lambda: spool.waiting() == 0, LONG_S)
        assert publisher.status.problem is None
        more = put(spool, 1)
        assert eventually(lambda: came(broker)[more[0]] == 1, LONG_S)
    assert came(broker) == Counter(said * 2 + more)
    assert broker.violations == []


def test_a_collector_that_is_there_and_stores_nothing_is_said_to_be_there(spool: Spool) -> None:
    with ScriptedBroker() as broker:
        say(broker, state(True))
        put(spool, 1)
        with publisher_of(spool, broker.port, timing=Timing(ack_s=0.2, ack_max_s=0.4)) as publisher:
            assert eventually(lambda: "c1 behind" in str(publisher.status.problem), LONG_S)
            assert "is there and does not say that it has stored" in str(publisher.status.problem)


def test_where_none_ever_said_anything_it_is_said_when_messages_are_not_stored_and_not_before(spool: Spool) -> None:
    with ScriptedBroker() as broker, publisher_of(spool, broker.port) as publisher:
        assert eventually(lambda: hears(broker), LONG_S)
        assert publisher.status.problem is None
        put(spool, 1)
        assert eventually(lambda: "no collector says" in str(publisher.status.problem), LONG_S)
        acknowledge(broker, spool, 1, 1)
        assert eventually(lambda: publisher.status.problem is None, LONG_S)
        put(spool, 1)
        assert eventually(lambda: len(came(broker)) == 2, LONG_S)
        assert publisher.status.problem is None  # one that says nothing of itself and stores everything


@pytest.mark.parametrize("says", [NOT_AUTHORIZED, 0x80])
def test_a_broker_that_does_not_let_a_station_hear_it_is_no_fault(spool: Spool, says: int) -> None:
    rules = Rules(suback=lambda topic_filter: says if topic_filter == COLLECTOR_STATES else 1)
    with ScriptedBroker(rules) as broker, publisher_of(spool, broker.port) as publisher:
        put(spool, 3)
        assert eventually(lambda: len(came(broker)) == 3, LONG_S)
        acknowledge(broker, spool, 1, 3)
        assert eventually(lambda: spool.waiting() == 0, LONG_S)
        assert publisher.status.problem is None
        assert broker.on(ADDRESS.state_topic)


def test_a_broker_that_hangs_up_at_the_question_is_asked_no_more(spool: Spool) -> None:
    def hang_up(topic_filter: str) -> int:
        if topic_filter == COLLECTOR_STATES:
            raise EOFError
        return 1

    with ScriptedBroker(Rules(suback=hang_up)) as broker, publisher_of(spool, broker.port):
        put(spool, 3)
        assert eventually(lambda: len(broker.connects) > THROWN_OUT and len(came(broker)) == 3, LONG_S)
        acknowledge(broker, spool, 1, 3)
        assert eventually(lambda: spool.waiting() == 0, LONG_S)
        assert len(broker.connects) == THROWN_OUT + 1


def test_where_the_brokers_word_is_enough_nobody_asks_for_collectors(spool: Spool) -> None:
    with ScriptedBroker() as broker, publisher_of(spool, broker.port, ack="broker"):
        put(spool, 1)
        assert eventually(lambda: spool.waiting() == 0, LONG_S)
        assert not hears(broker)


def test_a_thousand_stations_do_not_storm_a_collector_that_comes() -> None:
    random_, stations = random.Random(5), 1000
    went: Counter[int] = Counter()  # second -> letters of all
    for _ in range(stations):
        outgoing = Outgoing(
            5001, per_s=500.0, now=0.0, ack_s=30.0, ack_max_s=600.0, come_s=10.0, uniform=random_.uniform
        )
        for seq in range(1, 1001):  # sent, and nobody was there
            outgoing.sent(seq, 0.0, kept=True)
        outgoing.collector_came(100.0)
        waiting = iter(range(1, 1001))
        for second in range(100, 112):
            outgoing.sweep(float(second), lambda: 1)
            for _ in range(outgoing.room(second)):
                outgoing.sent(next(waiting), second, kept=True)
                outgoing.counted(Letter(seq=1, topic=EVT, content_type="", kind="fail", body=b""))
                went[second] += 1
    assert went.total() == stations * PROBE  # a few each, as long as it has acknowledged nothing
    assert max(went.values()) < 1.5 * stations * PROBE / 10


def test_when_it_has_acknowledged_the_rest_follows_at_the_rate_of_the_drain() -> None:
    outgoing = Outgoing(
        5001, per_s=200.0, now=0.0, ack_s=30.0, ack_max_s=600.0, come_s=10.0, uniform=lambda _, high: high
    )
    for seq in range(1, 1001):
        outgoing.sent(seq, 0.0, kept=True)
    assert outgoing.room(99.0) == 0
    outgoing.collector_came(100.0)
    outgoing.sweep(109.0, lambda: 1)
    assert outgoing.room(109.0) == 0
    outgoing.collector_came(109.0)  # it comes and goes: that puts nothing off
    outgoing.sweep(110.0, lambda: 1)
    assert outgoing.room(110.0) == PROBE
    outgoing.acknowledged([(1, 1)], 110.5)
    assert outgoing.room(110.5) == 200
