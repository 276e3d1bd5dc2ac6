from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_resad.decision import Verdict
from edge_resad.device.pipeline import Alarm, Alert, Inspection, Line, Tally
from edge_resad.device.verdict_log import VerdictLog, as_record
from edge_resad.device.watch import Limits, Watch
from tests.fakes import FakeClock, FakeJudge, frame, verdict

GOOD, MINOR, MAJOR, CRITICAL = 50, 110, 150, 200  # scores against a threshold of 100
WAIT_S = 60.0  # a deadline, not a pause


def ids() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"alert-{next(numbers)}"


def told(k: int, n: int, scores: list[int]) -> list[tuple[str, str] | None]:
    """Phase and severity of the alert after every part."""
    alarm = Alarm(k, n, ids())
    alerts = [alarm.step(verdict(score)) for score in scores]
    return [(alert.phase, alert.severity) if alert else None for alert in alerts]


# Alerts


def test_a_failed_part_begins_an_alert_and_a_good_one_ends_it() -> None:
    assert told(1, 1, [GOOD, MINOR, GOOD, GOOD]) == [None, ("new", "minor"), ("end", "minor"), None]


def test_an_alert_that_goes_on_is_not_said_again() -> None:
    assert told(1, 1, [MAJOR, MAJOR, MINOR, MAJOR]) == [("new", "major"), None, None, None]


def test_an_alert_that_gets_worse_is_updated_and_keeps_its_worst() -> None:
    assert told(1, 1, [MINOR, CRITICAL, MINOR, MAJOR, GOOD]) == [
        ("new", "minor"), ("update", "critical"), None, None, ("end", "critical")
    ]  # fmt: skip


def test_fewer_than_k_failed_parts_of_n_are_no_alert() -> None:
    assert told(2, 3, [MINOR, GOOD, GOOD, MINOR, GOOD, GOOD]) == [None] * 6


def test_k_failed_parts_of_n_begin_an_alert_and_fewer_end_it() -> None:
    assert told(2, 3, [MINOR, GOOD, MINOR, GOOD, GOOD]) == [None, None, ("new", "minor"), ("end", "minor"), None]


def test_a_debounced_alert_begins_with_the_worst_of_its_parts() -> None:
    assert told(2, 3, [CRITICAL, MINOR]) == [None, ("new", "critical")]


def test_all_messages_of_an_alert_carry_its_id_and_the_next_alert_has_another() -> None:
    alarm = Alarm(1, 1, ids())
    alerts = [alarm.step(verdict(score)) for score in (MINOR, MAJOR, GOOD, MINOR)]
    assert [alert and alert.alert_id for alert in alerts] == ["alert-1", "alert-1", "alert-1", "alert-2"]


def test_an_alert_counts_its_failed_parts_and_keeps_the_highest_score() -> None:
    alarm = Alarm(2, 3, ids())
    for score in (MINOR, MAJOR, GOOD, MINOR):
        alarm.step(verdict(score))
    ended = alarm.end()
    assert ended == Alert(alert_id="alert-1", phase="end", severity="major", score=MAJOR, failed_parts=3)


def test_an_alarm_without_an_alert_has_nothing_to_end() -> None:
    alarm = Alarm(1, 1)
    alarm.step(verdict(MINOR))
    assert alarm.end() is not None
    assert alarm.end() is None


# The line


def line(judge: FakeJudge | None = None, *, max_age_s: float | None = None, now: float = 100.0) -> Line:
    return Line(judge or FakeJudge(), Alarm(1, 1, ids()), max_age_s=max_age_s, clock=FakeClock(now))


def test_a_part_gets_its_verdict_and_its_alert() -> None:
    inspection = line().step(frame(7, MAJOR))
    assert inspection.verdict is not None
    assert (inspection.verdict.status, inspection.verdict.score) == ("fail", MAJOR)
    assert inspection.alert is not None
    assert inspection.not_inspected is None


def test_a_frame_that_is_too_old_is_counted_and_not_judged() -> None:
    judge = FakeJudge()
    inspection = line(judge, max_age_s=1.0, now=12.5).step(frame(captured_mono=10.0))
    assert inspection.verdict is None
    assert inspection.not_inspected == "too_old"
    assert inspection.latency.waiting_ms == pytest.approx(2500)
    assert judge.seen == []


def test_who_is_asked_before_every_frame_is_given_the_picture_of_one_that_is_judged_alone() -> None:
    before: list[int | None] = []
    bypassed = [False]
    line = Line(
        FakeJudge(),
        Alarm(1, 1),
        max_age_s=1.0,
        clock=FakeClock(10.0),
        watch=Watch(Limits()),
        is_bypassed=lambda: bypassed[0],
        before=lambda picture: before.append(None if picture is None else int(picture[0, 0, 0])),
    )
    young = replace(frame(brightness=50), captured_mono=10.0)
    line.step(young)
    line.step(replace(young, captured_mono=1.0))
    line.step(replace(young, image=frame(brightness=0).image))
    line.step(young.without_picture("no_picture"))
    bypassed[0] = True
    line.step(young)
    assert before == [50, None, None, None, None]


def test_of_a_backlog_no_frame_is_too_old() -> None:
    assert line(max_age_s=None, now=1e6).step(frame(captured_mono=0.0)).verdict is not None


def test_the_latency_is_what_a_part_waited_and_what_its_inspection_took() -> None:
    clock = FakeClock(10.0)

    class SlowJudge(FakeJudge):
        def inspect(self, frame: Any, /) -> Verdict:
            clock.now += 0.030
            return super().inspect(frame)

    latency = Line(SlowJudge(), Alarm(1, 1), clock=clock).step(frame(captured_mono=9.980)).latency
    assert latency.waiting_ms == pytest.approx(20)
    assert latency.inspecting_ms == pytest.approx(30)
    assert latency.total_ms == pytest.approx(50)


def test_a_judge_that_fails_costs_one_part_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    belt = line()
    steps = [belt.step(frame(number, brightness)) for number, brightness in enumerate((GOOD, 255, 255, MINOR))]
    assert [step.not_inspected for step in steps] == [None, "inspector_error", "inspector_error", None]
    assert len(caplog.records) == 1
    assert "part 1 was not inspected" in caplog.text
    assert "the judge has a headache" in caplog.text


def test_a_judge_that_fails_neither_begins_nor_ends_an_alert() -> None:
    belt = line()
    alerts = [belt.step(frame(0, brightness)).alert for brightness in (MINOR, 255, MINOR, GOOD)]
    assert [alert and alert.phase for alert in alerts] == ["new", None, None, "end"]


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_an_error_of_the_judge(score: float, caplog: pytest.LogCaptureFixture) -> None:
    class Confused(FakeJudge):
        def inspect(self, frame: Any, /) -> Verdict:
            return verdict(score)

    assert line(Confused()).step(frame()).not_inspected == "inspector_error"
    assert f"the score of part 0 is {score}" in caplog.text


def test_every_part_is_counted_exactly_once() -> None:
    tally = Tally()
    belt = line(max_age_s=1.0, now=10.0)
    for brightness, captured in ((GOOD, 10.0), (MINOR, 10.0), (255, 10.0), (GOOD, 0.0), (CRITICAL, 9.5), (GOOD, 10.0)):
        tally.count(belt.step(frame(0, brightness, captured)))
    assert (tally.passed, tally.failed, tally.alerts) == (2, 2, 1)
    assert tally.not_inspected == {"inspector_error": 1, "too_old": 1}
    assert tally.parts == 6
    assert tally.latency_ms(100) == pytest.approx(500)


def test_the_tally_of_several_is_that_of_one_who_saw_all_their_parts() -> None:
    belt, every, some = line(max_age_s=1.0, now=10.0), Tally(), (Tally(), Tally())
    for at, (brightness, captured) in enumerate(((GOOD, 10.0), (MINOR, 9.9), (255, 10.0), (GOOD, 0.0), (GOOD, 9.5))):
        inspection = belt.step(frame(0, brightness, captured))
        every.count(inspection)
        some[at % 2].count(inspection)
    whole = Tally.of(some)
    assert (str(whole), whole.alerts, whole.parts) == (str(every), every.alerts, 5)
    assert whole.not_inspected == every.not_inspected
    assert [whole.latency_ms(percent) for percent in (1, 50, 100)] == [
        every.latency_ms(percent) for percent in (1, 50, 100)
    ]
    assert Tally.of(()).parts == 0


def test_without_a_verdict_there_is_no_latency() -> None:
    assert Tally().latency_ms(50) is None


# The verdict log


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]


def inspections(*scores: int) -> list[Inspection]:
    belt = line()
    return [belt.step(frame(number, score)) for number, score in enumerate(scores)]


def test_the_log_keeps_a_line_for_every_part(tmp_path: Path) -> None:
    with VerdictLog(tmp_path / "logs" / "verdicts.jsonl") as verdicts:
        for inspection in inspections(GOOD, MAJOR, 255):
            verdicts.append(as_record(inspection))
    good, bad, none = lines(tmp_path / "logs" / "verdicts.jsonl")
    assert (good["status"], good["score"], good["frame_id"], good["time"]) == (
        "pass",
        GOOD,
        0,
        "2023-11-14T22:13:20.000Z",
    )
    assert (bad["status"], bad["severity"], bad["regions"][0]["area_px"]) == ("fail", "major", 12)
    assert bad["alert"] == {"id": "alert-1", "phase": "new", "severity": "major"}
    assert (none["status"], none["reason"]) == ("not inspected", "inspector_error")


def test_numbers_of_numpy_can_be_logged(tmp_path: Path) -> None:
    judged = Verdict(status="pass", score=float(np.float32(0.1)), threshold=1.0, regions=())
    inspection = Inspection(frame=frame(), verdict=judged, not_inspected=None, latency=inspections(GOOD)[0].latency)
    assert json.loads(json.dumps(as_record(inspection)))["score"] == pytest.approx(0.1)


def test_a_new_log_goes_on_where_the_old_one_ended(tmp_path: Path) -> None:
    for number in range(2):
        with VerdictLog(tmp_path / "verdicts.jsonl") as verdicts:
            verdicts.append({"part": number})
    assert lines(tmp_path / "verdicts.jsonl") == [{"part": 0}, {"part": 1}]


def test_half_a_line_that_a_power_cut_left_spoils_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text('{"part": 0}\n{"par')
    with VerdictLog(path) as verdicts:
        verdicts.append({"part": 2})
    assert path.read_text() == '{"part": 0}\n{"par\n{"part":2}\n'


def test_a_full_file_is_put_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    with VerdictLog(path, max_bytes=22, keep=2) as verdicts:  # a line has 11 bytes
        for number in range(8):
            verdicts.append({"part": number})
    assert [lines(tmp_path / name) for name in ("verdicts.jsonl.2", "verdicts.jsonl.1", "verdicts.jsonl")] == [
        [{"part": 2}, {"part": 3}], [{"part": 4}, {"part": 5}], [{"part": 6}, {"part": 7}]
    ]  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 3


def test_a_log_may_keep_no_full_files(tmp_path: Path) -> None:
    with VerdictLog(tmp_path / "verdicts.jsonl", max_bytes=20, keep=0) as verdicts:
        for number in range(3):
            verdicts.append({"part": number})
    assert lines(tmp_path / "verdicts.jsonl") == [{"part": 2}]
    assert len(list(tmp_path.iterdir())) == 1


class Disk:
    """Refuses after half a line until somebody makes room."""

    def __init__(self) -> None:
        self.full = True
        self.asked = threading.Semaphore(0)

    def write(self, file: int, line: bytes) -> int:
        if self.full:
            self.asked.release()
            return os.write(file, line[:3])
        return os.write(file, line)


def test_a_full_disk_is_said_once_and_its_lines_wait_for_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    with VerdictLog(tmp_path / "verdicts.jsonl", retry_s=0.001, write=disk.write) as verdicts:
        for number in range(3):
            verdicts.append({"part": number})
        for _ in range(3):
            assert disk.asked.acquire(timeout=WAIT_S)
        disk.full = False
    assert lines(tmp_path / "verdicts.jsonl") == [{"part": 0}, {"part": 1}, {"part": 2}]
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        f"{tmp_path}/verdicts.jsonl takes no verdicts: No space left on device. Make room; inspection goes on"
    ]
    assert verdicts.lost == 0


def test_lines_that_a_full_disk_never_took_are_counted(tmp_path: Path) -> None:
    with VerdictLog(tmp_path / "verdicts.jsonl", waiting_lines=5, write=Disk().write) as verdicts:
        for number in range(100):
            verdicts.append({"part": number})
    assert verdicts.lost == 100
    assert (tmp_path / "verdicts.jsonl").read_bytes() == b""


def test_at_the_stop_a_line_that_still_fits_is_not_taken_for_a_recovery(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    asked = threading.Event()

    def write(file: int, line: bytes) -> int:
        asked.set()
        return os.write(file, line if len(line) < 30 else line[:3])  # room for a short line, for no long one

    with VerdictLog(tmp_path / "verdicts.jsonl", write=write) as verdicts:
        for regions in ("many regions" * 3, "none", "many regions" * 3):
            verdicts.append({"regions": regions})
        assert asked.wait(WAIT_S)
    (said,) = caplog.messages
    assert "takes no verdicts" in said
    assert verdicts.lost == 2


def test_a_log_that_cannot_be_opened_does_not_stop_the_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "logs").write_text("a file where a folder should be")
    with VerdictLog(tmp_path / "logs" / "verdicts.jsonl") as verdicts:
        verdicts.append({"part": 0})
    assert verdicts.lost == 1
    assert "takes no verdicts" in caplog.text


def test_a_picture_that_the_watch_cannot_look_at_costs_this_part_and_no_other() -> None:
    line = Line(FakeJudge(), Alarm(1, 1), clock=FakeClock(), watch=Watch(Limits()))
    gray = replace(frame(brightness=50), image=np.full((8, 16), 50, np.uint8))
    assert [line.step(one).not_inspected for one in (frame(brightness=50), gray, frame(brightness=60))] == [
        None, "inspector_error", None,
    ]  # fmt: skip
