"""What a station says to its fleet: every verdict, every change of an alert, and a picture of what is wrong."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_resad.device.pipeline import Alert, Inspection
from edge_resad.device.spool import Spool
from edge_resad.messages import (
    JPEG_TYPE,
    THUMBNAIL_BYTES,
    Address,
    ImageReference,
    Stamp,
    alert_message,
    thumbnail_message,
    verdict_message,
)

log = logging.getLogger(__name__)

_STAMP_BYTES = 1024  # what a thumbnail leaves free for its origin


class Draw(Protocol):
    """Makes a small JPEG of a part with its defects marked, such as `edge_resad.overlay.thumbnail`."""

    def __call__(
        self,
        image: NDArray[np.uint8],
        score_map: NDArray[np.float32],
        *,
        threshold: float,
        polygons: Sequence[Sequence[tuple[int, int]]],
        max_bytes: int,
    ) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Post:
    """Writes letters into the spool. Nothing here waits for the network or the disk."""

    spool: Spool
    address: Address
    product: str
    camera: str
    draw: Draw | None  # None: no pictures

    def send(self, inspection: Inspection, score_map: NDArray[np.float32]) -> None:
        """Everything there is to say of one part; nothing where it was not inspected."""
        if inspection.verdict is None:
            return
        topic = self.address.verdict_topic(self.camera)
        self.spool.put(topic, self._about(verdict_message, inspection), kind=inspection.verdict.status)
        if inspection.alert is not None:
            self.send_alert(inspection.alert, inspection, score_map)

    def send_alert(self, alert: Alert, inspection: Inspection, score_map: NDArray[np.float32] | None = None) -> None:
        """One change of an alert, with the part that made it; a picture follows where it begins or gets worse."""
        jpeg = self._picture(inspection, score_map) if score_map is not None and alert.phase != "end" else None
        compose = self._about(
            alert_message, inspection, alert_id=alert.alert_id, phase=alert.phase, severity=alert.severity
        )

        def with_picture(stamp: Stamp) -> bytes:
            return compose(stamp, image=self._reference(stamp, jpeg)) if jpeg else compose(stamp)

        stamp = self.spool.put(self.address.alert_topic(alert.severity), with_picture, kind="alert")
        if jpeg:
            topic = self.address.thumbnail_topic(stamp.event_id)
            self.spool.put(
                topic, lambda own: thumbnail_message(self.address, own, jpeg), content_type=JPEG_TYPE, kind="image"
            )

    def _about(self, message: Callable[..., bytes], inspection: Inspection, **more: object) -> Callable[..., bytes]:
        """A message of this part that lacks nothing but its stamp."""
        return partial(
            message,
            self.address,
            product=self.product,
            camera=self.camera,
            verdict=inspection.verdict,
            frame_id=inspection.frame.frame_id,
            latency_ms=inspection.latency.total_ms,
            **more,
        )

    def _reference(self, stamp: Stamp, jpeg: bytes) -> ImageReference:
        topic = self.address.thumbnail_topic(stamp.event_id)
        return ImageReference(topic=topic, size_bytes=len(jpeg), sha256=hashlib.sha256(jpeg).hexdigest())

    def _picture(self, inspection: Inspection, score_map: NDArray[np.float32]) -> bytes | None:
        if self.draw is None or inspection.verdict is None:
            return None
        try:
            return self.draw(
                inspection.frame.image,
                score_map,
                threshold=inspection.verdict.threshold,
                polygons=[region.polygon for region in inspection.verdict.regions],
                max_bytes=THUMBNAIL_BYTES - _STAMP_BYTES,
            )
        except Exception:  # an alert without a picture is an alert all the same
            log.exception("no picture for the alert of part %d", inspection.frame.frame_id)
            return None
