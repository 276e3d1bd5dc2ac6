"""A contact sheet of the whole factory: of every family some good parts of different variants, and some defects."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products.factory.families import FACTORY
from edge_resad.demo.products.factory.part import draw, kinds_of
from edge_resad.demo.products.sheet import GAP, INK, OUTLINE, PAPER

GOOD, BAD, PANELS = 3, 5, 2
NAME = 84  # pixels that a family's name takes
BAND = 26  # pixels that the heading takes


def factory_sheet(families: Sequence[str] = (), seed: int = 7, tile: int = 74) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR: a row a family, in two panels; good parts of three variants, then defects of the first."""
    names = list(families) or list(FACTORY)
    shares = np.array_split(np.arange(len(names)), PANELS)
    deepest = max(len(share) for share in shares)
    panels = []
    for k, share in enumerate(shares):
        rows = [_row(names[n], n, seed, tile) for n in share]
        panel = np.vstack([_heading(rows[0].shape[1], tile), *rows])
        below = (deepest - len(share)) * (tile + GAP // 2)
        right = 4 * GAP if k < PANELS - 1 else 0
        panels.append(cv2.copyMakeBorder(panel, 0, below, 0, right, cv2.BORDER_CONSTANT, value=PAPER))
    return np.asarray(cv2.copyMakeBorder(np.hstack(panels), 6, 6, 8, 6, cv2.BORDER_CONSTANT, value=PAPER), np.uint8)


def _row(family: str, number: int, seed: int, tile: int) -> NDArray[np.uint8]:
    cells = [draw(family, seed + v, variant=v).image for v in range(1, GOOD + 1)]
    kinds = kinds_of(family, 1)
    for k in range(BAD):  # other kinds in every row, so that all of them are shown
        kind = kinds[(number * 3 + k * (len(kinds) // BAD)) % len(kinds)]
        part = draw(family, seed + 10 + k, variant=1, defect=kind, severity=2 + k % 2)
        cells.append(_outlined(part.image, part.mask))
    small = [cv2.resize(cell, (tile, tile), interpolation=cv2.INTER_AREA) for cell in cells]
    padded = [cv2.copyMakeBorder(c, 0, GAP // 2, 0, GAP // 2, cv2.BORDER_CONSTANT, value=PAPER) for c in small]
    name = np.full((tile + GAP // 2, NAME, 3), PAPER, np.uint8)
    cv2.putText(name, family, (2, tile // 2 + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    return np.asarray(np.hstack([name, *padded]), np.uint8)


def _outlined(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image with a line around the mask, far enough off to leave the defect in view."""
    around = cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17)))
    contours, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    drawn = image.copy()
    cv2.drawContours(drawn, contours, -1, OUTLINE, 2, cv2.LINE_AA)
    return np.asarray(drawn, np.uint8)


def _heading(width: int, tile: int) -> NDArray[np.uint8]:
    band = np.full((BAND, width, 3), PAPER, np.uint8)
    for word, column in (("good, three variants", 0), ("defects of the first", GOOD)):
        at = (NAME + column * (tile + GAP // 2) + 2, BAND - 9)
        cv2.putText(band, word, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return np.asarray(band, np.uint8)
