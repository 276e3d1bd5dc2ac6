"""The board: how the line does at this moment, as the operator's page shows it."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.decision import Region, Verdict
from edge_resad.device.frame import Clock, Frame
from edge_resad.device.histogram import Histogram
from edge_resad.device.pipeline import Inspection
from edge_resad.errors import ControlError
from edge_resad.overlay import encoded, heat_overlay, thumbnail

log = logging.getLogger(__name__)

REJECTS = 12  # the last ones, with a picture each
PICTURE_SIDE = 512  # pixels; sharp on a phone, some 30 KB
PICTURE_BYTES = 96 * 1024
LAST_SIDE = 1280  # pixels of the last frame where somebody asks for it
CLOSE_S = 1.0

Image = NDArray[np.uint8]
Label = Literal["false_reject", "true_reject"]


class Draw(Protocol):
    """Makes a small JPEG of a part with its defects marked, such as `edge_resad.overlay.thumbnail`."""

    def __call__(
        self,
        image: Image,
        score_map: NDArray[np.float32],
        *,
        threshold: float,
        polygons: Sequence[Sequence[tuple[int, int]]],
        max_bytes: int,
        side: int,
    ) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A part that failed."""

    id: str  # of this run of the station, and its number in it
    camera: str
    frame_id: int
    time: float  # seconds since 1970, as far as this device knows
    score: float
    threshold: float
    severity: str
    product: str | None  # such as flange@2; None where there are no recipes
    regions: int
    size: str | None  # of the worst region: "1.2 x 3.4 mm", or pixels where no scale is known
    label: Label | None = None  # what an operator says of it


@dataclass(frozen=True, kw_only=True)
class Last:
    """What became of the last part of a camera."""

    status: Literal["pass", "fail", "not_inspected"]
    reason: str | None  # where it was not inspected
    score: float | None
    threshold: float | None
    severity: str | None
    camera: str
    frame_id: int
    time: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Undrawn:
    image: Image
    score_map: NDArray[np.float32]
    threshold: float
    polygons: Sequence[Sequence[tuple[int, int]]]  # in pixels of this image


@dataclass
class _Counts:
    """Since the start, or since somebody began anew."""

    since: float
    passed: int = 0
    failed: int = 0
    not_inspected: Counter[str] = field(default_factory=Counter)


class Board:
    """Counts, the last verdicts and the last rejects. The line's thread tells it of every part and waits for nothing.

    A thread of its own draws the rejects' pictures; where the line fails faster than it draws, the newest are drawn and
    what waits behind another is held small: a dozen whole pictures are more than the page is worth. A snapshot is of
    one moment: its counts, its last part and its rejects belong together.
    """

    def __init__(
        self, cameras: Sequence[str], *, clock: Clock | None = None, draw: Draw = thumbnail, run: str | None = None
    ) -> None:
        """run: what tells this run of the station from others in the rejects' ids."""
        self._clock = clock or Clock()
        self._draw = draw
        self._run = run or uuid.uuid4().hex[:8]
        self._counts = _Counts(since=self._clock.wall())
        self._latencies = Histogram()
        self._last: dict[str, Last] = {}
        self._newest: Last | None = None
        self._products: dict[str, str | None] = dict.fromkeys(cameras)
        self._rejects: deque[Reject] = deque(maxlen=REJECTS)
        self._rejected = 0  # of this run
        self._pictures: dict[str, bytes] = {}
        self._undrawn: deque[tuple[str, _Undrawn]] = deque(maxlen=REJECTS)
        self._frame: tuple[Frame, Verdict | None] | None = None
        self._faults: dict[str, tuple[str, ...]] = dict.fromkeys(cameras, ())
        self._failures = 0  # parts in a row on which the inspector failed
        self._acknowledged = 0  # rejects, when somebody last said that they were seen
        self._drift: str | None = None
        self._version = 0
        self._changed = threading.Condition()
        self._closing = False
        self._artist = threading.Thread(target=self._draw_rejects, name="board", daemon=True)

    def __enter__(self) -> Board:
        self._artist.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._artist.join(CLOSE_S)

    # What the line tells

    def inspected(self, inspection: Inspection, score_map: NDArray[np.float32]) -> None:
        """Take one more part. score_map: (h, w) of this part; it is copied where the part failed."""
        verdict, camera = inspection.verdict, inspection.camera
        last = _last(inspection)
        undrawn = None
        if verdict is not None and verdict.status == "fail":
            undrawn = _undrawn(inspection.frame.image, score_map.copy(), verdict, small=bool(self._undrawn))
        with self._changed:
            self._version += 1
            self._last[camera] = self._newest = last
            if inspection.frame.missed is None:
                self._frame = (inspection.frame, verdict)
            self._failures = self._failures + 1 if inspection.not_inspected == "inspector_error" else 0
            if verdict is None:
                self._counts.not_inspected[last.reason or "inspector_error"] += 1
                return
            self._latencies.record(1e-3 * inspection.latency.total_ms)
            if verdict.product is not None:
                self._products[camera] = f"{verdict.product}@{verdict.product_version}"
            if verdict.status == "pass":
                self._counts.passed += 1
                return
            self._counts.failed += 1
            if undrawn is not None:
                self._reject(inspection, verdict, undrawn)

    def missed(self, reason: str) -> None:
        """Count a part that never reached the inspection, such as one that a newer one replaced."""
        with self._changed:
            self._version += 1
            self._counts.not_inspected[reason] += 1

    def set_product(self, camera: str, product: str) -> None:
        """Which product a camera judges by, where that is known before its first part."""
        with self._changed:
            self._version += 1
            self._products[camera] = product

    def set_faults(self, faults: Mapping[str, tuple[str, ...]]) -> None:
        """camera -> what is wrong with it now."""
        with self._changed:
            self._version += 1
            self._faults |= {camera: tuple(said) for camera, said in faults.items()}

    def say_drift(self, sentence: str | None) -> None:
        """That the line drifts, in words; None: it does not."""
        with self._changed:
            self._version += 1
            self._drift = sentence

    # What people ask and tell

    @property
    def version(self) -> int:
        """Grows with everything that a snapshot would say anew."""
        return self._version

    @property
    def failures(self) -> int:
        """Parts in a row on which the inspector failed."""
        return self._failures

    @property
    def products(self) -> dict[str, str | None]:
        """camera -> by which product its parts are judged, such as flange@2; None where there are no recipes."""
        with self._changed:
            return dict(self._products)

    @property
    def faults(self) -> dict[str, tuple[str, ...]]:
        """camera -> what is wrong with it now."""
        with self._changed:
            return dict(self._faults)

    @property
    def last(self) -> dict[str, Last]:
        """camera -> what became of its last part; nothing of one that has seen none yet."""
        with self._changed:
            return dict(self._last)

    def snapshot(self) -> dict[str, Any]:
        """Everything, of one moment, as JSON can say it."""
        with self._changed:
            version, counts = self._version, replace(self._counts, not_inspected=Counter(self._counts.not_inspected))
            newest, last, rejects = self._newest, dict(self._last), list(self._rejects)
            drawn, products, drift = set(self._pictures), dict(self._products), self._drift
            unseen, failures = self._rejected - self._acknowledged, self._failures
        judged = counts.passed + counts.failed
        p50, p99 = (self._latencies.percentile_s(percent) for percent in (50, 99))
        return {
            "version": version,
            "last": None if newest is None else asdict(newest),
            "cameras": {camera: None if camera not in last else asdict(last[camera]) for camera in products},
            "products": products,
            "counts": {
                "since": counts.since,
                "passed": counts.passed,
                "failed": counts.failed,
                "not_inspected": counts.not_inspected.total(),
                "reasons": dict(counts.not_inspected.most_common()),
            },
            "yield": counts.passed / judged if judged else None,
            "latency_ms": None if p50 is None or p99 is None else {"p50": 1e3 * p50, "p99": 1e3 * p99},
            "rejects": [{**asdict(one), "picture": one.id in drawn} for one in reversed(rejects)],
            "unseen_rejects": unseen,
            "failures": failures,
            "drift": drift,
        }

    def picture(self, reject_id: str) -> bytes:
        """The JPEG of one of the last rejects, its defects outlined.

        Raises:
            ControlError: it is not there.
        """
        with self._changed:
            found = self._pictures.get(reject_id)
            if found is None:
                raise self._unknown(reject_id)
            return found

    def last_frame(self) -> bytes:
        """The JPEG of the last part of all, as its camera saw it.

        Raises:
            ControlError: there was no part yet.
        """
        with self._changed:
            shown = self._frame
        if shown is None:
            raise ControlError("no part has come yet, so there is no picture. Wait for the first.")
        frame, verdict = shown
        polygons = [region.polygon for region in verdict.regions] if verdict is not None else []
        cold = np.zeros((1, 1), np.float32)
        return _reduced(heat_overlay(frame.image, cold, threshold=1.0, polygons=polygons))

    def find(self, reject_id: str) -> Reject:
        """One of the last rejects.

        Raises:
            ControlError: it is none of them.
        """
        with self._changed:
            return self._rejects[self._index(reject_id)]

    def label(self, reject_id: str, label: Label) -> None:
        """Show what an operator says of a reject.

        Raises:
            ControlError: it is none of the last ones.
        """
        with self._changed:
            index = self._index(reject_id)
            self._rejects[index] = replace(self._rejects[index], label=label)
            self._version += 1

    def touch(self) -> None:
        """Something else that is shown beside the board has changed."""
        with self._changed:
            self._version += 1

    def acknowledge(self) -> int:
        """Somebody has seen the rejects there are; how many were new."""
        with self._changed:
            unseen, self._acknowledged = self._rejected - self._acknowledged, self._rejected
            self._version += 1
        return unseen

    def clear(self) -> None:
        """Begin to count anew, as for a new shift. The last rejects stay."""
        with self._changed:
            self._counts = _Counts(since=self._clock.wall())
            self._latencies.clear()
            self._version += 1

    def _reject(self, inspection: Inspection, verdict: Verdict, undrawn: _Undrawn) -> None:
        self._rejected += 1
        one = Reject(
            id=f"{self._run}-{self._rejected}",
            camera=inspection.camera,
            frame_id=inspection.frame.frame_id,
            time=inspection.frame.captured_wall,
            score=verdict.score,
            threshold=verdict.threshold,
            severity=verdict.severity,
            product=None if verdict.product is None else f"{verdict.product}@{verdict.product_version}",
            regions=len(verdict.regions),
            size=_size(verdict.regions[0]) if verdict.regions else None,
        )
        if len(self._rejects) == REJECTS:
            self._pictures.pop(self._rejects[0].id, None)
        self._rejects.append(one)
        self._undrawn.append((one.id, undrawn))
        self._changed.notify_all()

    def _draw_rejects(self) -> None:
        said = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._undrawn or self._closing)
                if self._closing:
                    return
                reject_id, part = self._undrawn.pop()  # the newest first: that is what people look at
            try:
                jpeg = self._draw(
                    part.image,
                    part.score_map,
                    threshold=part.threshold,
                    polygons=part.polygons,
                    max_bytes=PICTURE_BYTES,
                    side=PICTURE_SIDE,
                )
            except Exception:  # a reject without a picture is a reject all the same
                if not said:
                    log.exception("no picture of reject %s; more of this kind are not said", reject_id)
                said = True
                continue
            with self._changed:
                if any(one.id == reject_id for one in self._rejects):
                    self._pictures[reject_id] = jpeg
                    self._version += 1

    def _index(self, reject_id: str) -> int:
        for index, one in enumerate(self._rejects):
            if one.id == reject_id:
                return index
        raise self._unknown(reject_id)

    def _unknown(self, reject_id: str) -> ControlError:
        return ControlError(f"{reject_id[:64]} is none of the last {REJECTS} rejects, or not drawn yet. Look again.")


def _last(inspection: Inspection) -> Last:
    verdict = inspection.verdict
    return Last(
        status="not_inspected" if verdict is None else verdict.status,
        reason=inspection.not_inspected,
        score=None if verdict is None else verdict.score,
        threshold=None if verdict is None else verdict.threshold,
        severity=None if verdict is None else verdict.severity,
        camera=inspection.camera,
        frame_id=inspection.frame.frame_id,
        time=inspection.frame.captured_wall,
    )


def _undrawn(image: Image, score_map: NDArray[np.float32], verdict: Verdict, *, small: bool) -> _Undrawn:
    polygons: list[tuple[tuple[int, int], ...]] = [tuple(region.polygon) for region in verdict.regions]
    while small and max(image.shape[:2]) >= 2 * PICTURE_SIDE and min(image.shape[:2]) > 1:
        height, width = (pixels // 2 for pixels in image.shape[:2])
        even = image[: 2 * height, : 2 * width]  # halves are a tenth of the time of any other size
        image = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        polygons = [tuple((x // 2, y // 2) for x, y in polygon) for polygon in polygons]
    threshold = verdict.region_threshold or verdict.threshold
    return _Undrawn(image=image, score_map=score_map, threshold=threshold, polygons=polygons)


def _size(region: Region) -> str:
    if region.size_mm is not None:
        return f"{region.size_mm[0]:.1f} x {region.size_mm[1]:.1f} mm"
    return f"{region.box[2]} x {region.box[3]} px"


def _reduced(image: Image) -> bytes:
    scale = min(1.0, LAST_SIDE / max(image.shape[:2]))
    if scale < 1.0:
        height, width = (max(1, round(pixels * scale)) for pixels in image.shape[:2])
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return encoded(image)
