"""A collector and a station count what random messages do to them, each once, and do none."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import fuzz_whole
from tests.device.wired import Line


def test_every_message_is_counted_once_and_none_is_done(tmp_path: Path) -> None:
    counts, problems = fuzz_whole.collector(700, 1, tmp_path)
    assert problems == []
    assert min(counts[name] for name in ("news", "aside", "stored", "again", "conflicts")) > 0
    counts, problems = fuzz_whole.station(700, 1, tmp_path)
    assert problems == []
    assert min(counts[name] for name in ("signature", "unreadable")) > 0
    assert counts["done"] <= 1


def test_a_command_that_was_done_although_it_was_not_signed_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Line, "triggered", 2)
    _, problems = fuzz_whole.station(50, 1, tmp_path)
    assert problems == ["the station did 2 commands, and one was signed"]
