"""Ranges of numbers, against plain sets."""

from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_resad.fleet.coverage import count, merged, missing_ranges, settle, settle_some, stored_ranges, without
from edge_resad.fleet.database import opened
from edge_resad.fleet.store import Store
from tests.fleet.letters import Writer, reads

numbers = st.sets(st.integers(1, 60))


def expand(ranges: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=12))
def test_merged_ranges_hold_the_same_numbers_in_the_fewest_ranges(pairs: list[tuple[int, int]]) -> None:
    ranges = [(first, first + length) for first, length in pairs]
    found = merged(ranges)
    assert expand(found) == expand(ranges)
    assert count(found) == len(expand(ranges))
    assert all(after[0] > before[1] + 1 for before, after in itertools.pairwise(found))


@given(numbers, st.integers(0, 70))
def test_what_is_missing_is_what_is_not_there(there: set[int], most: int) -> None:
    assert expand(without(most, merged((number, number) for number in there))) == set(range(1, most + 1)) - there


@settings(max_examples=15, deadline=None)
@given(numbers, st.sets(st.integers(1, 60), max_size=20), st.lists(st.tuples(st.integers(1, 60), st.integers(0, 20))))
def test_a_store_knows_what_it_had_whatever_retention_settled(
    tmp_path_factory: object, stored: set[int], resent: set[int], spans: list[tuple[int, int]]
) -> None:
    folder: Path = tmp_path_factory.mktemp("store")  # type: ignore[attr-defined]
    press = Writer()
    with opened(f"sqlite:///{folder / 'fleet.db'}", writing=True) as engine:
        store = Store(engine)
        store.add(reads(press.birth(1, live_from=61)))
        if stored:
            store.add(reads(*(press.verdict(seq) for seq in stored)))
        with engine.begin() as connection:
            for first, length in spans:
                settle(connection, 1, first, first + length)
                gone = {seq for seq in stored if first <= seq <= first + length and seq % 2}
                for seq in gone:
                    connection.exec_driver_sql("DELETE FROM verdict WHERE seq = ?", (seq,))
        with engine.begin() as connection:
            while settle_some(connection, 10):
                pass
        if resent:
            store.add(reads(*(press.verdict(seq) for seq in resent)))
        with engine.connect() as connection:
            assert expand(stored_ranges(connection, 1)) == stored | resent
            assert expand(missing_ranges(connection, 1, 60)) == set(range(1, 61)) - stored - resent


def test_a_long_stream_is_settled_and_its_missing_numbers_are_still_known(tmp_path: Path) -> None:
    press = Writer()
    with opened(f"sqlite:///{tmp_path / 'fleet.db'}", writing=True) as engine:
        store = Store(engine)
        store.add(reads(*(press.verdict(seq) for seq in range(31, 100) if seq not in (50, 70, 71))))
        with engine.begin() as connection:
            while settle_some(connection, 10):
                pass
            connection.exec_driver_sql("DELETE FROM verdict WHERE seq < 85")  # settled: nobody looks at these again
            assert missing_ranges(connection, 1, 99) == [(1, 30), (50, 50), (70, 71)]
        store.add(reads(press.verdict(50), press.verdict(7)))
        with engine.connect() as connection:
            assert missing_ranges(connection, 1, 99) == [(1, 6), (8, 30), (70, 71)]
