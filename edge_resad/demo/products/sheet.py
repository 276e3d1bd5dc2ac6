"""A contact sheet: a good part and every defect at every severity, one row a family."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products.part import DEFECTS, FAMILIES, draw

PAPER = (247, 246, 244)  # BGR
INK = (52, 46, 42)
OUTLINE = (40, 60, 245)
GAP = 6  # pixels


def sheet(seed: int = 7, tile: int = 160) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR: columns are good, then each defect; rows are families by severity 1, 2, 3."""
    columns = ["good", *DEFECTS]
    rows = [_row(name, severity, seed, tile) for name in FAMILIES for severity in (1, 2, 3)]
    top = _caption(columns, tile)
    return np.asarray(_framed(np.vstack([top, *rows])), np.uint8)


def _row(family: str, severity: int, seed: int, tile: int) -> NDArray[np.uint8]:
    cells = [draw(family, seed + severity).image]
    for k, defect in enumerate(DEFECTS):
        part = draw(family, seed + 10 * severity + k, defect=defect, severity=severity)
        cells.append(_outlined(part.image, part.mask))
    small = [cv2.resize(cell, (tile, tile), interpolation=cv2.INTER_AREA) for cell in cells]
    padded = [cv2.copyMakeBorder(cell, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=PAPER) for cell in small]
    return np.asarray(np.hstack(padded), np.uint8)


def _outlined(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image with a line a few pixels outside of the mask, so that the defect itself stays in view."""
    around = cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15)))
    contours, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    drawn = image.copy()
    cv2.drawContours(drawn, contours, -1, OUTLINE, 2, cv2.LINE_AA)
    return np.asarray(drawn, np.uint8)


def _caption(words: list[str], tile: int) -> NDArray[np.uint8]:
    band = np.full((30, (tile + GAP) * len(words), 3), PAPER, np.uint8)
    for k, word in enumerate(words):
        cv2.putText(band, word, (k * (tile + GAP) + 2, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, INK, 1, cv2.LINE_AA)
    return band


def _framed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.copyMakeBorder(picture, 6, 6, 12, 6, cv2.BORDER_CONSTANT, value=PAPER), np.uint8)
