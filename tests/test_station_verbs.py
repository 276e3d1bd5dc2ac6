"""What `edge-resad control` prints of a station's answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_resad.cli import app
from edge_resad.device.control import Controls, ControlSocket
from edge_resad.moment import ago

NOW = 1_700_000_000.5  # 2023-11-14 22:13:20 UTC
STATUS: dict[str, Any] = {
    "version": 7,
    "now": NOW,
    "last": {"status": "fail", "score": 1.25, "time": NOW - 3.2},
    "cameras": {"cam0": None},
    "counts": {"since": NOW - 7300.0},
    "rejects": [{"id": "r-1", "time": NOW - 130.0, "score": 1.25}],
    "station": {"device": "press-7", "started": NOW - 200_000.0},
}


@pytest.fixture
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TZ", "EST5")
    time.tzset()
    file = tmp_path / "station.toml"
    file.write_text(
        '[station]\nsite = "berlin"\nline = "a"\ndevice = "press-7"\n'
        '[camera]\nsource = "synthetic:flange"\n[inspection]\nbank = "flange.bank"\n'
    )
    controls = Controls()
    controls.register("status", lambda _: STATUS, "status: how the line does")
    with ControlSocket(tmp_path / "control.sock", controls):
        yield file
    monkeypatch.undo()
    time.tzset()


def test_moments_are_said_by_the_local_clock_and_how_long_ago_they_are(station: Path) -> None:
    said = CliRunner().invoke(app, ["control", str(station), "status"], catch_exceptions=False).output
    assert "now: 2023-11-14 17:13:20\n" in said
    assert "  time: 2023-11-14 17:13:17 (3 s ago)\n" in said
    assert "  since: 2023-11-14 15:11:40 (2 h ago)\n" in said
    assert "  id r-1, time 2023-11-14 17:11:10 (2 min ago), score 1.25\n" in said
    assert "  started: 2023-11-12 09:40:00 (2 d ago)\n" in said
    assert "1700000000" not in said


def test_a_program_gets_the_seconds_as_they_are(station: Path) -> None:
    said = CliRunner().invoke(app, ["control", str(station), "status", "--json"], catch_exceptions=False).output
    assert json.loads(said) == STATUS


def test_a_moment_that_has_yet_to_come_is_no_time_ago() -> None:
    assert ago(-5.0) == "0 s"  # a clock was set back
    assert [ago(seconds) for seconds in (119.9, 120.0, 7199.0, 7200.0, 172_800.0)] == [
        "119 s", "2 min", "119 min", "2 h", "2 d"
    ]  # fmt: skip
