"""What was put into the outbox comes out once, in order, whatever happens to the process and the disk."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge_resad.device.spool import Kind, Spool, Stamp
from edge_resad.device.spoolfile import SpoolFile
from edge_resad.errors import SpoolError
from tests.mqtt_peers import eventually

TOPIC = "er/v1/s/l/d/evt/cam0"
MB = 1 << 20
ROOT = Path(__file__).parents[2]


def _spool(path: Path, **settings: float) -> Spool:
    chosen: dict[str, float] = {"max_bytes": 64 * MB, "commit_ms": 1.0, "reserve_bytes": 0, "retry_s": 0.05, **settings}
    return Spool(path, **chosen)  # type: ignore[arg-type]


def _text(stamp: Stamp) -> bytes:
    return str(stamp.seq).encode()


def _put(spool: Spool, count: int, kind: Kind = "fail", size: int = 0) -> list[int]:
    return [spool.put(TOPIC, lambda stamp: _text(stamp).ljust(size), kind=kind).seq for _ in range(count)]


def _seqs(spool: Spool) -> list[int]:
    return [letter.seq for letter in spool.oldest(1_000_000)]


def test_letters_come_out_in_the_order_they_were_put(tmp_path: Path) -> None:
    with _spool(tmp_path / "spool.db") as spool:
        put = _put(spool, 50)
        assert spool.flush(60)
        letters = spool.oldest(100)
    assert put == list(range(1, 51))
    assert [letter.body for letter in letters] == [str(seq).encode() for seq in put]
    assert {letter.topic for letter in letters} == {TOPIC}


def test_letters_of_many_threads_each_have_their_own_number(tmp_path: Path) -> None:
    with _spool(tmp_path / "spool.db") as spool:
        threads = [threading.Thread(target=_put, args=(spool, 100)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert spool.flush(60)
        assert _seqs(spool) == list(range(1, 401))


def test_a_letter_waits_over_a_restart_and_numbers_go_on(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with _spool(path) as spool:
        _put(spool, 3)
        assert spool.flush(60)
        spool.published(spool.oldest(3))
        first = spool.stream_id
        _put(spool, 2)
    with _spool(path) as spool:
        assert spool.stream_id == first
        assert spool.waiting() == 2
        assert _seqs(spool) == [4, 5]
        assert _put(spool, 1) == [6]


def test_numbers_go_on_even_when_everything_was_delivered(tmp_path: Path) -> None:
    with _spool(tmp_path / "spool.db") as spool:
        _put(spool, 3)
        assert spool.flush(60)
        spool.published(spool.oldest(3))
    with _spool(tmp_path / "spool.db") as spool:
        assert spool.waiting() == 0
        assert _put(spool, 1) == [4]


def test_what_was_published_is_not_handed_out_again(tmp_path: Path) -> None:
    with _spool(tmp_path / "spool.db", commit_ms=200) as spool:
        _put(spool, 5)
        assert spool.flush(60)
        spool.published([letter for letter in spool.oldest(4) if letter.seq != 3])
        assert _seqs(spool) == [3, 5]
        assert [letter.seq for letter in spool.oldest(1)] == [3]
        assert [letter.seq for letter in spool.oldest(5, after_seq=3)] == [5]
        assert spool.waiting() == 2


def test_what_leaves_the_file_while_it_is_read_is_not_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _spool(tmp_path / "spool.db") as spool:
        _put(spool, 3)
        assert spool.flush(60)
        read, first = SpoolFile.read, spool.oldest(2)

        def read_slowly(file: SpoolFile, *arguments: Any) -> Any:
            page = read(file, *arguments)
            if first:
                spool.published(first)
                first.clear()
                assert eventually(lambda: not spool._gone)
            return page

        monkeypatch.setattr(SpoolFile, "read", read_slowly)
        assert _seqs(spool) == [3]


def test_only_what_is_committed_is_handed_out(tmp_path: Path) -> None:
    with _spool(tmp_path / "spool.db", commit_ms=60_000) as spool:
        _put(spool, 1)
        assert spool.oldest(10) == []
        assert spool.waiting() == 1
        assert not spool.flush(0.01)


def test_put_does_not_wait_for_a_disk_that_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with _spool(path) as spool:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # the writer thread now waits for its turn
        _put(spool, 1000)  # comes back, though the disk stays busy until we let it go
        assert not spool.flush(0.05)
        other.execute("ROLLBACK")
        other.close()
        assert spool.flush(60)
        assert spool.waiting() == 1000


def test_a_disk_that_does_not_answer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_resad.device.spool._SLOW_S", 0.05)
    path = tmp_path / "spool.db"
    with _spool(path) as spool:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # the writer thread hangs in its disk
            _put(spool, 3)
            assert eventually(lambda: "3 messages wait in memory. Check the disk" in str(spool.health()))
            other.execute("ROLLBACK")
        assert spool.flush(60)
        assert eventually(lambda: spool.health() is None)


def test_a_stamp_carries_the_stream_the_boot_and_two_clocks(tmp_path: Path) -> None:
    with _spool(tmp_path / "spool.db") as spool:
        before = time.time(), time.monotonic()
        stamp = spool.put(TOPIC, _text)
        assert (stamp.stream_id, stamp.boot_id) == (spool.stream_id, spool.boot_id)
        assert before[0] <= stamp.wall <= time.time()
        assert before[1] <= stamp.mono <= time.monotonic()


def test_a_letter_that_cannot_be_composed_is_given_up_and_told_and_those_after_it_come(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[object, object]] = []

    def broken(stamp: Stamp) -> bytes:
        raise ValueError("no score")

    def gap_letter(stamp: Stamp, *, ranges: object, reason: object, **more: object) -> bytes:
        told.append((ranges, reason))
        return b"gap"

    settings: dict[str, Any] = {"max_bytes": 64 * MB, "commit_ms": 1.0, "gap_topic": "gap", "gap_letter": gap_letter}
    with Spool(tmp_path / "spool.db", **settings) as spool:
        assert spool.put(TOPIC, broken).seq == 1
        assert _put(spool, 1) == [2]
        assert spool.flush(60)
        assert (_seqs(spool), spool.dropped) == ([2], 1)
        spool.tell_gaps()
        assert eventually(lambda: told == [(((1, 1),), "refused")])
    assert "no score" in caplog.text


def test_a_letter_is_composed_by_the_writing_thread(tmp_path: Path) -> None:
    threads: list[str] = []

    def compose(stamp: Stamp) -> bytes:
        threads.append(threading.current_thread().name)
        return b""

    with _spool(tmp_path / "spool.db") as spool:
        spool.put(TOPIC, compose)
        assert spool.flush(60)
    assert threads == ["spool"]


def test_a_dead_letter_stays_out_of_the_way_and_is_counted_over_restarts(tmp_path: Path) -> None:
    with _spool(tmp_path / "spool.db") as spool:
        _put(spool, 2)
        assert spool.flush(60)
        spool.refused(spool.oldest(1)[0], "too large")
        assert (spool.dead, spool.waiting(), _seqs(spool)) == (1, 1, [2])
    with _spool(tmp_path / "spool.db") as spool:
        assert (spool.dead, spool.waiting(), _seqs(spool)) == (1, 1, [2])


def test_a_refused_picture_is_dropped_and_counted(tmp_path: Path) -> None:
    with _spool(tmp_path / "spool.db") as spool:
        _put(spool, 1, "image")
        assert spool.flush(60)
        spool.refused(spool.oldest(1)[0], "too large")
        assert (spool.dead, spool.dropped, spool.waiting()) == (0, 1, 0)
    with _spool(tmp_path / "spool.db") as spool:
        assert (spool.dead, spool.dropped, spool.waiting()) == (0, 1, 0)


def test_beyond_the_budget_the_oldest_good_parts_go_first(tmp_path: Path) -> None:
    with _spool(tmp_path / "spool.db", max_bytes=50_000) as spool:
        fails = _put(spool, 10, "fail", 1000)
        passes = _put(spool, 100, "pass", 1000)
        alerts = _put(spool, 10, "alert", 1000)
        assert spool.flush(60)
        left = _seqs(spool)
        assert set(fails) | set(alerts) <= set(left)
        kept = [seq for seq in left if seq in passes]
        assert kept == passes[-len(kept) :]
        assert spool.dropped == 120 - len(left) > 0
        assert spool.waiting() == len(left)
        assert spool.health() is None


def test_a_failed_part_is_kept_even_beyond_the_budget_and_health_says_so(tmp_path: Path) -> None:
    with _spool(tmp_path / "spool.db", max_bytes=10_000) as spool:
        _put(spool, 50, "fail", 1000)
        assert spool.flush(60)
        assert len(_seqs(spool)) == 50
        assert spool.dropped == 0
        assert "more than its budget" in (spool.health() or "")


def test_the_count_of_dropped_letters_outlives_the_process(tmp_path: Path) -> None:
    with _spool(tmp_path / "spool.db", max_bytes=10_000) as spool:
        _put(spool, 50, "pass", 1000)
        assert spool.flush(60)
        dropped = spool.dropped
    with _spool(tmp_path / "spool.db", max_bytes=10_000) as spool:
        assert spool.dropped == dropped > 0


def test_session_numbers_grow_over_restarts(tmp_path: Path) -> None:
    numbers = []
    for _ in range(3):
        with _spool(tmp_path / "spool.db") as spool:
            numbers += [spool.begin_session(), spool.begin_session()]
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_a_listener_hears_of_committed_letters_until_it_stops(tmp_path: Path) -> None:
    heard = threading.Event()
    with _spool(tmp_path / "spool.db") as spool:
        stop = spool.listen(heard.set)
        _put(spool, 1)
        assert heard.wait(60)
        stop()
        heard.clear()
        _put(spool, 1)
        assert spool.flush(60)
        assert not heard.is_set()


@pytest.mark.parametrize("moment", ["before-insert", "before-commit", "after-commit"])
def test_the_writing_thread_outlives_an_error_that_nobody_foresaw_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    stumbled = threading.Event()

    def reach(point: str) -> None:
        if point == moment and not stumbled.is_set():
            stumbled.set()
            raise RuntimeError("nobody foresaw this")

    with _spool(tmp_path / "spool.db") as spool:
        assert _put(spool, 2) == [1, 2]
        assert spool.flush(60)
        spool.published(spool.oldest(1))
        assert eventually(lambda: not spool._gone)
        monkeypatch.setattr("edge_resad.device.spoolfile.reach", reach)
        _put(spool, 3)
        assert stumbled.wait(60)
        assert eventually(lambda: "cannot be written: nobody foresaw this" in caplog.text)
        assert spool.waiting() == 4
        _put(spool, 1)
        assert spool.flush(60)
        assert spool.health() is None
        assert _seqs(spool) == [2, 3, 4, 5, 6]
        assert (spool.waiting(), spool.lost, spool.dropped) == (5, 0, 0)
    assert "the thread of the spool died; it begins anew" in caplog.text
    with _spool(tmp_path / "spool.db") as spool:
        assert _seqs(spool) == [2, 3, 4, 5, 6]
        assert _put(spool, 1) == [7]


def test_an_error_that_nobody_foresaw_at_the_end_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stumbled = threading.Event()

    def reach(point: str) -> None:
        if point == "before-commit" and not stumbled.is_set():
            stumbled.set()
            raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr("edge_resad.device.spoolfile.reach", reach)
    with _spool(tmp_path / "spool.db") as spool:
        _put(spool, 3)
        assert stumbled.wait(60)  # it is closed while the thread pauses
    assert spool.lost == 0
    with _spool(tmp_path / "spool.db") as spool:
        assert _seqs(spool) == [1, 2, 3]


def test_two_stations_cannot_share_a_spool(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    code = f"""
from pathlib import Path
from edge_resad.device.spool import Spool
with Spool(Path({str(path)!r}), max_bytes=1000): pass
"""
    with _spool(path):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert second.returncode == 1
    assert f"is in use by process {os.getpid()}" in second.stderr
    with _spool(path) as spool:  # free again
        assert spool.waiting() == 0


@pytest.mark.parametrize("damage", ["header", "middle", "late", "text", "cut"])
def test_a_damaged_file_is_set_aside_and_a_new_stream_begins(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "spool.db"
    with _spool(path) as spool:
        _put(spool, 200, size=1000)
        first = spool.stream_id
    whole = path.read_bytes()
    damaged = {
        "header": b"\0" * 100 + whole[100:],
        "middle": whole[:8192] + b"\xa5" * 65536 + whole[8192 + 65536 :],
        "late": whole[:-98304] + b"\xa5" * 65536 + whole[-32768:],
        "text": b"this was never a database\n" * 1000,
        "cut": whole[: len(whole) // 2],
    }[damage]
    path.write_bytes(damaged)
    with _spool(path) as spool:
        assert spool.stream_id != first
        assert _put(spool, 1) == [1]
        assert spool.flush(60)
        saved = [spool.event_id(letter) for letter in spool.oldest(1000)][:-1]
    (aside,) = tmp_path.glob("spool.db.damaged-*")
    assert aside.read_bytes() == damaged
    assert set(saved) < {f"{first}-{seq}" for seq in range(1, 201)}
    assert bool(saved) == (damage in ("late", "cut"))  # in the middle was the root of the tree
    assert "is damaged" in caplog.text


def test_each_damaged_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with _spool(path):
        pass
    for count in (1, 2, 3):
        path.write_bytes(b"no database " * 1000)
        with _spool(path):
            pass
        assert len(list(tmp_path.glob("spool.db.damaged-*"))) == count


def test_a_torn_write_ahead_log_costs_only_what_was_not_committed(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with _spool(path) as spool:
        _put(spool, 10)
        assert spool.flush(60)
        copy = tmp_path / "copy.db"  # as the disk would look after a power cut
        copy.write_bytes(path.read_bytes())
        log = path.with_name("spool.db-wal").read_bytes()
        copy.with_name("copy.db-wal").write_bytes(log + b"\x37\x7f\x06\x82" * 300)
    with _spool(copy) as after:
        assert _seqs(after) == list(range(1, 11))


def _execute(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    db.execute(statement)
    db.commit()
    db.close()


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    _execute(path, "CREATE TABLE mine (x)")
    with pytest.raises(SpoolError, match="database of another program"), _spool(path):
        pass
    assert path.exists()


def test_a_file_that_never_was_a_spool_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "flange.npz"
    path.write_bytes(b"PK\x03\x04 the bank of a flange")
    with (
        pytest.raises(SpoolError, match=r"flange\.npz is no spool and stays as it is\. Set"),
        _spool(path),
    ):
        pass
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"PK\x03\x04 the bank of a flange"


def test_an_empty_file_becomes_a_spool(tmp_path: Path) -> None:
    (tmp_path / "spool.db").touch()
    with _spool(tmp_path / "spool.db") as spool:
        assert _put(spool, 1) == [1]
        assert spool.flush(60)


def test_a_spool_of_a_later_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with _spool(path):
        pass
    _execute(path, "PRAGMA user_version = 9")
    with pytest.raises(SpoolError, match="has format 9, this program knows 4"), _spool(path):
        pass


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with (
        pytest.raises(SpoolError, match=r"cannot be made: .* set \[spool\] path"),
        _spool(tmp_path / "file" / "spool.db"),
    ):
        pass


def test_the_folder_of_the_spool_is_made(tmp_path: Path) -> None:
    with _spool(tmp_path / "a" / "b" / "spool.db") as spool:
        assert spool.health() is None


def test_the_file_shrinks_after_a_backlog_went_out(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with _spool(path) as spool:
        _put(spool, 8000, size=1500)
        assert spool.flush(60)
        full = _disk_bytes(path)
        for _ in range(8):
            spool.published(spool.oldest(1000))
            assert spool.flush(60)
            assert eventually(lambda: not spool._gone)
    assert path.stat().st_size < full // 2


def _disk_bytes(path: Path) -> int:
    db = sqlite3.connect(path)
    pages = int(db.execute("PRAGMA page_count").fetchone()[0])
    db.close()
    return pages * 4096


_WRITER = """
import sys
from pathlib import Path
from edge_resad.device.spool import Spool
with Spool(Path(sys.argv[1]), max_bytes=1 << 30, commit_ms=1.0) as spool:
    while True:
        for _ in range(7):
            stamp = spool.put("er/v1/s/l/d/evt/c", lambda stamp: str(stamp.seq).encode() * 50, kind="fail")
        assert spool.flush(60)
        print(stamp.seq, flush=True)
"""


def test_a_kill_at_any_moment_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    said = 0
    for lines in (1, 20, 57):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert writer.stdout is not None
        for _ in range(lines):
            said = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.stdout.close()
        writer.wait()
        said = int(rest[-1]) if rest else said
        with _spool(path) as spool:
            seqs = _seqs(spool)
            assert seqs == list(range(1, len(seqs) + 1))
            assert len(seqs) >= said
            assert spool.next_seq == len(seqs) + 1


_LIMITED = """
import resource, sys, time
from pathlib import Path
from edge_resad.device.spool import Spool
rough = dict(commit_ms=0.0, reserve_bytes=0, ram_bytes=200_000, retry_s=0.01)
with Spool(Path(sys.argv[1]), max_bytes=1 << 30, **rough) as spool:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    for i in range(1000):
        spool.put("er/v1/s/l/d/evt/c", lambda stamp: bytes(1000), kind="pass" if i % 2 else "fail")
    while (said := spool.health()) is None:  # a part of what waits may still fit, and all be well for a moment
        time.sleep(0.01)
    assert not spool.flush(0.1)
    print(said)
    print(spool.dropped)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert spool.flush(60)
    print(spool.health())
    print(spool.waiting(), spool.next_seq)
"""


def test_while_the_disk_refuses_letters_wait_in_memory_and_then_go_to_the_disk(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path / "spool.db")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    health, dropped, after, counts = run.stdout.splitlines()
    assert re.search(
        r"cannot be written \(.+\): \d+ messages wait in memory. Free disk space; the line goes on", health
    )
    assert int(dropped) > 0
    assert after == "None"
    waiting, next_seq = map(int, counts.split())
    assert next_seq == 1001
    assert waiting == 1000 - int(dropped)
    with _spool(tmp_path / "spool.db") as spool:
        seqs = _seqs(spool)
    assert set(range(1, 1001, 2)) <= set(seqs)  # every failed part
    assert seqs == sorted(seqs)


_FULL_TO_THE_END = """
import resource, sys, time
from pathlib import Path
from edge_resad.device.spool import Spool
with Spool(Path(sys.argv[1]), max_bytes=1 << 30, commit_ms=0.0, reserve_bytes=0, retry_s=0.01) as spool:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    for i in range(500):
        spool.put("er/v1/s/l/d/evt/c", lambda stamp: bytes(1000), kind="fail")
    while spool.committed_seq == 0 or spool.health() is None:  # some fit, the rest does not
        time.sleep(0.01)
    assert not spool.flush(0.5)
print(spool.waiting(), spool.lost)
"""


def test_what_the_disk_never_took_is_lost_and_only_what_is_in_the_file_waits(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    command = [sys.executable, "-c", _FULL_TO_THE_END, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    waiting, lost = map(int, run.stdout.split())
    with _spool(path) as spool:
        assert waiting == len(_seqs(spool)) > 0
    assert lost == 500 - waiting > 0
    assert f"{lost} messages are lost" in run.stderr


def test_a_disk_with_no_room_for_the_reserve_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=3 * MB))
    with _spool(tmp_path / "spool.db", reserve_bytes=MB) as spool:
        for _ in range(3):
            _put(spool, 1)
            assert spool.flush(60)
    (said,) = caplog.messages
    assert "less than 4 MiB free: no reserve is kept" in said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("a small disk can only be made where mounting is allowed")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_on_a_full_disk_the_reserve_lets_old_good_parts_make_room_for_alerts(small_disk: Path) -> None:
    with _spool(small_disk / "spool.db", max_bytes=8 * MB, reserve_bytes=MB // 2) as spool:
        assert (small_disk / "spool.db.reserve").stat().st_size == MB // 2
        passes = _put(spool, 500, "pass", 1000)
        assert spool.flush(60)
        with open(small_disk / "filler", "wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize)
        alerts: list[int] = []
        for _ in range(8):
            alerts += _put(spool, 50, "alert", 1000)
            assert spool.flush(60), spool.health()
        assert "the disk of the spool" in (spool.health() or "")
        left = _seqs(spool)
        assert set(alerts) <= set(left)
        assert spool.dropped > 0
        assert spool.dropped == len(passes) + len(alerts) - len(left)
        (small_disk / "filler").unlink()
        spool.published(spool.oldest(len(left)))
        _put(spool, 1, "pass")
        assert spool.flush(60)


def test_a_station_starts_on_a_full_disk_with_its_reserve(small_disk: Path) -> None:
    path = small_disk / "spool.db"
    with _spool(path, max_bytes=8 * MB, reserve_bytes=MB // 2) as spool:
        _put(spool, 10)
    with open(small_disk / "filler", "wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize)
    with _spool(path, max_bytes=8 * MB, reserve_bytes=MB // 2) as spool:
        _put(spool, 1)
        assert spool.flush(60), spool.health()
        assert len(_seqs(spool)) == 11


def test_a_station_that_lost_its_power_while_it_set_its_outbox_aside_starts_on_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "spool.db"
    with _spool(path, max_bytes=8 * MB, reserve_bytes=MB // 2) as spool:
        _put(spool, 10)
        first = spool.stream_id
    path.with_name("spool.db.quarantine").write_text("spool.db.damaged-1\n")
    with open(small_disk / "filler", "wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize)
    with _spool(path, max_bytes=8 * MB, reserve_bytes=MB // 2) as spool:
        assert spool.stream_id != first
        _put(spool, 1)
        assert spool.flush(60), spool.health()
        assert [letter.number for letter in spool.oldest(100)] == [*range(1, 11), 1]
