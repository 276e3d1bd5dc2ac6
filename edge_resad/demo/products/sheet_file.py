"""The file of a contact sheet: all products and defects in one picture that stays small."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from edge_resad.demo.products.factory.sheet import factory_sheet
from edge_resad.demo.products.sheet import sheet

MOST_BYTES = 300_000
MOST_BYTES_FACTORY = 400_000


def main(arguments: list[str]) -> int:
    """Write the sheet to the one path given, in the best quality that stays small."""
    factory = "--factory" in arguments
    paths = [argument for argument in arguments if argument != "--factory"]
    if len(paths) != 1 or paths[0].startswith("-"):
        print(f"usage: python -m edge_resad.demo.products [--factory] OUT.jpg\n{main.__doc__}", file=sys.stderr)
        return 2
    picture, most = (factory_sheet(), MOST_BYTES_FACTORY) if factory else (sheet(), MOST_BYTES)
    for quality in range(90, 30, -5):
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(jpeg) <= most:
            break
    Path(paths[0]).write_bytes(jpeg.tobytes())
    print(f"{paths[0]}: {picture.shape[1]} x {picture.shape[0]} pixels, {len(jpeg)} bytes")
    return 0
