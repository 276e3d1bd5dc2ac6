"""Who guesses passwords waits alone."""

from __future__ import annotations

import pytest

from edge_resad.live.guesses import AGAIN_S, FREE, REMEMBERED, Guesses


def test_an_address_may_be_wrong_a_few_times_and_then_once_in_a_while() -> None:
    guesses = Guesses()
    for _ in range(FREE):
        assert guesses.wait_s("10.0.0.7", 100.0) == 0.0
        guesses.wrong("10.0.0.7", 100.0)
    assert guesses.wait_s("10.0.0.7", 100.0) == pytest.approx(AGAIN_S)
    assert guesses.wait_s("10.0.0.7", 100.0 + AGAIN_S / 2) == pytest.approx(AGAIN_S / 2)
    assert guesses.wait_s("10.0.0.7", 100.0 + AGAIN_S) == 0.0
    guesses.wrong("10.0.0.7", 100.0 + AGAIN_S)
    assert guesses.wait_s("10.0.0.7", 100.0 + AGAIN_S) == pytest.approx(AGAIN_S)


def test_another_address_does_not_wait() -> None:
    guesses = Guesses()
    for _ in range(FREE):
        guesses.wrong("10.0.0.7", 0.0)
    assert guesses.wait_s("10.0.0.8", 0.0) == 0.0


def test_a_machine_of_ipv6_is_its_network_and_an_ipv4_address_is_one_in_either_writing() -> None:
    guesses = Guesses()
    for number in range(FREE):
        guesses.wrong(f"2001:db8::{number:x}", 0.0)
        guesses.wrong("::ffff:10.0.0.7", 0.0)
    assert guesses.wait_s("2001:db8::ffff", 0.0) > 0.0
    assert guesses.wait_s("2001:db8:0:1::1", 0.0) == 0.0
    assert guesses.wait_s("10.0.0.7", 0.0) > 0.0


def test_what_is_remembered_is_bounded_and_who_guessed_longest_ago_is_forgotten_first() -> None:
    guesses = Guesses()
    for _ in range(FREE):
        guesses.wrong("10.0.0.7", 0.0)
    for number in range(REMEMBERED - 1):
        guesses.wrong(f"10.1.{number // 256}.{number % 256}", 0.0)
    assert guesses.wait_s("10.0.0.7", 0.0) > 0.0
    guesses.wrong("10.2.0.1", 0.0)
    assert len(guesses) == REMEMBERED
    assert guesses.wait_s("10.0.0.7", 0.0) == 0.0
