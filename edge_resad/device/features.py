"""The features of a GenICam camera: exposure, gain, trigger, by the names of its standard convention (SFNC)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Protocol

from edge_resad.device.driver import words_of
from edge_resad.errors import CameraError

Setting = bool | int | float | str


class Features(Protocol):
    """A camera's features, whichever library reaches them."""

    def names(self) -> list[str]:
        """Those that this camera has."""

    def get(self, name: str) -> Setting | None:
        """A feature's value; None where the camera has no such feature or does not tell it now."""

    def set(self, name: str, value: Setting) -> None:
        """Give a feature a value. Whatever the library raises says why the camera does not take it."""


def wanted_features(
    controls: Mapping[str, Setting], *, fps: float | None, width: int | None, height: int | None
) -> dict[str, Setting]:
    """What a station file asks of a camera, by the names of the convention and in an order that cameras take."""
    size: dict[str, Setting] = {} if width is None or height is None else {"Width": width, "Height": height}
    return {**size, **controls, **({} if fps is None else {"AcquisitionFrameRate": float(fps)})}


def set_features(where: str, features: Features, wanted: Mapping[str, Setting]) -> None:
    """Set features in the given order: what switches an automatic off comes before what it held.

    Raises:
        CameraError: the camera lacks a feature, or does not take a value.
    """
    if "AcquisitionFrameRate" in wanted and features.get("AcquisitionFrameRateEnable") is not None:
        wanted = {"AcquisitionFrameRateEnable": True, **wanted}  # without it many cameras ignore the rate
    for name, value in wanted.items():
        if features.get(name) is None:
            known = features.names()
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise CameraError(
                f"the camera {where} has no feature {name}, or does not offer it in its present state.{hint} It has "
                f"{len(known)}; its vendor's viewer lists them. Correct [camera] controls."
            )
        try:
            features.set(name, value)
        except Exception as error:  # the libraries' exceptions share no base class
            raise CameraError(
                f"the camera {where} does not take {name} = {value}: {words_of(error)}. Correct [camera] controls."
            ) from error


def waits_for_a_trigger(features: Features) -> bool:
    """Whether the camera gives frames only when it is triggered."""
    return features.get("TriggerMode") == "On"
