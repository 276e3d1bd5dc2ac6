"""A worker goes on after an error, with a pause, until its work is done or nobody wants it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from edge_resad.device.verdict_log import VerdictLog
from edge_resad.device.worker import Worker

WAIT_S = 60.0


def test_a_worker_that_an_error_ends_begins_anew_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    tries = list[int]()

    def work() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("a bad day")

    worker = Worker(work, name="diary", closing=threading.Event(), first_pause_s=0.001)
    worker.start()
    worker.join(WAIT_S)
    assert not worker.is_alive()
    assert (len(tries), worker.restarts) == (3, 2)
    assert caplog.text.count("the thread of the diary died") == 2
    assert "a bad day" in caplog.text


def test_a_worker_that_nobody_wants_any_more_ends_with_its_error(caplog: pytest.LogCaptureFixture) -> None:
    closing = threading.Event()
    closing.set()

    def work() -> None:
        raise RuntimeError("a bad day")

    worker = Worker(work, name="diary", closing=closing)
    worker.start()
    worker.join(WAIT_S)
    assert worker.restarts == 0
    assert "while it was closed" in caplog.text


def test_a_worker_whose_error_comes_while_it_is_closed_begins_once_more(caplog: pytest.LogCaptureFixture) -> None:
    closing, tries = threading.Event(), list[int]()

    def work() -> None:
        tries.append(1)
        closing.set()
        raise RuntimeError("a bad day")

    worker = Worker(work, name="diary", closing=closing)
    worker.start()
    worker.join(WAIT_S)
    assert (len(tries), worker.restarts) == (2, 1)
    assert "while it was closed" in caplog.text


def test_a_worker_that_went_well_for_long_pauses_no_longer_than_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pauses = [0.0], list[float]()

    class Closing(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            return False

    def work() -> None:
        if len(pauses) == 12:
            return
        now[0] += 3600.0
        raise RuntimeError("a bad day")

    monkeypatch.setattr("edge_resad.device.worker.time.monotonic", lambda: now[0])
    worker = Worker(work, name="diary", closing=Closing())
    worker.run()
    assert len(pauses) == 12
    assert max(pauses) <= 1.0


def test_the_verdict_log_goes_on_after_an_error_that_nobody_foresaw_and_counts_its_line(tmp_path: Path) -> None:
    failed, written = threading.Event(), threading.Event()

    def write(file: int, line: bytes) -> int:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("nobody foresaw this")
        written.set()
        return os.write(file, line)

    with VerdictLog(tmp_path / "verdicts.jsonl", max_bytes=10**6, keep=1, write=write) as log:
        log.append({"part": 1})
        assert failed.wait(WAIT_S)
        log.append({"part": 2})
        assert written.wait(WAIT_S)
    assert (tmp_path / "verdicts.jsonl").read_text(encoding="utf-8") == '{"part":2}\n'
    assert log.lost == 1
