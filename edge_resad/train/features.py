"""Frozen features on the disk: what the backbone makes of every image of a product, computed once, read many times."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_resad.datasets.inspection_class import GOOD, InspectionClass, Part
from edge_resad.datasets.masks import fit_mask, read_mask
from edge_resad.errors import CacheError, ImageError
from edge_resad.image import fit, read_image
from edge_resad.model.backbone import weights_digest
from edge_resad.model.detector import Encoder, load_backbone
from edge_resad.model.preprocess import paper_crop, paper_crop_mask
from edge_resad.model.profile import Profile
from edge_resad.train.shelf import Shelf

SCHEMA_VERSION = 1  # of the files; another one is another key


@dataclass(frozen=True, kw_only=True)
class ClassFeatures:
    """All images of one product, N of them: those of training first, then the parts to judge.

    levels:   per tap (N, N_l, C_l) float16, row-major over the grid.
    masks:    (N, S, S) bool, True where the part is defective; S is the profile's size.
    outlined: (N,) bool, False for a defect that nobody outlined: its mask is empty and says nothing.

    Levels and masks are mapped from the disk, read-only: what is taken by an array of indices is a copy.
    """

    name: str
    levels: tuple[NDArray[np.float16], ...]
    masks: NDArray[np.bool_]
    outlined: NDArray[np.bool_]
    defects: tuple[str, ...]  # "good" where there is none
    paths: tuple[Path, ...]
    train: slice  # the images of training
    digest: str = ""  # of the network and of every image and mask

    def take(self, images: NDArray[np.integer]) -> tuple[NDArray[np.float16], ...]:
        """A copy of some images' features: per level (n, N_l, C_l)."""
        return tuple(level[images] for level in self.levels)

    @property
    def is_defective(self) -> NDArray[np.bool_]:
        """(N,)."""
        return np.array([defect != GOOD for defect in self.defects])


class FeatureCache:
    """Features of products in one folder, at most so many bytes of them; a product is there whole or not at all.

    An entry is known by the backbone's weights and by the content of every image and mask. So a copied or renamed image
    set is not computed again, a changed file always is, and asking costs one reading of the set. Torch's own setting
    says how many threads decode and encode.

    folder:    made where there is none; nothing but the cache's own entries is ever removed from it.
    max_bytes: the longest unused products make room; those that this cache has given out stay.
    backbone:  None for the profile's own, loaded when it is first needed.
    batch:     images at a time; on a CPU a few are faster than many, which leave its cache.
    """

    def __init__(
        self,
        folder: Path,
        profile: Profile,
        max_bytes: int = 20_000_000_000,
        *,
        backbone: nn.Module | None = None,
        device: str = "cpu",
        batch: int = 4,
    ) -> None:
        self._profile = profile
        self._shelf = Shelf(folder, max_bytes)
        self._given = backbone
        self._device = torch.device(device)
        self._batch = batch

    def of(
        self, one: InspectionClass, progress: Callable[[str, int, int], None] = lambda name, done, total: None
    ) -> ClassFeatures:
        """The product's features, from the disk where they are there.

        progress: called while they are computed, with the product's name, images done and images in all.

        Raises:
            ImageError: an image or a mask cannot be read.
            CacheError: there is no room, the disk refuses, or a feature is too large for float16.
        """
        parts = [*(Part(path=path, defect=GOOD) for path in one.train), *one.test]
        shapes = self._shapes(len(parts))
        size = sum(_bytes_of(*shape) for shape in shapes.values())
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            digest = self._key(parts, pool)
            name = f"{re.sub(r'[^0-9A-Za-z]+', '_', one.name)[:80]}-{digest[:32]}"

            def fill(folder: Path) -> None:
                with ExitStack() as closing:
                    files = {name: closing.enter_context((folder / name).open("wb")) for name in shapes}
                    for name, (shape, dtype) in shapes.items():
                        files[name].write(_header(shape, dtype))
                    self._compute(one.name, parts, files, pool, progress)

            for _ in range(2):  # what turns out to be damaged, or was dropped by another process, is made again
                path = self._shelf.take(name, size, fill)
                arrays = _mapped(path, shapes)
                if arrays is not None:
                    break
                self._shelf.drop(path)
            else:
                raise CacheError(f"{path} cannot be read back after it was written. Check the disk.")
        *levels, masks, outlined = arrays
        return ClassFeatures(
            name=one.name,
            levels=tuple(levels),
            masks=masks,
            outlined=outlined,
            defects=tuple(part.defect for part in parts),
            paths=tuple(part.path for part in parts),
            train=slice(0, len(one.train)),
            digest=digest,
        )

    @cached_property
    def _encoder(self) -> Encoder:
        backbone = self._given if self._given is not None else load_backbone(self._profile)
        return Encoder(self._profile, backbone).eval().to(self._device)

    @cached_property
    def backbone_sha256(self) -> str:
        """Of the weights that compute the features, whatever file they came from."""
        return weights_digest(self._encoder.backbone)

    @cached_property
    def _frozen(self) -> list[object]:
        """What all entries of this cache have in common."""
        profile = self._profile
        taps = [[tap.layer, tap.stride, tap.channels] for tap in profile.taps]
        return [
            SCHEMA_VERSION, profile.backbone, self.backbone_sha256, taps, profile.size, profile.crop, profile.mean,
            profile.std, self._device.type,
        ]  # fmt: skip

    def _key(self, parts: Sequence[Part], pool: ThreadPoolExecutor) -> str:
        images = pool.map(_digest, [part.path for part in parts])
        masks = pool.map(lambda part: [_digest(mask) for mask in part.masks], parts)
        content = [self._frozen, list(zip([part.defect for part in parts], images, masks, strict=True))]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _shapes(self, images: int) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """The files of an entry, in the order of what `_compute` writes."""
        profile = self._profile
        shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            f"level_{index}.npy": ((images, profile.grid(tap) ** 2, tap.channels), np.float16)
            for index, tap in enumerate(profile.taps)
        }
        shapes["masks.npy"] = ((images, profile.size, profile.size), np.bool_)
        shapes["outlined.npy"] = ((images,), np.bool_)
        return shapes

    def _compute(
        self,
        name: str,
        parts: Sequence[Part],
        files: Mapping[str, BinaryIO],
        pool: ThreadPoolExecutor,
        progress: Callable[[str, int, int], None],
    ) -> None:
        for start in range(0, len(parts), self._batch):
            batch = parts[start : start + self._batch]
            images, masks = zip(*pool.map(self._read, batch), strict=True)
            outlined = [not part.is_defective or mask.any() for part, mask in zip(batch, masks, strict=True)]
            arrays = [*self._encode(np.stack(images)), np.stack(masks), np.array(outlined)]
            for file, array in zip(files.values(), arrays, strict=True):
                file.write(array.data)
            progress(name, start + len(batch), len(parts))

    def _read(self, part: Part) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The image (S, S, 3) and where it is defective (S, S)."""
        size, crops = self._profile.size, self._profile.crop
        image = read_image(part.path)
        image = paper_crop(image, size) if crops else fit(image, size, np.empty((size, size, 3), np.uint8))
        if not part.masks:
            return image, np.zeros((size, size), np.bool_)
        mask = read_mask(*part.masks)
        mask = paper_crop_mask(mask.astype(np.uint8), size) > 0 if crops else fit_mask(mask, size)
        return image, mask

    def _encode(self, images: NDArray[np.uint8]) -> list[NDArray[np.float16]]:
        """(B, S, S, 3) BGR to (B, N_l, C_l) of every level, as the encoder does it for one image."""
        encoder = self._encoder
        with torch.inference_mode():
            bgr = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2).to(torch.float32)  # (B, 3, S, S)
            rgb = ((bgr - cast(Tensor, encoder.mean)) * cast(Tensor, encoder.scale))[:, [2, 1, 0]]
            levels = [feature.flatten(2).mT.half().contiguous() for feature in encoder.backbone(rgb)]  # (B, N_l, C_l)
        for tap, level in zip(self._profile.taps, levels, strict=True):
            if not level.isfinite().all():
                raise CacheError(
                    f"{tap.layer} of {self._profile.backbone} gives values that float16 cannot hold (above 65504, or "
                    "none). Choose another layer or backbone in the profile."
                )
        return [level.cpu().numpy() for level in levels]


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(
            f"{path} cannot be opened: {reason}. Expected an image file that this user may read."
        ) from error


def _bytes_of(shape: tuple[int, ...], dtype: type[np.generic]) -> int:
    return len(_header(shape, dtype)) + math.prod(shape) * np.dtype(dtype).itemsize


def _header(shape: tuple[int, ...], dtype: type[np.generic]) -> bytes:
    """Of an .npy file, whose array follows."""
    header = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
    return header.getvalue()


def _mapped(folder: Path, shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]]) -> list[NDArray[Any]] | None:
    """The entry's arrays; None where a file is not there or not what it should be."""
    try:
        arrays = [np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in shapes]
    except (OSError, ValueError, EOFError):
        return None
    expected = [(shape, np.dtype(dtype)) for shape, dtype in shapes.values()]
    return arrays if [(array.shape, array.dtype) for array in arrays] == expected else None
