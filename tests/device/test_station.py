from __future__ import annotations

import json
import logging
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

import edge_resad.device.judges as judges_module
import edge_resad.device.lane as lane_module
import edge_resad.device.open_station as station_module
from edge_resad.decision import Verdict
from edge_resad.device.drift.charts_file import read_charts
from edge_resad.device.frame import Frame
from edge_resad.device.pictures.album import find_picture
from edge_resad.device.pipeline import Inspection
from edge_resad.device.settings import OutputSection, StationFile
from edge_resad.device.spool import Letter, Spool, Stamp
from edge_resad.device.spoolfile import Changes, SpoolFile
from edge_resad.device.stages import Stages
from edge_resad.device.station import run, run_station
from edge_resad.device.summary import StationSummary
from edge_resad.device.v4l2 import V4L2Camera
from edge_resad.errors import CameraError, SettingsError, SpoolError
from edge_resad.messages import AlertMessage, Birth, NotInspected, VerdictMessage, read_message, read_thumbnail
from tests.fakes import FakeCamera, FakeDevice, FakeJudge, picture
from tests.mqtt_peers import FakeBroker, Mosquitto, Script, Subscriber, eventually, free_port
from tests.plc import Plc

GOOD, MINOR, CRITICAL = 50, 110, 200  # brightnesses against the fake judge's threshold of 100
BROKEN = 255  # breaks the fake judge
STOP_S = 30.0  # two seconds, and the machine of a test may be busy
WAIT_S = 60.0  # a deadline, not a pause
CHECKOUT = Path(__file__).parents[2]


def settings(folder: Path, **sections: dict[str, object]) -> StationFile:
    raw: dict[str, Any] = {
        "station": {"device": "press-7", "site": "berlin", "line": "a", "product": "flange"},
        "camera": {"source": "synthetic"},
        "inspection": {"bank": "bank.npz"},
        "spool": {"path": str(folder / "spool.db"), "commit_ms": 1.0},
        "log": {"verdicts": str(folder / "verdicts.jsonl")},
        "pictures": {"folder": str(folder / "pictures"), "min_free_mb": 0},
    }
    for section, keys in sections.items():
        raw[section] = {**raw.get(section, {}), **keys}
    return StationFile.model_validate(raw)


def station(
    told: StationFile,
    camera: FakeCamera,
    *,
    judge: FakeJudge | None = None,
    stop: threading.Event | None = None,
    on_inspection: Callable[[Inspection], None] | None = None,
) -> StationSummary:
    return run_station(
        told,
        stop=stop or threading.Event(),
        on_inspection=on_inspection,
        open_source=lambda _settings, _halt: camera,
        open_judge=lambda _settings: judge or FakeJudge(),
    )


def letters(folder: Path) -> list[Letter]:
    with Spool(folder / "spool.db", max_bytes=10**9) as spool:
        return spool.oldest(10_000_000)


def verdicts(folder: Path) -> list[VerdictMessage]:
    said = [read_message(letter.body) for letter in letters(folder) if "/evt/" in letter.topic]
    return [message for message in said if isinstance(message, VerdictMessage)]


def alerts(folder: Path) -> list[AlertMessage]:
    said = [read_message(letter.body) for letter in letters(folder) if "/alert/" in letter.topic]
    return [message for message in said if isinstance(message, AlertMessage)]


# What is said


def test_every_part_has_a_verdict_in_the_spool_in_order(tmp_path: Path) -> None:
    summary = station(settings(tmp_path), FakeCamera([GOOD, MINOR, GOOD, CRITICAL]))
    said = verdicts(tmp_path)
    assert [message.data.status for message in said] == ["pass", "fail", "pass", "fail"]
    assert [message.data.frame_id for message in said] == [0, 1, 2, 3]
    assert {letter.topic for letter in letters(tmp_path) if "/evt/" in letter.topic} == {
        "er/v1/berlin/a/press-7/evt/cam0"
    }
    assert {message.data.product for message in said} == {"flange"}
    assert (summary.passed, summary.failed, summary.alerts, summary.parts) == (2, 2, 2, 4)


def test_an_alert_begins_gets_worse_and_ends_under_one_id(tmp_path: Path) -> None:
    station(settings(tmp_path), FakeCamera([GOOD, MINOR, CRITICAL, GOOD]))
    said = alerts(tmp_path)
    assert [(message.data.phase, message.data.severity) for message in said] == [
        ("new", "minor"), ("update", "critical"), ("end", "critical")
    ]  # fmt: skip
    assert len({message.data.alert_id for message in said}) == 1
    assert [letter.topic for letter in letters(tmp_path) if "/alert/" in letter.topic][:2] == [
        "er/v1/berlin/a/press-7/alert/minor",
        "er/v1/berlin/a/press-7/alert/critical",
    ]


def test_an_alert_names_the_picture_that_follows_it(tmp_path: Path) -> None:
    station(settings(tmp_path), FakeCamera([MINOR, GOOD]))
    began, ended = alerts(tmp_path)
    (picture,) = [letter for letter in letters(tmp_path) if "/img/" in letter.topic]
    assert began.data.image is not None
    assert began.data.image.topic == picture.topic
    _, jpeg = read_thumbnail(picture.body)
    assert began.data.image.size_bytes == len(jpeg)
    assert picture.content_type == "image/jpeg"
    assert ended.data.image is None


def test_pictures_can_be_switched_off(tmp_path: Path) -> None:
    station(settings(tmp_path, spool={"thumbnails": False}), FakeCamera([MINOR, GOOD]))
    assert [letter for letter in letters(tmp_path) if "/img/" in letter.topic] == []
    assert [message.data.image for message in alerts(tmp_path)] == [None, None]


def test_verdicts_of_good_parts_can_be_switched_off_and_their_counts_alerts_and_log_stay(tmp_path: Path) -> None:
    told = settings(tmp_path, spool={"passes": False}, camera={"source": "folder:parts"})
    summary = station(told, FakeCamera([GOOD, MINOR, GOOD, 0]))
    assert [message.data.status for message in verdicts(tmp_path)] == ["fail", "not_inspected"]
    assert [message.data.phase for message in alerts(tmp_path)] == ["new", "end"]
    assert (summary.passed, summary.failed, len((tmp_path / "verdicts.jsonl").read_text().splitlines())) == (2, 1, 4)


def test_an_alert_goes_out_even_if_its_picture_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: object, **_keys: object) -> bytes:
        raise MemoryError("no room for a picture")

    monkeypatch.setattr(lane_module, "thumbnail", broken)
    station(settings(tmp_path), FakeCamera([MINOR, GOOD]))
    assert [message.data.phase for message in alerts(tmp_path)] == ["new", "end"]
    assert "no picture for the alert of part 0" in caplog.text


def test_an_alert_that_is_open_when_the_station_stops_is_ended(tmp_path: Path) -> None:
    station(settings(tmp_path), FakeCamera([GOOD, MINOR, MINOR]))
    assert [message.data.phase for message in alerts(tmp_path)] == ["new", "end"]


def test_the_debounce_of_the_station_file_holds_alerts_back(tmp_path: Path) -> None:
    told = settings(tmp_path, inspection={"bank": "bank.npz", "debounce_k": 2, "debounce_n": 3})
    summary = station(told, FakeCamera([MINOR, GOOD, GOOD, MINOR, MINOR, GOOD, GOOD]))
    assert summary.alerts == 1
    assert [message.data.verdict and message.data.verdict.frame_id for message in alerts(tmp_path)] == [4, 6]


def test_the_spool_hears_of_a_part_before_anybody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    class Listening(Spool):
        def put(self, topic: str, *args: Any, **keys: Any) -> Stamp:
            heard.append(topic.split("/")[5])
            return super().put(topic, *args, **keys)

    monkeypatch.setattr(station_module, "Spool", Listening)
    station(settings(tmp_path), FakeCamera([GOOD, MINOR]), on_inspection=lambda _inspection: heard.append("shown"))
    assert heard == ["evt", "shown", "evt", "alert", "img", "shown", "alert"]


def test_the_verdict_log_has_a_line_for_every_part(tmp_path: Path) -> None:
    station(settings(tmp_path), FakeCamera([GOOD, MINOR, BROKEN]))
    lines = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["pass", "fail", "not inspected"]


def test_a_station_may_keep_no_verdict_log(tmp_path: Path) -> None:
    station(settings(tmp_path, log={"verdicts": False}), FakeCamera([GOOD]))
    assert not (tmp_path / "verdicts.jsonl").exists()


# What is counted


def test_a_part_that_breaks_the_judge_is_counted_and_the_line_goes_on(tmp_path: Path) -> None:
    summary = station(settings(tmp_path), FakeCamera([GOOD, BROKEN, GOOD]))
    assert summary.not_inspected == {"inspector_error": 1}
    assert (summary.passed, summary.parts) == (2, 3)
    assert [message.data.status for message in verdicts(tmp_path)] == ["pass", "not_inspected", "pass"]
    kinds = [letter.kind for letter in letters(tmp_path) if "/evt/" in letter.topic]
    assert kinds == ["pass", "not_inspected", "pass"]  # so are they counted where room runs out


class SlowJudge(FakeJudge):
    """Does not judge before the camera has shown everything."""

    def __init__(self, camera: FakeCamera) -> None:
        super().__init__()
        self._camera = camera

    def inspect(self, frame: Any, /) -> Verdict:
        assert self._camera.hanging.wait(WAIT_S)
        return super().inspect(frame)


def test_a_slow_judge_sees_the_newest_part_of_a_live_camera_and_the_others_are_counted(tmp_path: Path) -> None:
    camera = FakeCamera([GOOD] * 49 + [MINOR], live=True, hangs=True)
    stop = threading.Event()
    seen: list[int] = []

    def last_one_stops(inspection: Inspection) -> None:
        seen.append(inspection.frame.frame_id)
        if seen[-1] == 49:
            stop.set()

    told = settings(tmp_path, inspection={"bank": "bank.npz", "max_age_s": 60.0})
    summary = station(told, camera, judge=SlowJudge(camera), stop=stop, on_inspection=last_one_stops)
    camera.released.set()
    assert summary.parts == 50
    assert summary.not_inspected["overwritten"] == 50 - len(seen)
    assert len(seen) <= 2


def test_no_part_of_a_backlog_is_too_old_or_skipped(tmp_path: Path) -> None:
    told = settings(tmp_path, inspection={"bank": "bank.npz", "max_age_s": 1e-9})
    summary = station(told, FakeCamera([GOOD] * 30))
    assert (summary.passed, summary.parts) == (30, 30)


def test_a_frame_of_a_live_camera_that_is_too_old_is_counted(tmp_path: Path) -> None:
    told = settings(tmp_path, inspection={"bank": "bank.npz", "max_age_s": 1e-9})
    summary = station(told, FakeCamera([GOOD], live=True))
    assert summary.not_inspected == {"too_old": 1}
    (said,) = verdicts(tmp_path)
    assert isinstance(said.data, NotInspected)
    assert said.data.reason == "too_old"


def test_parts_that_nobody_looked_at_because_of_the_stop_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_resad.device.handover.LEAVE_S", WAIT_S)
    stop = threading.Event()
    summary = station(settings(tmp_path), FakeCamera([GOOD] * 100), stop=stop, on_inspection=lambda _: stop.set())
    assert summary.passed == 1
    assert summary.not_inspected["stopped"] >= 1
    assert summary.parts <= 3  # at most one in the slot and one in the camera's hand


def test_a_folder_runs_from_the_first_file_to_the_last(tmp_path: Path) -> None:
    for name, brightness in (("1.png", GOOD), ("2.png", MINOR), ("10.png", GOOD)):
        cv2.imwrite(str(tmp_path / name), picture(brightness))
    (tmp_path / "3.png").write_bytes(b"no picture")
    told = settings(tmp_path, camera={"source": f"folder:{tmp_path}"})
    names: list[str | None] = []
    summary = run_station(
        told,
        stop=threading.Event(),
        on_inspection=lambda inspection: names.append(inspection.frame.name),
        open_judge=lambda _settings: FakeJudge(),
    )
    assert names == ["1.png", "2.png", "10.png"]
    assert summary.not_inspected == {"unreadable": 1}
    assert summary.parts == 4


def test_the_summary_is_a_sentence_an_operator_can_read() -> None:
    summary = StationSummary(
        passed=97, failed=2, not_inspected={"too_old": 1}, alerts=2, latency_p50_ms=9.94, latency_p99_ms=14.06,
        waiting=3, log_lines_lost=0,
    )  # fmt: skip
    assert str(summary) == (
        "100 parts: 97 passed, 2 failed; 1 not inspected (1 too old); 2 alerts; "
        "from picture to verdict 9.9 ms (p99 14.1 ms); 3 messages wait in the spool"
    )


def test_the_summary_tells_what_every_stage_took(tmp_path: Path) -> None:
    class Timed(FakeJudge):
        timings: ClassVar[dict[str, float]] = {"engine_ms": 8.0}

    summary = station(settings(tmp_path), FakeCamera([GOOD, GOOD, BROKEN]), judge=Timed())
    assert list(summary.stages) == ["waiting", "engine", "outputs", "signal", "total"]
    assert summary.stages["engine"].max == pytest.approx(8.0)
    assert "ms of each stage (p50, p95, p99, max): waiting " in str(summary)
    assert ", engine 8.00 8.00 8.00 8.00, outputs " in str(summary)


def test_a_part_without_a_verdict_is_in_no_stage_time(tmp_path: Path) -> None:
    stages = Stages()
    run_station(
        settings(tmp_path),
        stop=threading.Event(),
        open_source=lambda _settings, _halt: FakeCamera([GOOD, BROKEN, GOOD]),
        open_judge=lambda _settings: FakeJudge(),
        stages=stages,
    )
    assert {name: histogram.count for name, histogram in stages.histograms().items()} == {
        "waiting": 2, "outputs": 2, "signal": 2, "total": 2
    }  # fmt: skip


def test_the_summary_counts_one_of_a_thing_as_one() -> None:
    summary = StationSummary(
        passed=0, failed=1, not_inspected={}, alerts=1, latency_p50_ms=None, latency_p99_ms=None,
        waiting=1, lost=1, log_lines_lost=1,
    )  # fmt: skip
    assert str(summary) == (
        "1 part: 0 passed, 1 failed; 1 alert; 1 message waits in the spool; 1 message lost; "
        "1 line of the verdict log lost"
    )


# What goes wrong


def test_a_station_stops_in_time_though_its_camera_hangs_in_a_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera, stop = FakeCamera([GOOD, GOOD], hangs=True), threading.Event()
    summaries: list[StationSummary] = []
    judged = threading.Semaphore(0)

    def inspect() -> None:
        told = settings(tmp_path)
        summaries.append(station(told, camera, stop=stop, on_inspection=lambda _inspection: judged.release()))

    running = threading.Thread(target=inspect)
    running.start()
    assert camera.hanging.wait(WAIT_S)
    assert judged.acquire(timeout=WAIT_S)
    assert judged.acquire(timeout=WAIT_S)
    asked = time.monotonic()
    stop.set()
    running.join(WAIT_S)
    took_s = time.monotonic() - asked
    camera.released.set()
    assert took_s < STOP_S
    assert summaries[0].passed == 2
    assert len(verdicts(tmp_path)) == 2
    assert "the camera hangs in a read" in caplog.text


def test_a_station_goes_on_when_its_camera_disappears_and_returns(tmp_path: Path) -> None:
    devices = iter([FakeDevice([picture(GOOD)]), FakeDevice([picture(MINOR)])])
    opened: list[FakeDevice | None] = []
    stop, seen = threading.Event(), threading.Event()

    def plugged_in() -> FakeDevice:
        assert not opened or seen.wait(WAIT_S)  # or the next part would take the place of the first
        opened.append(next(devices, None))
        if opened[-1] is None:
            raise CameraError("no camera at /dev/video0")
        return opened[-1]

    def both_seen(inspection: Inspection) -> None:
        seen.set()
        if inspection.frame.frame_id == 1:
            stop.set()

    summary = run_station(
        settings(tmp_path, inspection={"max_age_s": 1000.0}),
        stop=stop,
        on_inspection=both_seen,
        open_source=lambda _settings, halt: V4L2Camera("/dev/video0", open_device=plugged_in, stop=halt),
        open_judge=lambda _settings: FakeJudge(),
    )
    assert (summary.passed, summary.failed, summary.parts) == (1, 1, 2)


def test_a_camera_that_cannot_be_opened_ends_the_station_with_its_sentence(tmp_path: Path) -> None:
    told = settings(tmp_path, camera={"source": "/dev/video987"})
    with pytest.raises(CameraError, match="no camera at /dev/video987"):
        run_station(told, stop=threading.Event(), open_judge=lambda _settings: FakeJudge())


def test_what_was_judged_before_the_camera_failed_is_not_lost(tmp_path: Path) -> None:
    class Failing(FakeCamera):
        def read(self) -> Any:
            shown = super().read()
            if shown is None:
                raise CameraError("the camera burns")
            return shown

    with pytest.raises(CameraError, match="the camera burns"):
        station(settings(tmp_path), Failing([GOOD, MINOR]))
    assert len(verdicts(tmp_path)) == 2
    assert [message.data.phase for message in alerts(tmp_path)] == ["new", "end"]


def test_the_camera_is_closed_when_the_judge_cannot_go_on(tmp_path: Path) -> None:
    camera = FakeCamera([GOOD] * 10)

    def fails(_inspection: Inspection) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        station(settings(tmp_path), camera, on_inspection=fails)
    assert eventually(lambda: camera.closed)


def test_a_synthetic_camera_needs_somebody_who_draws(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="draws no synthetic parts"):
        run_station(settings(tmp_path), stop=threading.Event(), open_judge=lambda _settings: FakeJudge())


def test_a_wrong_station_file_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no station file"):
        run(tmp_path / "station.toml")


# A station file is run


@pytest.fixture
def station_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A station that looks at a folder of three parts, one of them bad."""
    monkeypatch.setattr(judges_module, "open_inspector", lambda _settings, _beside, _last_product: FakeJudge())
    (tmp_path / "parts").mkdir()
    for number, brightness in enumerate((GOOD, MINOR, GOOD)):
        cv2.imwrite(str(tmp_path / "parts" / f"{number}.png"), picture(brightness))
    path = tmp_path / "station.toml"
    path.write_text(
        '[station]\ndevice = "press-7"\n[camera]\nsource = "folder:parts"\nloop = true\n'
        '[inspection]\nbank = "bank.npz"\n[spool]\ncommit_ms = 1.0\n'
    )
    return path


def test_a_station_file_is_run_until_its_folder_ends_and_the_end_is_said(
    station_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    station_file.write_text(station_file.read_text().replace("loop = true", "loop = false"))
    summary = run(station_file)
    assert (summary.passed, summary.failed) == (2, 1)
    assert caplog.messages[0].startswith("station press-7 inspects folder:")
    assert caplog.messages[-1] == str(summary)
    assert len(verdicts(station_file.parent)) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_and_the_handlers_before_it_are_back(station_file: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    summary = run(station_file, on_inspection=lambda _inspection: signal.raise_signal(number))
    assert summary.passed + summary.failed == 1
    assert signal.getsignal(number) is before


def test_messages_that_the_disk_did_not_take_are_lost_and_the_run_fails(
    station_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_file: SpoolFile, _changes: Changes) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(SpoolFile, "write", refuse)
    station_file.write_text(station_file.read_text().replace("loop = true", "loop = false"))
    with pytest.raises(SpoolError, match=r"^6 messages of this run could not be written to the spool .* are lost"):
        run(station_file)
    assert caplog.messages[-1].endswith("6 messages lost")  # three verdicts, an alert with its picture, and its end
    assert "wait in the spool" not in caplog.messages[-1]


def test_an_event_of_the_caller_ends_the_run(station_file: Path) -> None:
    stop = threading.Event()
    summary = run(station_file, stop=stop, on_inspection=lambda _inspection: stop.set())
    assert summary.passed + summary.failed == 1


# The broker


def test_a_station_inspects_while_the_broker_is_down_and_its_messages_wait(tmp_path: Path) -> None:
    told = settings(tmp_path, broker={"host": "127.0.0.1", "port": free_port()})
    began = time.monotonic()
    summary = station(told, FakeCamera([GOOD, MINOR, GOOD]))
    assert time.monotonic() - began < WAIT_S
    assert summary.parts == 3
    assert summary.waiting == len(letters(tmp_path)) == 6  # three verdicts, an alert with its picture, and its end


def test_a_station_stops_in_time_though_the_broker_never_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes the connection and says nothing
        told = settings(tmp_path, broker={"host": "127.0.0.1", "port": deaf.getsockname()[1]})
        camera, stop = FakeCamera([GOOD] * 3, hangs=True), threading.Event()
        asked: list[float] = []
        callers: list[socket.socket] = []

        def ask() -> None:
            assert camera.hanging.wait(WAIT_S)
            callers.append(deaf.accept()[0])
            asked.append(time.monotonic())
            stop.set()

        threading.Thread(target=ask, daemon=True).start()
        summary = station(told, camera, stop=stop)
        took_s = time.monotonic() - asked[0]
        camera.released.set()
        callers[0].close()
    assert took_s < STOP_S
    assert summary.waiting == summary.passed


def test_an_outbox_that_comes_from_another_machine_does_not_go_on_in_its_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for board in ("a", "a", "b"):
        monkeypatch.setattr("edge_resad.device.open_station.machine_ids", lambda board=board: {"board": board})
        station(settings(tmp_path), FakeCamera([GOOD]))
    streams = [letter.stream_id for letter in letters(tmp_path)]
    assert streams[0] == streams[1] != streams[2]


@pytest.mark.broker
def test_what_a_folder_gave_reaches_the_broker_before_the_station_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_resad.device.open_station.DELIVER_S", WAIT_S)
    with Mosquitto(tmp_path / "broker") as broker, Subscriber(broker.port):
        told = settings(tmp_path, broker={"host": "127.0.0.1", "port": broker.port}, spool={"ack": "broker"})
        summary = station(told, FakeCamera([GOOD, MINOR, GOOD]))
    assert summary.waiting == 0
    assert letters(tmp_path) == []


@pytest.mark.broker
def test_without_a_collector_everything_stays_in_the_spool(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        told = settings(tmp_path, broker={"host": "127.0.0.1", "port": broker.port})
        summary = station(told, FakeCamera([GOOD, MINOR, GOOD]))
    assert summary.waiting == len(letters(tmp_path)) >= 4


# The process

SCRIPT = """
import sys
from pathlib import Path

sys.path.insert(0, {checkout!r})
from edge_resad.device import station
from edge_resad.signals import stopped_by_signals
from tests.device.test_station import settings
from tests.fakes import FakeCamera, FakeJudge

def shown(inspection):
    if inspection.frame.frame_id == 20:
        print("running", flush=True)

with stopped_by_signals() as stop:
    summary = station.run_station(
        settings(Path({folder!r}), broker={{"host": "127.0.0.1", "port": {port}}}),
        stop=stop,
        on_inspection=shown,
        open_source=lambda settings, halt: FakeCamera([50] * {parts}, hangs=True),
        open_judge=lambda settings: FakeJudge(),
    )
print(summary.passed, summary.waiting, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("parts", [21, 1_000_000])  # hanging in the camera, and in full work
def test_a_station_process_stops_in_time_and_loses_nothing(tmp_path: Path, number: signal.Signals, parts: int) -> None:
    script = SCRIPT.format(checkout=str(CHECKOUT), folder=str(tmp_path), port=free_port(), parts=parts)
    running = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "running\n"
    asked = time.monotonic()
    running.send_signal(number)
    said = running.stdout.readline().split()
    assert running.wait(WAIT_S) == 0
    took_s = time.monotonic() - asked
    running.stdout.close()
    assert took_s < STOP_S
    passed, waiting = map(int, said)
    assert passed == waiting == len(letters(tmp_path))
    assert passed >= 21


# The camera's health


def test_a_black_part_is_not_inspected_and_is_counted_logged_and_signalled(tmp_path: Path) -> None:
    told = settings(tmp_path, camera={"source": "folder:parts"})
    summary = station(told, FakeCamera([GOOD, 0, GOOD]))
    assert summary.not_inspected == {"black": 1}
    assert (summary.passed, summary.parts) == (2, 3)
    assert [message.data.status for message in verdicts(tmp_path)] == ["pass", "not_inspected", "pass"]
    lines = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert [line.get("reason") for line in lines] == [None, "black", None]


def test_a_camera_that_stays_black_has_an_alert_that_ends_with_the_station(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = settings(tmp_path, camera={"source": "folder:parts"})
    camera, stop = FakeCamera([GOOD, 0], live=True, hangs=True), threading.Event()
    said_black = eventually_in_thread(lambda: "gives black pictures" in caplog.text, then=stop.set)
    station(told, camera, stop=stop)
    camera.released.set()
    said_black.join(WAIT_S)
    assert [(alert.data.phase, alert.data.fault) for alert in alerts(tmp_path)] == [("new", "black"), ("end", "black")]


def test_the_state_of_the_station_says_what_is_wrong_with_its_camera(tmp_path: Path) -> None:
    with FakeBroker(Script()) as broker:
        told = settings(tmp_path, broker={"host": "127.0.0.1", "port": broker.port}, camera={"source": "folder:parts"})
        stop = threading.Event()

        def births() -> list[Birth]:
            told = [read_message(packet.payload).data for packet in broker.packets if packet.topic.endswith("/state")]
            return [birth for birth in told if isinstance(birth, Birth)]

        class BlackAfterTheFirstState(FakeCamera):
            def read(self) -> Frame | None:
                assert self._taken != 1 or eventually(lambda: any(birth.faults is not None for birth in births()))
                return super().read()

        camera = BlackAfterTheFirstState([GOOD, 0], live=True, hangs=True)

        watching = eventually_in_thread(
            lambda: any((birth.faults or {}).get("cam0") == ("black",) for birth in births()), stop.set
        )
        station(told, camera, stop=stop)
        camera.released.set()
        watching.join(WAIT_S)
        said = [birth.faults for birth in births() if birth.faults is not None]  # None: before the first look
        assert said[0]["cam0"] == ()
        assert said[-1] == {"cam0": ("black",), "machine": ()}
        assert len({birth.bd_seq for birth in births()}) == 1


def test_a_station_says_within_two_seconds_that_its_camera_hangs_and_goes_on_with_it_opened_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Later(FakeCamera):
        """So late that the silence was said; a line that stood still meanwhile would not hear it."""

        def read(self) -> Frame | None:
            assert eventually(lambda: "camera cam0 gives no picture" in caplog.text)
            return super().read()

    cameras: list[FakeCamera] = []
    stop = threading.Event()
    times: list[float] = []

    def opened(_settings: StationFile, _halt: threading.Event) -> FakeCamera:
        cameras.append((Later if cameras else FakeCamera)([GOOD, MINOR], live=True, hangs=not cameras))
        return cameras[-1]

    def inspected(_inspection: Inspection) -> None:
        times.append(time.monotonic())
        if len(cameras) == 2:  # before a busy machine makes this one look as if it hung too
            stop.set()

    summary = run_station(
        settings(
            tmp_path,
            camera={"source": "/dev/video0"},
            watch={"frozen_s": 0},  # a fake camera has no noise
            inspection={"bank": "bank.npz", "max_age_s": 1000.0},
        ),
        stop=stop,
        on_inspection=inspected,
        open_source=opened,
        open_judge=lambda _settings: FakeJudge(),
    )
    cameras[0].released.set()
    assert len(cameras) == 2
    assert eventually(lambda: cameras[1].closed)
    assert max(np.diff(times)) < STOP_S  # with the time to open it; measured: 1.6 s
    assert [(alert.data.phase, alert.data.fault) for alert in alerts(tmp_path) if alert.data.fault] == [
        ("new", "silent"), ("end", "silent")
    ]  # fmt: skip
    assert summary.not_inspected.keys() <= {"overwritten", "stopped"}
    assert "camera cam0 gives no picture" in caplog.text
    assert "is opened again" in caplog.text


def test_an_output_that_cannot_be_set_is_an_alert_while_it_lasts(tmp_path: Path) -> None:
    with Plc() as plc:
        address = {"kind": "modbus", "host": plc.server.host, "port": plc.server.port}
        told = settings(tmp_path).model_copy(
            update={"outputs": (OutputSection.model_validate({**address, "name": "reject", "coil": 3}),)}
        )
        camera, stop = FakeCamera([GOOD], hangs=True), threading.Event()

        def lose_and_find() -> None:
            plc.wait_for(lambda: (3, False) in plc.coils)  # it judges
            plc.stop()
            eventually(lambda: any(alert.data.phase == "new" for alert in said()), WAIT_S)
            plc.start()
            eventually(lambda: any(alert.data.phase == "end" for alert in said()), WAIT_S)
            stop.set()

        def said() -> list[AlertMessage]:
            with sqlite3.connect(f"file:{tmp_path}/spool.db?mode=ro", uri=True) as db:
                bodies = db.execute("SELECT body FROM letter WHERE topic LIKE '%/alert/%' ORDER BY seq").fetchall()
            found = [read_message(body) for (body,) in bodies]
            return [message for message in found if isinstance(message, AlertMessage)]

        acting = threading.Thread(target=lose_and_find, daemon=True)
        acting.start()
        station(told, camera, stop=stop)
        camera.released.set()
        acting.join(WAIT_S)
    found = [(alert.data.phase, alert.data.camera, alert.data.fault, alert.data.severity) for alert in said()]
    assert found == [("new", "outputs", "reject", "critical"), ("end", "outputs", "reject", "critical")]
    assert len({alert.data.alert_id for alert in said()}) == 1


def eventually_in_thread(holds: Callable[[], bool], then: Callable[[], None]) -> threading.Thread:
    """Do something once something holds, or when it takes too long."""

    def wait() -> None:
        eventually(holds)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


# Pictures that stay


def test_the_picture_of_a_part_is_found_by_the_ids_of_its_verdict_and_of_its_alert(tmp_path: Path) -> None:
    told = settings(tmp_path, pictures={"passes": 1.0})
    station(told, FakeCamera([GOOD, MINOR, GOOD, BROKEN]))
    spoken = {message.data.frame_id: message.id for message in verdicts(tmp_path)}
    kept = {number: find_picture(tmp_path / "pictures", event_id) for number, event_id in spoken.items()}
    assert [picture and picture.parent.name for picture in kept.values()] == [
        "passes", "rejects", "passes", "not_inspected"
    ]  # fmt: skip
    began, ended = (find_picture(tmp_path / "pictures", alert.id) for alert in alerts(tmp_path))
    assert (began, ended) == (kept[1], kept[2])


def test_pictures_that_find_no_place_cost_no_part_and_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    told = settings(tmp_path, pictures={"folder": str(tmp_path / "file" / "pictures")})
    summary = station(told, FakeCamera([MINOR, MINOR]))
    assert (summary.failed, summary.pictures_not_kept) == (2, 2)
    assert "2 pictures not kept" in str(summary)
    assert caplog.text.count("pictures cannot be kept") == 1
    assert len(verdicts(tmp_path)) == 2


def test_the_state_says_that_pictures_are_not_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with FakeBroker(Script()) as broker:
        folder: dict[str, object] = {"folder": str(tmp_path / "file" / "pictures")}
        told = settings(tmp_path, broker={"host": "127.0.0.1", "port": broker.port}, pictures=folder)
        camera, stop = FakeCamera([MINOR], live=True, hangs=True), threading.Event()

        def problems() -> list[object]:
            told = [read_message(packet.payload).data for packet in broker.packets if packet.topic.endswith("/state")]
            return [birth.about["problems"] for birth in told if isinstance(birth, Birth) and "problems" in birth.about]

        watching = eventually_in_thread(lambda: bool(problems()), stop.set)
        station(told, camera, stop=stop)
        camera.released.set()
        watching.join(WAIT_S)
        (problem,) = {str(problem) for problem in problems()}
        assert "pictures cannot be kept" in problem


def test_a_station_may_keep_no_pictures(tmp_path: Path) -> None:
    summary = station(settings(tmp_path, pictures={"folder": False}), FakeCamera([MINOR]))
    assert summary.pictures_not_kept == 0
    assert not (tmp_path / "pictures").exists()


# Several cameras


def two_cameras(folder: Path, **sections: dict[str, object]) -> StationFile:
    raw = settings(folder, **sections).model_dump(by_alias=True)
    cameras = [{"source": "synthetic", "name": "top"}, {"source": "synthetic", "name": "side", "product": "rim"}]
    return StationFile.model_validate({**raw, "camera": cameras})


def test_the_parts_of_all_cameras_are_judged_each_under_its_name(tmp_path: Path) -> None:
    shown = {"top": FakeCamera([GOOD] * 5), "side": FakeCamera([GOOD, CRITICAL, GOOD])}
    seen: list[str] = []
    summary = run_station(
        two_cameras(tmp_path),
        stop=threading.Event(),
        open_source=lambda told, _halt: shown[told.camera.name],
        open_judge=lambda _settings: FakeJudge(),
        on_inspection=lambda inspection: seen.append(inspection.camera),
    )
    assert (summary.passed, summary.failed, summary.alerts) == (7, 1, 1)
    assert {name: tally.parts for name, tally in summary.cameras.items()} == {"top": 5, "side": 3}
    assert (seen.count("top"), seen.count("side")) == (5, 3)
    said = {(message.data.camera, message.data.product) for message in verdicts(tmp_path)}
    assert said == {("top", "flange"), ("side", "rim")}
    assert [message.data.camera for message in alerts(tmp_path)] == ["side", "side"]
    assert "top: 5 passed, 0 failed, 0 not inspected" in str(summary)


def test_a_camera_that_ends_leaves_the_others_running(tmp_path: Path) -> None:
    shown = {"top": FakeCamera([]), "side": FakeCamera([GOOD] * 20)}
    summary = run_station(
        two_cameras(tmp_path),
        stop=threading.Event(),
        open_source=lambda told, _halt: shown[told.camera.name],
        open_judge=lambda _settings: FakeJudge(),
    )
    assert summary.passed == 20


# Drift and revival


def test_a_station_charts_its_parts_and_keeps_the_charts_beside_the_spool(tmp_path: Path) -> None:
    for _ in range(2):
        station(settings(tmp_path), FakeCamera([GOOD] * 30 + [MINOR, BROKEN]))
    kept = read_charts(tmp_path / "drift" / "cam0.json")
    assert kept["flange"].figures["scores"].parts == 60
    assert kept["flange"].rejects.parts == 62
    assert kept["flange"].rejects.rejects == 2


def test_a_station_that_is_told_not_to_charts_nothing(tmp_path: Path) -> None:
    station(settings(tmp_path, drift={"on": False}), FakeCamera([GOOD] * 3))
    assert not (tmp_path / "drift").exists()


def test_a_line_that_suddenly_rejects_all_is_said_as_an_alert(tmp_path: Path) -> None:
    station(settings(tmp_path), FakeCamera([GOOD] * 50 + [MINOR] * 50))
    said = [(alert.data.phase, alert.data.severity) for alert in alerts(tmp_path) if alert.data.fault == "reject_rate"]
    assert said == [("new", "minor"), ("end", "minor")]


def test_an_engine_that_fails_again_and_again_is_opened_anew_and_the_line_goes_on(tmp_path: Path) -> None:
    judges: list[FakeJudge] = []

    def opened(_settings: StationFile) -> FakeJudge:
        judges.append(FakeJudge())
        return judges[-1]

    summary = run_station(
        settings(tmp_path),
        stop=threading.Event(),
        open_source=lambda _settings, _halt: FakeCamera([BROKEN] * 5 + [GOOD] * 3),
        open_judge=opened,
    )
    assert len(judges) == 2
    assert judges[1].seen == [GOOD] * 3
    assert (summary.passed, summary.not_inspected) == (3, {"inspector_error": 5})
