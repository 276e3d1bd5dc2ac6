"""A parcel: one version of a product as one file, to carry it to another station."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from edge_resad.bank import read_bank
from edge_resad.bundle import file_digest
from edge_resad.errors import BankError, ProductError
from edge_resad.recipe.product import MANIFEST, RECIPE, Manifest, Product, read_manifest
from edge_resad.recipe.recipe import Recipe, read_recipe
from edge_resad.recipe.remedy import product_command
from edge_resad.recipe.shelf import Choice, Shelf
from edge_resad.whole_file import write_whole

MOST_BYTES = 512 * 2**20  # of all files together: a bank takes a few megabytes
MOST_FILES = 64
_MOMENT = (2020, 1, 1, 0, 0, 0)  # so that the same version gives the same bytes


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What is in a parcel, checked."""

    manifest: Manifest
    recipe: Recipe
    files: dict[str, bytes]  # what the recipe names


def pack(shelf: Shelf, choice: Choice, path: Path) -> None:
    """Write a version as one file, whole or not at all.

    Raises:
        ProductError: it is damaged, or the file cannot be written.
    """
    files = shelf.files(choice)
    place = shelf.place(choice)
    content = io.BytesIO()
    try:
        with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
            for name in (MANIFEST, RECIPE):
                archive.writestr(zipfile.ZipInfo(name, _MOMENT), (place / name).read_bytes())
            for name, held in files.items():
                archive.writestr(zipfile.ZipInfo(name, _MOMENT), held)
        write_whole(path, content.getbuffer())
    except OSError as error:
        raise ProductError(f"cannot write {path}: {error.strerror or error}. Check space and rights.") from error


def open_parcel(path: Path, *, bundle_id: str | None = None, products: Path | None = None) -> Parcel:
    """Read a parcel. Nothing is written anywhere, and nothing in it is trusted.

    bundle_id: that of the bundle here; banks of another one are refused.
    products:  the folder that it is for, as a sentence names it.

    Raises:
        ProductError: no parcel, damaged, made to do harm, or of another bundle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parcel = _read(archive, path)
    except FileNotFoundError:
        raise ProductError(f"no file {path}. Expected a product that edge-resad product export wrote.") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ProductError(
            f"{path} is no exported product or is damaged ({error}). Export it again: edge-resad product export."
        ) from error

    if bundle_id is not None:
        _check_bundle(parcel, path, bundle_id, products)
    return parcel


def add_parcel(shelf: Shelf, parcel: Parcel) -> tuple[Product, bool]:
    """Put a parcel on the shelf: under its own number where that is free, under the next where it is not.

    returns: the product, and whether it is new here: the same content is not stored twice.
    """
    manifest = parcel.manifest
    held = shelf.versions(manifest.product) if manifest.product in shelf.names() else []
    for number in held:
        choice = Choice(product=manifest.product, version=number)
        if shelf.manifest(choice).content_id == manifest.content_id:
            return shelf.open(choice), False
    own = manifest.version if not held or manifest.version > held[-1] else None
    return shelf.add(parcel.recipe, parcel.files, version=own), True


def _read(archive: zipfile.ZipFile, path: Path) -> Parcel:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise ProductError(f"{path} is larger than any product: it is refused. Export the product again.")
    if len(set(names)) < len(names) or MANIFEST not in names:
        raise ProductError(f"{path} is no exported product: it holds {', '.join(names[:5]) or 'nothing'}.")
    manifest = read_manifest(archive.read(MANIFEST), path)
    strange = sorted({*names} ^ {MANIFEST, *manifest.files})
    if strange:
        raise ProductError(
            f"{path} does not hold what it says: {', '.join(strange[:5])}. It is refused. Export the product again."
        )
    content = {name: archive.read(name) for name in manifest.files}
    for name, digest in manifest.files.items():
        if file_digest(content[name]) != digest:
            raise ProductError(f"{name} in {path} is damaged. Copy or export the product again.")
    recipe = read_recipe(content.pop(RECIPE, b"").decode(), f"{RECIPE} in {path}")
    if recipe.product != manifest.product or {*content} != {*recipe.files}:  # the names that a recipe takes are plain
        raise ProductError(f"{path} does not hold what its recipe names: it is refused. Export the product again.")
    return Parcel(manifest=manifest, recipe=recipe, files=content)


def _check_bundle(parcel: Parcel, path: Path, bundle_id: str, products: Path | None) -> None:
    product = parcel.manifest.product
    again = product_command(f"new {product} --good GOOD_PARTS", products)
    for name, content in parcel.files.items():
        if not name.endswith(".npz"):
            continue
        try:
            theirs = read_bank(content, f"{name} in {path}", remake=again).info.bundle_id
        except BankError as error:
            raise ProductError(f"{path} cannot be imported: {error}") from error
        if theirs != bundle_id:
            raise ProductError(
                f"the banks in {path} belong to another bundle ({theirs[:12]}..., this one is {bundle_id[:12]}...). "
                f"Distances mean something else there. Make the product here, from good parts: {again}."
            )
