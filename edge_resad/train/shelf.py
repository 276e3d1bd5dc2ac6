"""Folders of files that can be made again: each written whole or not at all, the longest unused ones make room."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_resad.errors import CacheError

SUFFIX = ".features"
"""Of what a shelf holds; it touches nothing else in its folder."""


class Shelf:
    """A folder of folders, bounded in bytes.

    A folder that was taken is not dropped by the shelf that it was taken from: its files are still mapped. One process
    writes at a time; another waits for it. Where it drops what this one reads, the bytes stay until this one ends.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._taken: set[Path] = set()

    def take(self, name: str, size: int, fill: Callable[[Path], None]) -> Path:
        """The folder of this name; where there is none, a new one that `fill` has put at most `size` bytes into.

        Raises:
            CacheError: there is no room, or the disk refuses.
        """
        path = self._folder / f"{name}{SUFFIX}"
        with self._said(size):
            if not path.is_dir():
                with self._alone():
                    if not path.is_dir():  # the one we waited for may have made it
                        self._make(path, size, fill)
            _touch(path)
        self._taken.add(path)
        return path

    def drop(self, path: Path) -> None:
        """Forget a folder that was taken, because its files are no good."""
        self._taken.discard(path)
        with self._said(0), self._alone():
            _remove(path)

    @contextmanager
    def _said(self, size: int) -> Iterator[None]:
        """What the disk refuses is said in a sentence."""
        try:
            yield
        except OSError as error:
            raise CacheError(
                f"cannot keep features in {self._folder}: {error.strerror or error}. Expected a folder on a disk with "
                f"{_gigabytes(size)} free. Check space and rights."
            ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process writes; what a killed one left half-written is gone."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system lets go of it when the process ends, however it ends
            for scratch in self._folder.glob(f".*{SUFFIX}.part"):
                shutil.rmtree(scratch)
            yield

    def _make(self, path: Path, size: int, fill: Callable[[Path], None]) -> None:
        self._make_room(path, size)
        scratch = _scratch(path)
        scratch.mkdir()
        try:
            fill(scratch)
            for inside in (*scratch.iterdir(), scratch):
                _flush(inside)
            scratch.rename(path)
            _flush(self._folder)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise

    def _make_room(self, path: Path, size: int) -> None:
        sizes = {folder: _size(folder) for folder in self._folder.glob(f"*{SUFFIX}")}
        in_use = sum(held for folder, held in sizes.items() if folder in self._taken)
        if in_use + size > self._max_bytes:
            raise CacheError(
                f"{path.name} takes {_gigabytes(size)} and what is being read beside it {_gigabytes(in_use)}, but "
                f"{self._folder} may hold {_gigabytes(self._max_bytes)}. Let it hold more, or use fewer images."
            )
        free = self._max_bytes - sum(sizes.values())
        for folder in sorted(sizes.keys() - self._taken, key=lambda folder: folder.stat().st_mtime_ns):
            if free >= size:
                break
            _remove(folder)
            free += sizes[folder]


def _touch(path: Path) -> None:
    now = time.time_ns()
    os.utime(path, ns=(now, now))  # when it was last used


def _remove(path: Path) -> None:
    """Under another name first, so that no half of it is ever found."""
    if path.is_dir():
        shutil.rmtree(path.rename(_scratch(path)))


def _scratch(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
