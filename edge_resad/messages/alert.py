"""An alert on its way: something a person should see."""

from __future__ import annotations

from typing import Literal

from edge_resad.messages.envelope import Envelope, envelope_fields
from edge_resad.messages.origin import Origin, Stamp, origin_fields
from edge_resad.messages.strict import Whole
from edge_resad.messages.thumbnail import ImageReference
from edge_resad.messages.topic import Address, Id, Severity
from edge_resad.messages.verdict import Judgement, VerdictLike, judgement_fields

Phase = Literal["new", "update", "end"]


class Alert(Origin):
    """Something a person should see: it begins, it changes, it ends, under one `alert_id`."""

    alert_id: Id
    phase: Phase
    severity: Severity
    camera: Id
    product: Id
    product_version: Whole | None = None  # where the product has a recipe
    verdict: Judgement | None = None  # of the part that caused it
    fault: str | None = None  # what is wrong with the camera, where no part caused it
    image: ImageReference | None = None
    reason: str | None = None  # why it ends, where it is not known to be over: "interrupted"


class AlertMessage(Envelope):
    """An alert in its envelope."""

    type: Literal["edge-resad.alert"] = "edge-resad.alert"
    data: Alert


def alert_message(
    address: Address,
    stamp: Stamp,
    *,
    product: str,
    camera: str,
    phase: Phase,
    severity: Severity,
    verdict: VerdictLike,
    frame_id: int,
    latency_ms: float,
    alert_id: str | None = None,
    image: ImageReference | None = None,
    product_version: int | None = None,
) -> bytes:
    """The payload for `address.alert_topic(severity)`; without `alert_id` the alert takes this message's own id."""
    data = Alert(
        **origin_fields(address, stamp),
        alert_id=alert_id or stamp.event_id,
        phase=phase,
        severity=severity,
        camera=camera,
        product=product,
        product_version=product_version,
        verdict=Judgement(**judgement_fields(verdict, frame_id, latency_ms)),
        image=image,
    )
    return AlertMessage(**envelope_fields(address, stamp.event_id, stamp.wall), data=data).payload()


def fault_message(
    address: Address,
    stamp: Stamp,
    *,
    product: str,
    camera: str,
    phase: Phase,
    severity: Severity,
    fault: str,
    alert_id: str | None = None,
) -> bytes:
    """The payload for `address.alert_topic(severity)` of a camera that is ill, or well again."""
    data = Alert(
        **origin_fields(address, stamp),
        alert_id=alert_id or stamp.event_id,
        phase=phase,
        severity=severity,
        camera=camera,
        product=product,
        fault=fault,
    )
    return AlertMessage(**envelope_fields(address, stamp.event_id, stamp.wall), data=data).payload()


def interrupted_message(address: Address, stamp: Stamp, *, last: Alert) -> bytes:
    """The payload for `address.alert_topic(last.severity)` that ends an alert whose station was killed meanwhile.

    last: the last that was said of it.
    """
    now = {"phase": "end", "image": None, "reason": "interrupted", **origin_fields(address, stamp)}
    data = last.model_copy(update=now)
    return AlertMessage(**envelope_fields(address, stamp.event_id, stamp.wall), data=data).payload()
