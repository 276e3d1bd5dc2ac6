"""Frames of one product to compare precisions on: good parts to learn from, parts to judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_resad.bundle import Manifest
from edge_resad.demo.products import DEFECTS, FAMILIES, draw
from edge_resad.errors import ImageError
from edge_resad.image import image_files, read_image

REFERENCES = 4
"""Good frames that are set aside; of these as many are enrolled as a bank holds whole."""

FEWEST = 8
"""Parts to judge below which an order of scores would be an accident."""

_GOOD = 6  # drawn parts of a family to judge; beside them one with a defect of each kind
_FIRST_SEED = 700_000  # far from what ranges and heads are made with


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Pictures of one product, each (H, W, 3) uint8 BGR."""

    name: str
    references: tuple[NDArray[np.uint8], ...]  # good parts
    parts: tuple[NDArray[np.uint8], ...]  # good or not: nobody has to say


def whole_references(manifest: Manifest) -> int:
    """How many of REFERENCES a bank holds with every patch, at least one.

    With more, a coreset chooses the rows. A last digit tips that choice, and then maps differ as after two choices in
    FP32: on drawn parts these correlate at 0.992 to 0.996, while FP16 by itself is at 0.9999.
    """
    return max(1, min(REFERENCES, *(level.capacity // level.cells for level in manifest.levels)))


def drawn_samples(manifest: Manifest, families: Sequence[str] = tuple(FAMILIES)) -> list[Sample]:
    """Parts that the demo draws: of every family references, six good parts and one with each kind of defect."""
    samples = []
    for family in families:
        good = [draw(family, _FIRST_SEED + index).image for index in range(whole_references(manifest) + _GOOD)]
        bad = [draw(family, _FIRST_SEED + 100 + k, defect=defect).image for k, defect in enumerate(DEFECTS)]
        references = tuple(good[_GOOD:])
        samples.append(Sample(name=f"drawn {family}", references=references, parts=(*good[:_GOOD], *bad)))
    return samples


def sample_of(manifest: Manifest, paths: Sequence[Path]) -> Sample:
    """Pictures from files and folders in the order given, the first four the good ones, the rest to judge.

    Raises:
        ImageError: a path that is none, a file that is no picture, too few of them.
    """
    files = list(dict.fromkeys(file for path in paths for file in image_files(path)))
    if len(files) < REFERENCES + FEWEST:
        raise ImageError(
            f"{len(files)} pictures are too few to compare precisions on. Expected {REFERENCES} of good parts first "
            f"and at least {FEWEST} more to judge: name more, or none at all to take drawn parts."
        )
    return Sample(
        name=", ".join(path.resolve().name for path in paths),
        references=tuple(read_image(file) for file in files[: whole_references(manifest)]),
        parts=tuple(read_image(file) for file in files[REFERENCES:]),
    )
