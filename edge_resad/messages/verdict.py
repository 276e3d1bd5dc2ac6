"""A verdict on its way: what the inspector said of one part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, FiniteFloat

from edge_resad.messages.envelope import Envelope, envelope_fields
from edge_resad.messages.origin import Origin, Stamp, origin_fields
from edge_resad.messages.strict import MAX_WHOLE, Strict, Whole
from edge_resad.messages.topic import Address, Id

MAX_REGIONS = 16  # the worst ones; `regions_total` says how many there were
MAX_POLYGON = 64  # points of one outline


class Region(Strict):
    """One connected defect, in pixels of the inspected image."""

    box: tuple[int, int, int, int]  # x, y, width, height
    area_px: int
    peak: FiniteFloat  # highest value of the anomaly map inside
    polygon: tuple[tuple[int, int], ...] = ()  # outline, (x, y)
    roi: str | None = None  # which of its product's regions of interest it lies in
    area_mm2: FiniteFloat | None = None  # where the product knows its scale
    size_mm: tuple[FiniteFloat, FiniteFloat] | None = None  # width, height of the defect as the product lies
    polygon_mm: tuple[tuple[FiniteFloat, FiniteFloat], ...] | None = None  # the outline on the product, from its corner


class Judgement(Strict):
    """What the inspector said of one part."""

    status: Literal["pass", "fail"]
    score: FiniteFloat
    threshold: FiniteFloat
    severity: Literal["none", "minor", "major", "critical"]
    regions: tuple[Region, ...] = ()  # worst first, at most MAX_REGIONS
    regions_total: Whole = 0
    frame_id: Whole
    latency_ms: FiniteFloat  # from the end of the exposure to the verdict


class Verdict(Origin, Judgement):
    """One part's verdict."""

    camera: Id
    product: Id
    product_version: Whole | None = None  # where the product has a recipe


class NotInspected(Origin):
    """One part that has no verdict, and why."""

    status: Literal["not_inspected"] = "not_inspected"
    reason: str
    frame_id: Annotated[int, Field(ge=-1, le=MAX_WHOLE)]  # -1: a part was announced and no frame came
    camera: Id
    product: Id


class VerdictMessage(Envelope):
    """What became of a part, in its envelope."""

    type: Literal["edge-resad.verdict"] = "edge-resad.verdict"
    data: Verdict | NotInspected


class RegionLike(Protocol):
    """What a region must have to be sent."""

    @property
    def box(self) -> tuple[int, int, int, int]: ...
    @property
    def area_px(self) -> int: ...
    @property
    def peak(self) -> float: ...
    @property
    def polygon(self) -> tuple[tuple[int, int], ...]: ...
    @property
    def roi(self) -> str | None: ...
    @property
    def area_mm2(self) -> float | None: ...
    @property
    def size_mm(self) -> tuple[float, float] | None: ...
    @property
    def polygon_mm(self) -> tuple[tuple[float, float], ...] | None: ...


class VerdictLike(Protocol):
    """What a verdict must have to be sent."""

    @property
    def status(self) -> Literal["pass", "fail"]: ...
    @property
    def score(self) -> float: ...
    @property
    def threshold(self) -> float: ...
    @property
    def severity(self) -> Literal["none", "minor", "major", "critical"]: ...
    @property
    def regions(self) -> Sequence[RegionLike]: ...


def verdict_message(
    address: Address,
    stamp: Stamp,
    *,
    product: str,
    camera: str,
    verdict: VerdictLike,
    frame_id: int,
    latency_ms: float,
    product_version: int | None = None,
) -> bytes:
    """The payload for `address.verdict_topic(camera)`."""
    data = Verdict(
        **origin_fields(address, stamp),
        **judgement_fields(verdict, frame_id, latency_ms),
        camera=camera,
        product=product,
        product_version=product_version,
    )
    return VerdictMessage(**envelope_fields(address, stamp.event_id, stamp.wall), data=data).payload()


def not_inspected_message(
    address: Address, stamp: Stamp, *, product: str, camera: str, reason: str, frame_id: int
) -> bytes:
    """The payload for `address.verdict_topic(camera)` of a part that could not be judged."""
    data = NotInspected(
        **origin_fields(address, stamp), reason=reason, frame_id=frame_id, product=product, camera=camera
    )
    return VerdictMessage(**envelope_fields(address, stamp.event_id, stamp.wall), data=data).payload()


def judgement_fields(verdict: VerdictLike, frame_id: int, latency_ms: float) -> dict[str, Any]:
    """The fields of a `Judgement`: a verdict cut down to what a message has room for."""
    return {
        "status": verdict.status,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "severity": verdict.severity,
        "regions": tuple(_region(region) for region in verdict.regions[:MAX_REGIONS]),
        "regions_total": len(verdict.regions),
        "frame_id": frame_id,
        "latency_ms": round(latency_ms, 3),
    }


def _region(region: RegionLike) -> Region:
    step = max(1, -(-len(region.polygon) // MAX_POLYGON))  # every n-th point, so that an outline stays closed and small
    size, outline = region.size_mm, region.polygon_mm
    return Region(
        box=region.box,
        area_px=region.area_px,
        peak=region.peak,
        polygon=tuple(region.polygon[::step]),
        roi=region.roi,
        area_mm2=None if region.area_mm2 is None else round(region.area_mm2, 4),
        size_mm=None if size is None else (round(size[0], 3), round(size[1], 3)),
        polygon_mm=None if outline is None else tuple((round(x, 3), round(y, 3)) for x, y in outline[::step]),
    )
