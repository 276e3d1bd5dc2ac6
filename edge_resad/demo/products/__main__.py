"""`python -m edge_resad.demo.products OUT.jpg`: write the contact sheet of all products and defects."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from edge_resad.demo.products.sheet import sheet

MOST_BYTES = 300_000


def main(arguments: list[str]) -> int:
    """Write the sheet to the one path given, in the best quality that stays small."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(f"usage: python -m edge_resad.demo.products OUT.jpg\n{__doc__}", file=sys.stderr)
        return 2
    picture = sheet()
    for quality in range(90, 30, -5):
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(jpeg) <= MOST_BYTES:
            break
    Path(arguments[0]).write_bytes(jpeg.tobytes())
    print(f"{arguments[0]}: {picture.shape[1]} x {picture.shape[0]} pixels, {len(jpeg)} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
