"""A process that ends at the worst moment loses nothing that was committed; some of it may come twice."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from edge_resad.device.crash_points import CRASH_CODE
from edge_resad.device.publisher import Publisher
from edge_resad.device.settings import BrokerSection, SpoolSection, StationSection
from edge_resad.device.spool import Spool
from tests.mqtt_peers import FakeBroker, Script, eventually

ROOT = Path(__file__).parents[2]
EVT = "er/v1/graz/l4/jetson-07/evt/cam0"

# Says of every letter when it is committed, and when it was acknowledged; both only after the fact.
_STATION = """
import sys
from functools import partial
from pathlib import Path
from edge_resad.device.publisher import Publisher
from edge_resad.device.settings import BrokerSection, SpoolSection, StationSection
from edge_resad.device.spool import Spool
from edge_resad.messages import Address, gap_message
address = Address(site="graz", line="l4", device="jetson-07")
path, port = Path(sys.argv[1]), int(sys.argv[2])
about = dict(gap_topic=address.gap_topic, gap_letter=partial(gap_message, address))
with Spool(path, max_bytes=200_000, commit_ms=1.0, reserve_bytes=int(sys.argv[3]), **about) as spool:
    station = StationSection(site="graz", line="l4", device="jetson-07")
    for _ in range(20):
        kinds = ("fail", "pass", "alert", "fail", "image")
        put = [spool.put(address.verdict_topic("cam0"), lambda s: s.event_id.encode(), kind=kind) for kind in kinds]
        assert spool.flush(60)
        for stamp, kind in zip(put, kinds):
            if kind in ("fail", "alert"):
                print("committed", stamp.event_id, flush=True)
        spool.tell_gaps()
    if port:
        broker = BrokerSection(host="127.0.0.1", port=port)
        with Publisher(spool, broker, station, birth={}, delivery=SpoolSection(ack="broker")):
            while spool.waiting():
                spool.flush(0.01)
        spool.put(address.verdict_topic("cam0"), lambda s: s.event_id.encode(), kind="fail")  # one commit more
        assert spool.flush(60)
    else:
        letters = spool.oldest(30)
        for letter in letters:
            spool.sent(letter)
            print("acknowledged", spool.event_id(letter), flush=True)
            stream, _, number = spool.event_id(letter).rpartition("-")
            spool.acknowledged(stream, [(int(number), int(number))])
        spool.put(address.verdict_topic("cam0"), lambda s: s.event_id.encode(), kind="fail")
        assert spool.flush(60)
"""


def run(path: Path, point: str, *, port: int = 0, reserve: int = 0) -> tuple[int, set[str], set[str]]:
    """A station that runs until its crash point: exit code, events that were committed, and acknowledged ones."""
    environment = {**os.environ, "EDGE_RESAD_CRASH_AT": point}
    command = [sys.executable, "-c", _STATION, str(path), str(port), str(reserve)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT, env=environment)
    assert done.returncode in (0, CRASH_CODE), done.stderr
    said = [line.split() for line in done.stdout.splitlines()]
    of = {word: {event for what, event in said if what == word} for word in ("committed", "acknowledged")}
    return done.returncode, of["committed"], of["acknowledged"]


def there(path: Path) -> list[str]:
    """The events in a spool."""
    with Spool(path, max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0) as spool:
        return [letter.body.decode() for letter in spool.oldest(10_000) if letter.kind != "gap"]


@pytest.mark.parametrize("point", ["before-insert:7", "before-commit:7", "after-commit:7", "after-ack:5"])
def test_what_was_committed_is_there_after_a_crash(tmp_path: Path, point: str) -> None:
    path = tmp_path / "spool.db"
    committed, acknowledged, left = set[str](), set[str](), list[str]()
    for _ in range(3):
        code, new, gone = run(path, point)
        assert code == CRASH_CODE
        committed |= new
        acknowledged |= gone
        left = there(path)
        assert committed - acknowledged <= set(left)
        assert len(left) == len(set(left))
    assert committed


@pytest.mark.parametrize("point", ["after-publish:25", "after-commit:22"])
def test_what_was_sent_before_a_crash_comes_again_and_nothing_is_missing(tmp_path: Path, point: str) -> None:
    path = tmp_path / "spool.db"
    committed = set[str]()
    with FakeBroker(Script()) as broker:
        for _ in range(2):
            code, new, _ = run(path, point, port=broker.port)
            assert code == CRASH_CODE
            committed |= new
        with Spool(path, max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0) as spool:
            station = StationSection(site="graz", line="l4", device="jetson-07")
            section = BrokerSection(host="127.0.0.1", port=broker.port)
            with Publisher(spool, section, station, birth={}, delivery=SpoolSection(ack="broker")):
                assert eventually(lambda: spool.waiting() == 0)
        came = {packet.payload.decode() for packet in broker.letters() if packet.topic == EVT}
    assert committed <= came


QUARANTINE_POINTS = (
    *("quarantine-marked", "quarantine-begun", "quarantine-begun:2", "quarantine-moved", "salvage-begun"),
    *("salvage-written", "salvage-told", "quarantine-salvaged", "quarantine-ended"),
)


@pytest.mark.parametrize("point", QUARANTINE_POINTS)
def test_a_crash_while_a_damaged_file_is_set_aside_costs_none_of_what_can_be_read(tmp_path: Path, point: str) -> None:
    path = tmp_path / "spool.db"
    _, committed, acknowledged = run(path, "after-commit:30")
    note = path.with_name("spool.db.lock")  # says that the stream had come further: the file lost its end
    pid, (stream, next_seq, bd_seq) = note.read_text().split()[0], note.read_text().split()[1:]
    note.write_text(f"{pid}\n{stream} {int(next_seq) + 3} {bd_seq}\n")
    code, new, _ = run(path, point)
    assert code == CRASH_CODE
    assert new == set()
    code, _, gone = run(path, "nowhere")
    assert code == 0
    events = there(path)
    assert len(events) == len(set(events))
    assert len(gone & committed) > 10  # letters of the old stream are acknowledged as such, and leave
    assert not gone & set(events)
    acknowledged |= gone
    assert committed - acknowledged <= set(events)
    assert len(list(tmp_path.glob("spool.db.damaged-*"))) >= 1
    assert not path.with_name("spool.db.quarantine").exists()


def run_file(path: Path, then: str = "pass", crash_at: str = "nowhere") -> None:
    """Open the file itself, in a process of its own, and do something with it, until its crash point."""
    script = "import sys; from pathlib import Path; from edge_resad.device.spoolfile import SpoolFile\n"
    script += "about = dict(max_bytes=1 << 26, reserve_bytes=0, machine={'machine': 'm1'})\n"
    script += f"with SpoolFile(Path(sys.argv[1]), **about) as file: {then}"
    environment = {**os.environ, "EDGE_RESAD_CRASH_AT": crash_at}
    done = subprocess.run([sys.executable, "-c", script, str(path)], timeout=100, cwd=ROOT, env=environment)
    assert done.returncode == (0 if crash_at == "nowhere" else CRASH_CODE)


def put_five(path: Path) -> tuple[str, list[str]]:
    """Five letters; their stream and what they say."""
    with Spool(path, max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0) as spool:
        said = [spool.put(EVT, lambda stamp: stamp.event_id.encode(), kind="fail").event_id for _ in range(5)]
        assert spool.flush(60)
        return spool.stream_id, said


def sql(path: Path, script: str) -> list[tuple[object, ...]]:
    """Look into a file, or change it, while nobody has it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        *changes, asked = script.split(";")
        db.executescript(";".join(changes))
        return db.execute(asked).fetchall()


@pytest.mark.parametrize("point", QUARANTINE_POINTS)
def test_a_crash_while_a_file_that_forgot_its_stream_is_set_aside_mixes_no_streams_up(
    tmp_path: Path, point: str
) -> None:
    path = tmp_path / "spool.db"
    stream_id, said = put_five(path)
    sql(path, "DELETE FROM stream; SELECT 1")
    run_file(path, crash_at=point)
    with Spool(path, max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0) as spool:
        assert spool.stream_id != stream_id
        assert [spool.event_id(letter) for letter in spool.oldest(100)] == said
        for letter in spool.oldest(100):
            spool.sent(letter)
        spool.acknowledged(stream_id, [(1, 5)])
        assert spool.flush(60)
        assert eventually(lambda: spool.waiting() == 0)
    gaps = sql(path, "SELECT previous, first, last FROM gap")
    assert set(gaps) <= {(stream_id, 0, 0)}  # something may be lost, and nobody knows what; no letter is called lost


@pytest.mark.parametrize("point", ["before-made", "after-made", "before-machine-noted", "after-machine-noted"])
def test_a_crash_while_a_file_is_made_leaves_one_that_can_be_used(tmp_path: Path, point: str) -> None:
    path = tmp_path / "spool.db"
    said = put_five(path)[1] if "noted" in point else []
    run_file(path, crash_at=point)
    run_file(path)
    ((stream_id, machine),) = sql(path, "SELECT stream_id, machine FROM stream")
    assert json.loads(str(machine)) == {"machine": "m1"}
    assert there(path) == said
    assert all(event.startswith(str(stream_id)) for event in said)
    assert put_five(path)[0] == stream_id
    assert list(tmp_path.glob("*damaged*")) == []


_OLDER = (
    "DROP TABLE gap; DROP TABLE earlier; DROP TABLE open_alert; ALTER TABLE stream DROP COLUMN machine; "
    "ALTER TABLE letter DROP COLUMN crc; PRAGMA user_version = 1; SELECT 1"
)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("point", ["before-migration", "after-migration"])
def test_a_crash_while_an_older_file_is_brought_up_to_date_costs_nothing(
    tmp_path: Path, point: str, times: int
) -> None:
    path = tmp_path / "spool.db"
    stream_id, said = put_five(path)
    sql(path, _OLDER)
    run_file(path, crash_at=f"{point}:{times}")
    assert sql(path, "PRAGMA user_version") == [(times if point == "before-migration" else times + 1,)]
    assert there(path) == said
    assert sql(path, "PRAGMA user_version") == [(4,)]
    again, more = put_five(path)
    assert again == stream_id
    assert there(path) == [*said, *more]
    assert list(tmp_path.glob("*damaged*")) == []


@pytest.mark.parametrize("point", ["stranger-told"])
def test_a_crash_while_a_foreign_file_is_found_still_tells_what_is_missing(tmp_path: Path, point: str) -> None:
    path, other = tmp_path / "spool.db", tmp_path / "other.db"
    stream_id, _ = put_five(path)
    other_id, said = put_five(other)
    other.replace(path)
    run_file(path, crash_at=point)
    assert there(path) == said
    assert sql(path, "SELECT stream_id FROM stream") == [(other_id,)]
    assert set(sql(path, "SELECT previous, first, last FROM gap")) == {(stream_id, 1, 5)}
    run_file(path)
    assert len(sql(path, "SELECT 1 FROM gap")) <= 2  # said once more at most


_DELIVERS = """[
    file.write(Changes(new=[Letter(seq=seq, topic="t", content_type="", kind="fail", body=bytes(60_000))
                            for seq in range(1, 131)], next_seq=131, bd_seq=0)),
    file.write(Changes(stored=[(1, 127)], next_seq=131, bd_seq=0)),
    file.write(Changes(stored=[(128, 128)], next_seq=131, bd_seq=0)),
]"""


@pytest.mark.parametrize("point", ["before-pages-go", "after-pages-go"])
def test_a_crash_while_room_is_given_back_to_the_disk_costs_nothing(tmp_path: Path, point: str) -> None:
    path = tmp_path / "spool.db"
    delivers = "from edge_resad.device.spoolfile import Changes, Letter; " + _DELIVERS
    run_file(path, then=" ".join(delivers.split()), crash_at=f"{point}:2")
    with Spool(path, max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0) as spool:
        assert [letter.seq for letter in spool.oldest(10)] == [129, 130]
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]
    assert list(tmp_path.glob("*damaged*")) == []


@pytest.mark.parametrize("point", ["before-settle", "after-settle"])
@pytest.mark.parametrize("verb", ["retry_dead", "drop_dead"])
def test_a_crash_while_dead_letters_are_settled_settles_all_or_none(tmp_path: Path, point: str, verb: str) -> None:
    path = tmp_path / "spool.db"
    with Spool(path, max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0) as spool:
        for _ in range(5):
            spool.put(EVT, lambda stamp: stamp.event_id.encode(), kind="fail")
        assert spool.flush(60)
        for letter in spool.oldest(3):
            spool.refused(letter, "never")
    run_file(path, then=f"file.{verb}([])", crash_at=point)
    with Spool(path, max_bytes=1 << 26, commit_ms=1.0, reserve_bytes=0) as spool:
        settled = point == "after-settle"
        assert spool.dead == (0 if settled else 3)
        assert len(spool.oldest(10)) == (5 if settled and verb == "retry_dead" else 2)
        assert spool.dropped == (3 if settled and verb == "drop_dead" else 0)


_FILLS_ITS_DISK = """
import sys
from pathlib import Path
from edge_resad.device.spool import Spool
with Spool(Path(sys.argv[1]), max_bytes=1 << 40, commit_ms=1.0, reserve_bytes=0) as spool:
    for _ in range(400):
        put = [spool.put("t", lambda s: s.event_id.encode().ljust(1000), kind=kind) for kind in ("fail", *["pass"] * 9)]
        assert spool.flush(60)
        print(put[0].event_id, flush=True)
"""


@pytest.mark.parametrize("point", ["before-shed", "after-shed"])
def test_a_crash_while_good_parts_make_room_on_a_full_disk_costs_no_failed_part(tmp_path: Path, point: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a small disk can only be made where mounting is allowed")
    try:
        environment = {**os.environ, "EDGE_RESAD_CRASH_AT": point}
        command = [sys.executable, "-c", _FILLS_ITS_DISK, str(disk / "spool.db")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT, env=environment)
        assert done.returncode == CRASH_CODE, done.stderr
        failed = set(done.stdout.split())
        assert failed
        copy = tmp_path / "copy"
        shutil.copytree(disk, copy)
        with Spool(copy / "spool.db", max_bytes=1 << 40, commit_ms=1.0, reserve_bytes=0) as spool:
            left = {letter.body.decode().strip() for letter in spool.oldest(10_000)}
            assert failed <= left
            assert bool(spool.dropped) is (point == "after-shed")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("point", ["reserve-released"])
def test_a_crash_while_the_reserve_is_given_up_costs_nothing(tmp_path: Path, point: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a small disk can only be made where mounting is allowed")
    try:
        path = disk / "spool.db"
        assert run(path, "nowhere", reserve=16 << 10)[0] == 0
        before = set(there(path))
        (disk / "spool.db.reserve").write_bytes(bytes(16 << 10))
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
        with open(disk / "filler", "wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, free)
        code, committed, acknowledged = run(path, point, reserve=16 << 10)
        assert code == CRASH_CODE
        assert not (disk / "spool.db.reserve").exists()
        (disk / "filler").unlink()
        after = set(there(path))
        assert committed - acknowledged <= after
        assert {event for event in before if event in after} == before - acknowledged
    finally:
        subprocess.run(["umount", str(disk)], check=True)
