"""Alignment: where on a frame lies what the reference picture shows, moved and turned but not scaled.

First the enhanced correlation coefficient (Evangelidis and Psarakis, 2008), which is exact and needs no corners, but
starts near; where that finds nothing, features (ORB) say where to start again. Whichever found it, the frame must then
look like the reference: a part that cannot be aligned is never judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.decision import NotInspected
from edge_resad.recipe import Alignment

SIDE = 256  # pixels of the longer side that it works on
COARSE = 4  # so many times smaller is the picture that it begins on
STEPS, ENOUGH = 40, 1e-4  # iterations at most; relative change of the correlation at which they end
SURE = 0.9  # likeness below which features are asked too: at a wrong angle a part still looks a little like itself
FEATURES = 500
LEAST_MATCHES = 12  # of features that agree on one motion: fewer agree by chance
SCALE = 0.05  # by which that motion may change the size: it is a fixed camera

Matrix = NDArray[np.float64]
"""(2, 3): from pixels of the reference to pixels of the frame."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a part lay against the reference picture."""

    shift_px: tuple[float, float]  # of the picture's middle, to the right and down
    turn_deg: float  # clockwise
    likeness: float  # correlation with the reference picture, up to 1


class Aligner:
    """Aligns frames to one reference. Belongs to one thread."""

    def __init__(self, reference: NDArray[np.uint8], settings: Alignment) -> None:
        """reference: (H, W, 3) uint8, BGR; frames are of the same size."""
        height, width = reference.shape[:2]
        self.place: Place | None = None  # of the last part that was aligned
        self._settings = settings
        self._scale = min(1.0, SIDE / max(height, width))
        self._centre = np.array([(width - 1) / 2, (height - 1) / 2, 1.0])
        size = (max(16, round(width * self._scale)), max(16, round(height * self._scale)))
        self._gray = np.empty((height, width), np.uint8)
        self._small = np.empty(size[::-1], np.uint8)
        self._coarse = np.empty((max(8, size[1] // COARSE), max(8, size[0] // COARSE)), np.uint8)
        self._look(reference)
        self._reference, self._reference_coarse = self._small.copy(), self._coarse.copy()
        self._orb = cv2.ORB.create(nfeatures=FEATURES, fastThreshold=7)
        self._points, self._words = self._orb.detectAndCompute(self._reference, None)
        self._matcher = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)

    def align(self, frame: NDArray[np.uint8]) -> Matrix:
        """Where the reference's pixels are on the frame.

        Raises:
            NotInspected: the frame shows something else, or the part too far away.
        """
        self.place = None
        self._look(frame)
        found, likeness = self._refined(self._by_correlation())
        if likeness < max(SURE, self._settings.min_likeness):
            begin = self._by_features()
            if begin is not None:
                found, likeness = max(((found, likeness), self._refined(begin)), key=lambda one: one[1])
        if likeness < self._settings.min_likeness:
            raise NotInspected(
                "not_aligned",
                f"the part cannot be aligned: its likeness to the reference picture is {likeness:.2f}, "
                f"expected at least {self._settings.min_likeness:.2f}",
            )
        matrix = self._at_full_size(found)
        right, down = matrix @ self._centre - self._centre[:2]
        turn_deg = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
        place = Place(shift_px=(float(right), float(down)), turn_deg=turn_deg, likeness=likeness)
        self._check(place)
        self.place = place
        return matrix

    def _look(self, frame: NDArray[np.uint8]) -> None:
        cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY, dst=self._gray)
        cv2.resize(self._gray, self._small.shape[::-1], dst=self._small, interpolation=cv2.INTER_AREA)
        cv2.resize(self._small, self._coarse.shape[::-1], dst=self._coarse, interpolation=cv2.INTER_AREA)

    def _by_correlation(self) -> NDArray[np.float32]:
        """Where to begin, from the coarse pictures; no motion where they say nothing."""
        found, likeness = _correlated(self._reference_coarse, self._coarse, np.eye(2, 3, dtype=np.float32))
        if likeness < 0:
            return np.eye(2, 3, dtype=np.float32)
        found[:, 2] *= self._small.shape[1] / self._coarse.shape[1]
        return found

    def _refined(self, begin: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        return _correlated(self._reference, self._small, begin)

    def _by_features(self) -> NDArray[np.float32] | None:
        points, words = self._orb.detectAndCompute(self._small, None)
        if self._words is None or words is None:
            return None
        matches = self._matcher.match(self._words, words)
        if len(matches) < LEAST_MATCHES:
            return None
        here = np.array([self._points[match.queryIdx].pt for match in matches], np.float32)
        there = np.array([points[match.trainIdx].pt for match in matches], np.float32)
        motion, agree = cv2.estimateAffinePartial2D(here, there, ransacReprojThreshold=3.0)
        if motion is None or int(agree.sum()) < LEAST_MATCHES:
            return None
        size = math.hypot(motion[0, 0], motion[1, 0])
        if abs(size - 1) > SCALE:
            return None
        rigid = np.array(motion, np.float32)
        rigid[:, :2] /= size
        return rigid

    def _at_full_size(self, found: NDArray[np.float32]) -> Matrix:
        """The same motion for whole pictures: a pixel's centre lies half a pixel from its corner."""
        scale_x = self._small.shape[1] / self._gray.shape[1]
        scale_y = self._small.shape[0] / self._gray.shape[0]
        down = np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])
        motion = np.vstack([found.astype(np.float64), [0, 0, 1]])
        return np.asarray((np.linalg.inv(down) @ motion @ down)[:2])

    def _check(self, place: Place) -> None:
        turn, shift = abs(place.turn_deg), math.hypot(*place.shift_px)
        if turn > self._settings.max_turn_deg or shift > self._settings.max_shift_px:
            raise NotInspected(
                "not_aligned",
                f"the part lies {shift:.0f} px away and turned by {turn:.0f} degrees, expected at most "
                f"{self._settings.max_shift_px:g} px and {self._settings.max_turn_deg:g} degrees",
            )


def _correlated(
    reference: NDArray[np.uint8], picture: NDArray[np.uint8], begin: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """The motion of highest correlation near `begin`, and that correlation; -1 where there is none."""
    ends = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, STEPS, ENOUGH)
    try:
        likeness, found = cv2.findTransformECC(reference, picture, begin.copy(), cv2.MOTION_EUCLIDEAN, ends, None)
    except cv2.error:  # it does not converge, or the pictures do not overlap
        return begin, -1.0
    return np.asarray(found, np.float32), float(likeness)
