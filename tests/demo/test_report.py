"""The demo's report: whole, self-contained, honest about what went wrong, and never half-written."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad import charts
from edge_resad.demo.report import DemoSummary, RejectCard, render, write
from edge_resad.errors import EdgeResadError

VOID = {"meta", "img", "br", "link", "input"}


def photo(grey: int = 90) -> NDArray[np.uint8]:
    return np.full((64, 64, 3), grey, np.uint8)


def card(**changes: Any) -> RejectCard:
    mask = np.zeros((64, 64), bool)
    mask[20:30, 20:40] = True
    values: dict[str, Any] = {
        "number": 17,
        "photo": photo(),
        "overlay": photo(140),
        "mask": mask,
        "score": 2.5,
        "threshold": 1.25,
        "truth": "defective",
        "defect": "scratch",
        "severity": 3,
        "alert_id": "01JALERT",
        "arrival_ms": 41.6,
    }
    return RejectCard(**(values | changes))


def summary(**changes: Any) -> DemoSummary:
    values: dict[str, Any] = {
        "product": "Machined flange",
        "good_parts": [photo(k) for k in (80, 90, 100)],
        "enrol_s": 1.2,
        "threshold": 1.25,
        "good_scores": [0.4, 0.5, 0.6],
        "defective_scores": [2.5],
        "latency_ms": [10.0, 12.0, 14.0, 30.0],
        "rejects": [card()],
        "alerts_sent": 1,
        "alerts_arrived": 1,
        "started": datetime(2026, 3, 4, 14, 5),
        "duration_s": 12.0,
        "engine": "ONNX Runtime, CPU, 1 thread",
        "broker": "amqtt, MQTT 3.1.1",
    }
    return DemoSummary(**(values | changes))


class Balance(HTMLParser):
    """Remembers which tags are open, and every picture."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(dict(attrs)["src"] or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def read(page: str) -> Balance:
    balance = Balance()
    balance.feed(page)
    return balance


def test_every_tag_that_opens_closes() -> None:
    assert read(render(summary(missed=[card(number=20, rejected=False)]))).open == []


def test_every_picture_is_inside_the_page() -> None:
    pictures = read(render(summary())).pictures
    assert len(pictures) == 3 + 3  # enrolled; photograph, heat and truth of the reject
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in pictures)


def test_nothing_in_the_page_points_outside() -> None:
    assert re.findall(r"https?:|src=\"(?!data:)|<script|<link|@import|url\(", render(summary())) == []


def test_a_clean_run_says_so() -> None:
    assert "Every verdict right, every alert delivered." in read(render(summary())).text


def test_a_missed_defect_has_a_card_and_is_said_at_the_top() -> None:
    missed = card(number=23, score=1.0, rejected=False, alert_id=None, arrival_ms=None)
    text = read(render(summary(defective_scores=[2.5, 1.0], missed=[missed]))).text
    assert "1 defect missed" in text
    assert "Part 23" in text
    assert "Every verdict right" not in text


def test_what_was_missed_was_seen_and_not_found() -> None:
    page = render(summary(missed=[card(rejected=False, score=1.1)], rejects=[]))
    assert "what it saw" in page
    assert "what it found" not in page


def test_every_score_is_drawn_on_one_scale() -> None:
    page = render(summary(missed=[card(rejected=False, score=1.0)], rejects=[card(score=2.0), card(score=4.0)]))
    widths = [float(width) for width in re.findall(r'<i style="width:([\d.]+)%">', page)]
    assert widths == pytest.approx([widths[2] / 4, widths[2] / 2, widths[2]], abs=0.1)
    assert len(set(re.findall(r'<u style="left:([\d.]+)%">', page))) == 1  # one threshold, one place


def test_the_names_of_two_marks_stand_apart() -> None:
    chart = charts.histogram([19.0, 19.3, 20.0, 25.3], [("p50", 19.3), ("p99", 20.0)], unit="ms")
    first, second = re.findall(r'class="mark-name" x="[\d.]+" y="(\d+)"', chart)
    assert first != second


def test_a_good_part_that_was_sorted_out_counts_as_a_false_reject() -> None:
    run = summary(good_scores=[0.4, 1.3], rejects=[card(), card(number=30, score=1.3, truth="good", defect=None)])
    assert run.false_rejects == 1
    text = read(render(run)).text
    assert "1 good part sorted out" in text
    assert "false reject" in text


def test_an_alert_that_has_not_come_is_not_said_to_have_come() -> None:
    text = read(render(summary(alerts_sent=2, alerts_arrived=1, rejects=[card(arrival_ms=None)]))).text
    assert "1 alert still on the way" in text
    assert "not yet" in text


@pytest.mark.parametrize(
    ("truth", "rejected", "verdict"),
    [
        ("defective", True, "right"),
        ("defective", False, "wrong"),
        ("good", True, "wrong"),
        ("good", False, "right"),
        ("unknown", True, "unknown"),
    ],
)
def test_a_verdict_is_right_where_it_agrees_with_the_truth(truth: str, rejected: bool, verdict: str) -> None:
    assert card(truth=truth, rejected=rejected).verdict == verdict


def test_what_others_named_cannot_break_the_page() -> None:
    page = render(summary(product="<b>&", broker="</footer>", rejects=[card(defect='"><i>', alert_id="<u>")]))
    assert read(page).open == []
    assert "&lt;b&gt;&amp;" in page
    assert '"><i>' not in page


def test_a_run_without_parts_still_makes_a_page() -> None:
    empty = summary(
        good_parts=[], good_scores=[], defective_scores=[], latency_ms=[], rejects=[], alerts_sent=0, alerts_arrived=0
    )
    assert "No part was judged in this run." in read(render(empty)).text


def test_the_latency_shown_is_the_latency_measured() -> None:
    text = read(render(summary(latency_ms=[float(k) for k in range(1, 102)]))).text
    assert "51 mslatency p50" in text
    assert "100 mslatency p99" in text


@pytest.mark.parametrize("latency", [[0.0], [5.0, 5.0, 5.0], [0.001, 9000.0]])
def test_odd_latencies_are_drawn(latency: list[float]) -> None:
    page = render(summary(latency_ms=latency))
    assert read(page).open == []
    assert "nan" not in read(page).text


def test_writing_makes_the_folder_and_leaves_one_file(tmp_path: Path) -> None:
    path = write(summary(), tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == render(summary())
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EdgeResadError, match=r"cannot write the report to .*file/report\.html"):
        write(summary(), tmp_path / "file" / "report.html")


def test_a_full_disk_keeps_the_page_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(summary(), tmp_path / "report.html")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(EdgeResadError, match="No space left on device"):
        write(dataclasses.replace(summary(), product="Another"), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
