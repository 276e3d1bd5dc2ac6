"""The picture to an alert: a JPEG that knows where it comes from."""

from __future__ import annotations

import json

from edge_resad.messages.origin import Origin, Stamp, origin_fields
from edge_resad.messages.strict import READING, Strict, Whole, parse
from edge_resad.messages.topic import Address

THUMBNAIL_BYTES = 64 * 1024  # brokers in the field stop at 128 KiB; events must not queue behind pictures
JPEG_TYPE = "image/jpeg"


class ImageReference(Strict):
    """Where the picture to an alert is."""

    topic: str
    content_type: str = JPEG_TYPE
    size_bytes: Whole
    sha256: str | None = None  # of the JPEG before it was stamped


def thumbnail_message(address: Address, stamp: Stamp, jpeg: bytes) -> bytes:
    """The payload for `address.thumbnail_topic(event)`: the JPEG itself, its origin in a JPEG comment.

    The comment is there for brokers and bridges that carry no user properties; every JPEG reader passes over it.
    """
    if not jpeg.startswith(b"\xff\xd8"):
        raise ValueError(f"a thumbnail is a JPEG, this begins with {jpeg[:4]!r}")
    comment = json.dumps(origin_fields(address, stamp), separators=(",", ":")).encode()
    stamped = jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]
    if len(stamped) > THUMBNAIL_BYTES:
        raise ValueError(f"a thumbnail may have {THUMBNAIL_BYTES} bytes with its stamp, this has {len(stamped)}")
    return stamped


def read_thumbnail(payload: bytes) -> tuple[Origin, bytes]:
    """Undo `thumbnail_message`: the origin and the JPEG as it was."""
    if not payload.startswith(b"\xff\xd8\xff\xfe") or len(payload) < 6:
        raise ValueError("the payload is not a stamped JPEG")
    end = 4 + int.from_bytes(payload[4:6], "big")
    return Origin.model_validate(parse(payload[6:end]), context=READING), payload[:2] + payload[end:]
