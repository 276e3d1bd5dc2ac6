"""A real browser for tests and figures: Chromium, spoken to over its debugging pipe; needs no package and no port."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
WAIT_S = 60.0  # a deadline, not a pause


class Chromium:
    """One tab. Events of the page (`Runtime.consoleAPICalled` ...) gather in `events`."""

    def __init__(self, *, width: int = 1280, height: int = 800, mobile: bool = False, dark: bool = False) -> None:
        self.events: list[dict[str, Any]] = []
        self._size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self._dark = dark
        self._number = 0
        self._answers: Queue[dict[str, Any]] = Queue()
        self._session: str | None = None

    def __enter__(self) -> Chromium:
        assert CHROMIUM is not None
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        from_browser, its_output = _high_pipe()
        its_input, to_browser = _high_pipe()
        # Chromium reads commands from handle 3 and writes to handle 4.
        command = f'exec "$0" "$@" 3<&{its_input} 4>&{its_output} {its_input}<&- {its_output}>&-'
        self._browser = subprocess.Popen(
            ["bash", "-c", command, CHROMIUM, "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions", "--hide-scrollbars",
             "--disable-background-networking", "--force-color-profile=srgb",
             f"--user-data-dir={self._profile.name}", "about:blank"],
            pass_fds=(its_input, its_output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(its_input)
        os.close(its_output)
        self._to = os.fdopen(to_browser, "wb", buffering=0)
        self._from = os.fdopen(from_browser, "rb")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setDeviceMetricsOverride", **self._size)
        scheme = "dark" if self._dark else "light"
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._browser.terminate()
        try:
            self._browser.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._browser.kill()
            self._browser.wait()
        self._reader.join(WAIT_S)
        self._to.close()
        self._from.close()
        self._profile.cleanup()

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        while True:
            try:
                answer = self._answers.get(timeout=WAIT_S)
            except Empty:
                raise TimeoutError(f"Chromium does not answer {method}") from None
            if answer["id"] == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, address: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.run("document.documentElement.dataset.old = 'yes'")
        self.send("Page.navigate", url=address)
        self.until("!document.documentElement.dataset.old && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression on the page; promises are awaited."""
        done = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{script}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def until(self, condition: str, within_s: float = WAIT_S) -> None:
        """Wait until an expression is true on the page."""
        end = time.monotonic() + within_s
        while True:
            try:
                if self.run(f"Boolean({condition})"):
                    return
            except RuntimeError:  # the page is being replaced by another
                pass
            if time.monotonic() > end:
                raise TimeoutError(f"it did not become true: {condition}\n{self.run('document.body.innerText')}")
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        """What people read there."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str, within_s: float = WAIT_S) -> None:
        """Click as a mouse does, in the middle of the element; where it has moved away meanwhile, once more."""
        end = time.monotonic() + within_s
        while True:
            with self.pressing(selector):
                pass
            if self.run("window.missed?.abort(), document.documentElement.dataset.hit") != "no":  # or it led elsewhere
                return
            if time.monotonic() > end:
                raise TimeoutError(f"it was not hit: {selector}")

    @contextmanager
    def pressing(self, selector: str) -> Iterator[None]:
        """Hold the mouse's button down in the middle of the element. A click that misses it reaches nothing else."""
        aim = (
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " const told = document.documentElement.dataset; told.hit = 'no';"
            " window.missed?.abort(); window.missed = new AbortController();"
            " window.addEventListener('click', (click) => {"
            f" if (click.target.closest({json.dumps(selector)})) {{ told.hit = 'yes'; return; }}"
            " click.preventDefault(); click.stopImmediatePropagation(); },"
            " {capture: true, signal: window.missed.signal});"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        x, y = self.run(aim)
        where = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type="mousePressed", **where)
        yield
        self.send("Input.dispatchMouseEvent", type="mouseReleased", **where)

    def type(self, selector: str, text: str) -> None:
        """Write into a field."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.send("Input.insertText", text=text)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """The page as a PNG; whole: what has to be scrolled to as well."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """What the browser's console shows as errors: scripts that failed, missing files, violated policies.

        A connection that ended with its server is none.
        """
        said = []
        for event in self.events:
            if event["method"] == "Runtime.exceptionThrown":
                said.append(json.dumps(event["params"]["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                entry = event["params"]["entry"]
                if "net::ERR" not in entry["text"]:
                    said.append(f"{entry['text']} {entry.get('url', '')}")
        return said

    def addresses(self) -> list[str]:
        """Everything that was asked of the network."""
        return [
            str(event["params"]["request"]["url"])
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def _read(self) -> None:
        rest = b""
        while chunk := self._from.read1(1 << 20):
            *messages, rest = (rest + chunk).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers.put(message)
                else:
                    self.events.append(message)


def _high_pipe() -> tuple[int, int]:
    """A pipe whose handles stand in nobody's way."""
    low = os.pipe()
    high = [fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 100) for handle in low]
    for handle in low:
        os.close(handle)
    return high[0], high[1]
