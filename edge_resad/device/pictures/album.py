"""A folder of pictures of bounded size: what matters least and is oldest makes room for what comes.

    <folder>/rejects/0000000123-<event ids>.jpg        the whole frame
    <folder>/rejects/0000000123-<event ids>.heat.jpg   where the anomaly map is hot, smaller
    <folder>/rejects/0000000123-<event ids>.json       what was said of the part

`passes` and `not_inspected` lie beside `rejects`. The numbers grow over all three and over restarts, so the order of
the pictures needs no clock. The folder is its own index: nothing else has to be kept right.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_resad.device.pictures.shelf import Shelf
from edge_resad.errors import PicturesError

Kind = Literal["reject", "pass", "not_inspected"]
FOLDERS: dict[Kind, str] = {"reject": "rejects", "not_inspected": "not_inspected", "pass": "passes"}
ABOUT, HEAT, FRAME = ".json", ".heat.jpg", ".jpg"
"""What the three files of a picture are called, in the order in which they are written: the frame is there last."""

_NAME = re.compile(r"(\d{10}(?:-[A-Za-z0-9_+-]+)?)(\.json|\.heat\.jpg|\.jpg)")
_SCRATCH = ".part"
_BLOCK = 4096  # bytes: what most file systems give a file at a time
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(kw_only=True, slots=True)
class Entry:
    """One picture as it lies in the folder."""

    stem: str  # its files' names without what they are
    kind: Kind
    size: int = 0  # bytes on the disk, without the heat
    heat_size: int = 0
    is_whole: bool = False  # the frame is there

    @property
    def event_ids(self) -> Sequence[str]:
        """The messages that spoke of the part: its verdict, then its alert."""
        return self.stem[11:].split("+") if len(self.stem) > 11 else ()

    def file(self, folder: Path, what: str = FRAME) -> Path:
        """Where it lies below an album's folder."""
        return folder / FOLDERS[self.kind] / (self.stem + what)


class Album:
    """Stores pictures within a budget of bytes and a floor of free space. Belongs to one thread; OSErrors come through.

    Oldest passes go first, then the oldest parts that were not inspected, then the heat of rejects, and rejects as the
    last resort: for newer rejects alone. A picture never displaces what matters more than itself.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        min_free_bytes: int,
        free: Callable[[Path], int] | None = None,
    ) -> None:
        """free: how many bytes are free on a folder's disk; the system's answer without it."""
        self._folder = folder
        self._max = max_bytes
        self._floor = min_free_bytes
        self._free = free or free_bytes
        self._clear()
        self._next = 1

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._hot.size + sum(shelf.size for shelf in self._kept.values())

    def read(self) -> None:
        """See what is in the folder, take away what was never finished, and come down to the budget."""
        for kind in FOLDERS:
            (self._folder / FOLDERS[kind]).mkdir(parents=True, exist_ok=True)
        found = entries(self._folder)
        for entry in [entry for entry in found if not entry.is_whole]:
            for what in (ABOUT, HEAT, FRAME):
                entry.file(self._folder, what).unlink(missing_ok=True)
        for kind in FOLDERS:
            _sweep(self._folder / FOLDERS[kind])
        whole = [entry for entry in found if entry.is_whole]
        self._clear()
        for entry in whole:
            self._put(entry)
        self._next = max((int(entry.stem[:10]) for entry in whole), default=0) + 1
        self._give_up("reject", self.size - self._max)
        while self.size > self._max and self._kept["reject"].count:
            self._drop("reject")
        self.tidy()

    def tidy(self) -> int:
        """Give up what may go while too little of the disk is free; the bytes that came free."""
        return self._give_up("reject", self._floor - self._free(self._folder))

    def store(self, kind: Kind, files: Mapping[str, bytes], event_ids: Sequence[str] = ()) -> Path | None:
        """Keep one picture; None where there is no room for one of its kind.

        files: the content of ABOUT, of FRAME and perhaps of HEAT.
        """
        need = sum(on_disk(len(content)) for content in files.values())
        if not self._make_room(kind, need):
            return None
        stem = f"{self._next:010d}" + ("-" + "+".join(event_ids) if event_ids else "")
        entry = Entry(stem=stem, kind=kind, is_whole=True)
        try:
            self._write(entry, files)
        except OSError as refused:
            if refused.errno not in _NO_ROOM or not self._make_way(kind, need):
                raise
            self._write(entry, files)  # a quota, or no more files: the free bytes did not show it
        self._next += 1
        entry.heat_size = on_disk(len(files[HEAT])) if HEAT in files else 0
        entry.size = need - entry.heat_size
        self._put(entry)
        return entry.file(self._folder)

    def room_for(self, size: int) -> bool:
        """Whether so many bytes beside the album leave the floor free."""
        return self._free(self._folder) - size >= self._floor

    def _make_room(self, kind: Kind, need: int) -> bool:
        """Take away what a picture of this kind may displace; False where that does not suffice."""
        over = self.size + need - self._max
        if over > self._may_go(kind) + (self._kept["reject"].size if kind == "reject" else 0):
            return False  # all of it would go for nothing
        short = self._floor + need - self._free(self._folder)
        short -= self._give_up(kind, max(over, short))
        if kind != "reject":
            return self.size + need <= self._max and short <= 0
        exchanged = 0  # for want of free space a reject goes for a reject, but somebody else's files are no reason
        while self._kept["reject"].count and (self.size + need > self._max or (short > 0 and exchanged < need)):
            gone = self._drop("reject")
            exchanged, short = exchanged + gone, short - gone
        return self.size + need <= self._max and (short <= 0 or exchanged >= need)

    def _make_way(self, kind: Kind, need: int) -> bool:
        """Take away as much as a picture needs, whatever is said to be free; False where nothing is left to go."""
        freed = self._give_up(kind, need)
        while kind == "reject" and freed < need and self._kept["reject"].count:
            freed += self._drop("reject")
        return freed > 0

    def _may_go(self, kind: Kind) -> int:
        """Bytes of all that a picture of this kind displaces before rejects."""
        passes, unjudged = self._kept["pass"].size, self._kept["not_inspected"].size
        heat = self._hot.size
        return {"pass": passes, "not_inspected": passes + unjudged, "reject": passes + unjudged + heat}[kind]

    def _give_up(self, kind: Kind, wanted: int) -> int:
        """Take away what a picture of this kind displaces before rejects; the bytes that came free."""
        # Counted here and not asked of the system: some file systems free a file's room long after it has gone.
        freed = 0
        while freed < wanted and self._kept["pass"].count:
            freed += self._drop("pass")
        while freed < wanted and kind != "pass" and self._kept["not_inspected"].count:
            freed += self._drop("not_inspected")
        while freed < wanted and kind == "reject" and self._hot.count:
            freed += self._cool()
        return freed

    def _drop(self, kind: Kind) -> int:
        """Take the oldest of a kind away; the bytes that came free."""
        shelf = self._kept[kind]
        stem = shelf.oldest
        if stem is None:  # somebody else did
            return 0
        freed = self._cool() if kind == "reject" and self._hot.oldest == stem else 0
        entry = Entry(stem=stem, kind=kind)
        entry.file(self._folder).unlink(missing_ok=True)  # the frame first: what is left without it is swept at a start
        entry.file(self._folder, ABOUT).unlink(missing_ok=True)
        return freed + shelf.take()

    def _cool(self) -> int:
        """Take away the oldest heat that a reject has; the bytes that came free."""
        stem = self._hot.oldest
        if stem is None:
            return 0
        Entry(stem=stem, kind="reject").file(self._folder, HEAT).unlink(missing_ok=True)
        return self._hot.take()

    def _put(self, entry: Entry) -> None:
        """Note a picture that is newer than all others of its kind."""
        self._kept[entry.kind].put(entry.stem, entry.size)
        if entry.heat_size:
            self._hot.put(entry.stem, entry.heat_size)

    def _clear(self) -> None:
        """Know of nothing."""
        self._kept = {kind: self._shelf(kind, FRAME, ABOUT) for kind in FOLDERS}
        self._hot = self._shelf("reject", HEAT)

    def _shelf(self, kind: Kind, *files: str) -> Shelf:
        """What a kind has of certain files; a picture is there where the first of them is."""
        folder = self._folder / FOLDERS[kind]

        def names() -> Iterator[str]:
            for file in _files(folder):
                named = _NAME.fullmatch(file.name)
                if named is not None and named[2] == files[0]:
                    yield named[1]

        def measure(stem: str) -> int:
            return sum(_taken(Entry(stem=stem, kind=kind).file(self._folder, what)) for what in files)

        return Shelf(names, measure)

    def _write(self, entry: Entry, files: Mapping[str, bytes]) -> None:
        """All files of a picture or none: each is whole on the disk before it has its name, the frame's comes last."""
        # No Path: pathlib puts each of these names, which are all new, into Python's table of strings.
        folder = f"{self._folder}/{FOLDERS[entry.kind]}"
        written: list[str] = []
        try:
            scratch = {}
            for what in (what for what in (ABOUT, HEAT, FRAME) if what in files):
                name = entry.stem + what
                whole = scratch[f"{folder}/{name}"] = f"{folder}/.{name}{_SCRATCH}"
                written.append(whole)
                _write_through(whole, files[what])
            for path, whole in scratch.items():
                written.append(path)
                os.replace(whole, path)
        except BaseException:
            for path in written:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            raise


def entries(folder: Path) -> list[Entry]:
    """Every picture of an album, oldest first, with what was never finished; files of other names are left out."""
    found: dict[tuple[Kind, str], Entry] = {}
    for kind in FOLDERS:
        for file in _files(folder / FOLDERS[kind]):
            named = _NAME.fullmatch(file.name)
            if named is None:
                continue
            stem, what = named.groups()
            entry = found.setdefault((kind, stem), Entry(stem=stem, kind=kind))
            try:
                size = on_disk(file.stat(follow_symlinks=False).st_size)
            except FileNotFoundError:  # the station has just taken it away
                continue
            if what == HEAT:
                entry.heat_size += size
            else:
                entry.size += size
            entry.is_whole |= what == FRAME and size > 0
    return sorted(found.values(), key=lambda entry: entry.stem[:10])


def find_picture(folder: Path, event_id: str) -> Path | None:
    """The kept frame of the part that a message spoke of, by the message's id: a verdict's, or an alert's."""
    for kind in FOLDERS:
        for file in _files(folder / FOLDERS[kind]):
            if event_id in file.name and file.name.endswith(FRAME) and not file.name.endswith(HEAT):
                stem = file.name.removesuffix(FRAME)
                if _NAME.fullmatch(file.name) and event_id in Entry(stem=stem, kind=kind).event_ids:
                    return Path(file.path)
    return None


def claim(folder: Path) -> int:
    """Take a folder for oneself until the handle is closed, or the program ends however it does.

    Raises:
        PicturesError: another station has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise PicturesError(
            f"another station keeps its pictures in {folder}. Give each station its own [pictures] folder."
        ) from None
    except OSError:  # a file system without locks: the operator has to know
        return handle
    return handle


def free_bytes(folder: Path) -> int:
    """What this user may still write to the disk of a folder."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def on_disk(size: int) -> int:
    """What a file of this many bytes takes of a disk."""
    return -(-size // _BLOCK) * _BLOCK


def _taken(file: Path) -> int:
    try:
        return on_disk(file.stat(follow_symlinks=False).st_size)
    except FileNotFoundError:
        return 0


def _write_through(path: str, content: bytes) -> None:
    """Write a file; it is on the disk when this returns. `write_whole` would sync the folder for each of the three."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left) :]
        os.fdatasync(handle)  # or a power cut leaves an empty file under a good name
    finally:
        os.close(handle)


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            yield from (file for file in found if not file.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return


def _sweep(folder: Path) -> None:
    """Take away what a station that was killed had begun to write."""
    for file in _files(folder):
        if file.name.startswith(".") and file.name.endswith(_SCRATCH):
            Path(file.path).unlink(missing_ok=True)
