"""Where frames come from, and by what those of one camera are judged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from edge_resad.device.settings.trigger import TriggerSection
from edge_resad.messages import Id
from edge_resad.sections import FilePath, Section

SourceKind = Literal["synthetic", "folder", "video", "v4l2", "csi", "gstreamer", "rtsp", "genicam", "basler"]
SOURCES = (
    "synthetic, synthetic:FAMILY, folder:PATH, video:PATH, csi:NUMBER, gstreamer:PIPELINE, rtsp://HOST/PATH, "
    'genicam:SERIAL, basler:SERIAL or a camera such as "/dev/video0"'
)


class CameraSection(Section):
    """Where frames come from. A station with several cameras has this section once for each, as [[camera]]."""

    name: Id = Field(default="cam0", description="last part of the verdicts' topic; no two cameras share it")
    source: str = Field(description=SOURCES.replace('"', "`"))
    fps: float | None = Field(
        default=None, gt=0, le=1000, description="frames per second to ask the camera for, or to play files at"
    )
    width: int | None = Field(default=None, gt=0, description="pixels to ask the camera for")
    height: int | None = Field(default=None, gt=0, description="pixels to ask the camera for")
    loop: bool = Field(default=False, description="folders and videos: begin again at the end")
    watch: bool = Field(default=False, description="folders: files that are put there from now on are the parts")
    controls: dict[str, bool | int | float | str] = Field(
        default={},
        description="exposure, gain, trigger: as v4l2-ctl names them, or GenICam's feature names",
    )
    producer: FilePath | None = Field(
        default=None, description="GenICam: the vendor's GenTL producer, a .cti file; without it as the system says"
    )
    product: Id | None = Field(default=None, description="what this camera sees; without it: [station] product")
    bank: FilePath | None = Field(default=None, description="this camera's bank; without it: [inspection] bank")
    products: FilePath | None = Field(
        default=None, description="this camera's own folder of products; without it: [products] folder"
    )
    use: str | None = Field(default=None, description="the product to begin with; without it: [products] use")
    trigger: TriggerSection = TriggerSection()

    def paths_in_words(self, folder: Path) -> dict[str, object]:
        """The path of a folder or a video stands in `source`."""
        kind, argument = split_source(self.source)
        if kind not in ("folder", "video"):
            return {}
        return {"source": f"{kind}:{folder / Path(argument).expanduser()}"}

    @model_validator(mode="after")
    def _can_be_opened(self) -> CameraSection:
        kind, _ = split_source(self.source)
        if self.watch and (kind != "folder" or self.loop or self.fps):
            raise ValueError("watch is of a folder: source, without loop and fps. Remove one of them")
        if self.trigger.is_told and self.watch:
            raise ValueError(
                f'trigger kind is "{self.trigger.kind}", and watch is true: each file that is put into a watched '
                'folder is a part already, whoever puts it there. Set kind = "camera", or remove [camera.trigger]'
            )
        if self.trigger.is_told and kind in ("synthetic", "folder", "video") and self.fps is None:
            raise ValueError(
                f'trigger kind is "{self.trigger.kind}", and a {kind} without fps gives no pictures by itself. '
                'Set fps, or kind = "camera"'
            )
        if self.controls and kind not in ("v4l2", "genicam", "basler"):
            raise ValueError(
                "controls are of a camera under /dev, GenICam or Basler. Remove them, or name one as source"
            )
        uneven = [name for name, value in self.controls.items() if kind == "v4l2" and type(value) is not int]
        if uneven:
            raise ValueError(f"controls of a camera under /dev are whole numbers. Correct {uneven[0]}")
        if self.producer is not None and kind != "genicam":
            raise ValueError("producer is of a GenICam camera. Remove it, or set source to genicam:SERIAL")
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height belong together: set both or neither")
        if self.bank is not None and (self.products is not None or self.use is not None):
            raise ValueError("bank is set beside products or use, which have banks of their own. Remove one of them")
        return self


def is_camera(source: str) -> bool:
    """Whether this names something that gives frames by itself, a drawn line too, rather than files.

    A file or folder that is called as a camera is one of these.
    """
    if os.path.exists(source) and not source.startswith("/dev/"):
        return False
    try:
        return split_source(source)[0] not in ("folder", "video")
    except ValueError:
        return False


def split_source(source: str) -> tuple[SourceKind, str]:
    """The kind of a camera's source and its argument: a path, a family of parts or nothing."""
    kind, colon, argument = source.partition(":")
    if kind == "synthetic" and (argument or not colon):
        return "synthetic", argument
    if kind == "folder" and argument:
        return "folder", argument
    if kind == "video" and argument:
        return "video", argument
    if kind in ("genicam", "basler") and (argument or not colon):
        return ("genicam" if kind == "genicam" else "basler"), argument
    if kind == "csi" and argument.isdecimal():
        return "csi", argument
    if kind == "gstreamer" and argument.strip():
        return "gstreamer", argument.strip()
    if source.startswith(("rtsp://", "rtsps://")) and source.partition("://")[2]:
        return "rtsp", source
    if source.startswith("/dev/"):
        return "v4l2", source
    raise ValueError(f'source is "{source}", expected {SOURCES}')
