"""Cameras of GStreamer and of the network: opened where what they need is there, one sentence where not."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.device import gstreamer, rtsp
from edge_resad.device.camera import open_camera
from edge_resad.device.gstreamer import csi_pipeline, has_gstreamer, open_gstreamer
from edge_resad.device.live import LiveCamera
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


class Capture:
    """Stands in for cv2.VideoCapture: remembers the pipeline it was given."""

    pipelines: list[str]

    def __init__(self, pipeline: str, backend: int) -> None:
        assert backend == cv2.CAP_GSTREAMER
        self.pipelines.append(pipeline)

    def isOpened(self) -> bool:
        return "broken" not in self.pipelines[-1]

    def release(self) -> None: ...


@pytest.fixture
def pipelines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An OpenCV that has GStreamer, and what it was asked to open."""
    Capture.pipelines = []
    monkeypatch.setattr(gstreamer, "has_gstreamer", lambda: True)
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    return Capture.pipelines


def test_a_csi_camera_is_scaled_outside_of_the_cpu_and_hands_over_its_newest_picture(pipelines: list[str]) -> None:
    open_gstreamer(csi_pipeline("1", fps=29.97, width=1280, height=720))
    assert pipelines == [
        "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM),width=1280,height=720,format=NV12,framerate=2997/100 ! "
        "nvvidconv flip-method=0 ! video/x-raw,width=1280,height=720,format=BGRx ! "
        "appsink drop=true max-buffers=1 sync=false"
    ]


def test_a_pipeline_without_an_end_gets_one_that_keeps_no_queue(pipelines: list[str]) -> None:
    open_gstreamer("videotestsrc ! video/x-raw,format=BGR")
    open_gstreamer("videotestsrc ! appsink name=mine")
    assert pipelines == [
        "videotestsrc ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false",
        "videotestsrc ! appsink name=mine",
    ]


@pytest.mark.usefixtures("pipelines")
def test_a_pipeline_that_cannot_run_is_said() -> None:
    with pytest.raises(CameraError, match=r"GStreamer cannot run the pipeline: broken ! appsink .*\. Try it with"):
        open_gstreamer("broken")


@pytest.mark.skipif(has_gstreamer(), reason="this OpenCV has GStreamer")
def test_an_opencv_without_gstreamer_is_one_sentence() -> None:
    with (
        pytest.raises(CameraError, match=r"built without GStreamer, .* pip uninstall opencv-python-headless"),
        open_camera(CameraSection(source="csi:0")),
    ):
        pass


@pytest.mark.skipif(not has_gstreamer(), reason="this OpenCV has no GStreamer")
def test_a_real_pipeline_gives_pictures() -> None:
    with open_camera(CameraSection(source="gstreamer:videotestsrc ! video/x-raw,format=BGRx")) as camera:
        shown = camera.read()
    assert shown is not None
    assert shown.image.shape[2] == 3


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
def test_a_port_where_nobody_listens_is_said_at_once() -> None:
    with pytest.raises(CameraError, match="Connection refused"):
        open_rtsp(f"rtsp://127.0.0.1:{free_port()}/live")


@pytest.mark.usefixtures("pyav")
def test_pyav_gives_the_pictures_of_a_stream_to_its_end(tmp_path: Path) -> None:
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
    monkeypatch.setattr(rtsp, "OPEN_S", 60.0)  # a machine that is busy is no camera that is silent
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
