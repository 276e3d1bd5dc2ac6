"""The station's own memory: a line of JSON for each part that comes to the inspection, in files of bounded size.

A full disk costs lines, never time.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from edge_resad.device.pipeline import Inspection
from edge_resad.device.worker import Worker

log = logging.getLogger(__name__)

WAITING_LINES = 10_000  # what a stuck disk may hold up in memory, about 20 MB
RETRY_S = 2.0  # pause before a disk that refused is asked again
CLOSE_S = 1.0  # how long the last lines may take when the station stops

_encoded = json.JSONEncoder(separators=(",", ":")).encode


class VerdictLog:
    """Appends lines in a thread of its own; what the disk does not take in time is counted as lost."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 64 * 2**20,
        keep: int = 3,
        waiting_lines: int = WAITING_LINES,
        retry_s: float = RETRY_S,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        self.lost = 0  # lines that are nowhere
        self.problem: str | None = None  # why nothing can be written now
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._retry_s = retry_s
        self._write = write
        self._records: queue.Queue[Mapping[str, object] | None] = queue.Queue(waiting_lines)
        self._closing = threading.Event()
        self._file: int | None = None
        self._size = 0
        self._writer: threading.Thread | None = None

    def __enter__(self) -> VerdictLog:
        self._writer = Worker(self._work, name="verdict log", closing=self._closing)
        self._writer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._closing.set()
        with contextlib.suppress(queue.Full):  # a writer with lines to write needs no waking
            self._records.put_nowait(None)
        if self._writer is not None:
            self._writer.join(CLOSE_S)  # a disk that hangs keeps its thread, not us
            self._writer = None

    def append(self, record: Mapping[str, object]) -> None:
        """Add one line. Returns at once, whatever the disk does; the record is not to be changed any more."""
        try:
            self._records.put_nowait(record)
        except queue.Full:
            self.lost += 1

    def _work(self) -> None:
        while (record := self._next()) is not None:
            try:
                self._keep_trying(_encoded(record).encode() + b"\n")
            except Exception:
                self.lost += 1
                raise
        self._close()

    def _keep_trying(self, line: bytes) -> None:
        last_try = False
        while not self._stored(line):
            if last_try:
                self.lost += 1
                return
            last_try = self._closing.wait(self._retry_s)

    def _next(self) -> Mapping[str, object] | None:
        """Wait for a record; None when the log is closed and empty."""
        try:
            while True:
                record = self._records.get(block=not self._closing.is_set())
                if record is not None:
                    return record
        except queue.Empty:
            return None

    def _stored(self, line: bytes) -> bool:
        try:
            if self._file is None:
                self._open()
            elif self._size + len(line) > self._max_bytes:
                self._close()
                self._rotate()
                self._open()
            self._append(line)
        except OSError as refused:
            if self.problem is None:
                log.warning("%s takes no verdicts: %s. Make room; inspection goes on", self._path, refused.strerror)
            self.problem = refused.strerror or str(refused)
            return False
        if self.problem is not None and not self._closing.is_set():  # a last line that fits is no recovery
            log.info("%s takes verdicts again, %d were lost", self._path, self.lost)
            self.problem = None
        return True

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._size = os.fstat(self._file).st_size
        if self._size and os.pread(self._file, 1, self._size - 1) != b"\n":
            self._append(b"\n")  # a power cut left half a line; it must not swallow the next one

    def _append(self, line: bytes) -> None:
        """All of a line or nothing of it."""
        assert self._file is not None
        try:
            written = self._write(self._file, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)

    def _rotate(self) -> None:
        """verdicts.jsonl becomes verdicts.jsonl.1, that one becomes .2, and the oldest is gone."""
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{age + 1}") for age in range(self._keep))]
        for newer, older in reversed(list(itertools.pairwise(names))):
            if newer.exists():
                newer.replace(older)
        self._path.unlink(missing_ok=True)  # there still where nothing is kept

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def said_time(wall: float) -> str:
    """A moment as the log writes it, to the millisecond. wall: seconds since 1970."""
    moment = datetime.fromtimestamp(wall, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_record(inspection: Inspection) -> dict[str, object]:
    """What the log keeps of one part."""
    frame, verdict, alert = inspection.frame, inspection.verdict, inspection.alert
    record: dict[str, object] = {
        "time": said_time(frame.captured_wall),
        "camera": inspection.camera,
        "frame_id": frame.frame_id,
    }
    if frame.name is not None:
        record["name"] = frame.name
    record["latency_ms"] = round(inspection.latency.total_ms, 3)
    if verdict is None:
        return {**record, "status": "not inspected", "reason": inspection.not_inspected}
    if verdict.product is not None:
        record["product"] = verdict.product
        record["product_version"] = verdict.product_version
    record["status"] = verdict.status
    record["score"] = round(verdict.score, 6)
    record["threshold"] = round(verdict.threshold, 6)
    if verdict.status == "fail":
        record["severity"] = verdict.severity
        record["regions"] = [
            {
                "box": region.box,
                "area_px": region.area_px,
                "peak": round(region.peak, 6),
                **({} if region.roi is None else {"roi": region.roi}),
                **({} if region.area_mm2 is None else {"area_mm2": round(region.area_mm2, 4)}),
            }
            for region in verdict.regions
        ]
    if alert is not None:
        record["alert"] = {"id": alert.alert_id, "phase": alert.phase, "severity": alert.severity}
    return record
