"""A folder of training material: the next frames of a line, whole and lossless, taken because somebody asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import cv2

from edge_resad.device.pipeline import Inspection
from edge_resad.device.verdict_log import as_record
from edge_resad.device.watch import Blind
from edge_resad.whole_file import write_whole

MOST_FRAMES = 10_000
MANIFEST = "manifest.jsonl"
UNLABELLED = "unlabelled"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a capture is."""

    folder: Path
    wanted: int
    written: int
    ended: bool
    problem: str | None  # why it ended early

    def __str__(self) -> str:
        says = f"{self.written} of {self.wanted} frames in {self.folder}"
        return f"{says}. {self.problem}" if self.problem else says


class Training:
    """One capture: which frames it wants, and the folder into which they go.

    `<folder>/<label>/<camera>-<number>.png` and `<folder>/manifest.jsonl`, one line a frame: `edge-resad enrol` takes
    the inner folder, `edge-resad evaluate` the outer one.
    """

    def __init__(self, folder: Path, wanted: int, *, label: str | None, camera: str | None) -> None:
        self.folder = folder
        self.written = 0
        self.problem: str | None = None
        self._wanted = wanted
        self._handed = 0  # to the writer
        self._label = label or UNLABELLED
        self._camera = camera

    def begin(self) -> None:
        """Make the folders; FileExistsError where a capture of this name is there."""
        self.folder.mkdir()
        (self.folder / self._label).mkdir()

    @property
    def progress(self) -> Progress:
        return Progress(
            folder=self.folder, wanted=self._wanted, written=self.written, ended=self.ended, problem=self.problem
        )

    @property
    def ended(self) -> bool:
        return self.problem is not None or self.written == self._wanted

    def wants(self, inspection: Inspection) -> bool:
        """Whether this frame is one of the next: not one that shows nothing."""
        open_ = self.problem is None and self._handed < self._wanted
        return open_ and self._camera in (None, inspection.camera) and inspection.not_inspected not in get_args(Blind)

    def hand(self) -> None:
        """One frame is on its way to the writer."""
        self._handed += 1

    def write(self, inspection: Inspection) -> None:
        """Write one frame and its line of the manifest."""
        name = f"{self._label}/{inspection.camera}-{self.written + 1:06d}.png"
        _, png = cv2.imencode(".png", inspection.frame.image)
        write_whole(self.folder / name, png.tobytes())
        line = json.dumps({"file": name, "label": self._label, **as_record(inspection)}, separators=(",", ":"))
        with (self.folder / MANIFEST).open("a", encoding="utf-8") as manifest:
            manifest.write(line + "\n")
        self.written += 1
