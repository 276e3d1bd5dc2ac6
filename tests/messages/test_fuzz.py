"""Whatever comes from a broker is read or refused with ValueError, and no changed command is taken."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import HERE, KEYS, fuzz, mutated, our_readers, valid_messages
from edge_resad.messages import read_command, read_desired, read_message, read_thumbnail, read_topic

PATIENT = settings(deadline=None)
VALID = valid_messages()
READERS = our_readers()
ORDERS = [(topic, payload) for topic, payload in VALID if "/cmd/" in topic or "/cfg/desired" in topic]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _tried(topic: str, payload: bytes) -> None:
    for reader in READERS.values():
        try:
            reader(topic, payload)
        except ValueError:
            continue


@PATIENT
@given(st.text(max_size=80), st.binary(max_size=200))
@example("er/v1/a/b/c/img/x", b"\xff\xd8\xff\xfe" + b"\xff\xff" + b"[" * 65_533)
@example("er/v1/a/b/c/state", b"[" * 100_000)
def test_anything_is_read_or_refused(topic: str, payload: bytes) -> None:
    _tried(topic, payload)


@PATIENT
@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    _tried("er/v1/a/b/c/state", json.dumps(value).encode())


@PATIENT
@given(st.sampled_from([payload for _, payload in VALID if payload.startswith(b"{")]), st.data())
def test_any_value_in_any_field_is_read_or_refused(payload: bytes, data: st.DataObject) -> None:
    message = json.loads(payload)
    part = message if data.draw(st.booleans()) else message["data"]
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(JSON)
    _tried("er/v1/graz/l4/jetson-07/state", json.dumps(message).encode())


@PATIENT
@given(st.integers(0, 2**32))
def test_what_was_changed_at_random_is_read_or_refused(seed: int) -> None:
    _tried(*mutated(random.Random(seed), VALID))


@PATIENT
@given(st.sampled_from(ORDERS), st.data())
def test_an_order_of_which_one_bit_was_changed_is_refused_or_says_the_same(
    order: tuple[str, bytes], data: st.DataObject
) -> None:
    topic, payload = order
    at = data.draw(st.integers(0, 8 * len(payload) - 1))
    changed = bytearray(payload)
    changed[at // 8] ^= 1 << at % 8
    read = read_desired if "/cfg/" in topic else read_command
    try:
        taken = read(topic, bytes(changed), to=HERE, keys=KEYS)
    except ValueError:
        return
    assert taken == read(topic, payload, to=HERE, keys=KEYS)


def test_what_is_taken_can_be_written_again() -> None:
    draw = random.Random(5)
    taken = 0
    for _ in range(3000):
        _, payload = mutated(draw, VALID)
        try:
            message = read_message(payload)
        except ValueError:
            continue
        taken += 1
        assert read_message(message.payload()) == message
        assert "\0" not in message.payload().decode()
    assert taken > 100


def test_the_valid_messages_are_taken_by_the_reader_that_they_are_for() -> None:
    for topic, payload in VALID:
        assert read_topic(topic).address == HERE
        if "/img/" in topic:
            read_thumbnail(payload)
        else:
            read_message(payload)
    for topic, payload in ORDERS:
        READERS["command"](topic, payload)


def test_every_message_is_counted_once_by_every_reader() -> None:
    tallies = fuzz(300, 1, READERS)
    assert {sum(tally.outcomes.values()) for tally in tallies.values()} == {300}
    assert not any(tally.crashes or tally.forgeries for tally in tallies.values())
    assert tallies["command"].outcomes["taken"] >= len(ORDERS)


def test_a_reader_that_crashes_and_one_that_believes_everything_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(topic: str, payload: bytes) -> None:
        json.loads(payload)["data"]["seq"].bit_length()

    monkeypatch.setattr("benchmarks.fuzz.read_command", lambda topic, payload, **_: (read_message(payload).data, None))
    tallies = fuzz(2000, 1, {"fragile": fragile, "command": our_readers()["command"]})
    assert tallies["fragile"].outcomes["crashed"] > 0
    assert "bit_length" in tallies["fragile"].crashes[0]
    assert tallies["command"].outcomes["forged"] > 0
