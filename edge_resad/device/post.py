"""What a station says to its fleet: every verdict, every change of an alert, and a picture of what is wrong."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_resad.decision import Verdict
from edge_resad.device.pipeline import Alert, Inspection
from edge_resad.device.spool import Spool
from edge_resad.device.spoolfile import DRAFT_BYTES
from edge_resad.device.watch import BLINDING
from edge_resad.messages import (
    JPEG_TYPE,
    THUMBNAIL_BYTES,
    Address,
    AlertMessage,
    ImageReference,
    Phase,
    Severity,
    Stamp,
    alert_message,
    fault_message,
    interrupted_message,
    not_inspected_message,
    read_message,
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


class Post:
    """Writes letters into the spool. Nothing here waits for the network or the disk."""

    def __init__(
        self,
        spool: Spool,
        address: Address,
        *,
        product: str,
        camera: str,
        draw: Draw | None,
        passes: bool = True,
    ) -> None:
        """product: where the verdict does not name its own. draw: who makes the pictures; None sends none.

        passes: whether verdicts of good parts are sent.
        """
        self._spool = spool
        self._address = address
        self.product = product
        self._camera = camera
        self._draw = draw
        self._passes = passes
        self._last: Inspection | None = None  # with a verdict

    def send(self, inspection: Inspection, score_map: NDArray[np.float32]) -> tuple[str, ...]:
        """What there is to say of one part; the ids of the messages that do: of its verdict, then of its alert."""
        if inspection.verdict is None:
            return (self._send_not_inspected(inspection),)
        self._last = inspection
        event_ids: tuple[str, ...] = ()
        if self._passes or inspection.verdict.status == "fail":
            topic = self._address.verdict_topic(self._camera)
            stamp = self._spool.put(
                topic,
                self._about(verdict_message, inspection),
                kind=inspection.verdict.status,
                holds_bytes=_held_by(inspection.verdict),
            )
            event_ids = (stamp.event_id,)
        if inspection.alert is None:
            return event_ids
        worth_seeing = inspection.alert.phase != "end"
        jpeg = self._picture(inspection, inspection.verdict, score_map) if worth_seeing else None
        return (*event_ids, self._send_alert(inspection.alert, inspection, jpeg))

    def end(self, alert: Alert | None) -> None:
        """Say that an alert ends although no good part came: the station stops."""
        if alert is not None and self._last is not None:
            self._send_alert(alert, self._last, None)

    def fault(self, fault: str, phase: Phase, alert_id: str | None = None, *, severity: Severity | None = None) -> str:
        """Say that something is wrong with the camera, its line or the machine, or no longer; the alert's id."""
        severity = severity or ("critical" if fault in BLINDING else "major")
        compose = partial(
            fault_message,
            self._address,
            product=self._shown_product,
            camera=self._camera,
            phase=phase,
            severity=severity,
            fault=fault,
            alert_id=alert_id,
        )
        stamp = self._spool.put(self._address.alert_topic(severity), compose, kind="alert", alert=(alert_id, phase))
        return alert_id or stamp.event_id

    def _send_not_inspected(self, inspection: Inspection) -> str:
        compose = partial(
            not_inspected_message,
            self._address,
            product=self._shown_product,
            camera=self._camera,
            reason=inspection.not_inspected or "inspector_error",
            frame_id=inspection.frame.frame_id,
        )
        # A kind of its own, which may be given up: a black camera must not push failed parts out of the spool.
        return self._spool.put(self._address.verdict_topic(self._camera), compose, kind="not_inspected").event_id

    @property
    def _shown_product(self) -> str:
        """What was on the line last: a part that nobody could judge does not tell."""
        verdict = self._last.verdict if self._last is not None else None
        return (verdict.product if verdict is not None else None) or self.product

    def _send_alert(self, alert: Alert, inspection: Inspection, jpeg: bytes | None) -> str:
        change = {"alert_id": alert.alert_id, "phase": alert.phase, "severity": alert.severity}
        compose = self._about(alert_message, inspection, **change)
        topic = self._address.alert_topic(alert.severity)
        assert inspection.verdict is not None
        about, holds_bytes = (alert.alert_id, alert.phase), _held_by(inspection.verdict)
        if jpeg is None:
            return self._spool.put(topic, compose, kind="alert", alert=about, holds_bytes=holds_bytes).event_id
        digest, size = hashlib.sha256(jpeg).hexdigest(), len(jpeg)

        def with_picture(stamp: Stamp) -> bytes:
            where = self._address.thumbnail_topic(stamp.event_id)
            return compose(stamp, image=ImageReference(topic=where, size_bytes=size, sha256=digest))

        stamp = self._spool.put(topic, with_picture, kind="alert", alert=about, holds_bytes=holds_bytes)
        self._spool.put(
            self._address.thumbnail_topic(stamp.event_id),
            partial(thumbnail_message, self._address, jpeg=jpeg),
            content_type=JPEG_TYPE,
            kind="image",
            holds_bytes=len(jpeg),
        )
        return stamp.event_id

    def _about(self, message: Callable[..., bytes], inspection: Inspection, **more: object) -> Callable[..., bytes]:
        """A message of this part that lacks nothing but its stamp."""
        verdict = inspection.verdict
        assert verdict is not None
        return partial(
            message,
            self._address,
            product=verdict.product or self.product,
            product_version=verdict.product_version,
            camera=self._camera,
            verdict=verdict,
            frame_id=inspection.frame.frame_id,
            latency_ms=inspection.latency.total_ms,
            **more,
        )

    def _picture(self, inspection: Inspection, verdict: Verdict, score_map: NDArray[np.float32]) -> bytes | None:
        if self._draw is None:
            return None
        try:
            return self._draw(
                inspection.frame.image,
                score_map,
                threshold=verdict.region_threshold or verdict.threshold,
                polygons=[region.polygon for region in verdict.regions],
                max_bytes=THUMBNAIL_BYTES - _STAMP_BYTES,
            )
        except Exception:  # an alert without a picture is an alert all the same
            log.exception("no picture for the alert of part %d", inspection.frame.frame_id)
            return None


def _held_by(verdict: Verdict) -> int:
    """About the bytes that a verdict takes in memory until a message is made of it: its outlines are what is large."""
    points = sum(len(region.polygon) * (2 if region.polygon_mm else 1) for region in verdict.regions)
    return DRAFT_BYTES + 128 * points


def end_interrupted(spool: Spool, address: Address) -> None:
    """End the alerts that the run before this one could not end: its power went, or it was killed.

    Each end takes its alert off the spool's list with its own commit, so it is said once, wherever we are killed now.
    """
    for alert_id, said in spool.left_open.items():
        try:
            message = read_message(said)
        except ValueError as error:
            log.error("what the spool knows of the open alert %s cannot be read: %s", alert_id, error)
            continue
        if isinstance(message, AlertMessage) and not _is_of(message, address):
            log.info("the spool knows of an open alert of %s, which is that station's to end", message.data.device)
        elif isinstance(message, AlertMessage):
            log.warning("the station was interrupted while an alert of %s was open: it ends now", message.data.camera)
            compose = partial(interrupted_message, address, last=message.data)
            spool.put(address.alert_topic(message.data.severity), compose, kind="alert", alert=(alert_id, "end"))


def _is_of(alert: AlertMessage, address: Address) -> bool:
    """Whether it is this station's: an outbox may have been copied from another."""
    said = alert.data
    return (said.site, said.line, said.device) == (address.site, address.line, address.device)
