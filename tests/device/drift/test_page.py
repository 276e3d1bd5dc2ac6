"""The charts of a station as a table and a page, from what was kept of them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_resad.cli import app
from edge_resad.device.drift.charts_file import read_charts
from edge_resad.device.drift.drift import Drift
from edge_resad.device.drift.page import render
from edge_resad.device.drift.product_charts import Enrolled
from tests.device.drift.test_drift import Line


@pytest.fixture
def station(tmp_path: Path) -> Path:
    """A station file, and charts as a station has kept them: light has gone down."""
    file = tmp_path / "station.toml"
    file.write_text(
        '[station]\ndevice = "press-7"\n[camera]\nsource = "synthetic"\n[inspection]\nbank = "bank.npz"\n',
        encoding="utf-8",
    )
    with Drift("cam0", tmp_path / "drift" / "cam0.json", false_alarm_parts=1e6, learn_parts=250) as drift:
        drift.use(Enrolled(product="<flange>", of="bank"))
        line = Line()
        line.feed(drift, 600)
        line.feed(drift, 300, light=0.9)
    return file


def test_the_command_shows_every_chart_and_says_what_drifts(station: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["drift", str(station), "--out", str(tmp_path / "page.html")], env={"COLUMNS": "140"}
    )
    assert done.exit_code == 0, done.output
    for name in ("scores", "light", "focus", "shift x", "shift y", "turn", "likeness", "rejects"):
        assert name in done.output
    assert "pictures are darker" in done.output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('<svg class="chart"') == 8
    assert "something drifts" in page


def test_the_page_is_whole_and_carries_no_foreign_markup(station: Path) -> None:
    page = render({"cam0": read_charts(station.parent / "drift" / "cam0.json")}, "press-7", day=date(2026, 1, 2))
    body = page[page.index("<body>") : page.index("</body>") + 7]
    assert ElementTree.fromstring(body) is not None
    assert "&lt;flange&gt;" in page
    assert "<flange>" not in page


def test_learning_anew_takes_the_charts_away(station: Path) -> None:
    done = CliRunner().invoke(app, ["drift", str(station), "--learn-anew"])
    assert done.exit_code == 0
    assert not (station.parent / "drift" / "cam0.json").exists()


def test_a_station_that_has_charted_nothing_and_a_camera_that_is_not_there_are_said(station: Path) -> None:
    wrong = CliRunner().invoke(app, ["drift", str(station), "--camera", "cam9"])
    assert "It has: cam0" in str(wrong.exception)
    (station.parent / "drift" / "cam0.json").unlink()
    nothing = CliRunner().invoke(app, ["drift", str(station)])
    assert "nothing is charted yet" in str(nothing.exception)
