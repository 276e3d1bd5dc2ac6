"""The picture itself tells when a part is there: every part that passes or rests is judged once, on its best frame."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2

from edge_resad.device.backdrop import Backdrop
from edge_resad.device.frame import Frame
from edge_resad.device.unseen import Unseen
from edge_resad.errors import SettingsError

log = logging.getLogger(__name__)

Moment = Literal["either", "still", "passing"]
"""When a part is judged: when it rests, when it passes the middle, or whichever comes first."""

Box = tuple[int, int, int, int]
"""x, y, width, height in pixels; of the small picture where not said otherwise."""

REACH = 0.3  # of the area's longer side: how far from where it is expected a part may be found again
STAYS = 0.5  # of `least_change`: a part that is known may shrink to so much of it
AWAY = 0.015  # of the area's longer side: a part is past the middle when it is so much farther than it was
AWAY_FRAMES = 2
STILL_STEP = 0.5  # pixels that a part at rest may move between two frames
STILL_SHARE = 0.02  # of its box that may differ between two frames
GONE_FRAMES = 2  # a part that is not seen for more has gone
FRAGMENT = 0.35  # of a part: a smaller piece that comes off it within its outline is no part of its own
SPECK = 9  # pixels: less is nothing
OVERLAP = 0.25  # of the smaller box: pieces that overlap so much are one part
FULL_FRAMES = 900  # what fills the area for so long is another light, no part


@dataclass(frozen=True)
class _Piece:
    box: Box
    size: int  # pixels that are seen

    @property
    def middle(self) -> tuple[float, float]:
        x, y, width, height = self.box
        return x + width / 2, y + height / 2


class _Track:
    """A part on its way."""

    def __init__(self, piece: _Piece, velocity: tuple[float, float]) -> None:
        self.x, self.y = piece.middle
        self.velocity = velocity
        self.box = piece.box
        self.largest = piece.size
        self.first = (self.x, self.y)
        self.frames = 0
        self.missing = 0
        self.still = 0  # frames in a row
        self.full = 0  # frames in a row in which it fills the area
        self.is_told = False
        self.best: Frame | None = None
        self._best_rank = (True, math.inf)
        self._away = 0  # frames in a row

    @property
    def expected(self) -> tuple[float, float]:
        return self.x + self.velocity[0], self.y + self.velocity[1]

    def follow(self, piece: _Piece) -> None:
        """Take where it is now."""
        x, y = piece.middle
        if self.frames:
            step = (x - self.x, y - self.y)
            keep = 0.5 if self.frames > 1 else 0.0
            self.velocity = (
                keep * self.velocity[0] + (1 - keep) * step[0],
                keep * self.velocity[1] + (1 - keep) * step[1],
            )
        self.x, self.y, self.box = x, y, piece.box
        self.largest = max(self.largest, piece.size)
        self.missing = 0

    def drift(self) -> None:
        """It cannot be told apart, or not be seen: it goes on as it did."""
        self.x, self.y = self.expected

    def rank(self, frame: Frame, is_cut: bool, distance: float, *, away: float) -> None:
        """Keep the frame where it shows the part better than those before."""
        rank = (is_cut, distance)
        if rank <= self._best_rank:
            self.best, self._best_rank, self._away = frame, rank, 0
        else:
            self._away = self._away + 1 if distance > self._best_rank[1] + away else 0

    @property
    def is_past(self) -> bool:
        """Whether it was nearest to the middle some frames ago."""
        return self._away >= AWAY_FRAMES

    def tell(self) -> list[Frame]:
        """The frame to judge; none a second time."""
        frame, self.best = self.best, None
        self.is_told = True
        return [] if frame is None else [frame]


class PresenceTrigger:
    """Finds parts in the frames of a camera that stands still. The first frames show the empty place.

    A part is what differs from the empty place in one piece that is at least `least_change` of the area. It is judged
    once: when it has been at rest for `settle` frames, whole, on the last of these; or when it has passed the middle of
    the area, on the frame on which it was nearest to it; at the latest when it has gone. It may move in any direction.
    """

    def __init__(
        self,
        *,
        area: Box | None = None,
        least_change: float = 0.02,
        settle: int = 5,
        moment: Moment = "either",
        changed: threading.Condition | None = None,
    ) -> None:
        """area: of the camera's picture, pixels; the whole of it without one."""
        self.changed = changed or threading.Condition()
        self.unseen = Unseen()  # parts that were on their way when it was closed
        self._eye = threading.Lock()  # the camera's thread looks, another one may end it
        self._told: list[Frame] = []  # and not taken yet
        self._area = area
        self._least_change = least_change
        self._settle = settle
        self._moment = moment
        self._size: tuple[int, ...] | None = None
        self._backdrop: Backdrop | None = None
        self._tracks: list[_Track] = []
        self._belt = (0.0, 0.0)  # how parts move here

    def look(self, frame: Frame) -> None:
        """Find the parts in a frame."""
        with self._eye:
            self._told += self._look(frame)

    def take(self, frame: Frame) -> Sequence[Frame]:
        """The frames of the parts that are to be judged now; mostly none."""
        with self._eye:
            told, self._told = self._told, []
            return told

    def _look(self, frame: Frame) -> list[Frame]:
        told = self._begin(frame) if frame.image.shape[:2] != self._size else []
        backdrop = self._backdrop
        assert backdrop is not None
        x, y, width, height = self._area or (0, 0, frame.image.shape[1], frame.image.shape[0])
        if not backdrop.look(frame.image[y : y + height, x : x + width]):
            if backdrop.learnt:
                log.info("the empty place is learnt: what differs from it is a part")
            return told
        self._follow(self._pieces(backdrop))
        for track in list(self._tracks):
            if track in self._tracks:  # or all were given up meanwhile
                told += self._step(track, frame, backdrop)
        return told

    def due(self, now: float) -> Sequence[Frame]:
        return ()

    def until(self) -> float | None:
        return None

    def end(self) -> Sequence[Frame]:
        """The parts that were still on their way."""
        with self._eye:
            told, self._told = self._told + self._rest(), []
            return told

    def close(self) -> None:
        for frame in self.end():
            self.unseen.add("stopped", frame.there_mono)

    def _rest(self) -> list[Frame]:
        """Give up all parts on their way; the frames of those that were not judged."""
        told = [frame for track in self._tracks if self._is_part(track) for frame in track.tell()]
        self._tracks.clear()
        return told

    def _begin(self, frame: Frame) -> list[Frame]:
        told = self._rest()
        height, width = self._size = frame.image.shape[:2]
        if self._area is not None:
            x, y, wide, high = self._area
            if x + wide > width or y + high > height:
                raise SettingsError(
                    f"[camera.trigger] area is {list(self._area)}, but the camera's pictures have {width} x {height} "
                    "pixels. Set it to [x, y, width, height] within them"
                )
            width, height = wide, high
        self._backdrop = Backdrop(height, width)
        return told

    def _pieces(self, backdrop: Backdrop) -> list[_Piece]:
        """What is there, the largest first."""
        count, _, stats, _ = cv2.connectedComponentsWithStats(backdrop.seen, connectivity=8)
        least = STAYS * self._least_change * backdrop.seen.size
        found = [
            _Piece((int(x), int(y), int(width), int(height)), int(size))
            for x, y, width, height, size in stats[1:count]
            if size >= SPECK
        ]
        pieces: list[_Piece] = []
        for piece in sorted(found, key=lambda one: -one.size):
            inside = next((one for one in pieces if _overlap(one.box, piece.box) > OVERLAP), None)
            if inside is not None:
                pieces[pieces.index(inside)] = _Piece(_around(inside.box, piece.box), inside.size + piece.size)
            else:
                pieces.append(piece)
        return [piece for piece in pieces if piece.size >= least]

    def _follow(self, pieces: list[_Piece]) -> None:
        """Find every known part again, and see new ones."""
        backdrop = self._backdrop
        assert backdrop is not None
        reach = REACH * max(backdrop.width, backdrop.height)
        pairs = sorted(
            (math.dist(track.expected, piece.middle), which, number)
            for which, track in enumerate(self._tracks)
            for number, piece in enumerate(pieces)
        )
        found: set[int] = set()
        owned: dict[int, _Track] = {}  # number of the piece -> its part
        for distance, which, number in pairs:
            if distance <= reach and which not in found and number not in owned:
                found.add(which)
                owned[number] = self._tracks[which]
        lost = [track for which, track in enumerate(self._tracks) if which not in found]
        for number, piece in enumerate(pieces):
            if number in owned:
                continue
            whole = next((one for one in self._tracks if _is_in(piece.middle, one.box)), None)
            if whole is not None and piece.size < FRAGMENT * whole.largest:
                continue
            if piece.size >= self._least_change * backdrop.seen.size:
                owned[number] = _Track(piece, self._belt)
                self._tracks.append(owned[number])
        for track in lost:
            is_hidden = any(_is_in(track.expected, piece.box) for piece in pieces)  # two parts touch
            track.missing = 0 if is_hidden else track.missing + 1
            track.drift()
        for number, track in owned.items():
            track.follow(pieces[number])
            if track.frames > 1:
                self._belt = (
                    0.8 * self._belt[0] + 0.2 * track.velocity[0],
                    0.8 * self._belt[1] + 0.2 * track.velocity[1],
                )

    def _step(self, track: _Track, frame: Frame, backdrop: Backdrop) -> list[Frame]:
        """One frame of one part's way; the frame to judge, where it is time."""
        track.frames += 1
        width, height = backdrop.width, backdrop.height
        if track.missing:
            if track.missing <= GONE_FRAMES and _is_in(track.expected, (0, 0, width, height)):
                return []
            self._tracks.remove(track)
            return track.tell() if self._is_part(track) else []
        is_still = track.frames > 1 and self._is_still(track, backdrop)
        track.still = track.still + 1 if is_still else 0
        is_cut = _is_cut(track.box, width, height)
        if not track.is_told:
            if self._moment == "still":
                if track.still >= self._settle:
                    track.best = frame
            else:
                distance = math.dist((track.x, track.y), (width / 2, height / 2))
                track.rank(frame, is_cut, distance, away=AWAY * max(width, height))
            if self._moment != "passing" and track.still >= self._settle and not is_cut:
                track.best = frame
                return track.tell()
            if self._moment != "still" and track.is_past:
                return track.tell()
        track.full = track.full + 1 if _fills(track.box, width, height) else 0
        if track.full < FULL_FRAMES:
            return []
        log.warning(
            "[camera.trigger] the whole area has looked other than empty for %d frames and no part could be seen: it "
            "is learnt anew. Keep the light steady",
            track.full,
        )
        backdrop.learn_anew()
        return self._rest()

    def _is_part(self, track: _Track) -> bool:
        """Whether what has gone, or is to be forgotten, has to be judged: a hand never rests where parts do."""
        return not track.is_told and track.best is not None

    def _is_still(self, track: _Track, backdrop: Backdrop) -> bool:
        if math.hypot(*track.velocity) > STILL_STEP:
            return False
        x, y, width, height = track.box
        moved = cv2.countNonZero(backdrop.moved[y : y + height, x : x + width])
        return moved <= STILL_SHARE * width * height


def _is_cut(box: Box, width: int, height: int) -> bool:
    """Whether a part reaches over one edge of the area; one that reaches over two opposite ones is larger than it."""
    left, top, right, bottom = box[0] <= 1, box[1] <= 1, box[0] + box[2] >= width - 1, box[1] + box[3] >= height - 1
    return left != right or top != bottom


def _fills(box: Box, width: int, height: int) -> bool:
    return box[2] >= width - 2 and box[3] >= height - 2


def _is_in(point: tuple[float, float], box: Box) -> bool:
    x, y, width, height = box
    return x <= point[0] <= x + width and y <= point[1] <= y + height


def _around(one: Box, other: Box) -> Box:
    left, top = min(one[0], other[0]), min(one[1], other[1])
    right, bottom = max(one[0] + one[2], other[0] + other[2]), max(one[1] + one[3], other[1] + other[3])
    return left, top, right - left, bottom - top


def _overlap(one: Box, other: Box) -> float:
    """The share of the smaller box that both cover."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(one[2] * one[3], other[2] * other[3])
