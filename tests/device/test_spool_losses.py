"""What a spool gives up is said; a file that lost or changed something is found out; the line goes on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest

from edge_resad.device.quarantine import Quarantine
from edge_resad.device.spool import Kind, Spool
from edge_resad.device.spoolfile import MOST_DELETED, Changes, SpoolFile
from edge_resad.errors import SpoolError
from edge_resad.messages import Address, Gap, gap_message, read_message
from tests.mqtt_peers import eventually

ADDRESS = Address(site="s", line="l", device="d")
TOPIC = ADDRESS.verdict_topic("cam0")
MB = 1 << 20


def spool_of(path: Path, **settings: float | dict[str, str]) -> Spool:
    chosen: dict[str, float | dict[str, str]] = {
        "max_bytes": 64 * MB,
        "commit_ms": 1.0,
        "reserve_bytes": 0,
        "retry_s": 0.05,
        **settings,
    }
    about = {"gap_topic": ADDRESS.gap_topic, "gap_letter": partial(gap_message, ADDRESS)}
    return Spool(path, **about, **chosen)  # type: ignore[arg-type]


def put(spool: Spool, count: int, kind: Kind = "fail", size: int = 100) -> list[int]:
    def body(stamp: object) -> bytes:
        return str(stamp.seq).encode().ljust(size)  # type: ignore[attr-defined]

    return [spool.put(TOPIC, body, kind=kind).seq for _ in range(count)]


def gaps(spool: Spool) -> list[Gap]:
    """What the letters about gaps say, after everything was told."""
    spool.tell_gaps()
    assert eventually(lambda: spool._totals.gaps == 0 and not spool._given_up)
    assert spool.flush(60)
    found = [read_message(letter.body).data for letter in spool.oldest(100_000) if letter.kind == "gap"]
    return [gap for gap in found if isinstance(gap, Gap)]


def counted(found: list[Gap]) -> Counter[str]:
    return sum((Counter(gap.counts) for gap in found), Counter[str]())


def numbers(gap: Gap) -> set[int]:
    return {seq for first, last in gap.ranges for seq in range(first, last + 1)}


def seqs(spool: Spool) -> list[int]:
    return [letter.seq for letter in spool.oldest(1_000_000) if letter.kind != "gap"]


def test_what_the_budget_costs_is_told_exactly_and_pictures_go_before_verdicts(tmp_path: Path) -> None:
    with spool_of(tmp_path / "spool.db", max_bytes=60_000) as spool:
        kept = put(spool, 10, "fail", 1000)
        images = put(spool, 20, "image", 1000)
        passes = put(spool, 20, "pass", 1000)
        assert spool.flush(60)
        assert set(seqs(spool)) & set(images) == set(images[-len(set(seqs(spool)) & set(images)) :])
        assert set(passes) <= set(seqs(spool))  # pictures were enough
        passes += put(spool, 40, "pass", 1000)
        assert spool.flush(60)
        left = set(seqs(spool))
        found = gaps(spool)
        assert set(kept) <= left
        assert not left & set(images)
        assert {seq for gap in found for seq in numbers(gap)} == set(range(1, 91)) - left
        assert counted(found) == Counter(image=20, **{"pass": len(set(passes) - left)})
        assert {gap.reason for gap in found} == {"budget"}
        assert spool.dropped == counted(found).total()


def test_parts_that_were_not_inspected_go_after_good_ones_and_before_failed_ones_and_are_counted_apart(
    tmp_path: Path,
) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path, max_letters=40) as spool:
        kept = put(spool, 10, "fail")
        blind = put(spool, 20, "not_inspected")
        put(spool, 30, "pass")
        assert spool.flush(60)
        assert seqs(spool) == [*kept, *blind, *range(51, 61)]
        kept += put(spool, 25, "fail")
        assert spool.flush(60)
        assert seqs(spool) == [*kept[:10], *blind[-5:], *kept[10:]]
        assert counted(gaps(spool)) == Counter({"pass": 30, "not_inspected": 15})


def test_a_budget_of_letters_holds_as_well(tmp_path: Path) -> None:
    with spool_of(tmp_path / "spool.db", max_letters=100) as spool:
        passes = put(spool, 500, "pass")
        fails = put(spool, 60, "fail")
        assert spool.flush(60)
        left = seqs(spool)
        assert len(left) == 100
        assert left == [*passes[-40:], *fails]
        assert spool.dropped == 460
        put(spool, 60, "fail")
        assert spool.flush(60)
        assert "more than its budget" in (spool.health() or "")


def test_where_the_disk_takes_nothing_until_memory_is_full_new_failed_parts_are_lost_and_told_when_it_does_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_changes: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with spool_of(tmp_path / "spool.db", ram_bytes=20_000) as spool:
        with monkeypatch.context() as disk:
            disk.setattr(spool._file, "write", refuses)
            put(spool, 20, "pass", size=1000)
            fails = put(spool, 200, size=1000)
            assert eventually(lambda: f"{spool.lost} new messages are lost" in (spool.health() or ""))
            lost = spool.lost
            assert 0 < lost < 200
        assert spool.flush(60)
        found = gaps(spool)
        assert spool.health() is None
        assert {gap.reason for gap in found} == {"memory_full"}
        assert counted(found) == Counter({"pass": 20, "fail": lost})
        kept = seqs(spool)
    assert len(kept) == 200 - lost
    assert set(kept) <= set(fails)
    assert {seq for gap in found for seq in numbers(gap)} == set(range(1, 221)) - set(kept)


def test_gaps_are_merged_until_somebody_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    for _ in range(3):
        with spool_of(path, max_letters=10) as spool:
            put(spool, 100, "pass")
            assert spool.flush(60)
    with spool_of(path, max_letters=10) as spool:
        (gap,) = gaps(spool)
    assert gap.counts == {"pass": 290}
    assert gap.ranges == ((1, 290),)
    assert gap.seq == 301


def test_many_gaps_go_into_several_letters_and_none_is_told_twice(tmp_path: Path) -> None:
    with spool_of(tmp_path / "spool.db", max_letters=3000) as spool:
        for _ in range(2500):
            put(spool, 1, "fail")
            put(spool, 1, "pass")
        assert spool.flush(60)
        found = gaps(spool)
        told = [seq for gap in found for seq in numbers(gap)]
        assert len(told) == len(set(told)) == counted(found)["pass"] == spool.dropped >= 1500
        assert len(found) > 1
        assert set(told).isdisjoint(seqs(spool))
    with spool_of(tmp_path / "spool.db", max_letters=3000) as spool:
        assert counted(gaps(spool))["pass"] == spool.dropped


def test_a_picture_that_a_broker_refuses_and_a_dead_letter_that_a_person_drops_are_told(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        put(spool, 1, "image")
        put(spool, 2, "alert")
        assert spool.flush(60)
        image, alert, other = spool.oldest(3)
        spool.refused(image, "too large")
        spool.refused(alert, "too large")
        spool.refused(other, "too large")
        assert eventually(lambda: spool._totals.dead == 2)
    with spool_of(path) as spool:
        spool._file.drop_dead([2])
        assert spool._file.retry_dead([]) == 1
    with spool_of(path) as spool:
        assert seqs(spool) == [3]
        found = {gap.reason: (gap.counts, gap.ranges) for gap in gaps(spool)}
        assert found == {"refused": ({"image": 1}, ((1, 1),)), "operator": ({"alert": 1}, ((2, 2),))}
        assert (spool.dropped, spool.dead) == (2, 0)


def test_what_a_collector_has_leaves_however_much_it_is(tmp_path: Path) -> None:
    count = MOST_DELETED + 100
    with spool_of(tmp_path / "spool.db") as spool:
        put(spool, count)
        assert spool.flush(60)
        for letter in spool.oldest(count - 1):
            spool.sent(letter)
        assert spool.acknowledged(spool.stream_id, [(1, count)]) == [(1, count - 1)]
        assert [letter.seq for letter in spool.oldest(5)] == [count]
        assert eventually(lambda: spool.waiting() == 1)


Damage = Callable[[Path], None]


def _flip_body(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"57 ".ljust(50))] ^= 0x10
    path.write_bytes(content)


def test_a_flipped_bit_in_a_letter_is_found_and_told_and_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        put(spool, 100)
    _flip_body(path)
    with spool_of(path) as spool:
        assert seqs(spool) == [seq for seq in range(1, 101) if seq != 57]
        (gap,) = gaps(spool)
        assert (gap.reason, gap.counts, gap.ranges) == ("corruption", {"fail": 1}, ((57, 57),))
        assert spool.dropped == 1


@pytest.mark.parametrize(
    "change",
    ["topic = CAST(x'65f2' AS TEXT)", "kind = 'gail'", "kind = CAST(x'e6' AS TEXT)", "body = CAST(body AS TEXT)"],
)
def test_a_flipped_bit_in_a_letters_other_columns_is_told_and_holds_up_nothing(tmp_path: Path, change: str) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        put(spool, 10)
        assert spool.flush(60)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute(f"UPDATE letter SET {change} WHERE seq = 7")
        assert seqs(spool) == [seq for seq in range(1, 11) if seq != 7]
        (gap,) = gaps(spool)
        assert (gap.reason, gap.ranges) == ("corruption", ((7, 7),))


@pytest.mark.parametrize(
    ("was", "is_now"),
    [
        (b"seq INTEGER PRIMARY KEY", b"seq INTEGER PRIMAPY KEY"),  # every letter would seem to be without a number
        (b"problem TEXT", b"pboblem TEXT"),
        (b"previous TEXT", b"prezious TEXT"),
        (b"INDEX letter_by_kind", b"INDEX letter_by_k\xe9nd"),
    ],
)
def test_a_flipped_bit_in_what_the_file_says_of_itself_begins_a_new_stream_and_the_line_goes_on(
    tmp_path: Path, was: bytes, is_now: bytes
) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path, max_letters=3) as spool:
        put(spool, 5, kind="fail")
        put(spool, 5, kind="pass")  # for some of which there is no room: a gap
        assert spool.flush(60)
        first = spool.stream_id
    content = path.read_bytes()
    assert content.count(was) >= 1
    path.write_bytes(content.replace(was, is_now, 1))
    with spool_of(path) as spool:
        assert spool.stream_id != first
        assert put(spool, 2, kind="fail") == [1, 2]
        assert spool.flush(60)
        told = [gap for gap in gaps(spool) if gap.previous_stream_id == first]
        assert told
        here = {letter.number for letter in spool.oldest(100, kinds=("fail",)) if letter.stream_id == first}
        assert here | {seq for gap in told for seq in numbers(gap)} >= set(range(1, 6))
        assert spool.health() is None


def test_what_is_missing_in_the_index_alone_is_still_sent(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        put(spool, 10)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"\x01fail\x07")
    content[at + 1] ^= 1
    path.write_bytes(content)
    with spool_of(path) as spool:
        assert [letter.number for letter in spool.oldest(100, kinds=("fail",))] == list(range(1, 11))


def test_damage_that_only_reading_by_kind_meets_is_dealt_with_while_the_station_runs(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        put(spool, 10)
        assert spool.flush(60)
        first = spool.stream_id
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = bytearray(path.read_bytes())
        at = content.rindex(b"\x01fail\x07")  # of an entry of the index
        content[at] ^= 0x80
        path.write_bytes(content)
        spool._file._reader.close()  # it has the page in its cache
        spool._file._reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        with pytest.raises(SpoolError, match="malformed"):
            spool.oldest(100, kinds=("fail",))
        assert eventually(lambda: spool.stream_id != first)
        assert len(spool.oldest(100, kinds=("fail",))) == 10


def _delete_behind_the_index(path: Path, seq: int) -> None:
    index = "sqlite_master WHERE name = 'letter_by_kind'"
    for change in (
        f"DELETE FROM {index}",
        f"DELETE FROM letter WHERE seq = {seq}",
        "INSERT INTO sqlite_master VALUES ",
    ):
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("PRAGMA writable_schema = ON")
            if "sqlite_master WHERE" in change:
                row = other.execute(f"SELECT * FROM {index}").fetchone()
            if "INSERT" in change:
                other.execute(f"{change} (?, ?, ?, ?, ?)", row)
            else:
                other.execute(change)


def test_a_message_that_the_index_alone_knows_is_found_out_while_the_station_runs(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        put(spool, 10)
        assert spool.flush(60)
        first = spool.stream_id
        _delete_behind_the_index(path, 7)
        with pytest.raises(SpoolError, match="names a message that is not there"):
            spool.oldest(100, kinds=("fail",))
        assert eventually(lambda: spool.stream_id != first)
        here = [letter.number for letter in spool.oldest(100, kinds=("fail",)) if letter.stream_id == first]
        assert here == [seq for seq in range(1, 11) if seq != 7]
        assert [gap.previous_stream_id for gap in gaps(spool)] == [first]


def test_a_file_that_says_a_number_is_free_which_a_letter_has_is_not_gone_on_with(tmp_path: Path) -> None:
    """Or the letter that gets the number could never be written."""
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        put(spool, 10)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE stream SET next_seq = 7")
    path.with_name("spool.db.lock").unlink()
    with spool_of(path) as spool:
        put(spool, 1)
        assert spool.flush(60)
        assert [letter.number for letter in spool.oldest(100, kinds=("fail",))] == [*range(1, 11), 1]


def test_a_commit_that_reached_a_dying_disk_although_it_failed_is_not_met_again_as_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, fails = SpoolFile._write, iter([True])

    def dying(file: SpoolFile, changes: Changes) -> object:
        done = write(file, changes)
        if len(changes.new) > 0 and next(fails, False):
            raise sqlite3.DatabaseError("database disk image is malformed")
        return done

    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        monkeypatch.setattr(SpoolFile, "_write", dying)
        put(spool, 5)
        assert spool.flush(60)
        assert [letter.number for letter in spool.oldest(100) if letter.kind == "fail"] == [1, 2, 3, 4, 5]
        assert eventually(lambda: spool.waiting() == len(spool.oldest(100)))
        assert sorted(found.name for found in tmp_path.glob("*.damaged-*[0-9]")) == ["spool.db.damaged-1"]


def test_a_gap_that_is_damaged_does_not_keep_the_file_from_being_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path, max_letters=3) as spool:
        put(spool, 5, kind="pass")
        put(spool, 2, kind="fail")
    content = path.read_bytes()
    at = content.index(b"budgetpass")
    header = content.rindex(b"\x00\x19\x00", 0, at)  # of the row: id, reason, previous, kind, first and last
    found = bytearray(content)
    found[header + 1] ^= 0x19  # the reason's type: nothing
    path.write_bytes(found)
    with spool_of(path) as spool:
        put(spool, 1)
        assert spool.flush(60)
        assert spool.health() is None
        assert path.with_name("spool.db.damaged-1").exists()


def _cut_log(path: Path) -> None:
    log = path.with_name("spool.db-wal")
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])


def _no_log(path: Path) -> None:
    path.with_name("spool.db-wal").unlink()


def _empty(path: Path) -> None:
    path.with_name("spool.db-wal").unlink()
    path.write_bytes(b"")


def _garbage(path: Path) -> None:
    path.with_name("spool.db-wal").unlink()
    path.write_bytes(os.urandom(50_000))


@pytest.mark.parametrize("end", [101, 103])
def test_a_letter_that_is_not_sound_in_a_file_that_is_set_aside_is_told_as_well(tmp_path: Path, end: int) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        put(spool, 100)
        assert spool.flush(60)
        spool.published(spool.oldest(20))  # of these nothing is to be told
        first = spool.stream_id
    _flip_body(path)
    note = path.with_name("spool.db.lock")
    pid, stream, _next_seq, bd_seq = note.read_text().split()
    note.write_text(f"{pid}\n{stream} {end + 1} {bd_seq}\n")  # it lost its end
    with spool_of(path) as spool:
        (gap,) = gaps(spool)
        assert (gap.reason, gap.previous_stream_id) == ("corruption", first)
        assert numbers(gap) == {57, *range(101, end + 1)}
        events = [spool.event_id(letter) for letter in spool.oldest(1000) if letter.kind != "gap"]
        assert events == [f"{first}-{seq}" for seq in range(21, 101) if seq != 57]


@pytest.mark.parametrize("damage", [_cut_log, _no_log, _empty, _garbage])
def test_a_file_that_lost_its_end_begins_a_new_stream_so_that_no_number_is_given_twice(
    tmp_path: Path, damage: Damage
) -> None:
    path, copy = tmp_path / "spool.db", tmp_path / "after" / "spool.db"
    copy.parent.mkdir()
    with spool_of(path) as spool:
        for _ in range(20):
            put(spool, 10)
            assert spool.flush(60)
        first = spool.stream_id
        for suffix in ("", "-wal", ".lock"):  # as the disk looks after kill -9
            copy.with_name(f"spool.db{suffix}").write_bytes(path.with_name(f"spool.db{suffix}").read_bytes())
    damage(copy)
    with spool_of(copy) as spool:
        assert spool.stream_id != first
        assert put(spool, 1) == [1]
        found = gaps(spool)
        saved = {spool.event_id(letter) for letter in spool.oldest(1000) if letter.seq < 0}
        lost = {seq for gap in found for seq in numbers(gap)}
        assert {gap.previous_stream_id for gap in found} == {first}
        assert {gap.reason for gap in found} == {"corruption"}
        if damage in (_cut_log, _no_log):
            assert saved == {f"{first}-{seq}" for seq in range(1, len(saved) + 1)}
        assert not saved & {f"{first}-{seq}" for seq in lost}
        assert len(saved) + len(lost) == 200  # every letter is there or told
    with spool_of(copy) as spool:  # and that is all
        assert [letter.seq for letter in spool.oldest(1000) if letter.seq > 0 and letter.kind != "gap"] == [1]


def test_a_file_that_is_lost_with_letters_of_an_earlier_stream_in_it_says_so_of_both(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    streams = []
    for _ in range(2):
        with spool_of(path) as spool:
            streams.append(spool.stream_id)
            put(spool, 5)
            assert spool.flush(60)
        note = path.with_name("spool.db.lock")
        pid, stream, next_seq, bd_seq = note.read_text().split()
        if len(streams) == 1:
            note.write_text(f"{pid}\n{stream} {int(next_seq) + 1} {bd_seq}\n")
    path.unlink()
    with spool_of(path) as spool:
        told = {gap.previous_stream_id: gap.ranges for gap in gaps(spool)}
    assert told == {streams[1]: ((1, int(next_seq) - 1),), streams[0]: ()}


def test_letters_of_an_earlier_stream_leave_with_its_acknowledgements(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    streams = []
    for _ in range(3):
        with spool_of(path) as spool:
            streams.append(spool.stream_id)
            put(spool, 5)
            assert spool.flush(60)
        note = path.with_name("spool.db.lock")
        pid, stream, _next_seq, bd_seq = note.read_text().split()
        note.write_text(f"{pid}\n{stream} 99 {bd_seq}\n")
    with spool_of(path) as spool:
        letters = spool.oldest(100)
        assert [spool.event_id(letter) for letter in letters] == [f"{s}-{n}" for s in streams for n in range(1, 6)]
        for letter in letters:
            spool.sent(letter)
        assert len(spool.acknowledged(streams[1], [(2, 3)])) == 1
        left = [spool.event_id(letter) for letter in spool.oldest(100)]
        assert left == [
            f"{s}-{n}" for s in streams for n in range(1, 6) if (s, n) not in {(streams[1], 2), (streams[1], 3)}
        ]
        assert eventually(lambda: spool.waiting() == 13)


@pytest.mark.parametrize(
    ("there", "here"), [({"board": "a"}, {"board": "b"}), ({"system": "a"}, {"system": "b"}),
    ({"board": "a", "system": "s"}, {"board": "b", "system": "s"})],
)  # fmt: skip
def test_an_outbox_that_was_copied_to_another_machine_begins_a_new_stream_and_keeps_what_waits_under_its_own(
    tmp_path: Path, there: dict[str, str], here: dict[str, str]
) -> None:
    path, copy = tmp_path / "spool.db", tmp_path / "copy" / "spool.db"
    with spool_of(path, machine=there) as spool:
        put(spool, 5)
        assert spool.flush(60)
        spool.published(spool.oldest(2))
        first = spool.stream_id
    shutil.copytree(tmp_path, copy.parent)
    with spool_of(copy, machine=here) as spool:
        second = spool.stream_id
        assert second != first
        assert put(spool, 1) == [1]
        assert gaps(spool) == []  # nothing is lost
        letters = spool.oldest(100)
        assert [spool.event_id(letter) for letter in letters] == [*(f"{first}-{n}" for n in (3, 4, 5)), f"{second}-1"]
        for letter in letters:
            spool.sent(letter)
        assert len(spool.acknowledged(first, [(1, 4)])) == 1
        assert eventually(lambda: spool.waiting() == 2)
    with spool_of(copy, machine=here) as spool:
        assert spool.stream_id == second
    with spool_of(path, machine=there) as spool:  # the other goes on as before
        assert spool.stream_id == first
        assert put(spool, 1) == [6]


@pytest.mark.parametrize(
    ("there", "here"), [({}, {"board": "b", "system": "s"}), ({"board": "a"}, {}), ({"board": "a"}, {"system": "s"}),
    ({"board": "a", "system": "s"}, {"board": "a", "system": "t"})],
)  # fmt: skip
def test_where_nothing_says_that_it_is_another_machine_the_stream_goes_on(
    tmp_path: Path, there: dict[str, str], here: dict[str, str]
) -> None:
    path = tmp_path / "spool.db"
    for machine in (there, here, here):
        with spool_of(path, machine=machine) as spool:
            put(spool, 1)
            assert spool.flush(60)
            streams = {spool.event_id(letter).rpartition("-")[0] for letter in spool.oldest(10)}
            assert streams == {spool.stream_id}


@pytest.mark.parametrize("damage", ["tree", "gone"])
def test_damage_while_the_station_runs_begins_a_new_stream_and_keeps_what_can_be_read(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        put(spool, 400, size=1000)
        assert spool.flush(60)
        first = spool.stream_id
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        whole = path.read_bytes()
        with path.open("r+b") as file:
            if damage == "tree":
                file.seek(len(whole) - 150_000)
                file.write(b"\xa5" * 100_000)
            else:
                file.truncate(4096)

        def goes_on() -> bool:
            put(spool, 1)
            with suppress(SpoolError):
                spool.oldest(1000)
            return spool.stream_id != first

        assert eventually(goes_on)
        new = put(spool, 3)
        assert eventually(lambda: spool.flush(0.2))
        found = [spool.event_id(letter) for letter in spool.oldest(10_000) if letter.kind != "gap"]
        assert {f"{spool.stream_id}-{seq}" for seq in new} <= set(found)
        assert len(found) == len(set(found))
        if damage == "tree":
            assert len([event for event in found if event.startswith(first)]) > 100
        told = gaps(spool)
        assert {gap.previous_stream_id for gap in told} == {first}
        lost = {f"{first}-{seq}" for gap in told for seq in numbers(gap)}
        assert {f"{first}-{seq}" for seq in range(1, 401)} <= lost | set(found)
        assert spool.lost == 0
    assert len(list(tmp_path.glob("spool.db.damaged-*[0-9]"))) == 1
    assert "is damaged" in caplog.text


def test_the_line_does_not_wait_while_a_damaged_file_is_salvaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, begun, go_on = tmp_path / "spool.db", threading.Event(), threading.Event()
    take_over = SpoolFile._take_over

    def slowly(file: SpoolFile, aside: Path, told: Collection[int], *, damaged: bool) -> None:
        begun.set()
        assert go_on.wait(60)
        take_over(file, aside, told, damaged=damaged)

    monkeypatch.setattr(SpoolFile, "_take_over", slowly)
    with spool_of(path) as spool:
        put(spool, 5)
        assert spool.flush(60)
        first, letters = spool.stream_id, spool.oldest(3)

        def is_damaged(file: SpoolFile, _error: object = None) -> bool:
            file.suspect = False
            return not begun.is_set()

        monkeypatch.setattr(SpoolFile, "is_damaged", is_damaged)
        spool._file.suspect = True
        put(spool, 1)
        assert begun.wait(60)
        put(spool, 2)  # comes back while the salvage stands still
        assert spool.stream_id == first
        assert spool.oldest(100) == []
        go_on.set()
        assert eventually(lambda: spool.stream_id != first)
        (new,) = put(spool, 1)
        assert eventually(lambda: spool.flush(0.2))
        events = [spool.event_id(letter) for letter in spool.oldest(100) if letter.kind != "gap"]
        assert events == [*(f"{first}-{number}" for number in range(1, 9)), f"{spool.stream_id}-{new}"]
        spool.published(letters)  # the broker's answer to what was read before
        assert eventually(lambda: spool.waiting() >= 6 and not spool._has_work())
        events = [spool.event_id(letter) for letter in spool.oldest(100) if letter.kind != "gap"]
        assert events == [*(f"{first}-{number}" for number in range(4, 9)), f"{spool.stream_id}-{new}"]


def test_a_damaged_file_that_cannot_be_set_aside_at_once_is_set_aside_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, refused = Quarantine.move, threading.Event()

    def refusing(quarantine: Quarantine) -> Path:
        if not refused.is_set():
            raise OSError(28, "No space left on device")
        return move(quarantine)

    monkeypatch.setattr(Quarantine, "move", refusing)
    with spool_of(tmp_path / "spool.db", max_letters=3) as spool:
        put(spool, 5, kind="pass")
        assert spool.flush(60)
        first = spool.stream_id
        damaged = SpoolFile.is_damaged

        def is_damaged(file: SpoolFile, _error: object = None) -> bool:
            file.suspect = False
            return True

        monkeypatch.setattr(SpoolFile, "is_damaged", is_damaged)
        spool._file.suspect = True
        put(spool, 1)
        assert eventually(lambda: "No space left on device" in str(spool.health()))
        monkeypatch.setattr(SpoolFile, "is_damaged", damaged)
        spool.tell_gaps()  # as a session asks, of what made room above: the file is closed now
        put(spool, 1)
        refused.set()
        assert eventually(lambda: spool.stream_id != first and spool.flush(0.2))
        assert spool.health() is None
        assert [letter.kind for letter in spool.oldest(100)].count("fail") == 2


def test_what_tells_of_a_loss_is_not_said_to_be_beyond_the_budget(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path, max_letters=3) as spool:
        put(spool, 3, kind="fail")
        put(spool, 1, kind="pass")  # for which there is no room
        assert spool.flush(60)
        spool.tell_gaps()
        assert eventually(lambda: spool.waiting() == 4)
        assert spool.health() is None
    with spool_of(path, max_letters=3) as spool:
        assert spool.health() is None
        put(spool, 1, kind="fail")
        assert spool.flush(60)
        assert "more than its budget" in str(spool.health())


@pytest.mark.parametrize(
    "change",
    ["first = 9, last = 3", "first = 'x'", "reason = 'sun'", "kind = 'p\x01ss'", "reason = CAST(x'e2' AS TEXT)"],
)
def test_a_gap_whose_bits_have_turned_is_forgotten_and_holds_up_nothing(tmp_path: Path, change: str) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path, max_letters=3) as spool:
        put(spool, 5, kind="pass")
        put(spool, 2, kind="fail")
        assert spool.flush(60)
        assert spool._totals.gaps
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(f"UPDATE gap SET {change} WHERE id = (SELECT min(id) FROM gap)")
    with spool_of(path) as spool:
        before = spool.next_seq
        spool.tell_gaps()
        assert eventually(lambda: spool._totals.gaps == 0 and not spool._has_work())
        assert put(spool, 1)[0] - before <= 1  # at most one letter told the gaps that are sound
        assert spool.flush(60)
        assert spool.health() is None


def test_numbers_that_were_given_out_and_never_written_are_given_again_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or they would be missing for ever: no letter has them, and no gap tells them."""
    path, written = tmp_path / "spool.db", threading.Event()
    write = SpoolFile.write

    def write_late(file: SpoolFile, changes: Changes) -> object:
        put(spool, 1)  # comes while the commit is on its way
        done = write(file, changes)
        written.set()
        return done

    with spool_of(path, commit_ms=200.0) as spool:
        begin = spool._begin

        def begin_late() -> Changes:
            put(spool, 1)  # comes after what was composed
            return begin()

        monkeypatch.setattr(spool, "_begin", begin_late)
        monkeypatch.setattr(SpoolFile, "write", write_late)
        put(spool, 1)
        assert written.wait(60)
        monkeypatch.setattr(spool, "_begin", begin)
        monkeypatch.setattr(SpoolFile, "write", write)
        with closing(sqlite3.connect(path)) as other:
            question = "SELECT next_seq, (SELECT max(seq) FROM letter) FROM stream"  # at one moment
            next_seq, last = other.execute(question).fetchone()
        assert next_seq == last + 1


@pytest.fixture(params=["2m", "8m"])
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", str(disk)], capture_output=True
    )
    if mount.returncode:
        pytest.skip("a small disk can only be made where mounting is allowed")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_on_a_small_disk_no_failed_part_is_lost_and_every_other_loss_is_told(small_disk: Path) -> None:
    path = small_disk / "spool.db"
    with spool_of(path, max_bytes=1 << 40, reserve_bytes=256 << 10) as spool:
        fails: list[int] = []
        for _ in range(150):
            fails += put(spool, 2, "fail", 500)
            put(spool, 20, "pass", 1000)
            put(spool, 2, "image", 20_000)
            assert spool.flush(60), spool.health()
        found = gaps(spool)  # to write what tells of them may cost the full disk some more
        left = set(seqs(spool))
        assert set(fails) <= left
        told = {seq for gap in found for seq in numbers(gap)}
        assert told == set(range(1, 150 * 24 + 1)) - left
        assert counted(found).total() == spool.dropped == len(told)
        assert spool.lost == 0
    with spool_of(path, max_bytes=1 << 40, reserve_bytes=256 << 10) as spool:
        assert set(fails) <= set(seqs(spool))


def test_a_clock_that_jumps_changes_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, clock = tmp_path / "spool.db", cycle([1.79e9, 0.0, 1.79e9 + 86400, 5.0, 4.0e9])
    monkeypatch.setattr("edge_resad.device.spool.time.time", lambda: next(clock))
    for _ in range(5):
        with spool_of(path) as spool:
            put(spool, 3)
    with spool_of(path) as spool:
        assert seqs(spool) == list(range(1, 16))


def test_a_spool_of_the_first_format_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    db = sqlite3.connect(path)
    db.executescript("""
        PRAGMA application_id = 0x45525350; PRAGMA user_version = 1;
        CREATE TABLE letter (seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, content_type TEXT NOT NULL,
            kind TEXT NOT NULL, body BLOB NOT NULL, size INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0,
            at_broker_wall REAL, acknowledged_wall REAL, problem TEXT);
        CREATE INDEX letter_by_kind ON letter (kind, seq, size, state);
        CREATE TABLE stream (only INTEGER PRIMARY KEY CHECK (only = 1), stream_id TEXT NOT NULL,
            next_seq INTEGER NOT NULL, bd_seq INTEGER NOT NULL, dropped INTEGER NOT NULL);
        INSERT INTO stream VALUES (1, 'old', 3, 7, 0);
        INSERT INTO letter VALUES (1, 't', 'c', 'fail', x'31', 66, 0, NULL, NULL, NULL);
        INSERT INTO letter VALUES (2, 't', 'c', 'pass', x'32', 66, 2, NULL, NULL, 'too large');
    """)
    db.close()
    with spool_of(path) as spool:
        assert (spool.stream_id, seqs(spool), spool.dead) == ("old", [1], 1)
        assert put(spool, 1) == [3]
        assert spool.begin_session() == 8
    with spool_of(path, machine={"board": "a"}) as spool:
        assert (spool.stream_id, seqs(spool)) == ("old", [1, 3])
    with spool_of(path, machine={"board": "b"}) as spool:
        assert spool.stream_id != "old"
