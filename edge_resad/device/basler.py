"""Basler cameras, by pypylon."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_resad.device.features import Setting, set_features, waits_for_a_trigger
from edge_resad.device.live import Device, StillWaiting
from edge_resad.errors import CameraError

READ_MS = 1300  # how long a camera may take from one frame to the next


def open_basler(serial: str, *, wanted: Mapping[str, Setting]) -> Device:
    """Open the camera of this serial number, or the only one.

    wanted: features to set, in order.

    Raises:
        CameraError: pypylon is missing, there is no such camera, or it does not take a feature.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as an error, SWIG's would crash the import
            from pypylon import pylon  # an extra; everything else works without it
    except ImportError as missing:
        raise CameraError(
            "basler: cameras need pypylon, which is not installed. Install it: pip install 'edge-resad[basler]'"
        ) from missing
    factory = pylon.TlFactory.GetInstance()
    found = {info.GetSerialNumber(): info for info in factory.EnumerateDevices()}
    chosen = _chosen(list(found), serial)
    try:
        camera = pylon.InstantCamera(factory.CreateDevice(found[chosen]))
        camera.Open()
    except Exception as error:  # another program has it, or it is of another subnet
        raise CameraError(
            f"the Basler camera {chosen} is there but cannot be opened: {_first_line(error)}. Close the other program "
            "that uses it, or check the network card's address."
        ) from error
    try:
        return _Stream(pylon, camera, chosen, wanted)
    except BaseException:
        camera.Close()
        raise


def _chosen(serials: list[str], serial: str) -> str:
    seen = ", ".join(serials) or "none"
    if serial and serial not in serials:
        raise CameraError(
            f"no Basler camera with the serial number {serial}. Seen now: {seen}. Check the cable and the camera's "
            "power, or name another one."
        )
    if not serial and len(serials) != 1:
        raise CameraError(
            f"[camera] source is basler without a serial number, and not one camera is there. Seen now: {seen}. "
            'Set source to "basler:SERIAL".'
        )
    return serial or serials[0]


class _NodeMap:
    """A node map as features. Cameras of before SFNC 2.0 have other names for two of them."""

    _OLDER: Mapping[str, str] = {"ExposureTime": "ExposureTimeAbs", "AcquisitionFrameRate": "AcquisitionFrameRateAbs"}

    def __init__(self, camera: Any) -> None:
        self._camera = camera

    def names(self) -> list[str]:
        nodes = self._camera.GetNodeMap().GetNodes()
        return [node.GetNode().GetName() for node in nodes]

    def get(self, name: str) -> Setting | None:
        try:
            value: Setting = self._node(name).Value
        except Exception:  # it is not there, or not readable now
            return None
        return value

    def set(self, name: str, value: Setting) -> None:
        self._node(name).Value = value

    def _node(self, name: str) -> Any:
        try:
            return getattr(self._camera, name)
        except Exception:
            if name not in self._OLDER:
                raise
            return getattr(self._camera, self._OLDER[name])


class _Stream:
    """A camera as a device."""

    def __init__(self, pylon: Any, camera: Any, where: str, wanted: Mapping[str, Setting]) -> None:
        self._pylon = pylon
        self._camera = camera
        self._where = where
        self._result: Any = None
        features = _NodeMap(camera)
        set_features(where, features, wanted)
        self._is_triggered = waits_for_a_trigger(features)
        self._to_bgr = pylon.ImageFormatConverter()
        self._to_bgr.OutputPixelFormat = pylon.PixelType_BGR8packed
        one_by_one, newest = pylon.GrabStrategy_OneByOne, pylon.GrabStrategy_LatestImageOnly
        camera.StartGrabbing(one_by_one if self._is_triggered else newest)  # a trigger's frame is a part each

    def grab(self) -> bool:
        self._let_go()
        try:
            result = self._camera.RetrieveResult(READ_MS, self._pylon.TimeoutHandling_Return)
        except Exception as error:
            raise CameraError(f"the Basler camera {self._where} broke off: {_first_line(error)}. {_CHECK}") from error
        if result is None or not result.IsValid():
            if self._is_triggered and not self._camera.IsCameraDeviceRemoved():
                raise StillWaiting
            return False
        self._result = result
        return True

    def retrieve(self) -> tuple[bool, Any]:
        if not self._result.GrabSucceeded():
            raise CameraError(
                f"the Basler camera {self._where} sent half a frame: {self._result.GetErrorDescription()}. {_CHECK}"
            )
        picture = np.ascontiguousarray(self._to_bgr.Convert(self._result).GetArray())
        self._let_go()
        return True, picture

    def release(self) -> None:
        for end in (self._let_go, self._camera.StopGrabbing, self._camera.Close):
            try:
                end()
            except Exception:  # a camera that was unplugged refuses every goodbye
                continue

    def _let_go(self) -> None:
        result, self._result = self._result, None
        if result is not None:
            result.Release()


_CHECK = "Check the cable and its network."


def _first_line(error: Exception) -> str:
    text = str(error).partition(" : ")[0]
    return (text.splitlines() or [type(error).__name__])[0].strip().rstrip(".")
