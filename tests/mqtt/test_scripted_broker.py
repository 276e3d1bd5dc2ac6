"""The scripted broker keeps the rules of MQTT where no script says otherwise, and sees who breaks them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.mqtt.scripted_broker import (
    ALIAS_INVALID,
    NOT_AUTHORIZED,
    RECEIVE_MAXIMUM_EXCEEDED,
    SHUTTING_DOWN,
    TAKEN_OVER,
    TOO_LARGE,
    Rules,
    ScriptedBroker,
)
from tests.mqtt_peers import eventually


class Client:
    """A paho client that writes down what happens to it."""

    def __init__(self, port: int, name: str = "c", *, v5: bool = True, clean: bool = True) -> None:
        self.v5 = v5
        self.heard: list[mqtt.MQTTMessage] = []
        self.answers: list[tuple[int, int]] = []  # packet id, reason
        self.ends: list[int] = []  # reasons
        self.connack: dict[str, Any] = {}
        self.present: bool | None = None
        self._in = threading.Event()
        self._granted = threading.Event()
        self._port = port
        protocol = mqtt.MQTTv5 if v5 else mqtt.MQTTv311
        more: dict[str, Any] = {} if v5 else {"clean_session": clean}
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol, reconnect_on_failure=False, **more
        )
        self._clean = clean
        self.client.max_inflight_messages = 0
        self.client.on_connect = self._on_connect
        self.client.on_message = lambda client, userdata, message: self.heard.append(message)
        self.client.on_publish = self._on_publish
        self.client.on_subscribe = lambda *_: self._granted.set()
        self.client.on_disconnect = self._on_disconnect

    def __enter__(self) -> Client:
        if self.v5:
            about = _about(PacketTypes.CONNECT, SessionExpiryInterval=100)
            self.client.connect("127.0.0.1", self._port, clean_start=self._clean, properties=about)
        else:
            self.client.connect("127.0.0.1", self._port)
        self.client.loop_start()
        assert self._in.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, topic_filter: str) -> None:
        self._granted.clear()
        self.client.subscribe(topic_filter, qos=1)
        assert self._granted.wait(60)

    def say(self, topic: str, payload: bytes = b"x", qos: int = 1, retain: bool = False, **about: Any) -> int:
        made = _about(PacketTypes.PUBLISH, **about) if self.v5 else None
        return self.client.publish(topic, payload, qos=qos, retain=retain, properties=made).mid

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, about: Any) -> None:
        self.present = flags.session_present
        self.connack = {} if about is None else about.json()
        self._in.set()

    def _on_publish(self, client: Any, userdata: Any, number: int, reason: Any, about: Any) -> None:
        self.answers.append((number, reason.value))

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, about: Any) -> None:
        self.ends.append(reason.value if flags.is_disconnect_packet_from_server else -1)


def _about(kind: int, **values: Any) -> Properties:
    made = Properties(kind)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(made, name, value)
    return made


@contextmanager
def _pair(rules: Rules, **client: Any) -> Iterator[tuple[ScriptedBroker, Client]]:
    with ScriptedBroker(rules) as broker, Client(broker.port, **client) as there:
        yield broker, there


@pytest.mark.parametrize("v5", [True, False], ids=["5", "3.1.1"])
def test_what_one_says_another_hears(v5: bool) -> None:
    with _pair(Rules(), v5=v5) as (broker, one), Client(broker.port, "d", v5=v5) as other:
        other.subscribe("a/+")
        number = one.say("a/b", b"hello")
        assert eventually(lambda: [message.payload for message in other.heard] == [b"hello"])
        assert eventually(lambda: one.answers == [(number, 0)])
        assert eventually(lambda: [name for name, _, _ in broker.pubacks] == ["d"])
    assert broker.violations == []
    assert {name for name, _ in broker.goodbyes} == {"c", "d"}


def test_what_is_retained_is_there_for_those_who_come_later() -> None:
    with _pair(Rules()) as (broker, one):
        one.say("s", b"on", retain=True)
        assert eventually(lambda: "s" in broker.retained)
        with Client(broker.port, "d") as late:
            late.subscribe("s")
            assert eventually(lambda: [(m.payload, m.retain) for m in late.heard] == [(b"on", True)])
        one.say("s", b"", retain=True)
        assert eventually(lambda: "s" not in broker.retained)


def test_those_who_share_a_subscription_get_each_message_once() -> None:
    with _pair(Rules()) as (broker, one), Client(broker.port, "d") as d, Client(broker.port, "e") as e:
        d.subscribe("$share/g/t")
        e.subscribe("$share/g/t")
        for number in range(10):
            one.say("t", str(number).encode())
        assert eventually(lambda: len(d.heard) + len(e.heard) == 10)
        assert {int(message.payload) for message in [*d.heard, *e.heard]} == set(range(10))
        assert d.heard
        assert e.heard
    assert broker.violations == []


def test_a_session_keeps_what_came_while_its_client_was_away() -> None:
    with ScriptedBroker() as broker:
        with Client(broker.port) as first:
            first.subscribe("t")
            assert first.present is False
        assert eventually(lambda: not broker.connected("c"))
        broker.publish("t", b"missed")
        with Client(broker.port, clean=False) as second:
            assert second.present is True
            assert eventually(lambda: [message.payload for message in second.heard] == [b"missed"])


@pytest.mark.parametrize("lie", [True, False])
def test_a_session_that_is_said_to_be_there_or_not_may_be_a_lie(lie: bool) -> None:
    with ScriptedBroker(Rules(session_present=lie)) as broker:
        with Client(broker.port) as first:
            assert first.present is lie
        with Client(broker.port, clean=False) as second:
            assert second.present is lie


def test_silence_and_repetition_are_answers_too() -> None:
    answers = {b"silence": (), b"twice": (0, 0), b"no": (NOT_AUTHORIZED,)}
    with _pair(Rules(puback=lambda publish: answers[publish.payload])) as (broker, one):
        one.say("t", b"silence")
        twice, no = one.say("t", b"twice"), one.say("t", b"no")
        assert eventually(lambda: (no, NOT_AUTHORIZED) in one.answers)
        assert [number for number, _ in one.answers] == [twice, no]
        assert len(broker.published) == 3


def test_a_limit_that_was_said_is_kept_or_the_connection_ends() -> None:
    with _pair(Rules(maximum_packet=100)) as (broker, one):
        assert one.connack["MaximumPacketSize"] == 100
        one.say("t", b"x" * 100)
        assert eventually(lambda: one.ends == [TOO_LARGE])
    assert len(broker.violations) == 1
    assert broker.published == []


def test_more_on_the_way_than_was_allowed_end_the_connection() -> None:
    with _pair(Rules(receive_maximum=2, puback=lambda publish: ())) as (broker, one):
        for _ in range(3):
            one.say("t")
        assert eventually(lambda: one.ends == [RECEIVE_MAXIMUM_EXCEEDED])
    assert broker.violations == ["more than 2 are on their way"]


def test_an_alias_stands_for_a_topic_where_one_was_offered() -> None:
    with _pair(Rules(topic_alias_maximum=2)) as (broker, one):
        one.say("long/topic", TopicAlias=1)
        one.client.publish("", b"y", qos=1, properties=_about(PacketTypes.PUBLISH, TopicAlias=1))
        assert eventually(lambda: len(broker.on("long/topic")) == 2)
        one.say("another", TopicAlias=3)
        assert eventually(lambda: one.ends == [ALIAS_INVALID])


@pytest.mark.parametrize("reason", [SHUTTING_DOWN, TAKEN_OVER])
def test_a_broker_that_hangs_up_says_why(reason: int) -> None:
    with _pair(Rules()) as (broker, one):
        broker.disconnect("c", reason)
        assert eventually(lambda: one.ends == [reason])
        assert eventually(lambda: not broker.connected("c"))


def test_a_message_may_make_it_hang_up() -> None:
    rules = Rules(hangs_up=lambda publish: 0x97 if publish.payload == b"bad" else None)
    with _pair(rules) as (broker, one):
        good = one.say("t", b"good")
        assert eventually(lambda: (good, 0) in one.answers)
        one.say("t", b"bad")
        assert eventually(lambda: one.ends == [0x97])
    assert len(broker.published) == 2


def test_the_second_of_one_name_throws_out_the_first() -> None:
    with _pair(Rules()) as (broker, one), Client(broker.port):
        assert eventually(lambda: one.ends == [TAKEN_OVER])
    assert [connect.client_id for connect in broker.connects] == ["c", "c"]


@pytest.mark.parametrize(("taken_s", "left"), [(0, 60), (58, 2), (60, None)])
def test_what_is_left_of_an_expiry_is_what_others_hear(taken_s: int, left: int | None) -> None:
    with _pair(Rules(expiry_taken_s=taken_s)) as (broker, one):
        one.subscribe("t/#")
        broker.publish("t/1", b"", expiry_s=60)
        broker.publish("t/2", b"")
        assert eventually(lambda: any(message.topic == "t/2" for message in one.heard))
        found = [getattr(message.properties, "MessageExpiryInterval", None) for message in one.heard]
    assert found == ([None] if left is None else [left, None])


def test_a_will_is_said_when_a_client_goes_without_a_word() -> None:
    with ScriptedBroker() as broker, Client(broker.port, "d") as other:
        other.subscribe("w")
        dies = Client(broker.port)
        dies.client.will_set("w", b"gone", qos=1)
        with dies:
            sock: Any = dies.client.socket()
            sock.close()
            assert eventually(lambda: [message.payload for message in other.heard] == [b"gone"])
    will = broker.connects[1].will
    assert will is not None
    assert (will.topic, will.payload, will.qos) == ("w", b"gone", 1)


def test_a_subscription_may_be_refused() -> None:
    with _pair(Rules(suback=lambda topic_filter: NOT_AUTHORIZED)) as (broker, one):
        one.subscribe("t")
        broker.publish("t", b"secret")
        assert broker.subscriptions("c") == {}
        assert broker.subscribed == [("c", "t")]
    assert one.heard == []


def test_a_broker_may_acknowledge_and_forget() -> None:
    with _pair(Rules(delivers=False)) as (broker, one):
        one.subscribe("t")
        number = one.say("t")
        assert eventually(lambda: one.answers == [(number, 0)])
        assert [publish.topic for publish in broker.published] == ["t"]
    assert one.heard == []
