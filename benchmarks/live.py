"""How long from a verdict to the operator's screen, and pictures of the page for the documents.

A station, its page's program and a browser run as they do beside a line, each in a process of its own. The browser
notes for every part when its verdict was painted; the station's own log says when the verdict was there. Both read the
same clock.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Optional

import cv2
import numpy as np
import typer

from benchmarks.chromium import CHROMIUM, Chromium
from edge_resad.demo.products import draw
from edge_resad.device.control import ControlClient
from edge_resad.errors import ControlError

PROGRAM = [sys.executable, "-m", "edge_resad"]
WAIT_S = 60.0

WATCHING = """
window.painted = [];
new MutationObserver(() => {
  const found = /part (\\d+)/.exec(document.querySelector('.verdict .about')?.innerText ?? '');
  if (found) requestAnimationFrame(() => setTimeout(() => window.painted.push([Number(found[1]), Date.now()])));
}).observe(document.getElementById('verdict'), {childList: true});
"""


def main(
    parts: Annotated[int, typer.Option(min=1, help="Parts to measure.")] = 200,
    fps: Annotated[float, typer.Option(min=0.1, max=8, help="Parts a second; slower than the page looks.")] = 4.0,
    pictures: Annotated[Optional[Path], typer.Option(help="Folder to write live.png and live-phone.png to.")] = None,  # noqa: UP045
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure from verdict to screen."""
    if CHROMIUM is None:
        raise SystemExit("no Chromium here: apt-get install chromium")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _enrol(folder)
        file = _station_file(folder, fps)
        stack.enter_context(_running([*PROGRAM, "run", str(file), "--quiet"]))
        client = ControlClient(folder / "control.sock")
        _until(lambda: client.ask("status")["last"] is not None)
        page = stack.enter_context(_running([*PROGRAM, "live", str(file), "--port", "0"], output=subprocess.PIPE))
        assert page.stdout is not None
        address = page.stdout.readline().strip()
        browser = stack.enter_context(Chromium())
        browser.open(address)
        browser.until("document.body.dataset.shown")
        browser.run(WATCHING)
        first = len(_verdicts(folder))
        _until(lambda: len(_verdicts(folder)) >= first + parts)
        painted = dict(reversed(browser.run("window.painted")))  # when each part was seen first
        judged = {line["frame_id"]: line for line in _verdicts(folder)[first : first + parts]}
        delays = [1e-3 * (painted[part] - _verdict_ms(line)) for part, line in judged.items() if part in painted]
        if pictures is not None:
            _take_pictures(browser, client, address, pictures)
    found = {
        "parts": len(judged),
        "seen": len(delays),
        **{f"p{percent}_ms": round(1e3 * float(np.percentile(delays, percent)), 1) for percent in (50, 95, 99)},
        "max_ms": round(1e3 * max(delays), 1),
    }
    print(json.dumps(found) if as_json else "  ".join(f"{name} {value}" for name, value in found.items()))


def _enrol(folder: Path) -> None:
    """A product with a scale, from four drawn parts."""
    for family in ("flange", "cap"):
        good = folder / family
        good.mkdir()
        for seed in range(4):
            cv2.imwrite(str(good / f"{seed}.png"), draw(family, seed).image)
        new = ["product", "new", family, "--good", str(good), "--mm-per-px", "0.2"]
        told = [*PROGRAM, *new, "--products", str(folder / "products"), "--precision", "int8"]
        subprocess.run(told, check=True, stdout=subprocess.DEVNULL)


def _station_file(folder: Path, fps: float) -> Path:
    file = folder / "station.toml"
    file.write_text(
        f'[station]\ndevice = "press-7"\nsite = "graz"\n[camera]\nsource = "synthetic:flange"\nfps = {fps}\n'
        '[products]\nfolder = "products"\nuse = "flange"\n'
    )
    return file


@contextmanager
def _running(command: list[str], output: int | None = None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=output, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_S)


def _verdicts(folder: Path) -> list[dict[str, Any]]:
    """The verdicts that the station has logged."""
    lines = (folder / "verdicts.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _verdict_ms(line: dict[str, Any]) -> float:
    """When a verdict was there, milliseconds since 1970: when its picture was taken, and the latency."""
    taken = datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
    return 1e3 * taken.timestamp() + float(line["latency_ms"])


def _take_pictures(browser: Chromium, client: ControlClient, address: str, folder: Path) -> None:
    """The page on a screen and on a phone, at a part that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    _until(lambda: len(client.ask("status")["rejects"]) >= 4)
    failed = (
        "Boolean(document.querySelector('.verdict.fail')) && !document.querySelector('.rejects .undrawn')"
        " && [...document.querySelectorAll('.rejects img')].slice(0, 4).every(one => one.naturalWidth)"
    )
    while True:  # the next part may come while the picture is taken
        browser.until(failed, WAIT_S)
        browser.screenshot(folder / "live.png")
        if browser.run(failed):
            break
    with Chromium(width=360, height=740, mobile=True) as phone:
        phone.open(address)
        phone.until("document.querySelector('.verdict.pass')", WAIT_S)
        phone.screenshot(folder / "live-phone.png")


def _until(condition: Any) -> None:
    end = time.monotonic() + WAIT_S + 600
    while True:
        try:
            if condition():
                return
        except (ControlError, FileNotFoundError):
            pass
        if time.monotonic() > end:
            raise SystemExit("it takes too long: the processes' own words stand above")
        time.sleep(0.05)


if __name__ == "__main__":
    typer.run(main)
