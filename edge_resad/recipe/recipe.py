"""A recipe: all that is set for one product, as one typed TOML file."""

from __future__ import annotations

import itertools
import json
import sys
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from edge_resad.errors import ProductError
from edge_resad.messages import Id

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

SCHEMA_VERSION = 1
LEAST_AREA_PX = 64  # of a region: where nothing counts, every part would pass

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,70}\.(npz|png)$")]
"""A file beside the recipe: no folder, no way out."""
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{0,200}$")]
"""One line of text for people."""
Code = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
"""What a code on a part says."""
Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""
Point = tuple[int, int]
Side = Annotated[int, Field(ge=16, le=16384)]
"""Of a camera's picture, pixels."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Roi(_Part):
    """A region of interest: what of the picture is judged with one bank."""

    name: Id
    bank: FileName
    box: Box | None = None  # pixels of the product's picture; None: all of it
    polygon: tuple[Point, ...] | None = None  # pixels of the picture, inside the box: what is outside does not count
    threshold: float | None = Field(default=None, gt=0, allow_inf_nan=False)  # None: the bank's own

    @model_validator(mode="after")
    def _is_a_place(self) -> Roi:
        if self.box is not None and (min(self.box[:2]) < 0 or min(self.box[2:]) < 8):
            raise ValueError(f"region {self.name} is {self.box}, expected x, y from 0 and at least 8 x 8 pixels")
        if self.polygon is not None and (self.box is None or len(self.polygon) < 3):
            raise ValueError(f"region {self.name} has a polygon of {len(self.polygon)} points, expected 3 or more")
        if self.polygon is not None and _most_area(self.polygon) < LEAST_AREA_PX:
            raise ValueError(
                f"the polygon of region {self.name} encloses at most {_most_area(self.polygon):g} pixels, expected "
                f"{LEAST_AREA_PX} or more. Give its corners in their order around it"
            )
        return self


class Alignment(_Part):
    """How a part is brought to where the reference picture shows it."""

    reference: FileName = "reference.png"
    max_shift_px: float = Field(default=100.0, gt=0, allow_inf_nan=False)  # further than this is taken for a mistake
    max_turn_deg: float = Field(default=20.0, gt=0, le=180)
    min_likeness: float = Field(default=0.7, gt=0, lt=1)  # correlation with the reference once it is aligned


class Severity(_Part):
    """Where a defect begins to be more than minor, times the threshold."""

    major: float = Field(default=1.25, gt=1, allow_inf_nan=False)
    critical: float = Field(default=1.75, gt=1, allow_inf_nan=False)

    @model_validator(mode="after")
    def _in_order(self) -> Severity:
        if self.major >= self.critical:
            raise ValueError(f"major begins at {self.major:g} and critical at {self.critical:g}: set critical higher")
        return self


class Recipe(_Part):
    """One product."""

    schema_version: Literal[1] = 1
    product: Id
    note: Line = ""  # why this version was made
    picture_px: tuple[Side, Side] | None = None  # width, height that the camera must give; None: any
    mm_per_px: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    min_area_px: int = Field(default=0, ge=0)  # smallest defect that counts, in pixels of the camera
    min_area_mm2: float | None = Field(default=None, gt=0, allow_inf_nan=False)  # the same in square millimetres
    debounce_k: int = Field(default=1, ge=1)
    debounce_n: int = Field(default=1, ge=1)
    codes: tuple[Code, ...] = ()  # what codes on its parts say, beside its name
    ignore: FileName | None = None  # a picture: where it is not black, nothing counts
    severity: Severity = Severity()
    alignment: Alignment | None = None
    regions: tuple[Roi, ...] = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _holds_together(self) -> Recipe:
        if self.debounce_k > self.debounce_n:
            raise ValueError(f"{self.debounce_k} parts can never fail among {self.debounce_n}: debounce_k, debounce_n")
        if self.min_area_mm2 is not None and (self.mm_per_px is None or self.min_area_px):
            raise ValueError(
                "a smallest defect in square millimetres (min_area_mm2) needs the scale (mm_per_px), and none in "
                "pixels (min_area_px) beside it"
            )
        if len({roi.name for roi in self.regions}) < len(self.regions):
            raise ValueError("two regions have the same name")
        placed = self.ignore is not None or self.alignment is not None or any(roi.box for roi in self.regions)
        if placed and self.picture_px is None:
            raise ValueError("picture_px is needed where regions, a mask or an alignment say where something is")
        for roi in self.regions:
            if roi.box is not None and self.picture_px is not None:
                x, y, width, height = roi.box
                if x + width > self.picture_px[0] or y + height > self.picture_px[1]:
                    raise ValueError(f"region {roi.name} is {roi.box}, beyond a picture of {self.picture_px}")
                if any(not (x <= px <= x + width and y <= py <= y + height) for px, py in roi.polygon or ()):
                    raise ValueError(f"the polygon of region {roi.name} leaves its box {roi.box}")
        return self

    @property
    def least_area_px(self) -> float:
        """The smallest defect that counts, in pixels of the camera."""
        if self.min_area_mm2 is None or self.mm_per_px is None:
            return self.min_area_px
        return self.min_area_mm2 / self.mm_per_px**2

    @property
    def files(self) -> tuple[str, ...]:
        """The files that this recipe names, each once."""
        pictures = [self.ignore, self.alignment.reference if self.alignment else None]
        return tuple(dict.fromkeys([*(roi.bank for roi in self.regions), *(name for name in pictures if name)]))


def read_recipe(text: str, where: object) -> Recipe:
    """A recipe from its TOML.

    where: what to call it when it is wrong.

    Raises:
        ProductError: it is no recipe, or of another release.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as broken:
        raise ProductError(f"{where} is not valid TOML: {broken}. Take another version of the product.") from broken
    version = raw.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ProductError(
            f"{where} is a recipe of schema {version}, this release reads schema {SCHEMA_VERSION}. "
            "Update edge-resad, or make the product again: edge-resad product new."
        )
    return checked_recipe(raw, where)


def checked_recipe(raw: dict[str, object], where: object) -> Recipe:
    """A recipe from its fields.

    Raises:
        ProductError: they say something that cannot be.
    """
    try:
        return Recipe.model_validate(raw)
    except ValidationError as wrong:
        says = _says(wrong.errors(include_url=False)[0])
        raise ProductError(f"{where} cannot be used: {says}. Correct it, or take another version.") from wrong


_PLAIN = {
    "product": "1 to 64 letters, digits, - or _",
    "name": "1 to 64 letters, digits, - or _",
    "codes": "1 to 200 letters in one line",
    "note": "at most 200 letters in one line",
}
"""What a text may be, by its key: in words, for a pattern tells nobody."""


def _says(wrong: ErrorDetails) -> str:
    """What is wrong with one field of a recipe: where, what is there, what was expected."""
    if wrong["type"] == "value_error":
        return str(wrong["ctx"]["error"])
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in wrong["loc"])
    key = next((part for part in reversed(wrong["loc"]) if isinstance(part, str)), "")
    if wrong["type"] == "string_pattern_mismatch" and key in _PLAIN:
        return f"{place} is {wrong['input']!r}, expected {_PLAIN[key]}"
    if wrong["msg"].startswith("Input should be "):
        return f"{place} is {wrong['input']!r}, expected: {wrong['msg'].removeprefix('Input should be ')}"
    return f"{place}: {wrong['msg']}"


def _most_area(polygon: tuple[Point, ...]) -> float:
    """Pixels that a polygon encloses at the most, also where it crosses itself: those of its fan of triangles."""
    (left, top), *others = polygon
    spokes = [(x - left, y - top) for x, y in others]
    return sum(abs(x * down - right * y) for (x, y), (right, down) in itertools.pairwise(spokes)) / 2


def recipe_text(recipe: Recipe) -> str:
    """The TOML of a recipe: what `read_recipe` reads, without the keys that are at their default."""
    said = recipe.model_dump(mode="json", exclude_defaults=True)
    said = {"schema_version": recipe.schema_version, **said}
    lines = [f"{key} = {_value(value)}" for key, value in said.items() if not _is_table(value)]
    for key, value in said.items():
        for table in value if _is_table(value) and isinstance(value, list) else []:
            lines += ["", f"[[{key}]]", *_keys(table)]
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *_keys(value)]
    if recipe.alignment is not None and "alignment" not in said:
        lines += ["", "[alignment]"]
    return "\n".join(lines) + "\n"


def _keys(table: dict[str, object]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items() if value is not None]


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _value(value: object) -> str:
    """JSON of texts, numbers and lists is TOML as well: no text of a recipe holds what the two write differently."""
    return json.dumps(value, ensure_ascii=False)
