"""GenICam cameras, GigE Vision and USB3 Vision alike: by harvesters and the GenTL producer of the camera's vendor."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.device.features import Setting, set_features, waits_for_a_trigger
from edge_resad.device.live import Device, StillWaiting
from edge_resad.errors import CameraError

READ_S = 1.3  # how long a camera may take from one frame to the next
NOW_S = 0.001  # harvesters takes 0 for "as long as it takes"
BUFFERS = 4

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


def open_genicam(serial: str, *, producer: Path | None, wanted: Mapping[str, Setting]) -> Device:
    """Open the camera of this serial number, or the only one.

    producer: the vendor's GenTL producer, a .cti file; without it those of GENICAM_GENTL64_PATH.
    wanted:   features to set, in order.

    Raises:
        CameraError: harvesters or the producer is missing, there is no such camera, or it does not take a feature.
    """
    try:
        from harvesters.core import Harvester  # an extra; everything else works without it
    except ImportError as missing:
        raise CameraError(
            "genicam: cameras need harvesters, which is not installed. Install it: pip install 'edge-resad[genicam]'"
        ) from missing
    harvester = Harvester()
    try:
        for file in _producers(producer):
            _load(harvester, file)
        harvester.update()
        index = _found([str(info.serial_number) for info in harvester.device_info_list], serial)
        acquirer = _create(harvester, index)
        try:
            return _Stream(harvester, acquirer, serial or "the only GenICam camera", wanted)
        except BaseException:
            acquirer.destroy()
            raise
    except BaseException:
        harvester.reset()
        raise


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


def _load(harvester: Any, file: Path) -> None:
    try:
        harvester.add_file(str(file), check_existence=True, check_validity=True)
    except Exception as error:  # of the producer's own library
        raise CameraError(
            f"{file} is no GenTL producer for this machine: {_first_line(error)}. Expected a .cti file of the camera's "
            "vendor, built for this processor."
        ) from error


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


def _create(harvester: Any, index: int) -> Any:
    try:
        return harvester.create(index)
    except Exception as error:  # another program has it, or it is of another subnet
        raise CameraError(
            f"the camera {harvester.device_info_list[index].serial_number} is there but cannot be opened: "
            f"{_first_line(error)}. Close the other program that uses it, or check the network card's address."
        ) from error


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


class _Stream:
    """A camera as a device."""

    def __init__(self, harvester: Any, acquirer: Any, where: str, wanted: Mapping[str, Setting]) -> None:
        self._harvester = harvester
        self._acquirer = acquirer
        self._where = where
        self._buffer: Any = None
        features = _NodeMap(acquirer.remote_device.node_map)
        set_features(where, features, wanted)
        self._is_triggered = waits_for_a_trigger(features)
        acquirer.num_buffers = BUFFERS
        acquirer.start()

    def grab(self) -> bool:
        self._let_go()
        self._buffer = self._fetch(READ_S)
        if self._buffer is None and self._is_triggered:
            raise StillWaiting
        while not self._is_triggered and self._buffer is not None:  # what came meanwhile is newer
            newer = self._fetch(NOW_S)
            if newer is None:
                break
            self._let_go()
            self._buffer = newer
        return self._buffer is not None

    def retrieve(self) -> tuple[bool, Any]:
        components = self._buffer.payload.components
        if not components:
            return False, None
        picture = _bgr(components[0], self._where)
        self._let_go()
        return True, picture

    def release(self) -> None:
        for end in (self._let_go, self._acquirer.stop, self._acquirer.destroy, self._harvester.reset):
            try:
                end()
            except Exception:  # a camera that was unplugged refuses every goodbye
                continue

    def _fetch(self, timeout_s: float) -> Any:
        try:
            return self._acquirer.try_fetch(timeout=timeout_s)
        except Exception as error:
            raise CameraError(
                f"the camera {self._where} broke off: {_first_line(error)}. Check the cable and its network."
            ) from error

    def _let_go(self) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            buffer.queue()


def _bgr(component: Any, where: str) -> NDArray[np.uint8]:
    """The picture of a buffer, copied: the buffer goes back to the camera."""
    name = str(component.data_format)
    if name not in _TO_BGR:
        raise CameraError(
            f"the camera {where} gives the pixel format {name}, expected one of {', '.join(_TO_BGR)}. "
            'Set it, such as controls = { PixelFormat = "Mono8" } in [camera].'
        )
    rows = component.data.reshape(component.height, component.width, -1)
    code = _TO_BGR[name]
    return rows.copy() if code is None else np.asarray(cv2.cvtColor(rows, code), np.uint8)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")
