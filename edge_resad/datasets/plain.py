"""Folders as somebody fills them by hand: good parts in `good`, every defect in a folder of its name.

    <class>/good, <class>/<defect> and, where there are masks, <class>/ground_truth/<defect>

Or nothing but a folder of good parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_resad.datasets.folder import folders_in, images_in
from edge_resad.datasets.inspection_class import GOOD, InspectionClass, Part
from edge_resad.datasets.masks import with_masks
from edge_resad.image import image_files

_MASKS = "ground_truth"


@dataclass(frozen=True)
class PlainLayout:
    """Good parts beside their defects; nobody said which good ones are for training."""

    def is_class(self, folder: Path) -> bool:
        return bool(images_in(folder / GOOD))

    def read(self, name: str, folder: Path) -> InspectionClass:
        """Where there are defects, every second good part is judged with them; otherwise all are learnt from."""
        good = images_in(folder / GOOD)
        kinds = [kind for kind in folders_in(folder) if kind.name not in (GOOD, _MASKS)]
        defective = [
            part
            for kind in kinds
            for part in with_masks(
                [Part(path=file, defect=kind.name) for file in images_in(kind)], folder / _MASKS / kind.name
            )
        ]
        judged = good[1::2] if defective else []
        train = [path for path in good if path not in judged]
        test = [*(Part(path=path, defect=GOOD) for path in judged), *defective]
        return InspectionClass(name=name, train=tuple(train), test=tuple(test))


@dataclass(frozen=True)
class FlatLayout:
    """Images of good parts in the folder itself."""

    def is_class(self, folder: Path) -> bool:
        return bool(images_in(folder))

    def read(self, name: str, folder: Path) -> InspectionClass:
        return InspectionClass(name=name, train=tuple(image_files(folder)), test=())


PLAIN = PlainLayout()
FLAT = FlatLayout()
