"""What a running station can be asked of its pictures: to take training material, and where a part's picture lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge_resad.device.control import Controls
from edge_resad.device.pictures.album import ABOUT
from edge_resad.device.pictures.pictures import Pictures
from edge_resad.device.pictures.training import Progress
from edge_resad.errors import ControlError, PicturesError

Arguments = dict[str, Any]


def register_pictures(controls: Controls, pictures: Pictures | None) -> None:
    """Put the commands where they can be asked for. pictures: None where the station file keeps none."""

    def kept() -> Pictures:
        if pictures is None:
            raise PicturesError(
                "this station keeps no pictures. Set [pictures] folder in its file, and start it again."
            )
        return pictures

    def capture(arguments: Arguments) -> Mapping[str, Any]:
        wanted = arguments.get("n")
        if not isinstance(wanted, int) or isinstance(wanted, bool):
            raise ControlError(f"n is {'missing' if wanted is None else 'no whole number'}. Say how many frames: n=20.")
        label, camera, name = (_text(arguments, key) for key in ("label", "camera", "name"))
        folder = kept().capture(wanted, label=label, camera=camera, name=name)
        return {"folder": str(folder), "wanted": wanted}

    def capturing(arguments: Arguments) -> Mapping[str, Any]:
        return _told(kept().progress(_text(arguments, "folder")))

    def stop(_arguments: Arguments) -> Mapping[str, Any]:
        return _told(kept().stop_capture())

    def find(arguments: Arguments) -> Mapping[str, Any]:
        event_id = _text(arguments, "id")
        frame = kept().find(event_id) if event_id else None
        if frame is None:
            raise PicturesError(
                f"there is no picture of {event_id or 'a message without id=ID'}: it was not kept, or went."
            )
        try:
            about = json.loads(frame.with_suffix(ABOUT).read_bytes())
        except (OSError, ValueError):
            about = {}
        return {"file": str(frame), "about": about}

    controls.register(
        "capture",
        capture,
        "capture n=FRAMES [label=NAME] [camera=NAME] [name=FOLDER]: take the next frames for training",
    )
    controls.register("capturing", capturing, "capturing [folder=FOLDER]: how far the last capture is, or that into it")
    controls.register("capture-stop", stop, "capture-stop: end the capture")
    controls.register("kept-picture", find, "kept-picture id=MESSAGE: where the frame of a verdict or an alert lies")


def _told(progress: Progress | None) -> dict[str, Any]:
    if progress is None:
        raise PicturesError("nothing is being taken. Begin with capture n=20.")
    return {
        "folder": str(progress.folder), "wanted": progress.wanted, "written": progress.written,
        "ended": progress.ended, "problem": progress.problem,
    }  # fmt: skip


def _text(arguments: Arguments, key: str) -> str | None:
    value = arguments.get(key)
    if value is not None and not isinstance(value, str):
        raise ControlError(f"{key} is {value!r}, expected text.")
    return value
