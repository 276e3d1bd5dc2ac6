"""A cutout: what the network sees of one region of interest, and the way back from its map to the camera's pixels."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.decision import NotInspected, Region
from edge_resad.errors import ProductError
from edge_resad.recipe import Roi

MARGIN = 2.0  # pixels that an aligned region may reach beyond the frame: what is not seen is not judged
UNSEEN = 0.05  # share of a whole picture, which always loses something when it is moved, that may lie beyond the frame
POINTS = 32  # along either side, at which that is looked up
IGNORED = 0.5  # share of a map's cell from which the cell does not count

Matrix = NDArray[np.float64]
"""(2, 3): from pixels of the product's picture to pixels of the frame."""


class Cutout:
    """One region of interest. All buffers are allocated at once; it belongs to one thread."""

    def __init__(
        self,
        roi: Roi,
        ignore: NDArray[np.bool_] | None,
        *,
        picture_px: tuple[int, int] | None,
        side: int,
        aligned: bool,
    ) -> None:
        """side: pixels of both sides of the network's input.

        Raises:
            ProductError: nothing of the region counts.
        """
        self._roi = roi
        self._aligned = aligned
        whole = (0, 0, *picture_px) if picture_px is not None else None
        self.box = roi.box or whole  # None: whatever the frame is
        self._copies = roi.box is not None or aligned
        self._counts: NDArray[np.bool_] | None = None  # (height, width) of the box
        self.paint: NDArray[np.bool_] | None = None  # (S, S, 1) True where the network is to see grey
        if self.box is None:
            return
        x, y, width, height = self.box
        if roi.polygon is not None or ignore is not None:
            counts = np.ones((height, width), np.uint8)
            if roi.polygon is not None:
                counts[:] = 0
                corners = np.array(roi.polygon, np.int32) - (x, y)
                cv2.fillPoly(counts, [corners], 1)
            if ignore is not None:
                counts[ignore[y : y + height, x : x + width]] = 0
            if not counts.any():
                raise ProductError(f"nothing of region {roi.name} counts. Make its mask smaller, or take it away.")
            self._counts = counts > 0
            shrinks = height >= side and width >= side
            hidden = np.asarray(1 - counts, np.float32)
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            self.paint = np.asarray(cv2.resize(hidden, (side, side), interpolation=how) > 0)[:, :, None]
        if self._copies:
            self._crop = np.empty((height, width, 3), np.uint8)
        self._matrix = np.zeros((2, 3))
        self._points = _points(width, height, self._counts) if aligned and roi.box is None else None
        self._cells: NDArray[np.float32] | None = None

    @property
    def name(self) -> str:
        """The region's name."""
        return self._roi.name

    def size_on(self, frame: NDArray[np.uint8]) -> tuple[int, int]:
        """Height and width of what `take` gives of a frame."""
        return frame.shape[:2] if not self._copies or self.box is None else self.box[:1:-1]

    def take(self, frame: NDArray[np.uint8], to_frame: Matrix | None) -> NDArray[np.uint8]:
        """The region of a frame as the product's picture shows it: a view that the next frame overwrites.

        to_frame: where the product's picture lies on the frame; None where nothing is aligned.

        Raises:
            NotInspected: the region reaches beyond the frame, or too much of a whole picture does.
        """
        if not self._copies or self.box is None:
            return frame
        x, y, width, height = self.box
        if to_frame is None:
            np.copyto(self._crop, frame[y : y + height, x : x + width])
            return self._crop
        if self._points is None:
            self._check_seen(to_frame, frame)
        else:
            self._check_mostly_seen(self._points, to_frame, frame)
        self._matrix[:] = to_frame
        self._matrix[:, 2] += to_frame[:, 0] * x + to_frame[:, 1] * y
        cv2.warpAffine(
            frame,
            self._matrix,
            (width, height),
            dst=self._crop,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return self._crop

    def masked(self, score_map: NDArray[np.float32], out: NDArray[np.float32]) -> NDArray[np.float32]:
        """The map (h, w) with 0 where nothing counts, in `out`."""
        if self._counts is None:
            np.copyto(out, score_map)
            return out
        if self._cells is None or self._cells.shape != score_map.shape:
            share = cv2.resize(self._counts.astype(np.float32), score_map.shape[::-1], interpolation=cv2.INTER_AREA)
            self._cells = np.asarray(share > IGNORED, np.float32)
        np.multiply(score_map, self._cells, out=out)
        return out

    def on_frame(self, region: Region, to_frame: Matrix | None) -> Region:
        """A defect found on the cutout, in pixels of the frame."""
        if not self._copies or self.box is None:
            return replace(region, roi=self.name)
        x, y = self.box[:2]
        points = np.array(region.polygon, np.float64).reshape(-1, 2) + np.array((x, y))
        if to_frame is None:
            left, top, width, height = region.box
            moved = np.rint(points).astype(int)
            box = (left + x, top + y, width, height)
        else:
            moved = np.rint(points @ to_frame[:, :2].T + to_frame[:, 2]).astype(int)
            left, top, width, height = cv2.boundingRect(moved.astype(np.int32))
            box = (int(left), int(top), int(width), int(height))
        return replace(region, roi=self.name, box=box, polygon=tuple((int(px), int(py)) for px, py in moved))

    def _check_mostly_seen(self, points: NDArray[np.float64], to_frame: Matrix, frame: NDArray[np.uint8]) -> None:
        x, y = to_frame[:, :2] @ points + to_frame[:, 2:]
        height, width = frame.shape[:2]
        seen = (x >= -MARGIN) & (x <= width + MARGIN) & (y >= -MARGIN) & (y <= height + MARGIN)
        unseen = 1 - float(seen.mean())
        if unseen > UNSEEN:
            raise NotInspected(
                "not_aligned",
                f"{unseen:.0%} of the part's picture lies beyond the camera's, expected at most {UNSEEN:.0%}. Make "
                "the product again with a region around what counts, if the rest is only background",
            )

    def _check_seen(self, to_frame: Matrix, frame: NDArray[np.uint8]) -> None:
        assert self.box is not None
        x, y, width, height = self.box
        corners = self._roi.polygon or ((x, y), (x + width, y), (x, y + height), (x + width, y + height))
        for corner_x, corner_y in corners:
            px = to_frame[0, 0] * corner_x + to_frame[0, 1] * corner_y + to_frame[0, 2]
            py = to_frame[1, 0] * corner_x + to_frame[1, 1] * corner_y + to_frame[1, 2]
            if not (-MARGIN <= px <= frame.shape[1] + MARGIN and -MARGIN <= py <= frame.shape[0] + MARGIN):
                raise NotInspected(
                    "not_aligned", f"region {self.name} of the part reaches beyond the picture, to ({px:.0f}, {py:.0f})"
                )


def _points(width: int, height: int, counts: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Evenly spaced points of a picture that count. (2, n): x and y."""
    x, y = np.meshgrid((np.arange(POINTS) + 0.5) * width / POINTS, (np.arange(POINTS) + 0.5) * height / POINTS)
    points = np.stack((x.ravel(), y.ravel()))
    if counts is None:
        return points
    inside = counts[points[1].astype(int), points[0].astype(int)]
    return points[:, inside] if inside.any() else points  # what counts is smaller than their distance
