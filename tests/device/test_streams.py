"""Cameras of GStreamer and of the network: opened where what they need is there, one sentence where not."""

from __future__ import annotations

import os
import socket
import sys
import sysconfig
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.device import rtsp
from edge_resad.device.camera import open_camera
from edge_resad.device.gstreamer import csi_pipeline, load_gstreamer, open_gstreamer, with_sink
from edge_resad.device.live import Device, HalfFrame, LiveCamera, StillWaiting
from edge_resad.device.rtsp import OPEN_S, open_rtsp, without_password
from edge_resad.device.settings import CameraSection, split_source
from edge_resad.errors import CameraError
from tests.fakes import FakeClock, FakeDevice, FakeStop
from tests.mqtt_peers import free_port
from tests.rtsp_server import RtspServer

Image = NDArray[np.uint8]


@pytest.mark.parametrize(
    ("source", "kind", "argument"),
    [
        ("csi:0", "csi", "0"),
        ("gstreamer:videotestsrc ! videoconvert", "gstreamer", "videotestsrc ! videoconvert"),
        ("rtsp://user:secret@10.0.0.5/live", "rtsp", "rtsp://user:secret@10.0.0.5/live"),
    ],
)
def test_the_station_file_names_streams(source: str, kind: str, argument: str) -> None:
    assert split_source(source) == (kind, argument)
    assert isinstance(open_camera(CameraSection(source=source)), LiveCamera)


# GStreamer


def test_a_csi_camera_is_scaled_outside_of_the_cpu_and_hands_over_its_newest_picture() -> None:
    assert csi_pipeline("1", fps=29.97, width=1280, height=720) == (
        "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM),width=1280,height=720,format=NV12,framerate=2997/100 ! "
        "nvvidconv flip-method=0 ! video/x-raw,width=1280,height=720,format=BGRx ! "
        "appsink drop=true max-buffers=1 sync=false"
    )


def test_a_pipeline_without_an_end_gets_one_that_keeps_no_queue() -> None:
    assert with_sink("videotestsrc") == "videotestsrc ! appsink drop=true max-buffers=1 sync=false"
    assert with_sink("videotestsrc ! appsink name=mine") == "videotestsrc ! appsink name=mine"


def test_gstreamer_that_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    with (
        pytest.raises(CameraError, match=r"Python bindings, which are not here\. Install them, sudo apt install"),
        open_camera(CameraSection(source="csi:0")),
    ):
        pass


def _system_python() -> Path | None:
    """Where the system keeps GStreamer's bindings, if they are for this Python."""
    folders = map(Path, ("/usr/lib/python3/dist-packages", "/usr/lib64/python3/site-packages"))
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return next((folder for folder in folders if (folder / "gi" / f"_gi{suffix}").exists()), None)


@pytest.fixture
def bindings() -> None:
    """GStreamer's bindings, as a virtual environment that sees the system's packages has them."""
    system = _system_python()
    if system is not None:
        sys.path.append(str(system))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # the importer of older bindings is of an old kind
            load_gstreamer()
    except CameraError as missing:
        pytest.skip(str(missing))
    finally:
        if system is not None:
            sys.path.remove(str(system))


@contextmanager
def running(pipeline: str, **more: Any) -> Iterator[Device]:
    device = open_gstreamer(pipeline, **more)
    try:
        yield device
    finally:
        device.release()


@pytest.mark.usefixtures("bindings")
@pytest.mark.parametrize(
    ("form", "width", "channels"), [("BGRx", 64, 4), ("BGR", 64, 3), ("BGR", 51, 3), ("GRAY8", 64, 1), ("GRAY8", 51, 1)]
)
def test_a_pipeline_gives_its_pictures_whatever_pads_their_rows(form: str, width: int, channels: int) -> None:
    caps = f"video/x-raw,format={form},width={width},height=40"
    with running(f"videotestsrc pattern=solid-color foreground-color=0xff204060 ! {caps}") as device:
        assert device.grab()
        good, image = device.retrieve()
    assert good
    assert image.shape == (40, width, channels)
    if channels > 1:
        assert (image[:, :, :3] == (0x60, 0x40, 0x20)).all()  # blue, green, red
    else:
        assert len(np.unique(image)) == 1


@pytest.mark.usefixtures("bindings")
def test_an_end_of_ones_own_keeps_no_queue_either() -> None:
    with running("videotestsrc ! video/x-raw,format=BGR,width=64,height=48 ! appsink name=mine") as device:
        assert device._sink.get_property("max-buffers") == 1  # type: ignore[attr-defined]


@pytest.mark.usefixtures("bindings")
def test_half_a_picture_is_a_part_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(64 * 48 * 3 + 100))
    caps = "video/x-raw,format=BGR,width=64,height=48,framerate=1/1"
    with running(f"filesrc location={tmp_path / 'raw'} blocksize={64 * 48 * 3} ! {caps} ! appsink") as device:
        assert device.grab()
        assert device.retrieve()[0]
        assert device.grab()
        with pytest.raises(HalfFrame, match="100 bytes of a picture of 64 x 48 BGR"):
            device.retrieve()


@pytest.mark.usefixtures("bindings")
def test_a_station_reads_a_pipeline() -> None:
    told = CameraSection(source="gstreamer:videotestsrc is-live=true ! video/x-raw,format=BGRx,width=64,height=48")
    with open_camera(told) as camera:
        shown = [camera.read() for _ in range(3)]
    assert [one.frame_id for one in shown if one is not None] == [0, 1, 2]
    assert all(one.image.shape == (48, 64, 3) and one.image.flags.writeable for one in shown if one is not None)


@pytest.mark.usefixtures("bindings")
@pytest.mark.parametrize(
    ("pipeline", "why"),
    [
        ("nonsense ! fakesink", 'no element "nonsense"'),
        ("filesrc location=/nowhere ! decodebin ! videoconvert", r"filesrc\d+: Resource not found"),
        ("videotestsrc ! fakesink name=appsink", "no appsink at its end"),
    ],
)
def test_a_pipeline_that_cannot_run_is_said(pipeline: str, why: str) -> None:
    with pytest.raises(CameraError, match=why):
        open_gstreamer(pipeline)


@pytest.mark.usefixtures("bindings")
def test_a_pipeline_that_ends_gives_no_more_pictures() -> None:
    with running("videotestsrc num-buffers=1 ! video/x-raw,format=BGR") as device:
        assert [device.grab() for _ in range(2)] == [True, False]


@pytest.mark.usefixtures("bindings")
def test_pictures_that_nobody_can_use_are_said() -> None:
    with running("videotestsrc ! video/x-raw,format=I420") as device:
        assert device.grab()
        with pytest.raises(CameraError, match=r"pictures of this pipeline are I420, expected one of BGR, BGRx"):
            device.retrieve()


@pytest.mark.usefixtures("bindings")
def test_a_pipeline_that_breaks_is_begun_again_and_leaves_nothing_open(caplog: pytest.LogCaptureFixture) -> None:
    told = "gstreamer:videotestsrc is-live=true ! video/x-raw,format=BGR,width=64,height=48 ! identity error-after=4"
    with open_camera(CameraSection(source=told)) as camera:
        assert isinstance(camera, LiveCamera)
        while camera.lost < 2:
            assert camera.read() is not None
        before = len(os.listdir("/proc/self/fd"))
        while camera.lost < 5:
            assert camera.read() is not None
        assert len(os.listdir("/proc/self/fd")) <= before
    assert "camera lost: GStreamer cannot run the pipeline (identity0: Failed after iterations" in caplog.text


@contextmanager
def silent(*, triggered: bool, stop: threading.Event) -> Iterator[Device]:
    """A pipeline that gives no picture any more."""
    pipeline = "videotestsrc ! video/x-raw,format=BGR,width=64,height=48 ! valve name=valve"
    with running(pipeline, triggered=triggered, stop=stop) as device:
        assert device.grab()
        device._pipeline.get_by_name("valve").set_property("drop", True)  # type: ignore[attr-defined]
        yield device


def drain(device: Device) -> None:
    """Take what was under way before a pipeline fell silent, until it has nothing more."""
    while device.grab():
        pass


@pytest.mark.usefixtures("bindings")
@pytest.mark.parametrize(("triggered", "raised"), [(False, CameraError), (True, StillWaiting)])
def test_a_pipeline_that_falls_silent_is_given_up_unless_it_waits_for_its_trigger(
    triggered: bool, raised: type[Exception]
) -> None:
    with silent(triggered=triggered, stop=threading.Event()) as device, pytest.raises(raised):
        drain(device)


@pytest.mark.usefixtures("bindings")
def test_who_waits_for_a_picture_goes_on_when_nobody_wants_it_any_more() -> None:
    stop = threading.Event()
    with silent(triggered=True, stop=stop) as device:
        stop.set()
        assert not device.grab()


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4)])
def test_pictures_of_one_and_four_channels_become_bgr(shape: tuple[int, ...]) -> None:
    device = FakeDevice([np.full(shape, 7, np.uint8)])
    clock = FakeClock()
    with LiveCamera("csi:0", lambda: device, stop=FakeStop(clock), clock=clock) as camera:
        shown = camera.read()
    assert shown is not None
    assert shown.image.shape == (4, 6, 3)
    assert (shown.image == 7).all()
    assert shown.image.flags.c_contiguous


# RTSP


def test_pyav_that_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        CameraError, match=r"need PyAV, which is not installed\. Install it: pip install 'edge-resad\[rtsp\]'"
    ):
        open_rtsp("rtsp://10.0.0.5/live")


def test_a_password_is_not_shown() -> None:
    assert without_password("rtsp://user:secret@10.0.0.5/live") == "rtsp://user:***@10.0.0.5/live"
    assert without_password("rtsp://10.0.0.5:554/a@b") == "rtsp://10.0.0.5:554/a@b"
    assert without_password("/dev/video0") == "/dev/video0"


@pytest.fixture
def pyav() -> None:
    pytest.importorskip("av", reason="PyAV, the extra rtsp, is not installed")


@pytest.mark.usefixtures("pyav")
def test_a_camera_that_never_answers_is_given_up_within_two_seconds() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,  # takes the connection and says nothing
        pytest.raises(
            CameraError, match=r"no stream at rtsp://me:\*\*\*@127\.0\.0\.1.*: it does not answer"
        ) as refused,
    ):
        open_rtsp(f"rtsp://me:secret@127.0.0.1:{deaf.getsockname()[1]}/live")
    assert OPEN_S < 2.0  # and the server says nothing for ever
    assert "secret" not in str(refused.value)


@pytest.mark.usefixtures("pyav")
def test_a_port_where_nobody_listens_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "OPEN_S", 60.0)  # a machine that is busy is no camera that is silent
    with pytest.raises(CameraError, match="Connection refused"):
        open_rtsp(f"rtsp://127.0.0.1:{free_port()}/live")


@pytest.mark.usefixtures("pyav")
def test_pyav_gives_the_pictures_of_a_stream_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "OPEN_S", 60.0)
    monkeypatch.setattr(rtsp, "READ_S", 60.0)
    path = tmp_path / "parts.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    for brightness in (0, 100, 200):
        writer.write(np.full((48, 64, 3), brightness, np.uint8))
    writer.release()
    device = open_rtsp(str(path))
    found: list[int] = []
    while device.grab():
        good, image = device.retrieve()
        assert good
        assert image.shape == (48, 64, 3)
        found.append(int(image.mean()))
    device.release()
    assert found[-2:] == pytest.approx([100, 200], abs=4)  # what was read to find out the format is not kept


def flat(brightness: int) -> Image:
    return np.full((64, 96, 3), brightness, np.uint8)


@pytest.mark.usefixtures("pyav")
def test_a_network_camera_gives_its_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "OPEN_S", 60.0)
    monkeypatch.setattr(rtsp, "READ_S", 60.0)
    levels = [flat(level) for level in range(20, 200, 6)]
    with (
        RtspServer(levels, then="begins anew") as server,
        open_camera(CameraSection(source=server.url)) as camera,
    ):
        shown = [camera.read() for _ in range(60)]
    found = [int(one.image.mean()) for one in shown if one is not None]
    assert len(found) == 60
    assert np.diff(found) % 180 == pytest.approx([6] * 59, abs=2)  # none is missing, none comes twice
    assert [one.frame_id for one in shown if one is not None] == list(range(60))


@pytest.mark.usefixtures("pyav")
@pytest.mark.parametrize("then", ["ends", "hangs"])
def test_a_network_camera_that_breaks_off_or_falls_silent_is_connected_to_again(
    then: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtsp, "OPEN_S", 60.0)
    with RtspServer([flat(level) for level in range(20, 200, 6)], then=then) as server:
        camera = LiveCamera("the camera", lambda: open_rtsp(server.url), stop=FakeStop(FakeClock()))
        with camera:
            before = len(os.listdir("/proc/self/fd"))
            first = camera.read()
            while camera.lost == 0:
                began = time.monotonic()
                assert camera.read() is not None
            took_s = time.monotonic() - began
            assert len(os.listdir("/proc/self/fd")) <= before + 2  # the server's side of the old connection may linger
    assert first is not None
    assert server.callers >= 2
    assert took_s < 18.0  # measured: 1.4 s; the server is silent for 20 s
    assert "camera lost" in caplog.text
