"""The inbox: bounded, whatever the broker and the store do."""

from __future__ import annotations

import threading
from dataclasses import replace

from edge_resad.fleet.inbox import Inbox
from tests.fleet.letters import Writer

press = Writer()


def test_messages_come_out_in_order_and_no_more_than_wanted() -> None:
    inbox = Inbox(10)
    said = [press.verdict(seq) for seq in range(1, 6)]
    for arrival in said:
        inbox.put(arrival)
    assert inbox.take(3, gather_s=0, patience_s=0) == said[:3]
    assert inbox.take(3, gather_s=0, patience_s=0) == said[3:]
    assert inbox.take(3, gather_s=0, patience_s=0) == []


def test_the_one_who_waits_is_woken_by_what_arrives() -> None:
    inbox = Inbox(10)
    taken = []
    waiting = threading.Thread(target=lambda: taken.extend(inbox.take(1, gather_s=20, patience_s=20)))
    waiting.start()
    inbox.put(press.verdict(1))
    waiting.join(60)
    assert taken == [press.verdict(1)]


def test_without_room_what_nobody_waits_for_is_dropped_and_counted() -> None:
    inbox = Inbox(2)
    for number in range(4):
        inbox.put(press.telemetry(number))
    inbox.put(press.verdict(1))
    assert inbox.dropped == 2
    assert len(inbox.take(10, gather_s=0, patience_s=0)) == 3


def test_a_new_connection_brings_again_what_waits_from_the_last() -> None:
    inbox = Inbox(100)
    for connection in range(5):
        inbox.begin()
        for seq in range(1, 4):
            inbox.put(replace(press.verdict(seq), connection=connection))
    assert [arrival.connection for arrival in inbox.take(100, gather_s=0, patience_s=0)] == [4, 4, 4]
