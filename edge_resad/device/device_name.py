"""The name of a device that survives replugging: /dev/video0 may come back as /dev/video1."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

LASTING = (Path("/dev/v4l/by-id"), Path("/dev/edge-resad"), Path("/dev/v4l/by-path"))
"""Where udev keeps lasting names: the first that knows a device counts. By-path follows the socket."""


class DeviceName:
    """A device as its station file names it, found again under whatever number it comes back.

    A name that is a link follows its device by itself. Of a bare number, such as /dev/video0, the lasting name is
    remembered while the device is there.
    """

    def __init__(self, path: str, folders: Sequence[Path] = LASTING) -> None:
        self._path = Path(path)
        self._folders = folders
        self._lasting: Path | None = None
        self._opened: Path | None = None  # the device itself
        self._said: Path | None = None

    def now(self) -> str:
        """What to open now; the given name where nothing better is known. It may not be there."""
        if self._path.is_symlink():
            return str(self._path)
        if self._lasting is not None and self._lasting.exists():
            there = self._lasting.resolve()
            if there not in (self._path, self._said):
                log.info("the camera that was %s is now %s", self._path, there)
            self._said = there
            return str(there)
        if self._lasting is not None and self._is_taken():
            return str(self._lasting)
        return str(self._path)

    def remember(self) -> None:
        """The device was opened as `now` says: keep its lasting name, where it has one."""
        self._opened = Path(self.now()).resolve()
        if self._lasting is None and not self._path.is_symlink() and self._path.exists():
            self._lasting = next((link for link in self._links() if link.resolve() == self._path.resolve()), None)

    def is_there(self) -> bool:
        """Whether the device that was opened last is still there, and still the same camera."""
        name = self._lasting or self._path
        return name.exists() and name.resolve() == self._opened

    def _is_taken(self) -> bool:
        """Whether the number belongs to a device that has a lasting name, while ours is not there: to another one."""
        return self._path.exists() and any(link.resolve() == self._path.resolve() for link in self._links())

    def _links(self) -> list[Path]:
        return [link for folder in self._folders if folder.is_dir() for link in sorted(folder.iterdir())]
