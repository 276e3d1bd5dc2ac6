"""The shelf of products: a folder for each, and in it one for every version, which never changes."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_resad.bundle import file_digest
from edge_resad.errors import ProductError
from edge_resad.messages import Id, is_id
from edge_resad.recipe.product import FORMAT, MANIFEST, RECIPE, Manifest, Product, open_product, read_manifest
from edge_resad.recipe.recipe import Recipe, read_recipe, recipe_text
from edge_resad.recipe.remedy import product_command
from edge_resad.whole_file import sync_folder, write_whole

IN_USE = "in-use.json"
SCRATCH = ".new-"  # how a version is called while it is written
ABANDONED_S = 3600.0  # nobody writes a version for so long


class Choice(BaseModel):
    """A version of a product: which one a line is to use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    product: Id
    version: int = Field(ge=1)

    def __str__(self) -> str:
        return f"{self.product}@{self.version}"


@dataclass(frozen=True)
class Shelf:
    """All products of a station. Nothing is held open: several programs may look and write at the same time."""

    folder: Path

    NEVER: ClassVar[tuple[int, int]] = (0, 0)
    """When the product on the line was said, where nobody has or nobody can tell."""

    def names(self) -> list[str]:
        """The products that have at least one version."""
        if not self.folder.is_dir():
            return []
        return sorted(item.name for item in self.folder.iterdir() if is_id(item.name) and self._numbers(item.name))

    def versions(self, name: str) -> list[int]:
        """The versions of a product, oldest first.

        Raises:
            ProductError: there is no such product.
        """
        numbers = self._numbers(name) if is_id(name) else []
        if not numbers:
            known = ", ".join(self.names()) or "none"
            raise ProductError(
                f"no product {name} in {self.folder}. There are: {known}. "
                f"Make one: {self.command('new NAME --good GOOD_PARTS')}."
            )
        return numbers

    def find(self, text: str) -> Choice:
        """`flange` is its newest version, `flange@2` the second.

        Raises:
            ProductError: there is none.
        """
        name, at, number = text.partition("@")
        versions = self.versions(name)
        if not at:
            return Choice(product=name, version=versions[-1])
        if not (number.isascii() and number.isdecimal() and int(number) in versions):
            known = ", ".join(map(str, versions))
            raise ProductError(f"no version {number} of {name} in {self.folder}. There are: {known}.")
        return Choice(product=name, version=int(number))

    def command(self, words: str) -> str:
        """`edge-resad product WORDS`, as it has to be typed for this shelf."""
        return product_command(words, self.folder)

    def place(self, choice: Choice) -> Path:
        """The folder of a version."""
        return self.folder / choice.product / str(choice.version)

    def open(self, choice: Choice) -> Product:
        """Read a version, banks and pictures too.

        Raises:
            ProductError: it is damaged or was changed.
        """
        return open_product(self.place(choice))

    def recipe(self, choice: Choice) -> Recipe:
        """Read a version's recipe alone."""
        file = self.place(choice) / RECIPE
        try:
            return read_recipe(file.read_text(encoding="utf-8"), file)
        except (OSError, UnicodeDecodeError) as error:
            raise ProductError(f"{file} cannot be read: {error}. Take another version of the product.") from error

    def manifest(self, choice: Choice) -> Manifest:
        """Read what a version says of itself."""
        file = self.place(choice) / MANIFEST
        try:
            return read_manifest(file.read_bytes(), self.place(choice))
        except OSError as error:
            raise ProductError(f"{file} cannot be read: {error.strerror}. Take another version.") from error

    def files(self, choice: Choice) -> dict[str, bytes]:
        """The content of the files that a version's recipe names."""
        self.open(choice)
        return {name: (self.place(choice) / name).read_bytes() for name in self.recipe(choice).files}

    def coded(self, code: str) -> Choice | None:
        """The newest version of the product that a code stands for: its name or one of its recipe's codes.

        A recipe that cannot be read names nothing: it must not stand in the way of other products.
        """
        for name in self.names():
            newest = self.find(name)
            if code == name:
                return newest
            with suppress(ProductError):
                if code in self.recipe(newest).codes:
                    return newest
        return None

    def add(self, recipe: Recipe, files: Mapping[str, bytes], *, version: int | None = None) -> Product:
        """Write a new version of a product, whole or not at all; older ones stay as they are.

        files:   what the recipe names, by name.
        version: its number; without it the next one.

        Raises:
            ProductError: no space, no rights, the number or a code is taken, or the product could not be used.
        """
        self._check_codes(recipe)
        content = {RECIPE: recipe_text(recipe).encode(), **files}
        home = self.folder / recipe.product
        scratch: Path | None = None
        try:
            home.mkdir(parents=True, exist_ok=True)
            number = version or max(self._numbers(recipe.product), default=0) + 1
            _sweep(home)
            scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=home))
            manifest = Manifest(
                format=FORMAT,
                product=recipe.product,
                version=number,
                files={name: file_digest(held) for name, held in content.items()},
            )
            for name, held in {**content, MANIFEST: manifest.model_dump_json(indent=1).encode()}.items():
                _write_new(scratch / name, held)
            product = open_product(scratch)
            scratch.chmod(0o755)
            sync_folder(scratch)
            os.rename(scratch, home / str(number))  # fails where this number is there by now: it is never replaced
            sync_folder(home)
        except OSError as error:
            raise ProductError(
                f"cannot write a version of {recipe.product} into {home}: {error.strerror or error}. "
                "The versions before it are as they were. Check space and rights."
            ) from error
        finally:
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
            with suppress(OSError):
                home.rmdir()  # where it is empty
        return product

    def use(self, choice: Choice) -> None:
        """Say which product is on the line; a running station changes to it within a second.

        Raises:
            ProductError: it cannot be used or said.
        """
        self.open(choice)
        try:
            write_whole(self.folder / IN_USE, choice.model_dump_json().encode(), mode=0o644)
        except OSError as error:
            raise ProductError(
                f"cannot write {self.folder / IN_USE}: {error.strerror or error}. Check space and rights."
            ) from error

    def in_use(self) -> Choice | None:
        """The product on the line; None where nobody has said.

        Raises:
            ProductError: what is said cannot be read.
        """
        file = self.folder / IN_USE
        try:
            return Choice.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise ProductError(f"{file} cannot be read. Say it again: {self.command('use NAME')}.") from error

    def said_at(self) -> tuple[int, int]:
        """When the product on the line was said last: another value each time, though it be the same product."""
        try:
            found = (self.folder / IN_USE).stat()
        except OSError:
            return self.NEVER
        return (found.st_mtime_ns, found.st_ino)

    def _numbers(self, name: str) -> list[int]:
        home = self.folder / name
        if not home.is_dir():
            return []
        return sorted(int(item.name) for item in home.iterdir() if item.name.isascii() and item.name.isdecimal())

    def _check_codes(self, recipe: Recipe) -> None:
        for code in (recipe.product, *recipe.codes):
            taken = self.coded(code)
            if taken is not None and taken.product != recipe.product:
                raise ProductError(
                    f'the code "{code}" already stands for {taken.product}. A code names one product: '
                    f"take it from {taken.product} first, or choose another."
                )


def _sweep(home: Path) -> None:
    """Take away what a program that was killed while it wrote a version left behind."""
    for left in home.glob(f"{SCRATCH}*"):
        if time.time() - left.stat().st_mtime > ABANDONED_S:
            shutil.rmtree(left, ignore_errors=True)


def _write_new(file: Path, content: bytes) -> None:
    """Write a file that is not there yet, never to be changed, and wait until the disk has it."""
    with open(file, "xb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    file.chmod(0o444)
