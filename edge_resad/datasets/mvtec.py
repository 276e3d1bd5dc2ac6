"""Image sets laid out like MVTec AD: MVTec AD itself, MVTec LOCO, MPDD, MVTec 3D-AD, and BTAD with other names.

    <class>/train/good, <class>/test/good, <class>/test/<defect>, <class>/ground_truth/<defect>

MVTec LOCO keeps a folder of masks for every part, MVTec 3D-AD puts the colour images and the masks of every kind of
part beside its point clouds, BTAD says `ok` for good and `ko` for all defects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_resad.datasets.folder import folders_in, images_in
from edge_resad.datasets.inspection_class import GOOD, InspectionClass, Part
from edge_resad.datasets.masks import with_masks
from edge_resad.errors import ImageError
from edge_resad.image import image_files


@dataclass(frozen=True, kw_only=True)
class MvtecLayout:
    """Good parts in train/, good and defective ones in test/, masks in folders called like the defects."""

    good: str = GOOD  # the folder's name
    images: str = ""  # folder inside every kind of part; "" where it holds the images itself
    masks: str = ""  # folder inside every kind of part; "" where they are in ground_truth/<kind>

    def is_class(self, folder: Path) -> bool:
        return any(self._kind(folder / split / self.good).is_dir() for split in ("train", "test"))

    def read(self, name: str, folder: Path) -> InspectionClass:
        train = self._kind(folder / "train" / self.good)
        for needed in (train, folder / "test"):
            if not needed.is_dir():
                raise ImageError(
                    f"{folder} has no folder {needed.relative_to(folder)}. Expected good parts in "
                    f"{train.relative_to(folder)}, parts to judge in test. Copy it again, or remove the class."
                )
        parts = [part for kind in folders_in(folder / "test") for part in self._parts(folder, kind)]
        if not parts:
            raise ImageError(
                f"no images below {folder / 'test'}. Expected good parts in "
                f"{self._kind(Path('test', self.good))}, others in {self._kind(Path('test/<defect>'))}."
            )
        return InspectionClass(
            name=name,
            train=tuple(image_files(train)),
            test=tuple(parts),
            validation=tuple(images_in(self._kind(folder / "validation" / self.good))),
        )

    def _kind(self, folder: Path) -> Path:
        return folder / self.images

    def _parts(self, folder: Path, kind: Path) -> Iterable[Part]:
        defect = GOOD if kind.name == self.good else kind.name
        parts = [Part(path=file, defect=defect) for file in images_in(self._kind(kind))]
        if defect == GOOD:
            return parts
        return with_masks(parts, kind / self.masks if self.masks else folder / "ground_truth" / kind.name)


MVTEC = MvtecLayout()
MVTEC_3D = MvtecLayout(images="rgb", masks="gt")
BTAD = MvtecLayout(good="ok")
