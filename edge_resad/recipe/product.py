"""A product in memory: its recipe with all that the recipe names."""

from __future__ import annotations

import hashlib
import json
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

MANIFEST, RECIPE = "manifest.json", "recipe.toml"
FORMAT = "edge-resad product 1"


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
    for name, digest in manifest.files.items():
        if file_digest(_content(folder / name)) != digest:
            raise ProductError(
                f"{folder / name} was changed or is damaged. A version never changes: take another one, or make a new "
                f"one with edge-resad product change {manifest.product}."
            )
    if RECIPE not in manifest.files:
        raise ProductError(f"{folder} holds no {RECIPE}. Take another version.")
    recipe = read_recipe((folder / RECIPE).read_text(encoding="utf-8"), folder / RECIPE)
    if recipe.product != manifest.product or set(manifest.files) != {RECIPE, *recipe.files}:
        raise ProductError(f"{folder} does not hold what its recipe names. Take another version.")
    try:
        banks = {name: load_bank(folder / name) for name in recipe.files if name.endswith(".npz")}
    except BankError as error:
        raise ProductError(f"the product {recipe.product} cannot be used: {error}") from error
    product = Product(
        recipe=recipe,
        version=manifest.version,
        content_id=manifest.content_id,
        banks=banks,
        ignore=_mask(folder / recipe.ignore) if recipe.ignore else None,
        reference=_picture(folder / recipe.alignment.reference) if recipe.alignment else None,
    )
    for name, shape in (("ignore mask", product.ignore), ("reference picture", product.reference)):
        if shape is not None and shape.shape[1::-1] != recipe.picture_px:
            raise ProductError(f"the {name} of {product.label} is {shape.shape[1::-1]}, expected {recipe.picture_px}.")
    return product


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ProductError(f"no file {file}. It belongs to a version of a product: take another version.") from None
    except OSError as error:
        raise ProductError(f"{file} cannot be read: {error.strerror}. Check its permissions.") from error


def _mask(file: Path) -> NDArray[np.bool_]:
    return np.asarray(_picture(file).max(axis=2) > 0)


def _picture(file: Path) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(_content(file), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ProductError(f"{file} is no picture. Take another version of the product.")
    return np.asarray(image, np.uint8)
