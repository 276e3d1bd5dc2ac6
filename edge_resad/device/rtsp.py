"""Cameras of the network: RTSP, by PyAV, with timeouts that hold."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from edge_resad.device.live import Device
from edge_resad.errors import CameraError

OPEN_S, READ_S = 1.8, 1.3  # how long a camera may take to answer, and from one packet to the next
SILENT = "it does not answer"
OPTIONS = {"rtsp_transport": "tcp", "fflags": "nobuffer", "flags": "low_delay"}


def open_rtsp(url: str) -> Device:
    """Open a stream.

    Raises:
        CameraError: PyAV is missing, nobody answers, or what answers gives no video.
    """
    av = _pyav()
    shown, began = without_password(url), time.monotonic()
    try:
        stream = av.open(url, options=OPTIONS, timeout=(OPEN_S, READ_S))
    except (av.FFmpegError, OSError) as error:
        late = time.monotonic() - began >= 0.95 * OPEN_S  # FFmpeg calls half an answer invalid
        raise CameraError(
            f"no stream at {shown}: {SILENT if late else _said(error)}. "
            "Check the camera, its network and the user and password in the URL."
        ) from error
    if not stream.streams.video:
        stream.close()
        raise CameraError(f"{shown} gives no video. Check the path in the URL.")
    return _Stream(av, stream, shown)


def check_pyav() -> None:
    """Raise what `open_rtsp` raises where PyAV is missing."""
    _pyav()


def _pyav() -> Any:
    try:
        import av  # an extra; everything else works without it
    except ImportError as missing:
        raise CameraError(
            "rtsp:// cameras need PyAV, which is not installed. Install it: pip install 'edge-resad[rtsp]'"
        ) from missing
    return av


class _Stream:
    """A stream as a device."""

    def __init__(self, av: Any, stream: Any, shown: str) -> None:
        self._av = av
        self._stream = stream
        self._shown = shown
        self._frames: Iterator[Any] = stream.decode(video=0)
        self._frame: Any = None

    def grab(self) -> bool:
        try:
            self._frame = next(self._frames, None)
        except (self._av.FFmpegError, OSError) as error:
            raise CameraError(
                f"the stream {self._shown} broke off: {_said(error)}. Check the camera and its network."
            ) from error
        return self._frame is not None

    def retrieve(self) -> tuple[bool, Any]:
        return True, self._frame.to_ndarray(format="bgr24")

    def release(self) -> None:
        self._frames, self._frame = iter(()), None
        self._stream.close()


def _said(error: Exception) -> str:
    if type(error).__name__ == "ExitError":  # PyAV's word for a timeout: it interrupts FFmpeg
        return SILENT
    return getattr(error, "strerror", None) or str(error)


def without_password(source: str) -> str:
    """A source as it may stand in a log."""
    return re.sub(r"^(\w+://[^/@:]*):[^/@]*@", r"\1:***@", source)
