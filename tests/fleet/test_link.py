"""The collector's line to a broker that does as it is told."""

from __future__ import annotations

from edge_resad.fleet.inbox import Inbox
from edge_resad.fleet.link import Link
from edge_resad.fleet.settings import CollectorSection
from edge_resad.sections import BrokerAddress
from tests.mqtt.scripted_broker import ScriptedBroker
from tests.mqtt_peers import eventually

WAIT_S = 20.0  # a deadline, not a pause


def test_what_a_session_held_is_acknowledged_before_the_broker_says_that_we_are_subscribed() -> None:
    with ScriptedBroker() as broker:
        address = BrokerAddress(host="127.0.0.1", port=broker.port, reconnect_min_s=0.1, reconnect_max_s=0.2)
        with Link(address, CollectorSection(), Inbox(10)) as link:
            assert eventually(lambda: link.connected, WAIT_S)
        broker.publish("er/v1/graz/l4/press-7/evt/cam0", b"{}")  # kept for the session
        broker.rules.says_suback = False
        inbox = Inbox(10)
        with Link(address, CollectorSection(), inbox) as link:
            arrivals = inbox.take(1, gather_s=0.0, patience_s=WAIT_S)
            assert [arrival.topic for arrival in arrivals] == ["er/v1/graz/l4/press-7/evt/cam0"]
            link.answer(arrivals, [])
            assert eventually(lambda: len(broker.pubacks) == 1, WAIT_S)
            assert not link.connected
