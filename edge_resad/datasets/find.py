"""Finding the products of image sets, however the sets are laid out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_resad.datasets.folder import folders_in
from edge_resad.datasets.inspection_class import InspectionClass
from edge_resad.datasets.layout import Layout
from edge_resad.datasets.mvtec import BTAD, MVTEC, MVTEC_3D
from edge_resad.datasets.plain import FLAT, PLAIN
from edge_resad.datasets.visa import VISA
from edge_resad.errors import ImageError

LAYOUTS: tuple[Layout, ...] = (MVTEC_3D, MVTEC, BTAD, VISA, PLAIN)
"""In the order in which they are tried; FLAT comes after them, for the given folders alone."""

EXPECTED = (
    "<class>/train/good, <class>/test/good, <class>/test/<defect> and, where there are masks, "
    "<class>/ground_truth/<defect> as in MVTec AD, MVTec LOCO, MVTec 3D-AD, MPDD or BTAD; <object>/Data beside "
    "split_csv as in VisA; a folder good beside one for every defect; or images of good parts in the folder itself"
)


@dataclass(frozen=True)
class _Found:
    """Where a class lies and how it is kept."""

    root: Path  # the given folder
    folder: Path  # the class's own
    layout: Layout


def find_classes(roots: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[InspectionClass]:
    """Every product at any depth below the given folders, or the folders themselves.

    A class is named by its path below the root; where two roots hold the same name, the root's name comes before it.

    Raises:
        ImageError: there is no product, or something of one is missing or cannot be read.
    """
    given = [Path(roots)] if isinstance(roots, (str, os.PathLike)) else [Path(root) for root in roots]
    try:
        return _found(given)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(
            f"{error.filename} cannot be read: {reason}. Expected files and folders that this user may read."
        ) from error


def _found(given: list[Path]) -> list[InspectionClass]:
    seen: set[Path] = set()
    found = [one for root in given for one in _below(_existing(root), seen)]
    if not found:
        places = ", ".join(str(root) for root in given) or "no folder at all"
        raise ImageError(f"no inspection class below {places}. Expected {EXPECTED}.")
    return [one.layout.read(name, one.folder) for name, one in zip(_names(found), found, strict=True)]


def _existing(root: Path) -> Path:
    if not root.is_dir():
        raise ImageError(f"no folder {root}. Expected a folder with {EXPECTED}.")
    return root


def _below(root: Path, seen: set[Path]) -> list[_Found]:
    is_new = root.resolve() not in seen
    found = [_Found(root, folder, layout) for folder, layout in _classes(root, seen)]
    if not found and is_new and FLAT.is_class(root):
        return [_Found(root, root, FLAT)]
    return found


def _classes(folder: Path, seen: set[Path]) -> Iterator[tuple[Path, Layout]]:
    """Folders that are a class, in natural order, each once, links followed without running in circles."""
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    layout = next((layout for layout in LAYOUTS if layout.is_class(folder)), None)
    if layout:
        yield folder, layout
        return
    for inside in folders_in(folder):
        yield from _classes(inside, seen)


def _names(found: list[_Found]) -> list[str]:
    plain = [_name(one) for one in found]
    often = Counter(plain)
    used: Counter[str] = Counter()
    names = []
    for name, one in zip(plain, found, strict=True):
        if often[name] > 1:
            above = one.root.resolve().parent if one.folder == one.root else one.root.resolve()
            name = f"{above.name}/{name}"
        used[name] += 1
        names.append(name if used[name] == 1 else f"{name} ({used[name]})")
    return names


def _name(one: _Found) -> str:
    return one.root.resolve().name if one.folder == one.root else one.folder.relative_to(one.root).as_posix()
