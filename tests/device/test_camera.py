from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.demo import products
from edge_resad.device import handover, v4l2
from edge_resad.device.camera import open_camera
from edge_resad.device.device_name import DeviceName
from edge_resad.device.files import FolderCamera, VideoCamera
from edge_resad.device.frame import FrameSource
from edge_resad.device.handover import MOST_LEFT, THREAD, Capture, NewestFrame
from edge_resad.device.live import LiveCamera
from edge_resad.device.part_queue import PartQueue
from edge_resad.device.progress import VitalSigns
from edge_resad.device.settings import CameraSection
from edge_resad.device.synthetic import SyntheticLine
from edge_resad.device.trigger import Trigger
from edge_resad.device.v4l2 import V4L2Camera, cameras_seen, open_v4l2
from edge_resad.errors import CameraError, ImageError
from tests.fakes import FakeCamera, FakeClock, FakeDevice, FakeStop, frame, picture
from tests.mqtt_peers import eventually

WAIT_S = 60.0  # a deadline, not a pause


def save(folder: Path, name: str, brightness: int) -> None:
    assert cv2.imwrite(str(folder / name), picture(brightness))


def save_video(path: Path, brightnesses: list[int]) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    for brightness in brightnesses:
        writer.write(np.full((48, 64, 3), brightness, np.uint8))
    writer.release()
    return path


def brightnesses(camera: FrameSource, at_most: int = 100) -> list[int]:
    found: list[int] = []
    with camera:
        while len(found) < at_most and (shown := camera.read()) is not None:
            found.append(int(shown.image[0, 0, 0]))
    return found


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


# A folder of images


def test_a_folder_is_shown_in_the_order_a_person_counts(tmp_path: Path) -> None:
    for name, brightness in (("part10.png", 10), ("part2.png", 2), ("part1.png", 1)):
        save(tmp_path, name, brightness)
    assert brightnesses(FolderCamera(tmp_path)) == [1, 2, 10]


def test_every_frame_says_its_file_and_its_time(tmp_path: Path) -> None:
    save(tmp_path, "part1.png", 1)
    with FolderCamera(tmp_path, clock=FakeClock(7.0)) as camera:
        shown = camera.read()
    assert shown is not None
    assert (shown.frame_id, shown.name, shown.captured_mono) == (0, "part1.png", 7.0)
    assert shown.image.shape == (8, 8, 3)


def test_a_looping_folder_begins_again_and_keeps_counting(tmp_path: Path) -> None:
    save(tmp_path, "a.png", 1)
    save(tmp_path, "b.png", 2)
    with FolderCamera(tmp_path, loop=True) as camera:
        shown = [camera.read() for _ in range(5)]
    assert [one and (one.frame_id, one.name) for one in shown] == [
        (0, "a.png"), (1, "b.png"), (2, "a.png"), (3, "b.png"), (4, "a.png")
    ]  # fmt: skip


def test_a_file_that_is_no_picture_is_counted_and_said_and_the_next_one_follows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, "a.png", 1)
    (tmp_path / "b.png").write_bytes(b"not a picture")
    (tmp_path / "c.png").touch()
    save(tmp_path, "d.png", 4)
    camera = FolderCamera(tmp_path)
    assert brightnesses(camera) == [1, 4]
    assert camera.unreadable == 2
    assert [record.message.split()[0] for record in caplog.records] == [f"{tmp_path}/b.png", f"{tmp_path}/c.png"]


def test_a_part_that_cannot_be_read_was_there_when_its_turn_came(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not a picture")
    save(tmp_path, "b.png", 2)
    clock, halt = FakeClock(50.0), threading.Event()
    with Capture(FolderCamera(tmp_path, clock=clock), halt) as capture:
        assert capture.slot.get(WAIT_S) is not None
        assert list(capture.missed()) == [("unreadable", 50.0)]
        assert list(capture.missed()) == []


@pytest.mark.parametrize("loop", [False, True])
def test_a_folder_without_one_readable_picture_is_an_error(tmp_path: Path, loop: bool) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"not a picture")
    with FolderCamera(tmp_path, loop=loop) as camera, pytest.raises(CameraError, match="none of the 2 images"):
        camera.read()


def test_a_folder_that_goes_bad_in_a_later_lap_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    save(tmp_path, "a.png", 1)
    with FolderCamera(tmp_path, loop=True) as camera:
        camera.read()
        (tmp_path / "a.png").unlink()
        with pytest.raises(CameraError, match="none of the 1 images"):
            camera.read()


def test_an_empty_folder_is_said_when_the_camera_opens(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no images in the folder"), FolderCamera(tmp_path):
        pass


def test_a_paced_folder_plays_like_a_live_camera(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path, f"{number}.png", number)
    clock = FakeClock()
    stop = FakeStop(clock)
    camera = FolderCamera(tmp_path, fps=10, stop=stop, clock=clock)
    assert camera.live
    with camera:
        times = [shown.captured_mono for _ in range(4) if (shown := camera.read())]
    assert np.diff(times) == pytest.approx([0.1, 0.1, 0.1])
    assert not FolderCamera(tmp_path).live


def test_a_paced_source_that_was_held_up_does_not_rush_after(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path, f"{number}.png", number)
    clock = FakeClock()
    with FolderCamera(tmp_path, fps=10, stop=FakeStop(clock), clock=clock) as camera:
        camera.read()
        clock.now += 5.0
        times = [shown.captured_mono for _ in range(3) if (shown := camera.read())]
    assert np.diff(times) == pytest.approx([0.1, 0.1])


def test_a_source_that_waits_for_its_pace_hears_the_stop(tmp_path: Path) -> None:
    save(tmp_path, "a.png", 1)
    stop = threading.Event()
    with FolderCamera(tmp_path, fps=0.001, loop=True, stop=stop) as camera:
        assert camera.read() is not None
        answers: list[object] = []
        reading = in_thread(lambda: answers.append(camera.read()))
        stop.set()
        reading.join(WAIT_S)
    assert answers == [None]


# A video


def test_a_video_shows_every_frame(tmp_path: Path) -> None:
    path = save_video(tmp_path / "parts.avi", [0, 100, 200])
    with VideoCamera(path) as camera:
        shown = [camera.read() for _ in range(4)]
    assert [one and (one.frame_id, one.name) for one in shown] == [
        (0, "parts.avi#0"), (1, "parts.avi#1"), (2, "parts.avi#2"), None
    ]  # fmt: skip
    assert [int(one.image.mean()) for one in shown if one] == pytest.approx([0, 100, 200], abs=4)


def test_a_looping_video_begins_again(tmp_path: Path) -> None:
    path = save_video(tmp_path / "parts.avi", [0, 200])
    with VideoCamera(path, loop=True) as camera:
        shown = [camera.read() for _ in range(5)]
    assert [one and one.name for one in shown] == [f"parts.avi#{number}" for number in (0, 1, 0, 1, 0)]
    assert [one and one.frame_id for one in shown] == [0, 1, 2, 3, 4]


def test_a_missing_video_says_its_path(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"no video file at .*parts\.mp4"), VideoCamera(tmp_path / "parts.mp4"):
        pass


@pytest.mark.parametrize("loop", [False, True])
def test_a_video_that_cannot_be_decoded_is_an_error(tmp_path: Path, loop: bool) -> None:
    (tmp_path / "parts.mp4").write_bytes(b"not a video" * 100)
    with (
        VideoCamera(tmp_path / "parts.mp4", loop=loop) as camera,
        pytest.raises(CameraError, match=r"gives no frame\. Expected a video"),
    ):
        camera.read()


# A drawn line


class Sketches:
    """Draws parts of one colour: gray where they are good, white where they are not."""

    FAMILIES = ("cap", "flange")
    DEFECTS = ("scratch", "hole")

    def __init__(self) -> None:
        self.drawn: list[tuple[str, int, str | None]] = []

    def draw(self, family: str, seed: int, *, size: int, defect: str | None, severity: int) -> Sketch:
        self.drawn.append((family, seed, defect))
        return Sketch(size, 255 if defect else 128)


class Sketch:
    def __init__(self, size: int, brightness: int) -> None:
        self.image = np.full((size, size, 3), brightness, np.uint8)
        self.mask = np.full((size, size), brightness == 255)


def test_one_part_in_every_so_many_is_defective_and_its_truth_is_known() -> None:
    with SyntheticLine(Sketches(), bad_every=5) as camera:
        shown = [camera.read() for _ in range(50)]
    truths = [one.truth for one in shown if one is not None]
    assert len(truths) == 50
    bad = [truth is not None and truth.defect is not None for truth in truths]
    assert [sum(bad[first : first + 5]) for first in range(0, 50, 5)] == [1] * 10
    for one in shown:
        assert one is not None
        assert one.truth is not None
        assert (one.truth.mask is not None) == (one.image[0, 0, 0] == 255) == (one.truth.defect in Sketches.DEFECTS)


def test_the_seed_decides_every_part() -> None:
    def drawn(seed: int) -> list[tuple[str, int, str | None]]:
        sketches = Sketches()
        with SyntheticLine(sketches, "flange", seed=seed) as camera:
            for _ in range(40):
                camera.read()
        return sketches.drawn

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert len({seed for _, seed, _ in drawn(1) + drawn(2)}) == 80  # no part is shown twice


def test_an_unknown_family_lists_the_known_ones() -> None:
    with pytest.raises(CameraError, match=r'called "capp"\. Known: cap, flange'), SyntheticLine(Sketches(), "capp"):
        pass


def test_the_products_of_the_demo_can_be_a_camera() -> None:
    with SyntheticLine(products, fps=1000.0, size=128, bad_every=1) as camera:
        shown = camera.read()
    assert camera.live
    assert shown is not None
    assert shown.image.shape == (128, 128, 3)
    assert shown.truth is not None
    assert shown.truth.mask is not None
    assert shown.truth.mask.any()


# The camera of a station file


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("folder:/parts", FolderCamera),
        ("video:/parts.mp4", VideoCamera),
        ("/dev/video0", V4L2Camera),
        ("/dev/v4l/by-id/usb-camera", V4L2Camera),
        ("synthetic", SyntheticLine),
        ("synthetic:flange", SyntheticLine),
    ],
)
def test_the_source_of_the_station_file_decides_the_camera(source: str, kind: type) -> None:
    assert type(open_camera(CameraSection(source=source), products=Sketches())) is kind


# A V4L2 camera


class Bench:
    """A camera whose cable a test pulls: every opening takes the next of the given devices."""

    def __init__(self, *devices: FakeDevice | CameraError) -> None:
        self.devices = list(devices)
        self.clock = FakeClock()
        self.stop = FakeStop(self.clock)
        self.camera = V4L2Camera("/dev/video7", open_device=self.open, stop=self.stop, clock=self.clock)

    def open(self) -> FakeDevice:
        device = self.devices.pop(0)
        if isinstance(device, CameraError):
            raise device
        return device


def test_a_camera_that_was_never_there_says_what_is_there() -> None:
    with pytest.raises(CameraError, match=r"no camera at /dev/video987\. Seen now: .*\. Check the cable"):
        open_v4l2("/dev/video987", fps=None, width=None, height=None)


def test_a_file_that_is_no_camera_is_said(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    with pytest.raises(CameraError, match="is there but gives no pictures"):
        open_v4l2(str(tmp_path / "video0"), fps=None, width=None, height=None)


def test_the_cameras_seen_are_in_order_and_carry_their_names(tmp_path: Path) -> None:
    names = tmp_path / "names"
    for device in ("video10", "video2", "video-codec", "null"):
        (tmp_path / device).touch()
    (names / "video2").mkdir(parents=True)
    (names / "video2" / "name").write_text("Webcam C920\n")
    assert cameras_seen(tmp_path, names) == [f"{tmp_path}/video2 (Webcam C920)", f"{tmp_path}/video10"]


def test_a_camera_that_disappears_and_returns_is_said_once_each_way(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    unplugged = CameraError("no camera at /dev/video7.")
    first, second = FakeDevice([picture(1)]), FakeDevice([picture(2)])
    bench = Bench(first, unplugged, unplugged, unplugged, second)
    with bench.camera as camera:
        shown = [camera.read(), camera.read()]
    assert [one and (one.frame_id, int(one.image[0, 0, 0])) for one in shown] == [(0, 1), (1, 2)]
    lost, back = (record.message for record in caplog.records)
    assert lost.startswith("camera lost: the camera at /dev/video7 gives no frame any more.")
    assert back == "camera /dev/video7 is back after 7.5 s"
    assert camera.lost == 1
    assert first.released
    assert second.released


def test_a_frame_carries_the_time_before_it_was_decoded() -> None:
    class SlowToDecode(FakeDevice):
        def retrieve(self) -> tuple[bool, NDArray[np.uint8] | None]:
            bench.clock.now += 0.05
            return super().retrieve()

    bench = Bench(SlowToDecode([picture(1)]))
    with bench.camera as camera:
        shown = camera.read()
    assert shown is not None
    assert shown.captured_mono == 100.0


def test_a_camera_is_looked_for_less_and_less_often() -> None:
    bench = Bench(FakeDevice([]), *[CameraError("no camera")] * 7, FakeDevice([picture(1)]))
    with bench.camera as camera:
        assert camera.read() is not None
    assert bench.stop.waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_a_camera_that_opens_but_gives_no_frame_is_still_lost(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(FakeDevice([picture(1)]), FakeDevice([]), FakeDevice([]), FakeDevice([picture(2)]))
    with bench.camera as camera:
        assert camera.read() is not None
        assert camera.read() is not None
    assert camera.lost == 1
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_a_search_for_a_lost_camera_ends_when_told_to_stop() -> None:
    stop = threading.Event()
    lost = threading.Event()

    def unplugged() -> FakeDevice:
        if not lost.is_set():
            lost.set()
            return FakeDevice([])
        raise CameraError("no camera")

    with V4L2Camera("/dev/video7", open_device=unplugged, stop=stop) as camera:
        answers: list[object] = []
        reading = in_thread(lambda: answers.append(camera.read()))
        assert lost.wait(WAIT_S)
        stop.set()
        reading.join(WAIT_S)
    assert answers == [None]


class Impatient(FakeDevice):
    """A driver that waits in vain so many times before a frame comes."""

    def __init__(self, clock: FakeClock, vain: int) -> None:
        super().__init__([picture(1)])
        self._clock = clock
        self._vain = vain

    def grab(self) -> bool:
        self._vain -= 1
        self._clock.now += 10.0
        return self._vain < 0 and super().grab()


def test_a_camera_that_waits_for_its_trigger_is_not_opened_again_when_its_driver_loses_patience() -> None:
    clock = FakeClock()
    device, stop = Impatient(clock, vain=3), VitalSigns()
    with LiveCamera("here", lambda: device, clock=clock, stop=stop, still_there=lambda: True) as camera:
        assert camera.read() is not None
        assert (camera.lost, device.released) == (0, False)
        assert stop.waits == 3  # each is a sign of life: the driver came back


def test_a_camera_that_waits_for_its_trigger_and_is_unplugged_is_lost() -> None:
    clock = FakeClock()
    devices = iter([Impatient(clock, vain=1), Impatient(clock, vain=0)])
    stop = FakeStop(clock)
    with LiveCamera("here", lambda: next(devices), clock=clock, stop=stop, still_there=lambda: False) as camera:
        assert camera.read() is not None
        assert camera.lost == 1


class Recorded(FakeDevice):
    """What OpenCV opens a V4L2 camera with: keeps what it is told, as far as the camera takes it."""

    refuses: tuple[int, ...] = ()
    all: ClassVar[list[Recorded]]

    def __init__(self, path: str, backend: int) -> None:
        super().__init__([picture(7)])
        self.path, self.backend = path, backend
        self.told: list[tuple[int, float]] = []
        self.is_now: dict[int, float] = {cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV"))}
        self.all.append(self)

    def isOpened(self) -> bool:
        return True

    def set(self, what: int, value: float) -> bool:
        self.told.append((what, value))
        if what not in self.refuses:
            self.is_now[what] = value
        return what not in self.refuses

    def get(self, what: int) -> float:
        return self.is_now.get(what, 0.0)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> type[Recorded]:
    class OfThisTest(Recorded):
        all: ClassVar[list[Recorded]] = []

    monkeypatch.setattr(cv2, "VideoCapture", OfThisTest)
    return OfThisTest


def test_a_v4l2_camera_is_asked_for_mjpeg_first_then_size_and_rate_and_keeps_no_old_frames(
    tmp_path: Path, recorded: type[Recorded], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "video0").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "video0")
    open_v4l2(str(tmp_path / "by-id"), fps=30.0, width=1280, height=720)
    (device,) = recorded.all
    assert (device.path, device.backend) == (str(tmp_path / "video0"), cv2.CAP_V4L2)
    assert device.told == [
        (cv2.CAP_PROP_FOURCC, float(cv2.VideoWriter.fourcc(*"MJPG"))),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 30.0),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ]
    assert caplog.messages == []


def test_a_v4l2_camera_of_which_nothing_is_asked_keeps_its_size_and_rate(
    tmp_path: Path, recorded: type[Recorded]
) -> None:
    (tmp_path / "video0").touch()
    open_v4l2(str(tmp_path / "video0"), fps=None, width=None, height=None)
    assert [what for what, _ in recorded.all[0].told] == [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_BUFFERSIZE]


@pytest.mark.parametrize(
    ("refused", "instead", "words"),
    [
        (cv2.CAP_PROP_FOURCC, None, "gives YUYV pictures, asked for MJPG"),
        (cv2.CAP_PROP_FOURCC, -1.0, "gives -0x1 pictures, asked for MJPG"),
        (cv2.CAP_PROP_FRAME_WIDTH, 640.0, "gives 640x720 pixels, asked for 1280x720"),
        (cv2.CAP_PROP_FPS, 15.0, "gives 15 pictures a second, asked for 30"),
    ],
)
def test_what_a_v4l2_camera_does_not_take_is_said_and_it_runs_all_the_same(
    refused: int,
    instead: float | None,
    words: str,
    tmp_path: Path,
    recorded: type[Recorded],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "video0").touch()
    monkeypatch.setattr(recorded, "refuses", (refused,))
    if instead is not None:
        really = recorded.get
        monkeypatch.setattr(recorded, "get", lambda one, what: instead if what == refused else really(one, what))
    assert open_v4l2(str(tmp_path / "video0"), fps=30.0, width=1280, height=720).grab()
    (said,) = caplog.messages
    assert said.startswith(f"camera {tmp_path}/video0 {words}")


def test_a_frame_that_cannot_be_decoded_is_a_part_and_the_camera_stays_open(
    tmp_path: Path, recorded: type[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    def retrieve(self: Recorded) -> tuple[bool, NDArray[np.uint8] | None]:
        decoded.append(len(decoded) != 1)
        return (True, picture(7)) if decoded[-1] else (False, None)

    (tmp_path / "video0").touch()
    decoded: list[bool] = []
    monkeypatch.setattr(recorded, "grab", lambda _: True)
    monkeypatch.setattr(recorded, "retrieve", retrieve)
    with V4L2Camera(str(tmp_path / "video0")) as camera:
        assert [shown.frame_id for _ in range(3) if (shown := camera.read())] == [0, 2, 3]
        assert (camera.unreadable, camera.lost, camera.is_open) == (1, 0, True)
    assert len(recorded.all) == 1


def test_the_rate_of_television_is_thirty(
    tmp_path: Path, recorded: type[Recorded], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "video0").touch()
    really = recorded.get
    monkeypatch.setattr(recorded, "get", lambda one, what: 29.97 if what == cv2.CAP_PROP_FPS else really(one, what))
    open_v4l2(str(tmp_path / "video0"), fps=30.0, width=None, height=None)
    assert caplog.messages == []


def test_exposure_and_trigger_are_set_in_their_order_each_time_the_camera_is_opened(
    tmp_path: Path, recorded: type[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "video0").touch()
    told: list[tuple[str, dict[str, int]]] = []
    monkeypatch.setattr(v4l2, "set_controls", lambda path, wanted: told.append((path, dict(wanted))))
    controls = {"auto_exposure": 1, "exposure_time_absolute": 157, "trigger_mode": 1}
    section = CameraSection.model_validate(
        {"source": f"/dev/..{tmp_path}/video0", "controls": controls, "trigger": {"kind": "camera"}}
    )
    with open_camera(section, stop=FakeStop(FakeClock())) as camera:
        assert [camera.read() is not None for _ in range(3)] == [True] * 3  # each device has one frame, then it is gone
    assert [list(wanted.items()) for _, wanted in told] == [list(controls.items())] * 3
    assert [device.released for device in recorded.all] == [True] * 3


def test_a_v4l2_camera_that_does_not_take_a_control_is_given_back(
    tmp_path: Path, recorded: type[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "video0").touch()

    def refuse(path: str, wanted: object) -> None:
        raise CameraError("the camera has no control gain")

    monkeypatch.setattr(v4l2, "set_controls", refuse)
    with (
        pytest.raises(CameraError, match="no control gain"),
        V4L2Camera(str(tmp_path / "video0"), controls={"gain": 1}),
    ):
        pass
    assert [device.released for device in recorded.all] == [True]


# The hand-over


def test_of_a_live_camera_the_newest_frame_wins_and_the_others_are_counted() -> None:
    slot = NewestFrame(live=True)
    for number in range(4):
        assert slot.put(frame(number, captured_mono=10.0 + number))
    taken = slot.get(WAIT_S)
    assert taken is not None
    assert taken.frame_id == 3
    assert slot.unseen() == {"overwritten": 3}
    assert list(slot.missed()) == [("overwritten", 10.0), ("overwritten", 11.0), ("overwritten", 12.0)]
    assert list(slot.missed()) == []
    assert slot.get(0.0) is None


def test_a_backlog_is_handed_over_in_order_and_whole() -> None:
    slot = NewestFrame(live=False)

    def show_all() -> None:
        for number in range(50):
            slot.put(frame(number))
        slot.end()

    putting = in_thread(show_all)
    taken: list[int] = []
    while not slot.ended:
        one = slot.get(WAIT_S)
        if one is not None:
            taken.append(one.frame_id)
    putting.join(WAIT_S)
    assert taken == list(range(50))
    assert slot.unseen() == {}


def test_the_last_frame_is_taken_before_the_camera_is_at_its_end() -> None:
    slot = NewestFrame(live=True)
    slot.put(frame(1))
    slot.end()
    assert not slot.ended
    assert slot.get(WAIT_S) is not None
    assert slot.ended
    assert slot.get(WAIT_S) is None


def test_what_broke_the_camera_is_raised_after_its_last_frame() -> None:
    slot = NewestFrame(live=True)
    slot.put(frame(1))
    slot.end(CameraError("no picture can be read"))
    assert slot.get(WAIT_S) is not None
    assert not slot.ended
    with pytest.raises(CameraError, match="no picture can be read"):
        slot.get(WAIT_S)


def test_a_camera_that_waits_for_its_turn_goes_on_when_the_inspection_stops() -> None:
    slot = NewestFrame(live=False)
    answers: list[bool] = []
    slot.put(frame(0))
    putting = in_thread(lambda: answers.append(slot.put(frame(1))))
    slot.abandon()
    putting.join(WAIT_S)
    assert answers == [False]
    assert slot.unseen() == {"stopped": 2}


def test_an_empty_slot_gives_up_in_time() -> None:
    assert NewestFrame(live=True).get(0.01) is None


def test_frames_that_show_no_part_are_a_sign_of_life() -> None:
    halt = VitalSigns()
    with Capture(FakeCamera([1, 2, 3], live=True, hangs=True), halt, slot=PartQueue(Trigger())) as capture:
        assert eventually(capture.shown)
        assert eventually(lambda: capture.slot.idle() is not None)


# A camera that hangs


class Driver:
    """Opens devices that count what is open; a device without frames hangs in its read until it is let go."""

    def __init__(self, *frames: int) -> None:
        self.opened = self.released = 0
        self.frames = list(frames)  # how many each device gives; then it hangs; the last one is for all that follow
        self.devices: list[HangingDevice] = []

    def let_go(self) -> None:
        """Let every device that hangs go, as a driver does whose camera was unplugged."""
        for device in self.devices:
            device.let_go.set()

    def open(self, clock: FakeClock) -> Callable[[threading.Event], V4L2Camera]:
        def source(halt: threading.Event) -> V4L2Camera:
            return V4L2Camera("/dev/video7", open_device=lambda: HangingDevice(self), stop=halt, clock=clock)

        return source


class HangingDevice(FakeDevice):
    def __init__(self, driver: Driver) -> None:
        number = min(driver.opened, len(driver.frames) - 1)
        super().__init__([picture(10 * (driver.opened % 20 + 1))] * driver.frames[number])
        driver.opened += 1
        driver.devices.append(self)
        self.let_go = threading.Event()
        self._driver = driver
        self._handle, self._other_end = os.pipe()  # what a real device holds

    def grab(self) -> bool:
        if super().grab():
            return True
        self.let_go.wait(WAIT_S)
        return False

    def release(self) -> None:
        os.close(self._handle)
        os.close(self._other_end)
        self._driver.released += 1


class Hanging:
    """The watch over a camera that hangs, with a clock that a test moves."""

    def __init__(self, *frames: int) -> None:
        self.driver, self.clock, self.halt = Driver(*frames), FakeClock(), VitalSigns()
        reopen = self.driver.open(self.clock)
        self.capture = Capture(reopen(self.halt), self.halt, reopen=reopen, silent_s=1.5, clock=self.clock)
        self.taken: list[tuple[int, int]] = []  # frame's number and brightness

    def take(self, count: int) -> None:
        for _ in range(count):
            shown = self.capture.slot.get(WAIT_S)
            assert shown is not None
            self.taken.append((shown.frame_id, int(shown.image[0, 0, 0])))
            self.capture.look()

    def let_time_pass(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.2)):
            self.clock.now += 0.2
            self.capture.look()

    def hang_for_ever(self) -> None:
        """Every reader that may be left behind is, and the last one hangs too."""
        for number in range(MOST_LEFT):
            self.take(1)
            while self.capture.hangs == number:
                self.let_time_pass(0.2)
        self.take(1)


def threads(since: set[threading.Thread] | None = None) -> set[threading.Thread]:
    """The cameras' threads that are there now and were not then."""
    return {thread for thread in threading.enumerate() if thread.name == THREAD} - (since or set())


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_camera_that_hangs_in_a_read_is_opened_anew_within_two_seconds(caplog: pytest.LogCaptureFixture) -> None:
    bench = Hanging(1, 1)
    with bench.capture:
        bench.take(1)
        bench.let_time_pass(1.4)
        assert bench.capture.hangs == 0
        bench.let_time_pass(0.6)
        assert bench.capture.hangs == 1
        bench.take(1)
        assert bench.taken == [(0, 10), (1, 20)]  # frames go on counting
        bench.driver.let_go()
    assert "the camera hangs in a read; it is opened again" in caplog.text


def test_a_camera_that_hangs_for_ever_leaves_a_bounded_number_of_threads_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench, before = Hanging(1), threads()
    with bench.capture:
        bench.hang_for_ever()
        bench.let_time_pass(600.0)
        assert bench.capture.hangs == MOST_LEFT
        assert bench.capture.is_gone
        assert len(threads(before)) == MOST_LEFT + 1
        assert caplog.text.count("its driver lets go of nothing") == 1
        assert not bench.capture.shown() or not bench.capture.shown()  # systemd may start the station anew
        bench.driver.let_go()
    assert eventually(lambda: not threads(before))


def test_a_camera_whose_last_read_comes_back_after_all_is_no_longer_stuck() -> None:
    bench = Hanging(1)
    with bench.capture:
        bench.hang_for_ever()
        bench.let_time_pass(20.0)
        assert bench.capture.is_gone
        bench.driver.let_go()  # all of them: the newest finds its camera lost and opens it again
        bench.take(1)
        assert not bench.capture.is_stuck
        assert not bench.capture.is_gone
        bench.driver.let_go()


def test_what_hung_gives_its_camera_back_and_another_try_follows_without_a_leak() -> None:
    bench, threads_before, handles_before = Hanging(1), threads(), handles()
    with bench.capture:
        for _ in range(30):
            bench.take(1)
            hanging, hung = bench.driver.devices[-1], bench.capture.hangs
            while bench.capture.hangs == hung:
                bench.let_time_pass(0.2)
            hanging.let_go.set()
            assert eventually(lambda: len(threads(threads_before)) == 1)
        assert bench.capture.hangs == 30
        assert [number for number, _ in bench.taken] == list(range(30))
        bench.driver.let_go()
    assert eventually(lambda: not threads(threads_before))
    assert bench.driver.opened == bench.driver.released
    assert eventually(lambda: handles() <= handles_before)


def test_a_camera_that_is_lost_again_and_again_is_found_again_without_a_leak() -> None:
    class Leaving(HangingDevice):
        """Gives one frame, then fails as an unplugged camera does."""

        def grab(self) -> bool:
            self.let_go.set()
            return super().grab()

    driver, clock, before = Driver(1), FakeClock(), handles()
    camera = V4L2Camera("/dev/video7", open_device=lambda: Leaving(driver), stop=FakeStop(clock), clock=clock)
    with camera:
        shown = [camera.read() for _ in range(200)]
    assert [one and one.frame_id for one in shown] == list(range(200))
    assert camera.lost == 199
    assert driver.opened == driver.released == 200
    assert eventually(lambda: handles() <= before)  # others of this process may hold some for a moment


def test_a_camera_that_is_looked_for_does_not_hang() -> None:
    class UntilTheEnd(VitalSigns):
        """A pause between two tries that lasts longer than the test."""

        def wait(self, timeout: float | None = None) -> bool:
            return super().wait(WAIT_S)

    clock = FakeClock()
    halt = UntilTheEnd()
    devices = iter([FakeDevice([picture(1)])])

    def unplugged() -> FakeDevice:
        device = next(devices, None)
        if device is None:
            raise CameraError("no camera")
        return device

    def source(halt: threading.Event) -> V4L2Camera:
        return V4L2Camera("/dev/video7", open_device=unplugged, stop=halt, clock=clock)

    with Capture(source(halt), halt, reopen=source, silent_s=1.5, clock=clock) as capture:
        assert capture.slot.get(WAIT_S) is not None
        assert eventually(lambda: halt.is_waited_on)
        for _ in range(1000):
            clock.now += 0.2
            capture.look()
        assert capture.hangs == 0


def test_a_camera_that_ends_is_not_said_to_hang_while_another_one_does(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = FakeCamera([], live=True, hangs=True)
    with Capture(other, threading.Event()):
        assert other.hanging.wait(WAIT_S)
        with monkeypatch.context() as patience:
            patience.setattr(handover, "LEAVE_S", WAIT_S)  # nor is a busy machine a camera that hangs
            with Capture(FakeCamera([1], live=True), threading.Event()):
                pass
        assert not caplog.messages
    other.released.set()
    assert caplog.messages == ["the camera hangs in a read; left behind, it ends with the program"]


def test_a_camera_that_is_gone_when_it_is_opened_anew_is_waited_for() -> None:
    bench = Hanging(1)
    gone = [CameraError("no camera")]
    real = bench.driver.open(bench.clock)

    def reopen(halt: threading.Event) -> V4L2Camera:
        def device() -> HangingDevice:
            if gone:
                raise gone.pop()
            return HangingDevice(bench.driver)

        return V4L2Camera("/dev/video7", open_device=device, stop=halt, clock=bench.clock)

    halt = VitalSigns()
    capture = Capture(real(halt), halt, reopen=reopen, silent_s=1.5, clock=bench.clock)
    bench.capture = capture
    with capture:
        bench.take(1)
        bench.let_time_pass(2.0)
        bench.take(1)
        bench.driver.let_go()
    assert gone == []
    assert capture.hangs == 1


# A camera that comes back under another name


@pytest.mark.parametrize("folder", ["v4l/by-id", "edge-resad", "v4l/by-path"])
def test_a_camera_named_by_its_number_is_found_when_it_comes_back_under_another(tmp_path: Path, folder: str) -> None:
    link = tmp_path / folder / "serial-acme"
    link.parent.mkdir(parents=True)
    (tmp_path / "video0").touch()
    link.symlink_to("../" * len(Path(folder).parts) + "video0")
    name = DeviceName(str(tmp_path / "video0"), [tmp_path / "nowhere", link.parent])
    assert name.now() == str(tmp_path / "video0")
    name.remember()
    (tmp_path / "video0").rename(tmp_path / "video3")
    link.unlink()
    assert name.now() == str(tmp_path / "video0")  # not there yet: said as it is
    link.symlink_to(tmp_path / "video3")
    (tmp_path / "video0").touch()  # another camera took its number
    assert name.now() == str(tmp_path / "video3")


def test_a_camera_that_took_the_number_of_one_that_has_gone_is_not_opened_instead(tmp_path: Path) -> None:
    ours, other = tmp_path / "by-id" / "serial-acme", tmp_path / "by-id" / "serial-other"
    ours.parent.mkdir()
    (tmp_path / "video0").touch()
    ours.symlink_to(tmp_path / "video0")
    name = DeviceName(str(tmp_path / "video0"), [ours.parent])
    name.remember()
    ours.unlink()
    other.symlink_to(tmp_path / "video0")
    assert name.now() == str(ours)  # which is not there: that is said, and it is looked for
    other.unlink()
    assert name.now() == str(tmp_path / "video0")  # nobody knows whose it is


def test_a_camera_that_came_back_under_another_number_is_there_until_it_goes_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    link = tmp_path / "by-id" / "serial-acme"
    link.parent.mkdir()
    (tmp_path / "video0").touch()
    link.symlink_to(tmp_path / "video0")
    name = DeviceName(str(tmp_path / "video0"), [link.parent])
    assert not name.is_there()  # it was never opened
    name.remember()
    assert name.is_there()
    link.unlink()
    assert not name.is_there()  # whatever is called video0 now
    (tmp_path / "video0").rename(tmp_path / "video3")
    link.symlink_to(tmp_path / "video3")
    assert not name.is_there()  # what was opened is not it
    for _ in range(3):
        assert name.now() == str(tmp_path / "video3")
    name.remember()
    assert name.is_there()
    assert caplog.text.count("is now") == 1


def test_a_camera_that_waits_for_its_trigger_under_another_number_is_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "by-id" / "serial-acme"
    link.parent.mkdir()
    (tmp_path / "video0").touch()
    link.symlink_to(tmp_path / "video0")
    clock, opened = FakeClock(), list[str]()
    devices = iter([Impatient(clock, vain=0), Impatient(clock, vain=3)])

    def opens(path: str, **_: object) -> Impatient:
        opened.append(Path(path).name)
        return next(devices)

    monkeypatch.setattr("edge_resad.device.v4l2.open_v4l2", opens)
    monkeypatch.setattr("edge_resad.device.v4l2.DeviceName", lambda path: DeviceName(path, [link.parent]))
    with V4L2Camera(str(tmp_path / "video0"), triggered=True, clock=clock, stop=FakeStop(clock)) as camera:
        assert camera.read() is not None
        link.unlink()
        (tmp_path / "video0").rename(tmp_path / "video1")
        link.symlink_to(tmp_path / "video1")
        assert camera.read() is not None  # the first one is at its end: it is opened anew, and its driver waits thrice
    assert (opened, camera.lost) == (["video0", "video1"], 1)


def test_a_camera_named_by_a_link_is_opened_by_that_link(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    (tmp_path / "port-usb-2").symlink_to("video0")
    name = DeviceName(str(tmp_path / "port-usb-2"), [tmp_path])
    name.remember()
    (tmp_path / "port-usb-2").unlink()
    (tmp_path / "port-usb-2").symlink_to("video5")
    assert name.now() == str(tmp_path / "port-usb-2")


def test_a_camera_without_a_lasting_name_keeps_its_number(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    name = DeviceName(str(tmp_path / "video0"), [tmp_path / "nowhere"])
    name.remember()
    assert name.now() == str(tmp_path / "video0")
