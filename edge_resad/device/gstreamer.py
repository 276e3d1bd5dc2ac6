"""Cameras of GStreamer: the CSI cameras of a Jetson, and any pipeline that ends in pictures."""

from __future__ import annotations

import re
import threading
import time
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_resad.device.live import Device, HalfFrame, StillWaiting
from edge_resad.errors import CameraError

NEWEST = "appsink drop=true max-buffers=1 sync=false"  # a queue would hand over parts that have passed
OPEN_S = 8.0  # how long a pipeline may take to its first picture; NVIDIA's camera daemon takes seconds
READ_S = 1.5  # and from one picture to the next
LOOK_S = 0.1  # how often one that waits looks whether it should stop, or the pipeline says that it broke

CHANNELS = {"BGR": 3, "BGRx": 4, "BGRA": 4, "GRAY8": 1}

NO_GSTREAMER = (
    "csi: and gstreamer: cameras need GStreamer's Python bindings, which are not here. Install them, "
    "sudo apt install python3-gi gir1.2-gst-plugins-base-1.0, and use a venv that sees the system's packages, as "
    "deploy/jetson/install.sh makes it."
)


def open_gstreamer(
    pipeline: str, *, fps: float | None = None, triggered: bool = False, stop: threading.Event | None = None
) -> Device:
    """Run a pipeline whose pictures are BGR, BGRx or gray; an appsink is put at its end where it has none.

    fps: pictures a second, where they are few.
    triggered: the camera waits for its own trigger, so that its silence means nothing.
    stop: whoever waits for a picture goes on at once.

    Raises:
        CameraError: GStreamer is missing, or does not run the pipeline.
    """
    gst = load_gstreamer()
    whole = with_sink(pipeline)
    try:
        running = gst.parse_launch(whole)
        sink = next((one for one in _elements(gst, running) if one.get_factory().get_name() == "appsink"), None)
        if sink is None:
            raise CameraError(f"this pipeline has no appsink at its end: {whole}. Correct [camera] source.")
        if sink.get_property("max-buffers") == 0:  # without bound: a queue of parts that have passed
            sink.set_property("max-buffers", 1)
    except CameraError:
        raise
    except Exception as error:  # GLib's own, which cannot be named where GLib is missing
        raise CameraError(_cannot_run(whole, getattr(error, "message", str(error)))) from error
    opened = _Pipeline(
        gst, running, sink, whole, read_s=max(READ_S, 2 / fps if fps else 0.0), triggered=triggered, stop=stop
    )
    try:
        opened.start()
    except BaseException:
        opened.release()
        raise
    return opened


def with_sink(pipeline: str) -> str:
    """The pipeline, with an end from which we take pictures."""
    return pipeline if re.search(r"\bappsink\b", pipeline) else f"{pipeline} ! {NEWEST}"


def csi_pipeline(sensor: str, *, fps: float | None, width: int | None, height: int | None) -> str:
    """The pipeline of a CSI camera: nvarguscamerasrc, scaled by the VIC, in BGRx. sensor: its number."""
    rate = Fraction(fps or 30).limit_denominator(1001)
    size = f"width={width or 1920},height={height or 1080}"
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM),{size},format=NV12,framerate={rate.numerator}/{rate.denominator} ! "
        f"nvvidconv flip-method=0 ! video/x-raw,{size},format=BGRx ! {NEWEST}"
    )


def load_gstreamer() -> Any:
    """GStreamer's bindings, ready for use.

    Raises:
        CameraError: they are missing.
    """
    try:
        import gi  # the system's: everything else works without it

        for name in ("Gst", "GstApp", "GstVideo"):
            gi.require_version(name, "1.0")
        from gi.repository import Gst, GstApp, GstVideo  # noqa: F401  # the last two teach a sink and a picture more
    except (ImportError, ValueError) as missing:  # the second where a library is not there
        raise CameraError(NO_GSTREAMER) from missing
    if not Gst.is_initialized():
        Gst.init(None)
    return Gst


def gstreamer_version() -> str:
    """Which GStreamer is here.

    Raises:
        CameraError: none.
    """
    return str(load_gstreamer().version_string())


class _Pipeline:
    """A pipeline that runs, as a device."""

    def __init__(
        self,
        gst: Any,
        pipeline: Any,
        sink: Any,
        said: str,
        *,
        read_s: float,
        triggered: bool,
        stop: threading.Event | None,
    ) -> None:
        self._gst = gst
        self._pipeline = pipeline
        self._sink = sink
        self._said = said
        self._read_s = read_s
        self._triggered = triggered
        self._stop = stop or threading.Event()
        self._sample: Any = None

    def start(self) -> None:
        """Let it run; a live camera has a first picture then."""
        gst, until = self._gst, time.monotonic() + OPEN_S
        began = self._pipeline.set_state(gst.State.PLAYING)
        while began == gst.StateChangeReturn.ASYNC and not self._stop.is_set():
            if time.monotonic() >= until:
                if self._triggered:
                    return
                raise CameraError(_cannot_run(self._said, f"no picture came in {OPEN_S:g} s"))
            self._raise_what_broke()
            began = self._pipeline.get_state(int(LOOK_S * gst.SECOND))[0]
        if began == gst.StateChangeReturn.FAILURE:
            self._raise_what_broke()
            raise CameraError(_cannot_run(self._said, "it does not start"))

    def grab(self) -> bool:
        gst, until = self._gst, time.monotonic() + self._read_s
        while not self._stop.is_set():
            self._sample = self._sink.try_pull_sample(int(LOOK_S * gst.SECOND))
            self._raise_what_broke()  # with every picture: what the pipeline says besides must not pile up
            if self._sample is not None:
                return True
            if self._sink.is_eos():
                return False
            if time.monotonic() >= until:
                if self._triggered:
                    raise StillWaiting
                raise CameraError(
                    f"the pipeline gives no picture for {self._read_s:g} s: {self._said}. Check the camera."
                )
        return False

    def retrieve(self) -> tuple[bool, NDArray[np.uint8] | None]:
        sample, self._sample = self._sample, None
        return True, _picture(sample)

    def release(self) -> None:
        self._sample = None
        self._pipeline.set_state(self._gst.State.NULL)

    def _raise_what_broke(self) -> None:
        message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
        if message is not None:
            error = message.parse_error()[0]
            raise CameraError(_cannot_run(self._said, f"{message.src.get_name()}: {error.message}"))


def _elements(gst: Any, pipeline: Any) -> list[Any]:
    """The elements of a pipeline; one alone, which is none, is itself."""
    if not isinstance(pipeline, gst.Bin):
        return [pipeline]
    found: list[Any] = []
    elements = pipeline.iterate_recurse()
    while True:
        result, element = elements.next()
        if result != gst.IteratorResult.OK:
            return found
        found.append(element)


def _picture(sample: Any) -> NDArray[np.uint8]:
    """The pixels of one picture, (H, W, channels), without what pads its rows."""
    from gi.repository import GstVideo

    buffer, caps = sample.get_buffer(), sample.get_caps()
    about = GstVideo.VideoInfo.new_from_caps(caps)
    kind = about.finfo.name if about is not None else caps.to_string()
    channels = CHANNELS.get(kind)
    if channels is None:
        raise CameraError(
            f"the pictures of this pipeline are {kind}, expected one of {', '.join(CHANNELS)}. "
            "Put videoconvert ! video/x-raw,format=BGRx at its end (nvvidconv on a Jetson)."
        )
    height, width = about.height, about.width
    laid_out = GstVideo.buffer_get_video_meta(buffer)  # of memory that is the camera's own
    offset, stride = (laid_out or about).offset[0], (laid_out or about).stride[0]
    content = np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8)
    if content.size < offset + (height - 1) * stride + width * channels:
        raise HalfFrame(f"the pipeline gave {content.size} bytes of a picture of {width} x {height} {kind}")
    rows = np.lib.stride_tricks.as_strided(
        content[offset:], (height, width, channels), (stride, channels, 1), writeable=False
    )
    return np.array(rows, np.uint8)


def _cannot_run(pipeline: str, why: str) -> str:
    return (
        f"GStreamer cannot run the pipeline ({why.strip().rstrip('.')}): {pipeline}. Try it with gst-launch-1.0, and "
        "correct [camera] source."
    )
