from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edge_resad.device.pictures.pictures as pictures_module
from edge_resad.datasets.find import find_classes
from edge_resad.device.frame import Frame
from edge_resad.device.pictures.album import ABOUT, FRAME, HEAT, Album
from edge_resad.device.pictures.pictures import UNJUDGED_S, Pictures
from edge_resad.device.pictures.pool import MOST, Pool, Slot
from edge_resad.device.pipeline import Inspection, Latency, Reason
from edge_resad.errors import PicturesError
from edge_resad.image import read_image
from tests.fakes import verdict
from tests.mqtt_peers import eventually

GOOD, BAD = 50.0, 200.0  # scores against a threshold of 100
WAIT_S = 60.0  # a deadline, not a pause
MAP = np.zeros((4, 4), np.float32)


def inspection(
    score: float | None = GOOD,
    *,
    number: int = 0,
    mono: float = 0.0,
    reason: Reason = "black",
    side: int = 64,
    camera: str = "cam0",
) -> Inspection:
    image = np.random.default_rng(number).integers(0, 255, (side, side, 3), np.uint8)
    shown = Frame(image=image, frame_id=number, captured_mono=mono, captured_wall=0.0)
    told = None if score is None else verdict(score)
    latency = Latency(waiting_ms=1.0, inspecting_ms=2.0)
    return Inspection(frame=shown, verdict=told, not_inspected=None if told else reason, latency=latency, camera=camera)


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[Pictures]:
    with Pictures(tmp_path / "pictures", max_bytes=10**8, min_free_bytes=0, retry_s=0.0) as opened:
        yield opened


def keep(pictures: Pictures, *inspections: Inspection, ids: Sequence[str] = ()) -> None:
    """Hand pictures over one after the other, as a slow line does."""
    for one in inspections:
        pictures.keep(one, MAP, event_ids=ids)
        assert pictures.flush(WAIT_S)


def kept(folder: Path, kind: str) -> list[int]:
    """The parts whose frames are kept, oldest first."""
    return [about(file)["frame_id"] for file in sorted((folder / kind).glob(f"*{ABOUT}"))]


def about(file: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(file.read_text())
    return told


# What is kept


def test_a_reject_is_kept_whole_with_its_heat_and_what_was_said_of_it(pictures: Pictures, tmp_path: Path) -> None:
    part = inspection(BAD, number=7)
    keep(pictures, part, ids=["s-3", "s-4"])
    frame = pictures.find("s-4")
    assert frame is not None
    assert np.abs(read_image(frame).astype(int) - part.frame.image).mean() < 4
    heat = read_image(frame.with_name(frame.name.replace(FRAME, HEAT)))
    assert heat.shape == part.frame.image.shape
    told = about(frame.with_suffix(ABOUT))
    assert (told["kind"], told["frame_id"], told["camera"], told["status"]) == ("reject", 7, "cam0", "fail")
    assert told["event_ids"] == ["s-3", "s-4"]
    assert (told["score"], told["threshold"], told["severity"], told["size"]) == (BAD, 100.0, "critical", [64, 64])
    assert told["regions"][0]["polygon"] == [[1, 2], [4, 2], [4, 6], [1, 6]]
    assert pictures.kept == {"reject": 1}


def test_what_is_written_is_what_the_line_showed_though_its_buffer_goes_on(tmp_path: Path) -> None:
    gate = threading.Event()
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0, album=SlowAlbum(tmp_path, gate)) as pictures:
        part = inspection(BAD, side=32)
        part.frame.image[:] = 200
        pictures.keep(part, MAP, event_ids=["s-1"])
        part.frame.image[:] = 0
        gate.set()
        assert pictures.flush(WAIT_S)
        frame = pictures.find("s-1")
        assert frame is not None
        assert read_image(frame).min() > 190


@pytest.mark.parametrize(("share", "parts"), [(0.25, [0, 4, 8]), (1.0, list(range(12))), (0.0, []), (0.1, [0, 10])])
def test_a_share_of_the_passes_is_kept_evenly_spaced(tmp_path: Path, share: float, parts: list[int]) -> None:
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0, passes=share) as pictures:
        keep(pictures, *(inspection(GOOD, number=number) for number in range(12)))
        assert kept(tmp_path, "passes") == parts


def test_every_camera_has_its_share(tmp_path: Path) -> None:
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0, passes=0.5) as pictures:
        for number in range(4):
            for camera in ("left", "right"):
                pictures.keep(inspection(GOOD, number=number, camera=camera), MAP)
                assert pictures.flush(WAIT_S)
        told = [about(file) for file in sorted((tmp_path / "passes").glob(f"*{ABOUT}"))]
        assert [(one["camera"], one["frame_id"]) for one in told] == [
            ("left", 0), ("right", 0), ("left", 2), ("right", 2)
        ]  # fmt: skip


def test_a_camera_that_stays_black_fills_no_disk(pictures: Pictures, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    seconds = [0.0, 1.0, UNJUDGED_S - 1, UNJUDGED_S, UNJUDGED_S + 1]
    keep(pictures, *(inspection(None, number=number, mono=mono) for number, mono in enumerate(seconds)))
    assert kept(folder, "not_inspected") == [0, 3]
    keep(pictures, inspection(None, number=9, mono=UNJUDGED_S + 1, reason="too_old"))
    assert kept(folder, "not_inspected") == [0, 3, 9]


def test_a_part_that_has_no_picture_leaves_none(pictures: Pictures, tmp_path: Path) -> None:
    part = inspection(None, reason="backlog")
    keep(pictures, replace(part, frame=part.frame.without_picture("backlog")))
    assert pictures.kept == {}
    assert list((tmp_path / "pictures").rglob(f"*{ABOUT}")) == []


def test_what_is_switched_off_is_not_kept(tmp_path: Path) -> None:
    told = {"rejects": False, "passes": 0.0, "not_inspected": False}
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0, **told) as pictures:  # type: ignore[arg-type]
        keep(pictures, inspection(BAD), inspection(GOOD), inspection(None))
        assert pictures.kept.total() == pictures.not_kept.total() == 0


def test_a_frame_that_is_not_kept_is_not_copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    borrowed: list[int] = []
    borrow = Pool.borrow

    def counted(pool: Pool, *, leave: int) -> Slot | None:
        borrowed.append(leave)
        return borrow(pool, leave=leave)

    monkeypatch.setattr(Pool, "borrow", counted)
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0, passes=0.1) as pictures:
        keep(pictures, *(inspection(GOOD, number=number) for number in range(20)))
    assert len(borrowed) == 2


# The writer is behind


class SlowAlbum(Album):
    """Stores nothing before it is told to."""

    def __init__(self, folder: Path, gate: threading.Event) -> None:
        super().__init__(folder, max_bytes=10**8, min_free_bytes=0)
        self._gate = gate

    def read(self) -> None:
        assert self._gate.wait(WAIT_S)
        super().read()


def test_passes_are_skipped_first_and_what_is_not_kept_is_counted(tmp_path: Path) -> None:
    gate = threading.Event()
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0, passes=1.0, album=SlowAlbum(tmp_path, gate)) as pictures:
        for number in range(MOST):
            pictures.keep(inspection(GOOD, number=number), MAP)
        for number in range(MOST):
            pictures.keep(inspection(BAD, number=100 + number), MAP)
        gate.set()
        assert pictures.flush(WAIT_S)
        assert pictures.kept == {"pass": MOST // 2, "reject": MOST - MOST // 2}
        assert pictures.not_kept == {"behind": MOST - 1}  # the last pass may still be made up for
        keep(pictures, inspection(GOOD, number=200))
        assert pictures.kept["pass"] == MOST // 2 + 1


def test_a_pass_that_was_skipped_is_made_up_for(tmp_path: Path) -> None:
    gate = threading.Event()
    with Pictures(
        tmp_path, max_bytes=10**8, min_free_bytes=0, passes=0.25, album=SlowAlbum(tmp_path, gate)
    ) as pictures:
        for number in range(MOST):
            pictures.keep(inspection(BAD, number=number), MAP)
        pictures.keep(inspection(GOOD, number=100), MAP)
        gate.set()
        assert pictures.flush(WAIT_S)
        keep(pictures, *(inspection(GOOD, number=101 + number) for number in range(4)))
        assert kept(tmp_path, "passes") == [101, 104]


def test_a_share_of_the_passes_that_is_put_off_is_counted_once(tmp_path: Path) -> None:
    gate = threading.Event()
    with Pictures(
        tmp_path, max_bytes=10**8, min_free_bytes=0, passes=0.25, album=SlowAlbum(tmp_path, gate)
    ) as pictures:
        for number in range(MOST):
            pictures.keep(inspection(BAD, number=number), MAP)
        for number in range(9):
            pictures.keep(inspection(GOOD, number=number), MAP)
        gate.set()
        assert pictures.flush(WAIT_S)
        assert pictures.not_kept == {"behind": 2}  # of parts 0, 4 and 8 the last may still be made up for


def test_large_frames_get_fewer_buffers() -> None:
    pool = Pool(max_bytes=100)
    assert pool.see(10)
    assert not pool.see(9)
    small = [pool.borrow(leave=0) for _ in range(MOST)]
    assert None not in small
    assert pool.borrow(leave=0) is None
    for slot in small:
        assert slot is not None
        pool.give_back(slot)
    assert pool.see(30)
    assert [pool.borrow(leave=0) is not None for _ in range(4)] == [True, True, True, False]


def test_buffers_are_made_ready_once_and_used_again() -> None:
    pool = Pool(max_bytes=100)
    image = np.zeros((2, 5, 3), np.uint8)
    assert pool.see(image.nbytes)
    assert pool.is_cold
    pool.warm()
    assert not pool.is_cold
    where = set()
    for _ in range(20):
        slot = pool.borrow(leave=0)
        assert slot is not None
        pixels, _ = slot.take(image, None)
        where.add(pixels.ctypes.data)
        pool.give_back(slot)
    slots = [pool.borrow(leave=0) for _ in range(3)]
    ready = {slot.take(image, None)[0].ctypes.data for slot in slots if slot is not None}
    assert len(where) == 1
    assert where < ready


def test_a_station_that_stops_counts_what_was_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures_module, "CLOSE_S", 0.1)
    gate = threading.Event()
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0, album=SlowAlbum(tmp_path, gate)) as pictures:
        pictures.keep(inspection(BAD), MAP)
    assert pictures.not_kept == {"stopped": 1}
    gate.set()


# The disk refuses


class RefusingAlbum(Album):
    """A folder on a disk that fails while `error` is set."""

    error: int | None = None

    def store(self, *args: Any, **more: Any) -> Path | None:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        return super().store(*args, **more)


def test_a_disk_that_refuses_is_said_once_and_asked_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    album = RefusingAlbum(tmp_path, max_bytes=10**8, min_free_bytes=0)
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0, retry_s=0.0, album=album) as pictures:
        album.error = 30  # read-only file system
        keep(pictures, inspection(BAD), inspection(BAD), inspection(BAD))
        assert pictures.problem is not None
        assert "Read-only file system. Make room, or check the disk; inspection goes on" in pictures.problem
        assert pictures.not_kept == {"disk": 3}
        album.error = None
        keep(pictures, inspection(BAD))
        assert pictures.problem is None
        assert pictures.kept == {"reject": 1}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[1] == f"pictures are kept again in {tmp_path}, 3 were not"


def test_two_stations_do_not_share_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0) as first:
        keep(first, inspection(BAD))
        with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0, retry_s=0.0) as second:
            keep(second, inspection(BAD))
            assert second.not_kept == {"disk": 1}
            assert second.problem is not None
            assert second.problem.endswith("Give each station its own [pictures] folder.")
            first.__exit__(None, None, None)
            keep(second, inspection(BAD))
            assert second.kept == {"reject": 1}
    assert caplog.text.count("another station keeps its pictures") == 1


def test_between_two_tries_the_disk_is_left_alone(tmp_path: Path) -> None:
    album = RefusingAlbum(tmp_path, max_bytes=10**8, min_free_bytes=0)
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0, retry_s=1e9, album=album) as pictures:
        album.error = 28
        keep(pictures, inspection(BAD))
        album.error = None
        keep(pictures, inspection(BAD))
        assert (pictures.kept.total(), pictures.not_kept) == (0, {"disk": 2})


def test_a_folder_that_vanishes_is_begun_anew(pictures: Pictures, tmp_path: Path) -> None:
    keep(pictures, inspection(BAD))
    (tmp_path / "pictures").rename(tmp_path / "carried-away")
    keep(pictures, inspection(BAD))
    assert pictures.kept == {"reject": 2}
    assert pictures.problem is None


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with Pictures(tmp_path / "file" / "pictures", max_bytes=10**8, min_free_bytes=0, retry_s=0.0) as pictures:
        keep(pictures, inspection(BAD))
        assert pictures.problem is not None
        assert pictures.not_kept == {"disk": 1}
        (tmp_path / "file").unlink()
        keep(pictures, inspection(BAD))
        assert pictures.problem is None
        assert pictures.kept == {"reject": 1}


def test_a_folder_that_comes_back_is_said_without_waiting_for_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures_module, "TIDY_S", 0.05)
    said: list[str | None] = []
    (tmp_path / "file").write_text("no folder")
    folder = tmp_path / "file" / "pictures"
    with Pictures(folder, max_bytes=10**8, min_free_bytes=0, say=said.append) as pictures:
        assert eventually(lambda: pictures.health() is not None, WAIT_S)
        (tmp_path / "file").unlink()
        assert eventually(lambda: pictures.health() is None, WAIT_S)
        assert eventually(lambda: len(said) == 2, WAIT_S)
    assert said[0] is not None
    assert said[1] is None


def test_a_reject_without_room_is_said_with_what_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    album = Album(tmp_path, max_bytes=10**8, min_free_bytes=10**9, free=lambda _: 10**6)
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=10**9, retry_s=0.0, album=album) as pictures:
        keep(pictures, inspection(GOOD))
        assert pictures.problem is None
        keep(pictures, inspection(BAD), inspection(BAD))
        assert pictures.not_kept == {"no_room": 3}
    assert len(caplog.records) == 1
    assert "less than 1000 MB free" in caplog.text


def test_an_error_of_ours_costs_a_picture_and_is_said_once(
    pictures: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    odd = inspection(BAD)
    for _ in range(2):
        pictures.keep(odd, None, event_ids=[7])  # type: ignore[arg-type, list-item]
        assert pictures.flush(WAIT_S)
    assert pictures.not_kept == {"error": 2}
    assert len(caplog.records) == 1
    keep(pictures, inspection(BAD))
    assert pictures.kept == {"reject": 1}


# Training material


def test_the_next_frames_are_taken_whole_into_a_folder_that_evaluate_understands(pictures: Pictures) -> None:
    parts = [inspection(score, number=number) for number, score in enumerate([GOOD, BAD, GOOD, GOOD])]
    keep(pictures, parts[0])
    folder = pictures.capture(2, label="good")
    keep(pictures, *parts[1:])
    assert [file.name for file in sorted((folder / "good").iterdir())] == ["cam0-000001.png", "cam0-000002.png"]
    assert np.array_equal(read_image(folder / "good" / "cam0-000001.png"), parts[1].frame.image)
    told = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert [(one["file"], one["label"], one["frame_id"]) for one in told] == [
        ("good/cam0-000001.png", "good", 1), ("good/cam0-000002.png", "good", 2)
    ]  # fmt: skip
    (found,) = find_classes(folder)
    assert len(found.train) == 2


def test_a_capture_says_how_far_it_is_and_when_it_ends(pictures: Pictures, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert pictures.capturing is None
    folder = pictures.capture(4, name="today")
    keep(pictures, *(inspection(GOOD, number=number) for number in range(3)))
    assert str(pictures.capturing) == f"3 of 4 frames in {folder}"
    keep(pictures, inspection(GOOD, number=3))
    assert pictures.capturing is not None
    assert (pictures.capturing.ended, pictures.capturing.problem) == (True, None)
    assert caplog.records[-1].getMessage() == f"4 frames were taken into {folder}"


def test_one_capture_at_a_time_and_one_that_is_stopped_makes_way(pictures: Pictures) -> None:
    pictures.capture(3, name="first")
    with pytest.raises(PicturesError, match="a capture is being taken: 0 of 3 frames"):
        pictures.capture(1)
    stopped = pictures.stop_capture()
    assert stopped is not None
    assert stopped.problem == "It was stopped."
    with pytest.raises(PicturesError, match="there is a first in"):
        pictures.capture(1, name="first")
    assert pictures.capture(1).name == "capture-0001"


def test_a_capture_takes_one_cameras_frames_and_none_that_show_nothing(pictures: Pictures) -> None:
    folder = pictures.capture(1, camera="left")
    pictures.keep(inspection(GOOD, number=1, camera="right"), MAP)
    pictures.keep(inspection(None, number=2, reason="black", camera="left"), MAP)
    pictures.keep(inspection(None, number=3, reason="not_aligned", camera="left"), MAP)
    assert pictures.flush(WAIT_S)
    (line,) = (folder / "manifest.jsonl").read_text().splitlines()
    assert (json.loads(line)["frame_id"], json.loads(line)["reason"]) == (3, "not_aligned")
    assert (folder / "unlabelled" / "left-000001.png").exists()


@pytest.mark.parametrize(
    ("wanted", "more", "says"),
    [
        (0, {}, "expected 1 to 10000"),
        (10_001, {}, "expected 1 to 10000"),
        (1, {"label": "../good"}, "expected 1 to 64 letters"),
        (1, {"name": ""}, "expected 1 to 64 letters"),
    ],
)
def test_a_capture_that_makes_no_sense_is_refused(
    pictures: Pictures, wanted: int, more: dict[str, str], says: str
) -> None:
    with pytest.raises(PicturesError, match=says):
        pictures.capture(wanted, **more)


def test_a_capture_without_room_is_refused_with_what_to_do(tmp_path: Path) -> None:
    free = 10**9
    album = Album(tmp_path, max_bytes=10**8, min_free_bytes=10**6, free=lambda _: free)
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=10**6, album=album) as pictures:
        keep(pictures, inspection(GOOD))
        free = 10**6 + 64 * 64 * 3 * 5
        with pytest.raises(PicturesError, match=r"6 frames may take 0 MB.*Free disk space, or ask for fewer frames"):
            pictures.capture(6)
        folder = pictures.capture(5)
        keep(pictures, inspection(GOOD))
        free = 10**6
        keep(pictures, inspection(GOOD))
        assert str(pictures.capturing) == f"1 of 5 frames in {folder}. The disk has no room for more."


def test_a_capture_ends_with_the_station(tmp_path: Path) -> None:
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0) as pictures:
        pictures.capture(3)
        keep(pictures, inspection(GOOD))
    assert pictures.capturing is not None
    assert pictures.capturing.problem == "The station stopped."


def test_a_restart_goes_on_where_the_last_run_ended(tmp_path: Path) -> None:
    for run in range(2):
        with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0, passes=1.0) as pictures:
            keep(pictures, inspection(BAD, number=run), inspection(GOOD, number=run), inspection(None, number=run))
    assert [kept(tmp_path, folder) for folder in ("rejects", "passes", "not_inspected")] == [[0, 1]] * 3


def test_a_kept_frame_keeps_its_colours_sharp(pictures: Pictures) -> None:
    part = inspection(BAD)
    part.frame.image[:] = 128
    part.frame.image[:, ::2] = (0, 0, 255)  # lines of one pixel, which coarser colours would smear
    keep(pictures, part, ids=["s-1"])
    frame = pictures.find("s-1")
    assert frame is not None
    saturation = cv2.cvtColor(read_image(frame), cv2.COLOR_BGR2HSV)[:, ::2, 1]
    assert saturation.mean() > 230
