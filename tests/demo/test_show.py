"""The demo from the first good part to the last alert, on its own broker, and what it says when something lacks."""

from __future__ import annotations

import hashlib
import io
import re
import socket
import sys
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from edge_resad.bank import load_bank
from edge_resad.demo import broker, show, subscriber
from edge_resad.demo.broker import EmbeddedBroker
from edge_resad.demo.line import BAD_EVERY, DemoLine, planned, shown
from edge_resad.demo.products import DEFECTS
from edge_resad.demo.report import DemoSummary
from edge_resad.demo.screen import Row, Screen
from edge_resad.demo.show import MORE_GOOD_PARTS, run_demo
from edge_resad.demo.subscriber import Subscriber
from edge_resad.device import open_station
from edge_resad.device.settings import load_station
from edge_resad.device.spool import Spool
from edge_resad.errors import BrokerError, EdgeResadError
from edge_resad.image import image_files, read_image
from edge_resad.messages import Address
from tests.mqtt_peers import eventually

PARTS = 12
SEED = 25  # its first defect is a clear dent, which no bundle worth its name lets through


class Shown(NamedTuple):
    summary: DemoSummary
    said: str
    out: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """One short run, looked at by several tests."""
    out = tmp_path_factory.mktemp("demo")
    said = io.StringIO()
    before = set(threading.enumerate())
    with pytest.MonkeyPatch.context() as patient:  # a machine that is busy is no broker that hangs
        patient.setattr(broker, "START_S", 60.0)
        patient.setattr(subscriber, "CONNECT_S", 60.0)
        patient.setattr(show, "LAST_ALERTS_S", 60.0)
        patient.setattr(open_station, "DELIVER_S", 60.0)
        patient.setattr(open_station, "CLOSING", replace(open_station.CLOSING, close_s=60.0))
        summary = run_demo(broker=None, out=out, parts=PARTS, seed=SEED, console=Console(file=said, width=100))
    assert eventually(lambda: set(threading.enumerate()) <= before), "a demo that has ended leaves no thread behind"
    return Shown(summary, said.getvalue(), out)


def test_every_alert_that_was_sent_arrived(demo: Shown) -> None:
    about = [card for card in demo.summary.rejects if card.alert_id is not None]
    assert about, "a clear dent raises an alert"
    assert all(card.arrival_ms is not None and card.arrival_ms > 0 for card in about)
    assert demo.summary.alerts_arrived == demo.summary.alerts_sent == len(about)
    assert f"{len(about)} sent, {len(about)} arrived, {len(about)} with a picture" in demo.said


def test_nothing_waits_in_the_spool_when_the_demo_is_over(demo: Shown) -> None:
    with Spool(demo.out / "spool.db", max_bytes=10**9) as spool:
        assert spool.waiting() == 0


def test_every_part_was_judged_once(demo: Shown) -> None:
    assert demo.summary.parts == len(demo.summary.latency_ms) == PARTS
    assert len(demo.summary.defective_scores) == sum(planned(k, SEED)[0] is not None for k in range(PARTS))
    assert len((demo.out / "verdicts.jsonl").read_text().splitlines()) == PARTS


def test_the_report_has_a_card_for_every_reject_and_every_miss(demo: Shown) -> None:
    page = (demo.out / "report.html").read_text()
    assert page.count('<article class="card') == len(demo.summary.rejects) + len(demo.summary.missed)
    failed = [score for score in demo.summary.good_scores if score > demo.summary.threshold]
    assert demo.summary.false_rejects == len(failed)
    assert str(demo.out / "report.html") in demo.said.replace("\n", "")


def test_the_threshold_is_the_one_that_enrolment_gave(demo: Shown) -> None:
    threshold = load_bank(demo.out / "flange.npz").info.threshold
    assert demo.summary.threshold == threshold.score
    assert threshold.how == "references"
    assert {card.threshold for card in demo.summary.rejects} <= {threshold.score}


def test_without_a_terminal_every_part_is_a_plain_line(demo: Shown) -> None:
    lines = [line for line in demo.said.splitlines() if line.startswith("part ")]
    assert len(lines) == PARTS
    assert sum("FAIL" in line for line in lines) == len(demo.summary.rejects)
    assert demo.said.count("arrived over MQTT") == demo.summary.alerts_arrived
    assert "\x1b" not in demo.said


def test_the_station_file_can_be_run_again(demo: Shown) -> None:
    settings = load_station(demo.out / "station.toml")
    assert settings.camera.source == "synthetic:flange"
    assert settings.inspection.bank == demo.out / "flange.npz"


def test_the_good_parts_and_more_of_them_are_left_as_pictures_for_the_command_line(demo: Shown) -> None:
    bank = load_bank(demo.out / "flange.npz")
    enrolled = [hashlib.sha256(read_image(file).tobytes()).hexdigest() for file in image_files(demo.out / "good")]
    assert tuple(enrolled) == bank.info.references
    more = image_files(demo.out / "more-good")
    assert len(more) == MORE_GOOD_PARTS
    assert not {hashlib.sha256(read_image(file).tobytes()).hexdigest() for file in more} & set(enrolled)


def test_a_threshold_is_to_be_estimated_with_a_command_that_is_whole(demo: Shown) -> None:
    hints = re.findall(r"edge-resad threshold .*", demo.said.replace("\n", " "))
    assert bool(hints) == bool(demo.summary.misses)
    assert all(f"{demo.out / 'flange.npz'} {demo.out / 'more-good'}" in hint for hint in hints)


def test_a_terminal_shows_score_truth_and_alert_of_a_part() -> None:
    said = io.StringIO()
    console = Console(file=said, force_terminal=True, width=100, height=40, legacy_windows=False)
    with Screen(console, title="Machined flange", parts=2, arrival=lambda alert, frame: 10.041) as screen:
        screen.show(_row(frame_id=0, score=0.5))
        screen.show(_row(frame_id=1, score=2.5, defect="scratch", alert_id="abcdef123"))
    text = said.getvalue()
    for word in ("PASS", "FAIL", "2.50", "scratch", "abcdef", "41 ms", "part 2 of 2", "1 sent, 1 arrived"):
        assert word in text


@pytest.mark.parametrize(
    ("score", "defect", "wrong"),
    [(2.0, None, "false"), (0.5, "dent", "missed"), (2.0, "dent", None), (0.5, None, None)],
)
def test_a_row_says_where_the_station_was_wrong(score: float, defect: str | None, wrong: str | None) -> None:
    assert _row(score=score, defect=defect).wrong == wrong


def test_one_part_in_six_is_defective_and_no_two_in_a_row() -> None:
    kinds = [planned(k, 3)[0] for k in range(BAD_EVERY * len(DEFECTS))]
    bad = [k for k, kind in enumerate(kinds) if kind is not None]
    assert len(bad) == len(DEFECTS)
    assert {kinds[k] for k in bad} == set(DEFECTS)
    assert all(later - sooner > 1 for sooner, later in pairwise(bad))


def test_the_line_ends_after_its_parts() -> None:
    with DemoLine("cap", 3, seed=1, fps=None) as line:
        taken = [line.read() for _ in range(4)]
    assert [frame.frame_id if frame else None for frame in taken] == [0, 1, 2, None]


def test_no_part_that_was_shown_comes_down_the_line() -> None:
    with DemoLine("cap", 4, seed=1, fps=None) as line:
        coming = [frame.image.tobytes() for frame in iter(line.read, None)]
    assert not set(coming) & {part.image.tobytes() for part in shown("cap", 4, seed=1)}


def test_without_amqtt_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amqtt.broker", None)
    with pytest.raises(EdgeResadError, match=r"pip install '\.\[demo\]'"), EmbeddedBroker():
        pass


def test_an_embedded_broker_gives_its_port_back() -> None:
    with EmbeddedBroker() as broker:
        socket.create_connection((broker.host, broker.port), timeout=5).close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((broker.host, broker.port), timeout=5)


def test_a_broker_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]  # bound, and nobody listens
        listener = Subscriber("127.0.0.1", port, Address(site="demo", line="laptop", device="one"))
        with pytest.raises(BrokerError, match=rf"no MQTT broker answers at 127\.0\.0\.1:{port}"), listener:
            pass


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"family": "gear"}, "flange, board, cap, nameplate"),
        ({"parts": 0}, "0 parts"),
        ({"broker": "a:b"}, "HOST:PORT"),
    ],
)
def test_what_cannot_be_shown_is_said_before_anything_is_written(
    tmp_path: Path, asked: dict[str, object], says: str
) -> None:
    told: dict[str, object] = {"broker": None, **asked}
    with pytest.raises(EdgeResadError, match=says):
        run_demo(out=tmp_path / "out", console=Console(file=io.StringIO()), **told)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def _row(*, frame_id: int = 0, score: float = 0.5, defect: str | None = None, alert_id: str | None = None) -> Row:
    return Row(
        frame_id=frame_id,
        captured=10.0,
        status="fail" if score > 1.0 else "pass",
        score=score,
        threshold=1.0,
        defect=defect,
        severity=2,
        latency_ms=20.0,
        alert_id=alert_id,
    )


def test_a_folder_that_is_not_the_demos_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text("somebody's")
    with pytest.raises(EdgeResadError, match="holds files that are not a demo's: they stay"):
        run_demo(broker=None, out=tmp_path, parts=1)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("station.toml", "somebody's")]
