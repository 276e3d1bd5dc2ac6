"""Basler cameras, by pypylon."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from edge_resad.device.driver import driver_says, leave, words_of
from edge_resad.device.features import Setting, set_features, waits_for_a_trigger
from edge_resad.device.live import Device, HalfFrame, StillWaiting
from edge_resad.errors import CameraError

READ_MS = 1300  # how long a camera may take from one frame to the next


def open_basler(serial: str, *, wanted: Mapping[str, Setting]) -> Device:
    """Open the camera of this serial number, or the only one.

    wanted: features to set, in order.

    Raises:
        CameraError: pypylon is missing, there is no such camera, or it does not take a feature.
    """
    pylon = _pylon()
    found = _found(pylon)
    chosen = _chosen(list(found), serial)
    with driver_says(f"the Basler camera {chosen} is there but cannot be opened", _IN_USE):
        camera = pylon.InstantCamera(pylon.TlFactory.GetInstance().CreateDevice(found[chosen]))
    with ExitStack() as opening:
        opening.callback(leave, camera.StopGrabbing, camera.Close, camera.DestroyDevice)
        with driver_says(f"the Basler camera {chosen} is there but cannot be opened", _IN_USE):
            camera.Open()
        with driver_says(f"the Basler camera {chosen} is there but does not begin", _CHECK):
            stream = _Stream(pylon, camera, chosen, wanted)
        opening.pop_all()
    return stream


def look_for_basler(serial: str) -> str:
    """The serial number of the camera that `open_basler` would open; nothing is opened.

    Raises:
        CameraError: pypylon is missing, or there is no such camera.
    """
    return _chosen(list(_found(_pylon())), serial)


def _pylon() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as an error, SWIG's would crash the import
            from pypylon import pylon  # an extra; everything else works without it
    except ImportError as missing:
        raise CameraError(
            "basler: cameras need pypylon, which is not installed. Install it: pip install 'edge-resad[basler]'"
        ) from missing
    return pylon


def _found(pylon: Any) -> dict[str, Any]:
    """What pylon needs to open each camera, by their serial numbers."""
    with driver_says("pylon does not tell which Basler cameras there are", _CHECK):
        return {info.GetSerialNumber(): info for info in pylon.TlFactory.GetInstance().EnumerateDevices()}


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
        try:
            self._let_go()
            result = self._camera.RetrieveResult(READ_MS, self._pylon.TimeoutHandling_Return)
            if result is not None and result.IsValid():
                self._result = result
                return True
            is_gone = self._camera.IsCameraDeviceRemoved()
        except Exception as error:
            raise self._broke_off(error) from error
        if self._is_triggered and not is_gone:
            raise StillWaiting
        return False

    def retrieve(self) -> tuple[bool, Any]:
        try:
            if not self._result.GrabSucceeded():
                why = self._result.GetErrorDescription()
                self._let_go()
                if self._camera.IsCameraDeviceRemoved():
                    return False, None
                raise HalfFrame(f"the Basler camera {self._where} sent half a frame: {why.strip().rstrip('.')}")
            picture = np.ascontiguousarray(self._to_bgr.Convert(self._result).GetArray())
            self._let_go()
        except HalfFrame:
            raise
        except Exception as error:
            raise self._broke_off(error) from error
        return True, picture

    def release(self) -> None:
        leave(self._let_go, self._camera.StopGrabbing, self._camera.Close, self._camera.DestroyDevice)

    def _broke_off(self, error: Exception) -> CameraError:
        return CameraError(f"the Basler camera {self._where} broke off: {words_of(error)}. {_CHECK}")

    def _let_go(self) -> None:
        result, self._result = self._result, None
        if result is not None:
            result.Release()


_CHECK = "Check the cable and its network."
_IN_USE = "Close the other program that uses it, or check the network card's address."
