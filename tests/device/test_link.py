"""What the link concludes from answers and from time, without any network."""

from __future__ import annotations

import pytest

from edge_resad.device.connection import packet_size
from edge_resad.device.link import Backoff, Fate, PoisonDetector, fate_of
from edge_resad.device.refusal import refusal
from edge_resad.device.spool import Letter
from edge_resad.device.window import Window
from edge_resad.takeover import TakeoverDetector


def _letter(seq: int, topic: str = "t") -> Letter:
    return Letter(seq=seq, topic=topic, content_type="application/json", kind="fail", body=b"x")


@pytest.mark.parametrize(
    ("reason", "fate"),
    [
        (0x00, "delivered"),
        (0x10, "delivered"),
        (0x87, "later"),
        (0x97, "later"),
        (0x80, "later"),
        (0x95, "never"),
        (0x99, "never"),
    ],
)
def test_a_puback_decides_the_fate_of_a_letter(reason: int, fate: Fate) -> None:
    assert fate_of(reason) == fate


def test_what_a_broker_dropped_for_want_of_a_reader_is_not_delivered_where_its_answer_is_the_last_word() -> None:
    assert fate_of(0x10) == "delivered"  # a collector will say when it is stored
    assert fate_of(0x10, final=True) == "later"


def test_waits_double_up_to_the_longest_and_begin_again_after_a_success() -> None:
    backoff = Backoff(1.0, 30.0, uniform=lambda low, high: high)
    assert [backoff.next() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next() == 1
    assert backoff.slow() == 30


def test_waits_are_spread_so_that_a_fleet_does_not_come_all_at_once() -> None:
    low = Backoff(1.0, 30.0, uniform=lambda low, high: low)
    assert [low.next() for _ in range(3)] == [0.5, 1, 2]
    assert len({Backoff(1.0, 30.0).next() for _ in range(50)}) > 40


def test_a_link_can_wait_for_years_of_tries() -> None:
    backoff = Backoff(1.0, 30.0)
    assert all(backoff.next() <= 30 for _ in range(5000))


@pytest.mark.parametrize("reason", [0x86, 0x87])
def test_a_wrong_password_is_asked_slowly_and_says_where_to_look(reason: int) -> None:
    why = refusal(reason, "Not authorized", where="b:1883", username="jetson", device="d1")
    assert why.slowly
    assert "'jetson'" in why.problem
    assert "password_file" in why.problem


def test_a_busy_broker_is_asked_again_soon() -> None:
    assert not refusal(0x88, "Server unavailable", where="b:1883", username=None, device="d1").slowly


def test_three_short_connections_look_like_a_takeover_until_one_holds() -> None:
    detector = TakeoverDetector(short_s=5, times=3, calm_s=60)
    for began in (0.0, 10.0):
        detector.ended(began, began + 1)
    assert not detector.suspicious
    detector.ended(20.0, 21.0)
    assert detector.suspicious
    detector.holds(30.0, 60.0)
    assert detector.suspicious
    detector.holds(30.0, 90.0)
    assert not detector.suspicious


def test_short_connections_far_apart_are_no_takeover() -> None:
    detector = TakeoverDetector(short_s=5, times=3, within_s=120)
    for began in (0.0, 100.0, 200.0, 300.0):
        detector.ended(began, began + 1)
    assert not detector.suspicious


def test_a_takeover_is_believed_at_once_when_the_broker_says_so() -> None:
    detector = TakeoverDetector()
    detector.ended(0.0, 100.0, told=True)
    assert detector.suspicious


def test_the_letter_that_ends_connections_alone_is_found() -> None:
    detector = PoisonDetector(patience=2, alone=2)
    assert detector.hung_up([7, 8, 9], blamed=False) is None
    assert detector.hung_up([7, 8, 9], blamed=False) is None
    assert detector.careful
    assert detector.hung_up([7], blamed=False) is None
    assert detector.hung_up([7], blamed=False) == 7
    assert not detector.careful


def test_a_letter_that_the_broker_blames_is_found_sooner() -> None:
    detector = PoisonDetector(patience=3)
    assert detector.hung_up([7, 8], blamed=True) is None
    assert detector.hung_up([7], blamed=True) == 7


def test_nobody_is_guilty_of_connections_that_end_with_nothing_on_the_way() -> None:
    detector = PoisonDetector(patience=1)
    assert detector.hung_up([], blamed=False) is None
    assert not detector.careful


def test_one_acknowledged_letter_clears_all_others() -> None:
    detector = PoisonDetector(patience=2)
    detector.hung_up([7], blamed=False)
    detector.acknowledged()
    detector.hung_up([8], blamed=False)
    assert not detector.careful


def test_no_more_letters_are_on_their_way_than_the_window_holds() -> None:
    window = Window(2)
    for seq in (1, 2):
        assert window.admits(_letter(seq))
        window.sent(seq, _letter(seq), 0.0)
    assert window.room == 0
    window.answered(1, "delivered", 0.0)
    assert (window.room, window.on_the_way) == (1, [2])


def test_a_refused_topic_is_held_while_others_go_on() -> None:
    window = Window(10, retry_s=10)
    assert window.admits(_letter(1, "a"))
    window.sent(1, _letter(1, "a"), 0.0)
    window.answered(1, "later", 0.0)
    assert not window.admits(_letter(2, "a"))
    assert window.admits(_letter(3, "b"))
    assert window.due(9.0) == []
    assert window.due(10.0) == [("a", 1)]


def test_one_letter_asks_for_its_topic_and_a_success_lets_the_others_follow_in_order() -> None:
    window = Window(10, retry_s=10)
    window.admits(_letter(1, "a"))
    window.sent(1, _letter(1, "a"), 0.0)
    window.answered(1, "later", 0.0)
    window.admits(_letter(2, "a"))
    window.sent(2, _letter(1, "a"), 10.0)
    assert window.due(11.0) == []  # it asks already
    window.answered(2, "delivered", 11.0)
    assert window.held_topics == []
    assert window.take_back() == 1
    assert window.take_back() is None
    assert window.admits(_letter(2, "a"))


def test_a_topic_that_stays_refused_is_asked_less_and_less_often() -> None:
    window = Window(10, retry_s=10, retry_max_s=30)
    window.admits(_letter(1))
    window.sent(1, _letter(1), 0.0)
    window.answered(1, "later", 0.0)
    now, waits = 0.0, []
    for packet_id in range(2, 6):
        asked = now
        while not window.due(now):
            now += 1.0
        waits.append(now - asked)
        window.sent(packet_id, _letter(1), now)
        window.answered(packet_id, "later", now)
    assert waits == [10, 20, 30, 30]


def test_a_letter_on_its_way_is_not_sent_twice_after_a_rewind() -> None:
    window = Window(10, retry_s=1)
    for seq, topic in ((1, "a"), (2, "b")):
        window.admits(_letter(seq, topic))
        window.sent(seq, _letter(seq, topic), 0.0)
    window.answered(1, "later", 0.0)
    window.release("a")
    assert window.admits(_letter(1, "a"))
    assert not window.admits(_letter(2, "b"))


def test_a_broker_is_silent_only_while_something_is_on_its_way() -> None:
    window = Window(10)
    assert window.silent_for(100.0) == 0
    window.sent(1, None, 100.0)
    assert window.silent_for(130.0) == 30
    window.answered(1, "delivered", 131.0)
    assert window.silent_for(500.0) == 0


def test_the_size_of_a_packet_is_never_guessed_too_small() -> None:
    small = packet_size("t", b"", content_type="a/b", user={})
    assert 2 + 2 + 1 + 2 + 1 + 6 <= small <= 2 + 2 + 1 + 2 + 1 + 6 + 4
