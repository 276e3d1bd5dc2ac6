"""The count of chaos sees what it is there to see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, update

from edge_resad.device.spool import Spool
from edge_resad.fleet import schema
from edge_resad.fleet.database import opened
from edge_resad.fleet.reading import Arrival, read
from edge_resad.fleet.store import Store
from edge_resad.messages import verdict_message
from tests.chaos.history import WitnessedSpool, digest
from tests.chaos.history import read as read_history
from tests.chaos.verdict import Verdict, judge
from tests.fleet.letters import NOW_MS, Writer, judged

WRITER = Writer(device="press-7")
PARTS = 20


def committed_and_stored(folder: Path, change: Callable[[Connection], object] = lambda _: None) -> Verdict:
    """The judgement of a station whose messages all went into a store, in which somebody then changes something."""
    url, history = f"sqlite:///{folder / 'fleet.db'}", folder / "history"
    WitnessedSpool.history = history
    with WitnessedSpool(folder / "spool.db", max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0) as spool:
        letters = put(spool)
    with opened(url, writing=True) as engine:
        Store(engine, raw="all").add([read(arrival) for arrival in letters])
        with engine.begin() as connection:
            change(connection)
    return judge(url, {WRITER.device: history})


def put(spool: Spool) -> list[Arrival]:
    topic = WRITER.address.verdict_topic("cam0")
    for number in range(PARTS):
        spool.put(
            topic,
            lambda stamp, number=number: verdict_message(  # type: ignore[misc]
                WRITER.address, stamp, product="bolt", camera="cam0", verdict=judged("fail", 1.5), frame_id=number,
                latency_ms=1.0,
            ),
            kind="fail",
        )  # fmt: skip
    assert spool.flush(60)
    return [Arrival(topic, letter.body, NOW_MS, spool.event_id(letter)) for letter in spool.oldest(PARTS)]


def test_a_store_that_has_everything_is_good(tmp_path: Path) -> None:
    verdict = committed_and_stored(tmp_path)
    assert str(verdict) == f"generated {PARTS} stored {PARTS} lost 0 duplicates 0"
    assert verdict.good


@pytest.mark.parametrize("seq", [1, 7, PARTS])
def test_one_message_that_is_not_in_the_store_is_lost(tmp_path: Path, seq: int) -> None:
    def forget(connection: Connection) -> None:
        for table in (schema.verdict, schema.raw):
            connection.execute(delete(table).where(table.c.seq == seq))

    verdict = committed_and_stored(tmp_path, forget)
    assert str(verdict) == f"generated {PARTS} stored {PARTS - 1} lost 1 duplicates 0"
    assert not verdict.good


def test_a_number_with_another_message_is_disorder(tmp_path: Path) -> None:
    table = schema.raw

    def swap(connection: Connection) -> None:
        for seq, other in ((3, 10_000), (4, 3), (10_000, 4)):
            connection.execute(update(table).where(table.c.seq == seq).values(seq=other))

    verdict = committed_and_stored(tmp_path, swap)
    assert verdict.lost == 0
    assert verdict.disorder >= 2
    assert not verdict.good


@pytest.mark.parametrize(
    ("told", "lost", "given_up", "unknown"),
    [(((11, 11),), 39, 1, 0), (((11, 30), (32, 50)), 1, 39, 0), (((11, 50),), 0, 40, 0), ((), 0, 0, 40)],
)
def test_of_a_stream_that_was_replaced_is_lost_what_no_gap_names_unless_one_does_not_know(
    tmp_path: Path, told: tuple[tuple[int, int], ...], lost: int, given_up: int, unknown: int
) -> None:
    url, history = f"sqlite:///{tmp_path / 'fleet.db'}", tmp_path / "history"
    old, new = Writer(device="press-7", stream_id="old"), Writer(device="press-7", stream_id="new")
    letters = [old.verdict(seq, "fail") for seq in range(1, 51)]
    gap = new.gap(1, told, reason="corruption", previous="old")
    with opened(url, writing=True) as engine:
        Store(engine, raw="all").add([read(arrival) for arrival in (*letters[:10], gap)])
    lines = [f"\nold {seq} fail {digest(letter.payload)} 2026 ." for seq, letter in enumerate(letters, 1)]
    history.write_text("".join([*lines, f"\nnew 1 gap {digest(gap.payload)} 2026 ."]))
    verdict = judge(url, {"press-7": history})
    assert str(verdict) == f"generated 51 stored 11 lost {lost} duplicates 0"
    assert (verdict.given_up, verdict.unknown) == (given_up, unknown)
    assert verdict.sacrificed.total() == given_up + unknown
    assert str(unknown) in verdict.costs
    assert verdict.good is (lost == 0)


def test_a_line_that_a_kill_cut_off_is_passed_over(tmp_path: Path) -> None:
    history = tmp_path / "history"
    history.write_text("\ns 1 fail aa 2026 .\ns 2 fail b\ns 3 fail cc 2026 .")
    assert [letter.seq for letter in read_history(history)] == [1, 3]
