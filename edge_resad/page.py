"""What our HTML pages share: one file with its pictures and styles inside, light and dark, no script, no network."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.errors import EdgeResadError
from edge_resad.whole_file import write_whole

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8, BGR."""

PHOTO_QUALITY = 84  # of the page's JPEGs


def whole(title: str, body: str, style: str = "") -> str:
    """The page around a body; a style of its own comes after the shared one."""
    return PAGE.format(title=escape(title), style=STYLE + style, body=body)


def write_page(page: str, path: Path) -> Path:
    """Write a page to this path, whole or not at all, and return the path."""
    try:
        write_whole(path, page.encode())
    except OSError as problem:
        raise EdgeResadError(
            f"cannot write the report to {path}: {problem.strerror or problem}. It needs {len(page) / 1e6:.1f} MB "
            "in a folder that may be written to; free some space there or name another folder."
        ) from problem
    return path


def marked(photo: Picture, mask: NDArray[np.bool_]) -> Picture:
    """The photo, dimmed where it is good, and a line around where it is not."""
    light = cv2.GaussianBlur(cv2.dilate(mask.astype(np.float32), np.ones((9, 9), np.uint8)), (0, 0), 3)[..., None]
    dimmed = np.asarray(photo * (0.30 + 0.70 * light), np.uint8)
    around = cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11)))
    contours, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(dimmed, contours, -1, (255, 255, 255), 1, cv2.LINE_AA)
    return dimmed


def fitted(picture: Picture, side: int) -> Picture:
    """Twice as fine as it is shown, for dense screens; never larger than it is. side: as shown, pixels."""
    scale = min(1.0, 2 * side / max(picture.shape[:2]))
    height, width = (max(1, round(pixels * scale)) for pixels in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def data_uri(picture: Picture, quality: int = PHOTO_QUALITY) -> str:
    """The picture itself as the address of an `img`."""
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii")


def plural(noun: str, count: int) -> str:
    """The noun for so many of it."""
    return noun if count == 1 else noun + "s"


def sign(fine: bool) -> str:
    """A tick, or an exclamation mark."""
    path = "M3.5 8.5l3 3 6-7" if fine else "M8 3.5v5.5M8 12v.4"
    return f'<svg class="sign" viewBox="0 0 16 16" aria-hidden="true"><path d="{path}"/></svg>'


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

STYLE = """
:root {
  --paper: #f5f6f4; --sheet: #ffffff; --ink: #16201d; --quiet: #5d6a66; --line: #dfe4e1; --lane: #f0f3f1;
  --fine: #0b7a55; --fine-paper: #e2f4ec; --alarm: #b3261e; --alarm-paper: #fce8e6; --heat: #d9580d; --bar: #2d6f8e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #0e1413; --sheet: #171f1d; --ink: #e9f0ed; --quiet: #97a5a0; --line: #2a3532; --lane: #1e2826;
    --fine: #4fd3a2; --fine-paper: #123328; --alarm: #ff8a80; --alarm-paper: #43191a; --heat: #ff9350; --bar: #62b4d8;
  }
}
* { box-sizing: border-box; margin: 0; }
body {
  background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1200px; margin: 0 auto; padding: 40px 28px 48px; }
h1 { font-size: clamp(32px, 5vw, 52px); line-height: 1.08; letter-spacing: -0.025em; font-weight: 700; }
h2 { font-size: 20px; letter-spacing: -0.01em; font-weight: 650; }
h3 { font-size: 16px; font-weight: 650; font-variant-numeric: tabular-nums; }
section { margin-top: 44px; }
section > p, figcaption > p, .nothing { color: var(--quiet); }
.brand { font-weight: 650; letter-spacing: 0.01em; margin-bottom: 18px; }
.brand span { color: var(--quiet); font-weight: 400; }
.lead { font-size: 19px; color: var(--quiet); margin-top: 10px; max-width: 44em; }
.mood {
  display: inline-flex; align-items: center; gap: 8px; margin-top: 18px; padding: 7px 14px 7px 10px;
  border-radius: 99px; font-weight: 600;
}
.mood.fine, .badge.fine { background: var(--fine-paper); color: var(--fine); }
.mood.mixed, .badge.alarm { background: var(--alarm-paper); color: var(--alarm); }
.sign { width: 16px; height: 16px; flex: none; }
.sign path { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linecap: round; stroke-linejoin: round; }
.tiles {
  display: grid; grid-template-columns: repeat(8, 1fr); margin-top: 32px; overflow: hidden;
  background: var(--line); gap: 1px; border: 1px solid var(--line); border-radius: 14px;
}
.tile { background: var(--sheet); padding: 18px 10px 16px 16px; display: flex; flex-direction: column; gap: 3px; }
.tile b {
  font-size: 30px; line-height: 1.1; letter-spacing: -0.03em; font-weight: 680;
  font-variant-numeric: tabular-nums; white-space: nowrap;
}
.tile small { font-size: 16px; font-weight: 500; color: var(--quiet); letter-spacing: 0; }
.tile span { color: var(--quiet); font-size: 13px; }
.tile.fine b { color: var(--fine); }
.tile.alarm b { color: var(--alarm); }
.strip { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 14px; }
.strip img { width: 150px; border-radius: 10px; display: block; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 18px; }
.pair > figure {
  background: var(--sheet); border: 1px solid var(--line); border-radius: 14px; padding: 20px 20px 10px;
}
.chart { width: 100%; height: auto; display: block; margin-top: 12px; overflow: visible; }
.chart text { font-size: 12px; fill: var(--quiet); }
.chart .mark-name { fill: var(--ink); font-weight: 600; }
.chart .trend { fill: none; stroke: var(--bar); stroke-width: 1.8; stroke-linejoin: round; }
.bar { fill: var(--bar); }
.lane { fill: var(--lane); }
.axis { stroke: var(--line); }
.mark { stroke: var(--ink); stroke-width: 1.4; }
.dot { fill-opacity: 0.72; stroke: transparent; stroke-width: 2; }
.dot.good { fill: var(--fine); }
.dot.bad { fill: var(--heat); }
.dot.wrong { stroke: var(--alarm); fill-opacity: 1; }
.count {
  font-size: 14px; font-weight: 600; color: var(--quiet); background: var(--lane); padding: 2px 10px;
  border-radius: 99px; vertical-align: 2px; margin-left: 4px;
}
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(520px, 1fr)); gap: 18px; margin-top: 16px; }
.card {
  background: var(--sheet); border: 1px solid var(--line); border-radius: 14px; padding: 16px 18px 14px;
  break-inside: avoid;
}
.card.wrong { border-color: var(--alarm); box-shadow: 0 0 0 1px var(--alarm); }
.top { display: flex; justify-content: space-between; align-items: center; margin-bottom: 12px; }
.badge {
  display: inline-flex; align-items: center; gap: 6px; font-size: 13px; font-weight: 600; padding: 3px 11px 3px 8px;
  border-radius: 99px; background: var(--lane); color: var(--quiet);
}
.shots { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; }
.shots img { width: 100%; display: block; border-radius: 8px; }
.shots figcaption { font-size: 12px; color: var(--quiet); margin-top: 4px; }
.gauge { position: relative; height: 10px; border-radius: 99px; background: var(--lane); margin-top: 14px; }
.gauge i { position: absolute; inset: 0 auto 0 0; border-radius: 99px; background: var(--heat); }
.gauge.under i { background: var(--quiet); }
.gauge u { position: absolute; top: -4px; bottom: -4px; width: 2px; background: var(--ink); }
.reading { font-size: 13px; color: var(--quiet); margin-top: 7px; display: flex; gap: 6px; align-items: baseline; }
.reading b { color: var(--ink); font-size: 15px; font-variant-numeric: tabular-nums; }
.reading span { margin-left: auto; font-variant-numeric: tabular-nums; }
dl {
  display: flex; flex-wrap: wrap; gap: 6px 22px; border-top: 1px solid var(--line); margin-top: 10px;
  padding-top: 9px;
}
dl:empty { display: none; }
dt { font-size: 12px; color: var(--quiet); }
dd { font-size: 14px; overflow-wrap: anywhere; }
footer { margin-top: 48px; padding-top: 16px; border-top: 1px solid var(--line); color: var(--quiet); font-size: 13px; }
footer p + p { margin-top: 4px; }
@media (max-width: 1080px) { .tiles { grid-template-columns: repeat(4, 1fr); } }
@media (max-width: 720px) {
  main { padding: 24px 16px; }
  .pair, .cards { grid-template-columns: 1fr; }
  .tiles { grid-template-columns: repeat(2, 1fr); }
  .strip img { width: calc(50% - 5px); }
}
@media print {
  :root {
    --paper: #fff; --sheet: #fff; --ink: #111; --quiet: #555; --line: #ccc; --lane: #eee;
    --fine: #0b7a55; --fine-paper: #e2f4ec; --alarm: #b3261e; --alarm-paper: #fce8e6; --heat: #d9580d; --bar: #2d6f8e;
  }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { padding: 0; max-width: none; }
  section { margin-top: 26px; }
  .tiles { grid-template-columns: repeat(8, 1fr); }
  .tile { padding: 10px; }
  .tile b { font-size: 20px; }
  .cards { grid-template-columns: 1fr 1fr; gap: 10px; }
  .strip img { width: 100px; }
  .pair, .tiles, .card { break-inside: avoid; }
  h2, section > p { break-after: avoid; }
}
"""
