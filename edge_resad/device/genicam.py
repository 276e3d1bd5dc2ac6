"""GenICam cameras, GigE Vision and USB3 Vision alike: by harvesters and the GenTL producer of the camera's vendor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.device.driver import driver_says, leave, words_of
from edge_resad.device.features import Setting, set_features, waits_for_a_trigger
from edge_resad.device.live import Device, HalfFrame, StillWaiting
from edge_resad.errors import CameraError

READ_S = 1.3  # how long a camera may take from one frame to the next
NOW_S = 0.001  # harvesters takes 0 for "as long as it takes"
BUFFERS = 4
PULSE = "TriggerMode"  # what a camera that waits for its trigger is asked for, to see whether it is there

_TO_BGR: dict[str, int | None] = {
    "Mono8": cv2.COLOR_GRAY2BGR,
    "BGR8": None,
    "RGB8": cv2.COLOR_RGB2BGR,
    "BGRa8": cv2.COLOR_BGRA2BGR,
    "RGBa8": cv2.COLOR_RGBA2BGR,
    "BayerRG8": cv2.COLOR_BayerRGGB2BGR,
    "BayerGR8": cv2.COLOR_BayerGRBG2BGR,
    "BayerGB8": cv2.COLOR_BayerGBRG2BGR,
    "BayerBG8": cv2.COLOR_BayerBGGR2BGR,
    "YUV422_8": cv2.COLOR_YUV2BGR_YUYV,
    "YUV422_8_UYVY": cv2.COLOR_YUV2BGR_UYVY,
}
"""Pixel formats by their names in GenICam's Pixel Format Naming Convention -> how OpenCV makes BGR of them."""

_BYTES: dict[str, int] = {"BGR8": 3, "RGB8": 3, "BGRa8": 4, "RGBa8": 4, "YUV422_8": 2, "YUV422_8_UYVY": 2}
"""Bytes of a pixel, of those that have more than one."""


def open_genicam(serial: str, *, producer: Path | None, wanted: Mapping[str, Setting]) -> Device:
    """Open the camera of this serial number, or the only one.

    producer: the vendor's GenTL producer, a .cti file; without it those of GENICAM_GENTL64_PATH.
    wanted:   features to set, in order.

    Raises:
        CameraError: harvesters or the producer is missing, there is no such camera, or it does not take a feature.
    """
    with ExitStack() as opening:
        harvester = _harvester(producer, opening)
        serials = _serials(harvester)
        index = _found(serials, serial)
        where = serials[index]
        with driver_says(f"the camera {where} is there but cannot be opened", _IN_USE):
            acquirer = harvester.create(index)
        opening.callback(leave, acquirer.destroy)
        with driver_says(f"the camera {where} is there but does not begin", _CHECK):
            stream = _Stream(harvester, acquirer, where, wanted)
        opening.pop_all()
    return stream


def look_for_genicam(serial: str, *, producer: Path | None) -> str:
    """The serial number of the camera that `open_genicam` would open; nothing is opened.

    Raises:
        CameraError: harvesters or the producer is missing, or there is no such camera.
    """
    with ExitStack() as opening:
        serials = _serials(_harvester(producer, opening))
        return serials[_found(serials, serial)]


def _harvester(producer: Path | None, opening: ExitStack) -> Any:
    """What lists the cameras of the producers and opens them, while `opening` lasts."""
    try:
        from harvesters.core import Harvester  # an extra; everything else works without it
    except ImportError as missing:
        raise CameraError(
            "genicam: cameras need harvesters, which is not installed. Install it: pip install 'edge-resad[genicam]'"
        ) from missing
    harvester = Harvester()
    opening.callback(leave, harvester.reset)
    for file in _producers(producer):
        with driver_says(f"{file} is no GenTL producer for this machine", _BUILT_FOR):
            harvester.add_file(str(file), check_existence=True, check_validity=True)
    return harvester


def _serials(harvester: Any) -> list[str]:
    with driver_says("the GenTL producer does not tell which cameras there are", _CHECK):
        harvester.update()
        return [str(info.serial_number) for info in harvester.device_info_list]


def _producers(named: Path | None) -> list[Path]:
    if named is not None:
        if not named.is_file():
            raise CameraError(
                f"no GenTL producer at {named}. Set [camera] producer to the .cti file of the camera's vendor."
            )
        return [named]
    folders = [Path(part) for part in os.environ.get("GENICAM_GENTL64_PATH", "").split(os.pathsep) if part]
    found = [file for folder in folders for file in sorted(folder.glob("*.cti"))]
    if not found:
        raise CameraError(
            "no GenTL producer is known. Install the camera vendor's, then set [camera] producer to its .cti file, "
            "or GENICAM_GENTL64_PATH to its folder."
        )
    return found


def _found(serials: list[str], serial: str) -> int:
    seen = ", ".join(serials) or "none"
    if serial:
        if serial not in serials:
            raise CameraError(
                f"no GenICam camera with the serial number {serial}. Seen now: {seen}. Check the cable and the "
                "camera's power, or name another one."
            )
        return serials.index(serial)
    if len(serials) != 1:
        raise CameraError(
            f"[camera] source is genicam without a serial number, and not one camera is there. Seen now: {seen}. "
            'Set source to "genicam:SERIAL".'
        )
    return 0


class _NodeMap:
    """A node map as features."""

    def __init__(self, node_map: Any) -> None:
        self._nodes = node_map

    def names(self) -> list[str]:
        return [name for name in dir(self._nodes) if name[:1].isupper()]

    def get(self, name: str) -> Setting | None:
        node = getattr(self._nodes, name, None)
        value: Setting | None = None
        try:
            value = None if node is None else node.value
        except Exception:  # it is there, and not readable now
            return None
        return value

    def set(self, name: str, value: Setting) -> None:
        getattr(self._nodes, name).value = value

    def ask(self, name: str) -> None:
        """Ask the camera itself, not what is remembered of it. Raises what its library says where it is gone."""
        node = getattr(self._nodes, name)
        node.node.invalidate_node()
        _ = node.value


class _Stream:
    """A camera as a device."""

    def __init__(self, harvester: Any, acquirer: Any, where: str, wanted: Mapping[str, Setting]) -> None:
        self._harvester = harvester
        self._acquirer = acquirer
        self._where = where
        self._buffer: Any = None
        self._half = 0  # frames that came, were not whole, and are not yet said
        features = _NodeMap(acquirer.remote_device.node_map)
        set_features(where, features, wanted)
        self._features = features
        self._is_triggered = waits_for_a_trigger(features)
        acquirer.num_buffers = BUFFERS
        acquirer.add_callback(acquirer.Events.INCOMPLETE_BUFFER, _callback(self._heard_of_half))
        acquirer.start()
        self._whole = acquirer.statistics.num_images

    def grab(self) -> bool:
        try:
            return self._grab()
        except (StillWaiting, HalfFrame):
            raise
        except Exception as error:
            raise self._broke_off(error) from error

    def retrieve(self) -> tuple[bool, Any]:
        try:
            components = self._buffer.payload.components
            picture = _bgr(components[0], self._where) if components else None
            self._let_go()
        except (CameraError, HalfFrame):
            raise
        except Exception as error:
            raise self._broke_off(error) from error
        return picture is not None, picture

    def release(self) -> None:
        leave(self._let_go, self._acquirer.stop, self._acquirer.destroy, self._harvester.reset)

    def _grab(self) -> bool:
        self._let_go()
        self._say_half()
        self._buffer = self._fetch(READ_S)
        if self._buffer is None:
            self._say_half()
            if not self._is_triggered:
                return False
            self._features.ask(PULSE)
            raise StillWaiting
        while not self._is_triggered:  # what came meanwhile is newer
            newer = self._fetch(NOW_S)
            if newer is None:
                break
            self._let_go()
            self._buffer = newer
        return True

    def _fetch(self, timeout_s: float) -> Any:
        """A whole frame; None where none came in time, or where one came that is not whole."""
        until = time.monotonic() + timeout_s
        while True:
            buffer = self._acquirer.try_fetch(timeout=max(until - time.monotonic(), NOW_S))
            whole = self._acquirer.statistics.num_images
            self._half += whole - self._whole - (buffer is not None)  # what harvesters could make nothing of
            self._whole = whole
            if buffer is not None or self._half or time.monotonic() >= until:
                return buffer
            # harvesters waits by the clock on the wall, which somebody has set

    def _heard_of_half(self, context: object = None) -> None:
        """Hear from harvesters that it drops a frame which is not whole."""
        self._half += 1

    def _say_half(self) -> None:
        if self._half:
            self._half -= 1
            raise HalfFrame(f"the camera {self._where} sent half a frame")

    def _broke_off(self, error: Exception) -> CameraError:
        return CameraError(f"the camera {self._where} broke off: {words_of(error)}. {_CHECK}")

    def _let_go(self) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            buffer.queue()


def _callback(hear: Callable[[object], None]) -> Any:
    """What harvesters takes to call: of its own class alone."""
    from harvesters.core import Callback  # it is there, or no camera would be open

    callback = Callback()
    callback.emit = hear
    return callback


def _bgr(component: Any, where: str) -> NDArray[np.uint8]:
    """The picture of a buffer, copied: the buffer goes back to the camera."""
    name = str(component.data_format)
    if name not in _TO_BGR:
        raise CameraError(
            f"the camera {where} gives the pixel format {name}, expected one of {', '.join(_TO_BGR)}. "
            'Set it, such as controls = { PixelFormat = "Mono8" } in [camera].'
        )
    code, size = _TO_BGR[name], component.height * component.width
    if component.data.size < size * _BYTES.get(name, 1):
        raise HalfFrame(f"the camera {where} sent {component.data.size} bytes of a frame")
    rows = component.data.reshape(component.height, component.width, -1)
    return rows.copy() if code is None else np.asarray(cv2.cvtColor(rows, code), np.uint8)


_CHECK = "Check the cable and its network."
_IN_USE = "Close the other program that uses it, or check the network card's address."
_BUILT_FOR = "Expected a .cti file of the camera's vendor, built for this processor."
