"""What a changeover, an alignment and the reading of a code cost by themselves, in the thread of the line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.changeover.line import milliseconds
from benchmarks.changeover.parts import ENROLLED, SHOWN, Kind, Picture, Size, box_of, codes_of, part, stock, stocked
from edge_resad.bundle import open_bundle
from edge_resad.decision import NotInspected
from edge_resad.demo.products import DEFECTS, FAMILIES, draw
from edge_resad.device.codes import CodeReader
from edge_resad.engine.alignment import Aligner, Matrix
from edge_resad.engine.product_inspector import ProductInspector
from edge_resad.recipe import Alignment, Shelf

FAMILY = "board"  # which looks the same at no other angle
NEAR_PX = 0.02  # of the picture's width
NEAR_DEG = (-4.0, 4.0)  # turns at which correlation finds a part
FAR_DEG = (45.0, 135.0)  # at which it may not, so that features are asked
TRIES = 8  # for each time that they shall be
NOISE = 3.0  # gray levels, as a camera has it
ANYWHERE = Alignment(max_shift_px=1e6, max_turn_deg=180.0)
ANYTHING = Alignment(max_shift_px=1e6, max_turn_deg=180.0, min_likeness=1e-6)
REGIONS = (1, 4)


class CountingAligner(Aligner):
    """Counts how often features were asked."""

    asked = 0

    def _by_features(self) -> Any:
        self.asked += 1
        return super()._by_features()


def swaps(scratch: Path, size: Size, times: int) -> dict[str, dict[str, dict[str, float]]]:
    """Regions, each with a bank of its own -> milliseconds to read and prepare a product, and to change to it."""
    found = {}
    kinds = stocked(2)
    for regions in REGIONS:
        shelf = Shelf(scratch / f"regions-{regions}")
        stock(shelf, kinds, size, regions=regions)
        choices = [shelf.find(one.name) for one in kinds]
        prepared, changed = [], []
        with ProductInspector(open_bundle(), shelf.open(choices[0])) as inspector:
            ready = []
            for number in range(max(2, times // 10)):
                began = time.perf_counter()
                ready.append(inspector.prepare(shelf.open(choices[number % 2])))
                prepared.append(time.perf_counter() - began)
            for number in range(times):
                began = time.perf_counter()
                inspector.load(ready[number % 2])
                changed.append(time.perf_counter() - began)
        found[str(regions)] = {"prepare_ms": milliseconds(prepared), "change_ms": milliseconds(changed)}
    return found


def alignments(size: Size, times: int) -> dict[str, dict[str, Any]]:
    """Milliseconds of an alignment by correlation, near the reference, and of those for which features were asked too.

    right: where all corners of the part are off by less than one of a hundred of its sides.
    refused: where it says that the part cannot be aligned.
    off_px: of the corner that is off most, against where the part was put.
    """
    reference = part(FAMILY, 0, size)
    dice = np.random.default_rng(1)
    found = {}
    for name, turns, tries in (("near", NEAR_DEG, 1), ("features", FAR_DEG, TRIES)):
        aligner = CountingAligner(reference, ANYWHERE)
        took, off = [], []
        for _ in range(times * tries):
            shift = dice.uniform(-NEAR_PX, NEAR_PX, 2) * size[0]
            moved, motion = _moved(reference, shift, dice.uniform(*turns))
            frame = np.clip(moved + dice.normal(0, NOISE, moved.shape), 0, 255).astype(np.uint8)
            aligner.asked = 0
            began = time.perf_counter()
            try:
                matrix = aligner.align(frame)
            except NotInspected:
                matrix = None
            ended = time.perf_counter()
            if aligner.asked or name == "near":
                took.append(ended - began)
                off.append(float("inf") if matrix is None else _off(matrix, motion, size))
            if len(took) == times:
                break
        near = [one for one in off if one < box_of(size)[2] / 100]
        found[name] = {
            **milliseconds(took),
            "right": len(near),
            "refused": off.count(float("inf")),
            "off_px": {"p50": round(float(np.median(near)), 2), "most": round(max(near), 2)} if near else None,
        }
    return found


def likenesses() -> dict[str, float]:
    """The least likeness of good and defective drawn parts to a good one, and the most of other products."""
    side = 320
    own, foreign = [], []
    for family in FAMILIES:
        aligner = Aligner(draw(family, 0, size=side).image, ANYTHING)
        for seed in SHOWN:
            for defect in (None, *DEFECTS):
                own.append(_likeness(aligner, draw(family, seed, size=side, defect=defect, severity=3).image))
            foreign += [_likeness(aligner, draw(other, seed, size=side).image) for other in FAMILIES if other != family]
    return {"own_least": round(min(own), 3), "other_most": round(max(foreign), 3)}


def readings(kind: Kind, size: Size, times: int) -> dict[str, dict[str, Any]]:
    """Milliseconds to look for codes on pictures that carry one and on pictures that carry none; how many were read."""
    reader = CodeReader(kind)
    kinds = stocked(len(ENROLLED))
    says = codes_of(kinds, kind)
    found = {}
    for name in ("code", "none"):
        took, read = [], 0
        for number in range(times):
            one = kinds[number % len(kinds)]
            code = says[one.name] if name == "code" else None
            picture = part(one.family, SHOWN[number % len(SHOWN)], size, code, kind)
            began = time.perf_counter()
            texts = reader.read(picture)
            took.append(time.perf_counter() - began)
            read += texts == ([] if code is None else [code])
        found[name] = {**milliseconds(took), "right": read}
    return found


def _likeness(aligner: Aligner, frame: Picture) -> float:
    """Of a frame to the reference; 0 where it looks like nothing of it."""
    try:
        aligner.align(frame)
    except NotInspected:
        return 0.0
    assert aligner.place is not None
    return aligner.place.likeness


def _moved(picture: Picture, shift: Any, degrees: float) -> tuple[Picture, Matrix]:
    """A picture moved and turned about the middle of its part, and where its pixels went."""
    height, width = picture.shape[:2]
    x, y, side, _ = box_of((width, height))
    motion = cv2.getRotationMatrix2D((x + side / 2, y + side / 2), degrees, 1)
    motion[:, 2] += shift
    there = cv2.warpAffine(picture, motion, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(there, np.uint8), np.asarray(motion, np.float64)


def _off(matrix: Matrix, motion: Matrix, size: Size) -> float:
    x, y, width, height = box_of(size)
    corners = np.array([(x, y, 1), (x + width, y, 1), (x, y + height, 1), (x + width, y + height, 1)], np.float64)
    return float(np.linalg.norm(corners @ matrix.T - corners @ motion.T, axis=1).max())
