"""A product in memory: its recipe with all that the recipe names."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_resad.bank import Bank, load_bank
from edge_resad.bundle import file_digest
from edge_resad.errors import BankError, ProductError
from edge_resad.messages import Id
from edge_resad.recipe.recipe import Recipe, read_recipe
from edge_resad.recipe.remedy import product_command

MANIFEST, RECIPE = "manifest.json", "recipe.toml"
FORMAT = "edge-resad product 1"
PNG = b"\x89PNG\r\n\x1a\n"


class Manifest(BaseModel):
    """What belongs to one version of a product."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str
    product: Id
    version: int = Field(ge=1)
    files: dict[str, str]  # name -> sha256

    @property
    def content_id(self) -> str:
        """The same for the same content, whatever its number."""
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """One version of a product."""

    recipe: Recipe
    version: int
    content_id: str
    banks: Mapping[str, Bank]  # by the name of their file
    ignore: NDArray[np.bool_] | None  # (H, W) True where nothing counts
    reference: NDArray[np.uint8] | None  # (H, W, 3) BGR, what parts are aligned to
    shelf: Path  # the folder of products that it is in

    @property
    def label(self) -> str:
        """As people call it: `flange@3`."""
        return f"{self.recipe.product}@{self.version}"

    def bank_of(self, index: int) -> Bank:
        """The bank of a region of interest."""
        return self.banks[self.recipe.regions[index].bank]

    def threshold_of(self, index: int) -> float:
        """The score from which a part fails in a region of interest."""
        own = self.recipe.regions[index].threshold
        return self.bank_of(index).info.threshold.score if own is None else own


def read_manifest(content: bytes, where: object) -> Manifest:
    """What a version says of itself.

    Raises:
        ProductError: it is none of ours.
    """
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise ProductError(f"{where} is no product of edge-resad ({error.errors()[0]['msg']}).") from error
    if manifest.format != FORMAT:
        raise ProductError(f'{where} is "{manifest.format}", this release reads "{FORMAT}". Update edge-resad.')
    return manifest


def open_product(folder: Path) -> Product:
    """Read one version from its folder and check that nobody changed it.

    Raises:
        ProductError: something is missing, damaged or changed.
    """
    manifest = read_manifest(_content(folder / MANIFEST), folder)
    shelf = folder.parent.parent
    remake = product_command(f"change {manifest.product} --good GOOD_PARTS", shelf)
    for name, digest in manifest.files.items():
        if file_digest(_content(folder / name)) != digest:
            raise ProductError(
                f"{folder / name} was changed or is damaged. A version never changes: take another one, or make a new "
                f"one: {remake}."
            )
    if RECIPE not in manifest.files:
        raise ProductError(f"{folder} holds no {RECIPE}. Take another version.")
    recipe = read_recipe((folder / RECIPE).read_text(encoding="utf-8"), folder / RECIPE)
    if recipe.product != manifest.product or set(manifest.files) != {RECIPE, *recipe.files}:
        raise ProductError(f"{folder} does not hold what its recipe names. Take another version.")
    try:
        banks = {name: load_bank(folder / name, remake=remake) for name in recipe.files if name.endswith(".npz")}
    except BankError as error:
        raise ProductError(f"the product {recipe.product} cannot be used: {error}") from error
    size, aligned = recipe.picture_px, recipe.alignment
    return Product(
        recipe=recipe,
        version=manifest.version,
        content_id=manifest.content_id,
        banks=banks,
        ignore=_picture(folder / recipe.ignore, size).max(axis=2) > 0 if recipe.ignore else None,
        reference=_picture(folder / aligned.reference, size) if aligned else None,
        shelf=shelf,
    )


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ProductError(f"no file {file}. It belongs to a version of a product: take another version.") from None
    except OSError as error:
        raise ProductError(f"{file} cannot be read: {error.strerror}. Check its permissions.") from error


def _picture(file: Path, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """A PNG of the product's size. One that says otherwise is not even decoded: it may swell to anything."""
    content = _content(file)
    says = struct.unpack(">II", content[16:24]) if content[:8] == PNG and len(content) >= 24 else None
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if says == size else None
    if image is None:
        what = "no PNG" if says is None else f"a picture of {says[0]} x {says[1]} px"
        raise ProductError(f"{file} is {what}, expected {size} px, the size of the product's picture.")
    return np.asarray(image, np.uint8)
