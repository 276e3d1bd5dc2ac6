"""Image sets laid out like MVTec AD: what was good at training, what is to be judged, where the defects are."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.errors import ImageError
from edge_resad.image import image_files, is_image_name, natural_order

GOOD = "good"

LAYOUT = (
    "<class>/train/good/*.png, <class>/test/good/*.png, <class>/test/<defect>/*.png and, where there are masks, "
    "<class>/ground_truth/<defect>/<name>_mask.png"
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One photographed part of the test set."""

    path: Path
    defect: str  # the folder's name; "good" where there is none
    mask: Path | None = None  # where the defect is; None for good parts and for defects nobody outlined

    @property
    def is_defective(self) -> bool:
        return self.defect != GOOD


@dataclass(frozen=True, kw_only=True)
class InspectionClass:
    """One product: good parts to learn from, good and defective parts to judge."""

    name: str
    train: tuple[Path, ...]
    test: tuple[Part, ...]

    @property
    def has_masks(self) -> bool:
        return any(part.mask for part in self.test)


def find_classes(roots: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[InspectionClass]:
    """Every product at any depth below the given folders, or the folders themselves.

    A class is named by its path below the root; where two roots hold the same name, the root's name comes before it.
    """
    given = [Path(roots)] if isinstance(roots, (str, os.PathLike)) else [Path(root) for root in roots]
    seen: set[Path] = set()
    found = [(root, folder) for root in given for folder in _class_folders(_existing(root), seen)]
    if not found:
        places = ", ".join(str(root) for root in given) or "no folder at all"
        raise ImageError(f"no inspection class below {places}. Expected {LAYOUT}.")
    names = _names(found)
    return [_read_class(name, folder) for name, (_, folder) in zip(names, found, strict=True)]


def read_mask(path: Path) -> NDArray[np.bool_]:
    """(H, W), True where the part is defective: wherever any channel but transparency is not zero."""
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
        pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    except (OSError, cv2.error):
        pixels = None
    if pixels is None:
        raise ImageError(f"{path} cannot be read as a mask. Expected an image that is zero where the part is good.")
    channels = np.asarray(pixels).reshape(*pixels.shape[:2], -1)[:, :, :3]
    return np.asarray(channels.any(axis=2))


def fit_mask(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """The mask at another resolution, nearest pixel; a region too small to be hit still marks the pixels it lies in.

    mask: (H, W).
    returns: (size, size).
    """
    height, width = mask.shape
    found, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    regions = np.asarray(labels)
    rows = (2 * np.arange(size) + 1) * height // (2 * size)
    columns = (2 * np.arange(size) + 1) * width // (2 * size)
    small = regions[rows[:, None], columns]  # (size, size)
    fitted: NDArray[np.bool_] = small > 0
    lost = np.setdiff1d(np.arange(1, found), small)
    y, x = np.nonzero(np.isin(regions, lost))
    fitted[y * size // height, x * size // width] = True
    return fitted


def subset(parts: tuple[Part, ...], max_good: int | None, max_defect: int | None) -> tuple[Part, ...]:
    """At most so many good and so many defective parts, always the same ones, each defect with its share."""
    good = [part for part in parts if not part.is_defective]
    defective = [part for part in parts if part.is_defective]
    kept = {part.path for part in [*_share(good, max_good), *_share(defective, max_defect)]}
    return tuple(part for part in parts if part.path in kept)


def _share(parts: list[Part], most: int | None) -> list[Part]:
    if most is None or len(parts) <= most:
        return parts
    random = np.random.default_rng(0)
    seen: Counter[str] = Counter()
    of_kind = Counter(part.defect for part in parts)
    places = []
    for index in random.permutation(len(parts)):
        part = parts[index]
        places.append(((seen[part.defect] + 0.5) / of_kind[part.defect], index))  # spreads each kind evenly over 0..1
        seen[part.defect] += 1
    return [parts[index] for _, index in sorted(places)[:most]]


def _existing(root: Path) -> Path:
    if not root.is_dir():
        raise ImageError(f"no folder {root}. Expected a folder with {LAYOUT}.")
    return root


def _class_folders(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Folders that are a class, in natural order, each once, links followed without running in circles."""
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    if (folder / "train" / GOOD).is_dir() and (folder / "test").is_dir():
        yield folder
        return
    for inside in _folders(folder):
        yield from _class_folders(inside, seen)


def _folders(folder: Path) -> list[Path]:
    inside = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(inside, key=natural_order)


def _names(found: list[tuple[Path, Path]]) -> list[str]:
    plain = [_name(root, folder) for root, folder in found]
    often = Counter(plain)
    used: Counter[str] = Counter()
    names = []
    for name, (root, folder) in zip(plain, found, strict=True):
        if often[name] > 1:
            above = root.resolve().parent if folder == root else root.resolve()
            name = f"{above.name}/{name}"
        used[name] += 1
        names.append(name if used[name] == 1 else f"{name} ({used[name]})")
    return names


def _name(root: Path, folder: Path) -> str:
    return root.resolve().name if folder == root else folder.relative_to(root).as_posix()


def _read_class(name: str, folder: Path) -> InspectionClass:
    parts = [part for kind in _folders(folder / "test") for part in _parts(kind, folder / "ground_truth" / kind.name)]
    if not parts:
        raise ImageError(f"no images below {folder / 'test'}. Expected {LAYOUT}.")
    return InspectionClass(name=name, train=tuple(image_files(folder / "train" / GOOD)), test=tuple(parts))


def _parts(kind: Path, masks: Path) -> list[Part]:
    files = sorted(_images(kind), key=natural_order)
    parts = [Part(path=file, defect=kind.name) for file in files]
    if kind.name == GOOD or not masks.is_dir():
        return parts
    mask_of = {_spelling(file.stem): file for file in _images(masks)}
    return [replace(part, mask=_mask_named(part.path.stem, mask_of)) for part in parts]


def _images(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if is_image_name(file) and file.is_file()]


def _mask_named(stem: str, mask_of: dict[str, Path]) -> Path | None:
    return mask_of.get(_spelling(f"{stem}_mask")) or mask_of.get(_spelling(stem))


def _spelling(stem: str) -> str:
    return unicodedata.normalize("NFC", stem)  # some systems store ü as u and two dots
