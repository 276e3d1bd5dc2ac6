"""The drift of a line: said once each way, learnt for each product, kept over a restart, never in a part's way."""

from __future__ import annotations

import json
import logging
import math
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_resad.bank import GoodScores
from edge_resad.device.drift.charts_file import read_charts
from edge_resad.device.drift.drift import Drift
from edge_resad.device.drift.product_charts import Enrolled
from edge_resad.device.pipeline import Inspection, Latency
from edge_resad.engine.alignment import Place
from edge_resad.errors import EdgeResadError
from edge_resad.messages import Phase, Severity
from tests.fakes import frame, verdict

LEARN_PARTS = 250
FLANGE = Enrolled(product="flange", of="bank one")
CAP = Enrolled(product="cap", of="bank two")
PATIENCE_S = 60.0
JOIN_S = 30.0  # a part takes microseconds, and the machine of a test may be busy
INSPECTION_MS = Latency(waiting_ms=0.0, inspecting_ms=1.0)


@dataclass(kw_only=True)
class Sight:
    """What a watch has measured."""

    brightness: float | None = None
    sharpness: float | None = None


@dataclass
class Letters:
    """Alerts as they would be sent."""

    sent: list[tuple[str, Phase, str, Severity | None]] = field(default_factory=list)

    def fault(self, fault: str, phase: Phase, alert_id: str | None = None, *, severity: Severity | None = None) -> str:
        alert_id = alert_id or f"alert-{len(self.sent)}"
        self.sent.append((fault, phase, alert_id, severity))
        return alert_id


class Line:
    """Good parts whose scores, light and place vary as parts do."""

    def __init__(self, seed: int = 1) -> None:
        self._dice = np.random.default_rng(seed)

    def part(self, factor: float = 1.0, threshold: float = 2.0) -> Inspection:
        judged = verdict(factor * math.exp(self._dice.normal(-0.1, 0.15)), threshold)
        return Inspection(frame=frame(), verdict=judged, not_inspected=None, latency=INSPECTION_MS)

    def feed(self, drift: Drift, parts: int, *, factor: float = 1.0, light: float = 1.0, right_px: float = 0.0) -> None:
        for _ in range(parts):
            sight = Sight(brightness=light * self._dice.normal(110.0, 3.0), sharpness=self._dice.normal(0.2, 0.01))
            place = Place(
                shift_px=(right_px + self._dice.normal(0, 2), self._dice.normal(0, 2)),
                turn_deg=self._dice.normal(0, 1), likeness=0.97 + self._dice.normal(0, 0.004),
            )  # fmt: skip
            drift.add(self.part(factor), sight, place)


def a_drift(path: Path | None, **more: Any) -> Drift:
    return Drift("cam0", path, false_alarm_parts=1e6, learn_parts=LEARN_PARTS, **more)


def test_a_line_that_changes_is_said_once_each_way(caplog: pytest.LogCaptureFixture) -> None:
    post, states, line = Letters(), list[tuple[str, ...]](), Line()
    with caplog.at_level(logging.INFO), a_drift(None, post=post, say=states.append) as drift:
        drift.use(FLANGE)
        line.feed(drift, 1000)
        assert list(drift.said) == []
        line.feed(drift, 600, light=0.9)
        assert list(drift.said) == ["drifting_light"]
        line.feed(drift, 600)
        assert list(drift.said) == []
    assert [(fault, phase, severity) for fault, phase, _, severity in post.sent] == [
        ("drifting_light", "new", "minor"), ("drifting_light", "end", "minor"),
    ]  # fmt: skip
    assert post.sent[0][2] == post.sent[1][2]
    assert states == [(), ("drifting_light",), ()]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "camera cam0: pictures are darker, 0.9" in said[0]
    assert said[0].endswith("Check the lamps, the exposure and what else shines on the line.")


@pytest.mark.parametrize(
    ("change", "fault"),
    [({"factor": 1.3}, "drifting_scores"), ({"light": 1.2}, "drifting_light"), ({"right_px": 8}, "drifting_position")],
)
def test_each_change_has_its_fault(change: dict[str, float], fault: str) -> None:
    line = Line()
    with a_drift(None) as drift:
        drift.use(FLANGE)
        line.feed(drift, 600)
        line.feed(drift, 400, **change)
        assert list(drift.said) == [fault]


def test_many_rejects_are_said() -> None:
    line = Line()
    with a_drift(None) as drift:
        drift.use(FLANGE)
        line.feed(drift, 400)
        for _ in range(60):
            drift.add(line.part(threshold=0.01))
        assert list(drift.said) == ["reject_rate"]


def test_products_have_charts_of_their_own_which_go_on_when_they_come_back() -> None:
    post, line = Letters(), Line()
    with a_drift(None, post=post) as drift:
        drift.use(FLANGE)
        line.feed(drift, 600)
        line.feed(drift, 200, factor=1.4)
        assert list(drift.said) == ["drifting_scores"]
        drift.use(CAP)
        assert list(drift.said) == []
        line.feed(drift, 600, factor=1.4)
        assert list(drift.said) == []
        drift.use(FLANGE)
        line.feed(drift, 1, factor=1.4)
        assert list(drift.said) == ["drifting_scores"]
    assert [phase for _, phase, *_ in post.sent] == ["new", "end", "new", "end"]


def test_a_product_that_is_named_again_goes_on_as_it_was() -> None:
    post, line = Letters(), Line()
    with a_drift(None, post=post) as drift:
        drift.use(FLANGE)
        line.feed(drift, 600)
        line.feed(drift, 200, factor=1.4)
        drift.use(Enrolled(product="flange", of="bank one"))
        line.feed(drift, 10, factor=1.4)
    assert [(fault, phase) for fault, phase, *_ in post.sent] == [
        ("drifting_scores", "new"),
        ("drifting_scores", "end"),
    ]


def test_charts_outlive_a_restart_so_that_a_drift_of_days_is_seen(tmp_path: Path) -> None:
    line, said = Line(), list[bool]()
    for day in range(8):
        with a_drift(tmp_path / "drift" / "cam0.json") as drift:
            drift.use(FLANGE)
            line.feed(drift, 260, factor=1.03**day)
            said.append(bool(drift.said))
    assert said[:2] == [False, False]
    assert said[-1]
    assert read_charts(tmp_path / "drift" / "cam0.json")["flange"].figures["scores"].parts == 8 * 260


def test_a_new_bank_is_learnt_anew(tmp_path: Path) -> None:
    line = Line()
    with a_drift(tmp_path / "cam0.json") as drift:
        drift.use(FLANGE)
        line.feed(drift, 600)
    with a_drift(tmp_path / "cam0.json") as drift:
        drift.use(Enrolled(product="flange", of="another bank"))
        line.feed(drift, 400, factor=1.4)
        assert list(drift.said) == []


def test_charts_that_are_taken_away_are_learnt_anew_by_a_station_that_runs(tmp_path: Path) -> None:
    line, file = Line(), tmp_path / "cam0.json"
    with a_drift(file, save_s=1e4) as drift:
        drift.use(FLANGE)
        line.feed(drift, 600)
        line.feed(drift, 300, factor=1.4)
        drift.save()
        assert list(drift.said) == ["drifting_scores"]
        file.unlink()
        drift.save()
        assert read_charts(file)["flange"].figures == {}
        line.feed(drift, 1, factor=1.4)
        assert list(drift.said) == []


def test_charts_that_are_taken_away_before_a_new_start_has_written_any_are_learnt_anew_too(tmp_path: Path) -> None:
    line, file = Line(), tmp_path / "cam0.json"
    with a_drift(file, save_s=1e4) as drift:
        drift.use(FLANGE)
        line.feed(drift, 600)
    with a_drift(file, save_s=1e4) as drift:
        drift.use(FLANGE)
        file.unlink()
        drift.save()
        assert read_charts(file)["flange"].figures == {}


def test_a_part_does_not_wait_for_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, exists = tmp_path / "cam0.json", Path.exists
    hangs, lets_go = threading.Event(), threading.Event()

    def hanging(path: Path, **more: bool) -> bool:
        if path == file:
            hangs.set()
            assert lets_go.wait(PATIENCE_S)
        return exists(path, **more)

    with a_drift(file, save_s=1e4) as drift:
        drift.use(FLANGE)
        drift.save()
        monkeypatch.setattr(Path, "exists", hanging)
        saving = threading.Thread(target=drift.save)
        saving.start()
        assert hangs.wait(PATIENCE_S)
        adding = threading.Thread(target=Line().feed, args=(drift, 1), daemon=True)
        adding.start()
        adding.join(JOIN_S)
        waited = adding.is_alive()
        lets_go.set()
        saving.join(PATIENCE_S)
        assert not waited


def test_a_file_that_cannot_be_read_is_said_and_costs_no_part(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "cam0.json"
    file.write_text('{"schema": 1, "products": {"flange": {"of": 3}}}', encoding="utf-8")
    with pytest.raises(EdgeResadError, match="Remove the file to learn anew"):
        read_charts(file)
    with a_drift(file) as drift:
        drift.use(FLANGE)
        Line().feed(drift, 10)
    assert "cannot be read" in caplog.text
    assert json.loads(file.read_text(encoding="utf-8"))["products"]["flange"]["of"] == "bank one"


def test_a_folder_that_takes_no_charts_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with a_drift(tmp_path / "file" / "cam0.json", save_s=1e4) as drift:
        drift.use(FLANGE)
        drift.save()
        drift.save()
    assert caplog.text.count("takes no charts") == 1


def test_what_goes_wrong_with_a_chart_is_said_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    line, broken = Line(), Sight(brightness="bright")  # type: ignore[arg-type]
    with a_drift(None) as drift:
        drift.use(FLANGE)
        for _ in range(3):
            drift.add(line.part(), broken)
    assert drift.errors == 3
    assert len(caplog.records) == 1


def test_parts_without_a_verdict_and_numbers_that_are_none_change_nothing() -> None:
    with a_drift(None) as drift:
        drift.use(FLANGE)
        drift.add(Inspection(frame=frame(), verdict=None, not_inspected="black", latency=INSPECTION_MS))
        drift.add(Line().part(), Sight(brightness=math.nan))
    assert drift.errors == 0


@pytest.mark.parametrize(
    ("mean", "samples", "is_unlike"),
    [(-0.1, 4, False), (-0.25, 4, False), (-0.6, 4, True), (-0.25, 200, True), (0.5, 200, False)],
)
def test_a_line_unlike_its_enrolment_is_said_where_the_references_are_enough_to_know(
    mean: float, samples: int, is_unlike: bool
) -> None:
    good = GoodScores(mean=mean, spread=0.15, freedom=samples + 7, samples=samples)
    with a_drift(None) as drift:
        drift.use(Enrolled(product="flange", of="bank", good=good))
        Line().feed(drift, 600)
        assert list(drift.said) == (["unlike_enrolment"] if is_unlike else [])
