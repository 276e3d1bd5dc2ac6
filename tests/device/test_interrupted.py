"""A station that is killed leaves no alert open: its next start ends what it could not end, and each alert once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from edge_resad.device.crash_points import CRASH_CODE
from edge_resad.device.post import end_interrupted
from edge_resad.device.spool import Spool
from edge_resad.device.spool_look import look
from edge_resad.errors import SpoolError
from edge_resad.messages import (
    Address,
    Alert,
    AlertMessage,
    NotInspected,
    Phase,
    Stamp,
    Verdict,
    VerdictMessage,
    fault_message,
    read_message,
)
from tests.mqtt_peers import eventually

ROOT = Path(__file__).parents[2]
ADDRESS = Address(site="berlin", line="a", device="press-7")
WAIT_S = 60.0  # a deadline, not a pause

# One camera shows a bad part after the other, one is black; or, when all is well again, both show good parts.
_STATION = """
import sys, threading
from pathlib import Path
from edge_resad.device.settings import StationFile
from edge_resad.device.station import run_station
from tests.device.commanded import GOOD, Running, station_file
from tests.fakes import FakeJudge
folder, well = Path(sys.argv[1]), sys.argv[2] == "well"
told = station_file(folder, 1).model_dump(exclude_unset=True, mode="json")
cameras = [{"source": "/dev/video0", "name": "left"}, {"source": "/dev/video1", "name": "right"}]
told |= {"drift": {"on": False}, "camera": cameras}
del told["broker"], told["cameras"]
seen, stop = set(), threading.Event()
def opened(told, halt):
    camera = Running(halt)
    camera.brightness = GOOD if well else {"left": 200, "right": 0}[told.camera.name]
    return camera
def inspected(inspection):
    seen.add(inspection.camera)
    if well and seen == {"left", "right"}:
        stop.set()
run_station(StationFile.model_validate(told), stop=stop, open_source=opened, open_judge=lambda _: FakeJudge(),
            on_inspection=inspected)
"""


Message = Alert | Verdict | NotInspected


def begun(folder: Path, how: str, crash_at: str | None = None) -> subprocess.Popen[bytes]:
    """A station in a process of its own."""
    environment = {**os.environ, **({"EDGE_RESAD_CRASH_AT": crash_at} if crash_at else {})}
    return subprocess.Popen([sys.executable, "-c", _STATION, str(folder), how], cwd=ROOT, env=environment)


def alerts_written(folder: Path) -> int:
    try:
        return sum(count for kind, count, _ in look(folder / "spool.db").waiting if kind == "alert")
    except SpoolError:  # not yet
        return 0


def said(folder: Path) -> list[Message]:
    with Spool(folder / "spool.db", max_bytes=10**9, reserve_bytes=0) as spool:
        messages = [read_message(letter.body) for letter in spool.oldest(100_000) if letter.kind != "image"]
    return [message.data for message in messages if isinstance(message, AlertMessage | VerdictMessage)]


def of_alerts(messages: Sequence[Message]) -> list[Alert]:
    return [message for message in messages if isinstance(message, Alert)]


def test_a_station_that_is_killed_ends_its_alerts_with_the_next_start_and_each_of_them_once(tmp_path: Path) -> None:
    with begun(tmp_path, "ill") as station:
        try:
            # Of a bad part, and of a black camera.
            assert eventually(lambda: alerts_written(tmp_path) >= 2 or station.poll() is not None, WAIT_S)
            assert station.poll() is None
        finally:
            station.send_signal(signal.SIGKILL)
    before = said(tmp_path)
    left = {(alert.alert_id, alert.camera, alert.fault) for alert in of_alerts(before)}
    assert {(camera, fault) for _, camera, fault in left} == {("left", None), ("right", "black")}
    assert {alert.phase for alert in of_alerts(before)} == {"new"}

    for point in ("before-commit", "after-commit"):  # killed while it says so, and killed again when it has said so
        with begun(tmp_path, "well", crash_at=point) as station:
            assert station.wait(WAIT_S) == CRASH_CODE
    with begun(tmp_path, "well") as station:
        assert station.wait(WAIT_S) == 0

    after = said(tmp_path)[len(before) :]
    ended = of_alerts(after)
    assert {(alert.alert_id, alert.camera, alert.fault) for alert in ended} == left
    assert len(ended) == len(left)
    assert {(alert.phase, alert.reason, alert.image) for alert in ended} == {("end", "interrupted", None)}
    first_part = next(message.seq for message in after if not isinstance(message, Alert))
    assert max(alert.seq for alert in ended) < first_part


# What the outbox knows of them


def spool_of(path: Path, **settings: float) -> Spool:
    chosen: dict[str, float] = {"max_bytes": 1 << 26, "commit_ms": 1.0, "reserve_bytes": 0, "retry_s": 0.05, **settings}
    return Spool(path, **chosen)  # type: ignore[arg-type]


def say(spool: Spool, phase: Phase, alert_id: str | None = None) -> str:
    """One message of a camera's alert; the alert's id."""

    def compose(stamp: Stamp) -> bytes:
        about = {"product": "flange", "camera": "cam0", "severity": "critical", "fault": "black"}
        return fault_message(ADDRESS, stamp, phase=phase, alert_id=alert_id, **about)  # type: ignore[arg-type]

    stamp = spool.put(ADDRESS.alert_topic("critical"), compose, alert=(alert_id, phase))
    assert spool.flush(WAIT_S)
    return alert_id or stamp.event_id


def test_an_alert_is_known_to_be_open_when_every_message_of_it_has_long_been_delivered(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        lasting, over = say(spool, "new"), say(spool, "new")
        say(spool, "update", lasting)
        say(spool, "end", over)
        spool.published(spool.oldest(10))
        assert spool.flush(WAIT_S)
    with spool_of(path) as spool:
        assert set(spool.left_open) == {lasting}
        end_interrupted(spool, ADDRESS)
        assert spool.flush(WAIT_S)
        assert eventually(lambda: len(spool.oldest(10)) == 1)
        (end,) = (read_message(letter.body).data for letter in spool.oldest(10))
        assert isinstance(end, Alert)
        assert (end.alert_id, end.phase, end.reason, end.fault) == (lasting, "end", "interrupted", "black")
    with spool_of(path) as spool:
        assert spool.left_open == {}


def test_an_alert_of_which_nothing_reached_the_disk_is_not_ended(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path, ram_bytes=16, commit_ms=WAIT_S * 1e3) as spool:  # no room in memory, and no commit meanwhile
        topic = ADDRESS.alert_topic("critical")
        stamp = spool.put(topic, lambda stamp: b"new", alert=(None, "new"))
        assert spool.lost == 1
    with spool_of(path) as spool:
        assert spool.next_seq == stamp.seq + 1
        assert spool.left_open == {}
        end_interrupted(spool, ADDRESS)
        assert spool.next_seq == stamp.seq + 1


def test_an_open_alert_outlives_the_damage_of_its_outbox(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        alert_id, stream_id = say(spool, "new"), spool.stream_id
    note = path.with_name("spool.db.lock")  # says that the stream had come further: the file lost its end
    pid, stream, next_seq, bd_seq = note.read_text().split()
    note.write_text(f"{pid}\n{stream} {int(next_seq) + 1} {bd_seq}\n")
    with spool_of(path) as spool:
        assert spool.stream_id != stream_id
        assert set(spool.left_open) == {alert_id}
        end_interrupted(spool, ADDRESS)
    with spool_of(path) as spool:
        assert spool.left_open == {}


def test_an_alert_that_is_open_while_its_outbox_is_damaged_is_known_in_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        alert_id, other, stream_id = say(spool, "new"), say(spool, "new"), spool.stream_id
        for name in ("spool.db-wal", "spool.db"):
            os.truncate(path.with_name(name), 0)  # nothing of it can be read any more

        def goes_on() -> bool:
            spool.put("t", lambda stamp: b"1")
            with suppress(SpoolError):
                spool.oldest(1000)
            return spool.stream_id != stream_id

        assert eventually(goes_on, WAIT_S)
        say(spool, "end", other)
    with spool_of(path) as spool:
        assert set(spool.left_open) == {alert_id}


def test_an_outbox_that_was_emptied_is_set_aside_with_the_first_message_after_somebody_read_it(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        alert_id, stream_id = say(spool, "new"), spool.stream_id
        for name in ("spool.db-wal", "spool.db"):
            os.truncate(path.with_name(name), 0)
        with pytest.raises(SpoolError):
            spool.oldest(10)
        spool.put("t", lambda stamp: b"1")
        assert eventually(lambda: spool.stream_id != stream_id, WAIT_S)
    with spool_of(path) as spool:
        assert set(spool.left_open) == {alert_id}


def test_a_spool_from_before_alerts_were_noted_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        say(spool, "new")
        stream_id = spool.stream_id
    db = sqlite3.connect(path)
    db.executescript("DROP TABLE open_alert; ALTER TABLE stream DROP COLUMN machine; PRAGMA user_version = 2")
    db.close()
    with spool_of(path) as spool:
        assert (spool.stream_id, spool.left_open, spool.waiting()) == (stream_id, {}, 1)
        alert_id = say(spool, "new")
    with spool_of(path) as spool:
        assert set(spool.left_open) == {alert_id}


def test_an_alert_of_another_station_in_an_outbox_that_was_copied_is_not_ended(tmp_path: Path) -> None:
    with spool_of(tmp_path / "spool.db") as spool:
        say(spool, "new")
    with spool_of(tmp_path / "spool.db") as spool:
        end_interrupted(spool, Address(site=ADDRESS.site, line=ADDRESS.line, device="press-8"))
        assert spool.waiting() == 1
        end_interrupted(spool, ADDRESS)
        assert spool.waiting() == 2


def test_an_open_alert_that_cannot_be_read_is_said_and_stops_no_station(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "spool.db"
    with spool_of(path) as spool:
        spool.put(ADDRESS.alert_topic("critical"), lambda stamp: b"{", alert=("a1", "new"))
        whole = say(spool, "new")
    with spool_of(path) as spool:
        end_interrupted(spool, ADDRESS)
        assert spool.flush(WAIT_S)
        assert [letter.body for letter in spool.oldest(10)][-1].count(whole.encode()) == 1
    assert "the open alert a1 cannot be read" in caplog.text
