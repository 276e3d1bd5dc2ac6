"""A folder into which somebody else puts images, such as a camera's own software: every new file is a part."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge_resad.device.frame import Clock, Frame
from edge_resad.device.unseen import Unseen
from edge_resad.errors import CameraError, ImageError
from edge_resad.image import IMAGE_SUFFIXES, decode_image, file_content

log = logging.getLogger(__name__)

LOOK_S = 0.1  # how often the folder is looked at
WHOLE_S = 0.2  # a file that has not changed for so long is tried
PATIENCE_S = 2.0  # and given up when it is no picture and has not changed for so long: its writer may only pause


@dataclass
class _File:
    """A file of the folder."""

    size: int
    changed_ns: int
    since: float  # monotonic seconds: when it was first seen as it is now
    came: float  # and when it came to be so, which was not seen at once while the inspection was behind
    is_done: bool = False
    is_tried: bool = False  # and was no picture yet

    @property
    def is_unread(self) -> bool:
        """Whether nobody has looked into it."""
        return not (self.is_done or self.is_tried)


class InboxCamera:
    """New files of a folder, in the order in which they were whole; those that were there before are not parts.

    A file that is written again is a new part. Nothing is deleted, and nothing is skipped: what was whole and is
    removed or written over before it was read, while the inspection was behind, is a part without a picture.

    A part was there when its file came to be as it is: signals to the line count from then, however long it waits.
    """

    live = False

    def __init__(self, path: Path, *, stop: threading.Event | None = None, clock: Clock | None = None) -> None:
        self.unseen = Unseen()  # parts without a picture that could be read
        self._path = path
        self._stop = stop or threading.Event()
        self._clock = clock or Clock()
        self._files: dict[str, _File] = {}
        self._taken = 0
        self._is_gone = False
        self._looked_at = 0.0

    @property
    def unreadable(self) -> int:
        """How many parts there were without a picture that could be read."""
        return self.unseen.counts["unreadable"]

    def __enter__(self) -> InboxCamera:
        if not self._path.is_dir():
            raise CameraError(
                f"no folder at {self._path}. Expected one into which images are put. Make it, or check the path."
            )
        self._look()
        for file in self._files.values():
            file.is_done = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._look()
        for file in self._files.values():  # the next start takes them for old ones
            if not file.is_done:
                self.unseen.add("stopped", file.came)
        self._files = {}

    def read(self) -> Frame | None:
        while not self._stop.is_set():
            self._look()
            for name, file in self._due():
                frame = self._try(name, file)
                if frame is not None:
                    return frame
            self._stop.wait(LOOK_S)
        return None

    def _due(self) -> list[tuple[str, _File]]:
        now = self._clock.monotonic()
        due = [item for item in self._files.items() if not item[1].is_done and now - item[1].since >= WHOLE_S]
        return sorted(due, key=lambda item: (item[1].since, item[1].changed_ns, item[0]))

    def _try(self, name: str, file: _File) -> Frame | None:
        try:
            content = file_content(self._path / name)
            file.is_tried = True
            _check_whole(content, self._path / name)
            image = decode_image(content, self._path / name)
        except ImageError as broken:
            if self._clock.monotonic() - file.since >= PATIENCE_S:
                file.is_done = True
                self._miss(file, str(broken))
            return None
        file.is_done = True
        age_s = self._clock.monotonic() - file.came
        frame = Frame(
            image=image,
            frame_id=self._taken,
            captured_mono=file.came,
            captured_wall=self._clock.wall() - age_s,
            name=name,
        )
        self._taken += 1
        return frame

    def _look(self) -> None:
        """See what is new, has changed or has gone."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        try:
            with os.scandir(self._path) as entries:
                images = [(entry.name, _status(entry)) for entry in entries if _is_image(entry.name)]
        except OSError as error:
            if not self._is_gone:
                self._is_gone = True
                log.warning("the folder %s cannot be read: %s. Looking until it can", self._path, error.strerror)
            return
        found = {name: status for name, status in images if status is not None}
        if self._is_gone:
            self._is_gone = False
            log.info("the folder %s can be read again", self._path)
        for name in sorted(self._files.keys() - found.keys()):
            gone = self._files.pop(name)
            if gone.is_unread and self._looked_at - gone.came >= WHOLE_S:
                self._miss(gone, f"{self._path / name} was removed before it was read. Leave it for longer")
        for name, status in found.items():
            file = self._files.get(name)
            if file is None or (file.size, file.changed_ns) != (status.st_size, status.st_mtime_ns):
                if file is not None and file.is_unread and status.st_mtime_ns - file.changed_ns >= WHOLE_S * 1e9:
                    self._miss(file, f"{self._path / name} was written over before it was read. Give each its own name")
                came = now - (wall - status.st_ctime)
                if not self._looked_at <= came <= now:  # the file's clock is another one
                    came = now
                self._files[name] = _File(status.st_size, status.st_mtime_ns, since=now, came=came)
        self._looked_at = now

    def _miss(self, file: _File, why: str) -> None:
        """Count a part of which no picture could be read."""
        self._taken += 1
        self.unseen.add("unreadable", file.came)
        log.warning("%s", why)


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat() if entry.is_file() else None
    except OSError:  # it was renamed or removed meanwhile
        return None


def _check_whole(content: bytes, path: Path) -> None:
    """Refuse what its writer has not finished: OpenCV shows the upper half of a JPEG and is content."""
    is_cut = (content.startswith(b"\xff\xd8") and b"\xff\xd9" not in content[-64:]) or (
        content.startswith(b"\x89PNG") and b"IEND" not in content[-64:]
    )
    if is_cut:
        raise ImageError(f"{path} ends in the middle. Expected a whole picture. Copy the file again, or remove it.")
