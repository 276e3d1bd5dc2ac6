"""Kept pictures for people: what there is, and copies in folders that enrolment and evaluation understand."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_resad.device.pictures.album import ABOUT, FOLDERS, Entry, Kind, entries
from edge_resad.device.pictures.training import MANIFEST
from edge_resad.device.verdict_log import said_time
from edge_resad.errors import PicturesError
from edge_resad.messages import is_id
from edge_resad.whole_file import write_whole

SORTED: dict[Kind, str] = {"reject": "defect", "pass": "good", "not_inspected": "not_inspected"}
"""Into which folder a copy goes, by what the station said of the part."""


NAMED: dict[Kind, str] = {"reject": "rejects", "not_inspected": "not inspected", "pass": "passes"}

Part = tuple[str, int, str]
"""A part as labels know it: camera, frame_id, and when it was photographed, as the verdict log writes it."""


@dataclass(frozen=True, kw_only=True)
class KeptPicture:
    """One picture of an album, with what was said of its part."""

    kind: Kind
    frame: Path
    size: int  # bytes on the disk, all of its files
    about: Mapping[str, Any]

    @property
    def part(self) -> Part | None:
        """Which part it shows; None where nothing was said of it."""
        try:
            return str(self.about["camera"]), int(self.about["frame_id"]), str(self.about["time"])
        except (KeyError, ValueError):
            return None

    def __str__(self) -> str:
        says = [str(self.about.get("time", "")), str(self.about.get("camera", "")), self.kind.replace("_", " ")]
        if "score" in self.about:
            says.append(f"{self.about['score']:.3f} / {self.about['threshold']:.3f}")
        says += [str(self.about[key]) for key in ("severity", "reason") if key in self.about]
        return "  ".join([*says, str(self.frame)])


def kept_pictures(
    folder: Path, *, kinds: Iterable[Kind] = tuple(FOLDERS), last: int | None = None
) -> list[KeptPicture]:
    """The pictures of an album, oldest first: of these kinds, the last ones alone where a number is given.

    Raises:
        PicturesError: the folder cannot be read.
    """
    wanted = set(kinds)
    try:
        found = [entry for entry in entries(folder) if entry.is_whole and entry.kind in wanted]
    except OSError as refused:
        raise PicturesError(
            f"the pictures in {folder} cannot be read: {refused.strerror}. Ask as its user, or join its group."
        ) from refused
    return [_told(folder, entry) for entry in found[0 if last is None else max(0, len(found) - last) :]]


def said_of(folder: Path) -> str:
    """How many pictures an album holds, and what they take."""
    found = [entry for entry in entries(folder) if entry.is_whole]
    counts = Counter(entry.kind for entry in found)
    says = ", ".join(f"{counts[kind]} {NAMED[kind]}" for kind in FOLDERS)
    size = sum(entry.size + entry.heat_size for entry in found)
    return f"{folder}: {says}; {size / 1e6:.1f} MB"


def false_rejects(labels: Path) -> frozenset[Part]:
    """The parts of which somebody said last that they were no rejects.

    labels: lines of JSON as the station writes them when an operator labels a reject.

    Raises:
        PicturesError: the file cannot be read.
    """
    said: dict[Part, bool] = {}
    try:
        lines, _, _ = labels.read_text(encoding="utf-8").rpartition("\n")  # what follows is half a line, of a power cut
        for line in lines.splitlines():
            told = json.loads(line)
            part = str(told["camera"]), int(told["frame_id"]), said_time(told["time"])
            said[part] = told["label"] == "false_reject"
    except OSError as refused:
        raise PicturesError(f"{labels} cannot be read: {refused.strerror}. Name the station's labels.") from refused
    except (ValueError, KeyError, TypeError) as broken:
        raise PicturesError(
            f"{labels} has a line that is no label. Expected lines of JSON with camera, frame_id, time and label."
        ) from broken
    return frozenset(part for part, is_false in said.items() if is_false)


def export_pictures(
    pictures: Sequence[KeptPicture], out: Path, *, product: str, false: Collection[Part] = ()
) -> Counter[Path]:
    """Copy frames to `<out>/<product>/good` and `defect`, with a manifest; folder -> how many.

    product: where a picture does not name its own. What the station deletes meanwhile is left out.
    false:   rejects of parts that are good.

    Raises:
        PicturesError: a copy cannot be written.
    """
    copied: Counter[Path] = Counter()
    lines = []
    try:
        for picture in pictures:
            named = str(picture.about.get("product", product))
            kind: Kind = "pass" if picture.part in false else picture.kind
            home = out / (named if is_id(named) else product) / SORTED[kind]
            home.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copy2(picture.frame, home / picture.frame.name)
            except FileNotFoundError:
                (home / picture.frame.name).unlink(missing_ok=True)
                continue
            copied[home] += 1
            where = (home / picture.frame.name).relative_to(out)
            lines.append(json.dumps({"file": str(where), **picture.about}, separators=(",", ":")) + "\n")
        if lines:
            write_whole(out / MANIFEST, "".join(lines).encode())
    except OSError as refused:
        raise PicturesError(
            f"the pictures cannot be copied to {out}: {refused.strerror}. Name a folder with room where this user may "
            "write."
        ) from refused
    return copied


def _told(folder: Path, entry: Entry) -> KeptPicture:
    try:
        about = json.loads(entry.file(folder, ABOUT).read_bytes())
    except (OSError, ValueError):  # deleted meanwhile, or by a person; the frame is worth having all the same
        about = {}
    return KeptPicture(
        kind=entry.kind,
        frame=entry.file(folder),
        size=entry.size + entry.heat_size,
        about=about if isinstance(about, dict) else {},
    )
