"""VisA's own layout: all images of an object in one place, and a split file that says what is for training.

    <object>/Data/Images/{Normal,Anomaly}, <object>/Data/Masks/Anomaly, split_csv/1cls.csv

The file's columns are object, split, label, image and mask; its paths begin where split_csv lies.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_resad.datasets.inspection_class import GOOD, InspectionClass, Part
from edge_resad.errors import ImageError
from edge_resad.image import natural_order

SPLIT_FILE = "split_csv/1cls.csv"
_COLUMNS = ("object", "split", "label", "image", "mask")
_LABELS = {"normal": GOOD, "anomaly": "anomaly"}


@dataclass(frozen=True)
class VisaLayout:
    """One object of VisA, with the split file beside it."""

    def is_class(self, folder: Path) -> bool:
        return (folder / "Data/Images/Normal").is_dir()

    def read(self, name: str, folder: Path) -> InspectionClass:
        folder = folder.absolute()  # the split file lies above it, and calls it by its name
        file = folder.parent / SPLIT_FILE
        split: dict[str, list[Part]] = {"train": [], "test": []}
        for line, row in _rows(file):
            if row["object"] == folder.name:
                part = _part(file, line, row)
                if row["split"] not in split or (row["split"] == "train" and part.is_defective):
                    raise ImageError(
                        f"{file}, line {line}: the split {row['split']!r} for a part that is {row['label']}. "
                        "Expected train with normal parts alone, or test."
                    )
                split[row["split"]].append(part)
        for which, parts in split.items():
            if not parts:
                raise ImageError(
                    f"{file} names no image of {folder.name} for {which}. Expected rows like "
                    f"{folder.name},{which},normal,{folder.name}/Data/Images/Normal/0001.JPG, in it."
                )
        train = sorted((part.path for part in split["train"]), key=natural_order)
        test = sorted(split["test"], key=lambda part: (part.is_defective, natural_order(part.path)))
        return InspectionClass(name=name, train=tuple(train), test=tuple(test))


VISA = VisaLayout()


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Every row with its line, all columns there."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, restval="")
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise ImageError(
                    f"{file} has no column {', '.join(missing)}. Expected {','.join(_COLUMNS)}. Copy VisA's file again."
                )
            for row in reader:
                yield reader.line_num, row
    except FileNotFoundError:
        raise ImageError(
            f"no split file {file}. Expected VisA's own, beside its objects' folders: it says which images are for "
            "training. Copy it there."
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImageError(f"{file} cannot be read ({error}). Expected VisA's split file. Copy it again.") from error


def _part(file: Path, line: int, row: dict[str, str]) -> Part:
    defect = _LABELS.get(row["label"])
    if defect is None:
        raise ImageError(f"{file}, line {line}: the label {row['label']!r}. Expected {' or '.join(_LABELS)}.")
    image = _named(file, line, "image", row["image"])
    mask = _named(file, line, "mask", row["mask"]) if row["mask"] and defect != GOOD else None
    return Part(path=image, defect=defect, mask=mask)


def _named(file: Path, line: int, what: str, path: str) -> Path:
    found = file.parent.parent / path
    if not found.is_file():
        raise ImageError(
            f"{file}, line {line}: no {what} {found}. Expected every file that the split names. "
            "Copy the image set again, or remove the line."
        )
    return found
