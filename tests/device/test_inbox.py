"""A folder that somebody else fills: every new file is a part, once, and only when it is whole."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_resad.device.camera import open_camera
from edge_resad.device.inbox import InboxCamera
from edge_resad.device.pipeline import Inspection
from edge_resad.device.settings import CameraSection, StationFile
from edge_resad.device.station import run_station
from edge_resad.errors import CameraError
from tests.fakes import FakeClock, FakeJudge

GOOD = 50


class Steps(threading.Event):
    """A stop event on which waiting takes no time but does what somebody else does meanwhile, one step a wait."""

    def __init__(self, clock: FakeClock, steps: list[Callable[[], object]]) -> None:
        super().__init__()
        self._clock = clock
        self._steps = steps
        self._idle = 0

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.now += timeout or 0.0
        if self._steps:
            self._steps.pop(0)()
        else:
            self._idle += 1
            if self._idle > 40:  # four seconds in which nothing came
                self.set()
        return self.is_set()


def jpeg(brightness: int) -> bytes:
    good, encoded = cv2.imencode(".jpg", np.full((64, 64, 3), brightness, np.uint8))
    assert good
    return encoded.tobytes()


def parts(folder: Path, *steps: Callable[[], object]) -> tuple[list[tuple[str | None, int]], InboxCamera]:
    """Name and brightness of every part that a folder gives while the steps are done."""
    clock = FakeClock()
    camera = InboxCamera(folder, stop=Steps(clock, list(steps)), clock=clock)
    found: list[tuple[str | None, int]] = []
    with camera:
        while (shown := camera.read()) is not None:
            assert shown.frame_id == len(found) + camera.unreadable
            found.append((shown.name, round(float(shown.image.mean()))))
    return found, camera


def nothing() -> None: ...


def put(path: Path, content: bytes) -> Callable[[], object]:
    return lambda: path.write_bytes(content)


def test_files_that_come_are_parts_in_the_order_of_their_arrival_and_old_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "old.jpg").write_bytes(jpeg(1))
    found, _ = parts(tmp_path, put(tmp_path / "b.jpg", jpeg(20)), nothing, put(tmp_path / "a.jpg", jpeg(10)))
    assert found == [("b.jpg", 20), ("a.jpg", 10)]


def test_many_files_at_once_are_all_shown(tmp_path: Path) -> None:
    def many() -> None:
        for number in range(50):
            (tmp_path / f"{number:02}.jpg").write_bytes(jpeg(number))

    found, _ = parts(tmp_path, many)
    assert [name for name, _ in found] == [f"{number:02}.jpg" for number in range(50)]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_file_that_is_still_being_written_is_waited_for(tmp_path: Path, suffix: str) -> None:
    _, encoded = cv2.imencode(suffix, np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8))
    whole, path = encoded.tobytes(), tmp_path / f"a{suffix}"
    halves = [put(path, whole[: len(whole) * share // 4]) for share in (1, 2, 3)]
    slow = [step for half in halves for step in (half, nothing, nothing, nothing, nothing, nothing)]
    found, camera = parts(tmp_path, *slow, put(path, whole))
    assert [name for name, _ in found] == [path.name]
    assert camera.unreadable == 0


def test_a_part_was_there_when_its_file_came_however_long_it_waits(tmp_path: Path) -> None:
    clock = FakeClock(100.0)
    came: dict[str | None, float] = {}

    def some() -> None:
        (tmp_path / "a.jpg").write_bytes(jpeg(1))
        (tmp_path / "b.jpg").write_bytes(jpeg(2))
        (tmp_path / "c.jpg").write_bytes(jpeg(3)[:300])
        came.update(dict.fromkeys(("a.jpg", "b.jpg", "c.jpg"), clock.now))

    camera = InboxCamera(tmp_path, stop=Steps(clock, [some]), clock=clock)
    shown = []
    with camera:
        while (one := camera.read()) is not None:
            shown.append(one)
            clock.now += 3.0  # the inspection of a part
            if one.name == "a.jpg":
                (tmp_path / "d.jpg").write_bytes(jpeg(4))
                came["d.jpg"] = clock.now
    assert [one.name for one in shown] == ["a.jpg", "b.jpg", "d.jpg"]
    assert [one.captured_mono for one in shown] == [came[one.name] for one in shown]
    assert [one.captured_wall - clock.wall() for one in shown] == pytest.approx(
        [one.captured_mono - clock.monotonic() for one in shown]
    )
    assert list(camera.unseen.take()) == [("unreadable", came["c.jpg"])]


def test_a_file_that_came_while_nobody_looked_was_there_when_it_was_written(tmp_path: Path) -> None:
    class SetClock(FakeClock):  # its wall clock is that of the file system, but for what it was put on
        def wall(self) -> float:
            return began + self.now

    began = time.time() - 150.0
    clock = SetClock(100.0)
    with InboxCamera(tmp_path, stop=Steps(clock, []), clock=clock) as camera:
        (tmp_path / "a.jpg").write_bytes(jpeg(1))  # 50 s later
        clock.now += 100_000.0  # the inspection hangs
        shown = camera.read()
    assert shown is not None
    assert 140.0 < shown.captured_mono < 100_000.0


@pytest.mark.parametrize(("judges", "stopped"), [(20, {}), (3, {"stopped": 17})])
def test_none_of_the_files_that_pile_up_is_too_old_to_be_judged_and_what_is_left_is_counted(
    tmp_path: Path, judges: int, stopped: dict[str, int]
) -> None:
    folder, stop = tmp_path / "parts", threading.Event()
    folder.mkdir()

    class Filled(InboxCamera):
        def __enter__(self) -> InboxCamera:
            super().__enter__()
            for number in range(20):
                (folder / f"{number:02}.jpg").write_bytes(jpeg(GOOD))
            return self

    judged: list[str | None] = []

    def count(inspection: Inspection) -> None:
        judged.append(inspection.frame.name)
        if len(judged) == judges:
            stop.set()

    told = StationFile.model_validate(
        {
            "station": {"device": "press-7"},
            "camera": {"source": f"folder:{folder}", "watch": True},
            "inspection": {"bank": "none.npz", "max_age_s": 0.001},  # every file waits longer until it is whole
            "spool": {"path": str(tmp_path / "spool.db"), "commit_ms": 1.0},
            "log": {"verdicts": False},
        }
    )
    summary = run_station(
        told,
        stop=stop,
        open_source=lambda _told, halt: Filled(folder, stop=halt),
        open_judge=lambda _told: FakeJudge(),
        on_inspection=count,
    )
    assert (summary.passed, dict(summary.not_inspected)) == (judges, stopped)


def test_a_file_that_is_renamed_into_the_folder_is_a_part(tmp_path: Path) -> None:
    part = tmp_path / ".a.jpg.part"
    found, _ = parts(tmp_path, put(part, jpeg(9)), nothing, nothing, lambda: part.rename(tmp_path / "a.jpg"))
    assert found == [("a.jpg", 9)]


def test_a_file_that_is_written_again_is_a_new_part(tmp_path: Path) -> None:
    path = tmp_path / "current.jpg"
    pause = [nothing] * 4

    def put_again() -> None:  # of the same size; and some file systems know milliseconds alone
        path.write_bytes(jpeg(200))
        os.utime(path, (time.time() + 1.0,) * 2)

    found, _ = parts(tmp_path, put(path, jpeg(5)), *pause, put_again, *pause)
    assert found == [("current.jpg", 5), ("current.jpg", 200)]


def test_a_file_that_stays_broken_is_counted_and_holds_up_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found, camera = parts(tmp_path, put(tmp_path / "a.jpg", jpeg(5)[:300]), put(tmp_path / "b.jpg", jpeg(6)))
    assert found == [("b.jpg", 6)]
    assert camera.unreadable == 1
    assert [record.message.split(" ends in")[0] for record in caplog.records] == [str(tmp_path / "a.jpg")]


def test_other_files_are_no_parts(tmp_path: Path) -> None:
    found, camera = parts(
        tmp_path, put(tmp_path / "a.txt", b"text"), put(tmp_path / ".b.jpg", jpeg(1)), (tmp_path / "c.jpg").mkdir
    )
    assert (found, camera.unreadable) == ([], 0)


def test_a_folder_that_goes_away_is_said_once_and_looked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "parts"
    folder.mkdir()
    found, _ = parts(folder, folder.rmdir, nothing, nothing, folder.mkdir, put(folder / "a.jpg", jpeg(7)))
    assert found == [("a.jpg", 7)]
    assert [record.message.split(" ", 3)[3] for record in caplog.records] == [
        "cannot be read: No such file or directory. Looking until it can", "can be read again"
    ]  # fmt: skip


def rewritten(path: Path) -> None:
    path.write_bytes(jpeg(7))
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 5.0))  # some time later


@pytest.mark.parametrize(("then", "left"), [(Path.unlink, []), (rewritten, [("b.jpg", 7)])])
def test_what_is_removed_or_written_over_before_it_was_read_is_a_part_that_was_not_inspected(
    tmp_path: Path, then: Callable[[Path], None], left: list[tuple[str, int]]
) -> None:
    clock = FakeClock(100.0)

    def some() -> None:
        (tmp_path / "a.jpg").write_bytes(jpeg(1))
        (tmp_path / "b.jpg").write_bytes(jpeg(2))

    camera = InboxCamera(tmp_path, stop=Steps(clock, [some]), clock=clock)
    with camera:
        assert camera.read() is not None
        clock.now += 3.0  # the inspection of the part
        then(tmp_path / "b.jpg")
        shown = []
        while (one := camera.read()) is not None:
            shown.append((one.name, round(float(one.image.mean()))))
    assert shown == left
    assert [reason for reason, _ in camera.unseen.take()] == ["unreadable"]


def test_a_file_that_was_not_whole_yet_and_went_was_no_part(tmp_path: Path) -> None:
    path, pause = tmp_path / "a.tmp.jpg", [nothing] * 4
    steps = [put(path, jpeg(5)[:300]), *pause, lambda: rewritten(path), lambda: path.rename(tmp_path / "a.jpg"), *pause]
    found, camera = parts(tmp_path, *steps)
    assert (found, camera.unreadable) == ([("a.jpg", 7)], 0)


def test_what_left_the_folder_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    _, camera = parts(tmp_path, put(path, jpeg(5)), nothing, nothing, nothing, path.unlink, nothing)
    assert camera._files == {}


def behind(
    folder: Path, clock: FakeClock, *steps: Callable[[], object], inspection_s: float = 3.0
) -> tuple[list[str | None], InboxCamera]:
    """The parts that a folder gives to a slow inspection, which takes one more than there are steps."""
    camera, found = InboxCamera(folder, stop=Steps(clock, []), clock=clock), list[str | None]()
    with camera:
        for number in range(3):
            (folder / f"{number}.jpg").write_bytes(jpeg(number))
        for step in (*steps, nothing):
            shown = camera.read()
            found.append(None if shown is None else shown.name)
            clock.now += inspection_s
            step()
    return found, camera


@pytest.mark.parametrize("change", ["taken away", "written again"])
def test_a_part_whose_file_is_taken_away_or_written_again_before_its_turn_is_counted(
    tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    last = tmp_path / "2.jpg"
    spoil = last.unlink if change == "taken away" else put(last, jpeg(200))
    found, camera = behind(tmp_path, FakeClock(), nothing, spoil)
    assert found == ["0.jpg", "1.jpg", None if change == "taken away" else "2.jpg"]
    assert camera.unseen.counts == {"unreadable": 1}
    assert f"{last} was {change} before its turn had come" in caplog.text


def test_a_file_that_was_seen_while_it_grew_is_no_part_that_was_lost(tmp_path: Path) -> None:
    whole = jpeg(9)
    found, camera = behind(
        tmp_path, FakeClock(), put(tmp_path / "9.jpg", whole[:300]), put(tmp_path / "9.jpg", whole), nothing, nothing
    )
    assert found == ["0.jpg", "1.jpg", "2.jpg", "9.jpg", None]
    assert not camera.unseen.counts


def test_files_that_still_wait_when_the_station_stops_are_parts_that_nobody_judged(tmp_path: Path) -> None:
    found, camera = behind(tmp_path, FakeClock(), put(tmp_path / "9.jpg", jpeg(9)))
    assert found == ["0.jpg", "1.jpg"]
    assert camera.unseen.counts == {"stopped": 2}
    assert [reason for reason, _ in camera.unseen.take()] == ["stopped"] * 2


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"no folder at .*nowhere\. Expected one"), InboxCamera(tmp_path / "nowhere"):
        pass


def test_the_station_file_makes_a_folder_an_inbox() -> None:
    assert isinstance(open_camera(CameraSection(source="folder:/parts", watch=True)), InboxCamera)
