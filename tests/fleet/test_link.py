"""The collector's line to a broker that does as it is told."""

from __future__ import annotations

import pytest

from edge_resad.fleet import link as link_module
from edge_resad.fleet.inbox import Inbox
from edge_resad.fleet.link import Link
from edge_resad.fleet.settings import CollectorSection
from edge_resad.messages import CollectorState, collector_topic, read_message
from edge_resad.sections import BrokerAddress
from tests.mqtt.packets import Publish
from tests.mqtt.scripted_broker import ScriptedBroker
from tests.mqtt_peers import eventually

WAIT_S = 60.0  # a deadline, not a pause


def test_what_a_session_held_is_acknowledged_before_the_broker_says_that_we_are_subscribed() -> None:
    with ScriptedBroker() as broker:
        address = BrokerAddress(host="127.0.0.1", port=broker.port, reconnect_min_s=0.1, reconnect_max_s=0.2)
        with Link(address, CollectorSection(), Inbox(10)) as link:
            assert eventually(lambda: link.connected, WAIT_S)
        assert eventually(lambda: not broker.connected("collector"), WAIT_S)
        broker.publish("er/v1/graz/l4/press-7/evt/cam0", b"{}")  # kept for the session
        broker.rules.says_suback = False
        inbox = Inbox(10)
        with Link(address, CollectorSection(), inbox) as link:
            arrivals = inbox.take(1, gather_s=0.0, patience_s=WAIT_S)
            assert [arrival.topic for arrival in arrivals] == ["er/v1/graz/l4/press-7/evt/cam0"]
            link.answer(arrivals, [])
            assert eventually(lambda: len(broker.pubacks) == 1, WAIT_S)
            assert not link.connected


@pytest.mark.parametrize("answers", [True, False])
def test_a_collector_that_leaves_is_gone_even_where_the_broker_takes_no_message_from_it(answers: bool) -> None:
    def online(said: Publish) -> bool:
        state = read_message(said.payload).data
        assert isinstance(state, CollectorState)
        return state.online

    topic = collector_topic("c1")
    with ScriptedBroker() as broker:
        broker.rules.receive_maximum = 1
        if not answers:
            broker.rules.puback = lambda publish: ()  # so what says that it is there takes the only place
        address = BrokerAddress(host="127.0.0.1", port=broker.port, reconnect_min_s=0.1, reconnect_max_s=0.2)
        with Link(address, CollectorSection(id="c1", sites=("graz",)), Inbox(10)):
            assert eventually(lambda: bool(broker.published), WAIT_S)
            assert (broker.published[0].topic, online(broker.published[0])) == (topic, True)
        assert eventually(lambda: topic in broker.retained and not online(broker.retained[topic]), WAIT_S)
        if not answers:
            assert len(broker.published) == 1  # the rest was the broker's: the will


def test_what_a_broker_retains_and_dropped_on_its_way_to_a_slow_collector_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_module, "_AGAIN_S", 0.2)
    topic = "er/v1/graz/l4/press-7/state"
    with ScriptedBroker() as broker:
        address = BrokerAddress(host="127.0.0.1", port=broker.port, reconnect_min_s=0.1, reconnect_max_s=0.2)
        inbox = Inbox(10)
        with Link(address, CollectorSection(), inbox) as link:
            assert eventually(lambda: link.connected, WAIT_S)
            broker.retained[topic] = Publish(topic=topic, payload=b"{}", qos=1, retain=True)  # nobody was handed it
            (arrival, *_) = inbox.take(1, gather_s=0.0, patience_s=WAIT_S)
            assert arrival.topic == topic
            assert link.connections == 1
        assert not broker.violations
