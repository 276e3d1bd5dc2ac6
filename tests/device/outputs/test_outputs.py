"""All outputs together: each hears what it listens for, and nothing of theirs comes into the line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import edge_resad.device.lane as lane_module
import edge_resad.device.outputs.output as output_module
from edge_resad.device.frame import Frame
from edge_resad.device.lights import output_lights
from edge_resad.device.outputs import Output, Outputs, OutputStatus, Wiring
from edge_resad.device.pipeline import Inspection, Latency
from edge_resad.device.settings import StationFile
from edge_resad.device.spool import Spool
from edge_resad.device.station import run_station
from edge_resad.errors import OutputError
from tests.device.outputs.fakes import FakeTerminal
from tests.fakes import FakeCamera, FakeJudge, frame, verdict
from tests.plc import PATIENCE_S, Plc

GOOD, BAD, BROKEN = 50, 200, 255  # brightnesses against the fake judge's threshold of 100


@pytest.fixture(autouse=True)
def _close_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still to be shown when the outputs close has the time of a busy machine."""
    monkeypatch.setattr(output_module, "EXIT_S", PATIENCE_S)
    monkeypatch.setattr(output_module, "JOIN_S", PATIENCE_S)


class Told(Output):
    """An output that only remembers which signals it was told."""

    def __init__(self, *on: Any, cameras: tuple[str, ...] = ()) -> None:
        wiring = Wiring(name="told", on=frozenset(on), cameras=frozenset(cameras))
        super().__init__(wiring, FakeTerminal())
        self.signals: list[float] = []
        self.ails: list[tuple[bool, bool]] = []
        self.lives = 0

    def signal(self, there_mono: float) -> None:
        self.signals.append(there_mono)

    def alive(self) -> None:
        self.lives += 1

    def ail(self, *, ill: bool, blind: bool) -> None:
        self.ails.append((ill, blind))


@pytest.mark.parametrize(
    ("on", "cameras", "is_watched"),
    [
        (("fail",), (), True),
        (("fail", "not_inspected"), ("top",), True),
        (("not_inspected",), ("side",), False),  # of another camera
        (("fault",), (), False),  # a lamp
        (("pass",), (), False),  # without its pulse a part is rejected
    ],
)
def test_a_heartbeat_watches_what_rejects_parts_of_its_own_cameras(
    on: tuple[Any, ...], cameras: tuple[str, ...], is_watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[Output] = []
    monkeypatch.setattr(Output, "watch", lambda _heartbeat, others: watched.extend(others))
    other = Told(*on, cameras=cameras)
    Outputs([other, Told("heartbeat", cameras=("top",))])
    assert watched == ([other] if is_watched else [])


def inspection(score: float | None, camera: str = "top", captured_mono: float = 7.0) -> Inspection:
    judged = verdict(score) if score is not None else None
    return Inspection(
        frame=frame(captured_mono=captured_mono), verdict=judged, not_inspected=None if judged else "too_old",
        latency=Latency(waiting_ms=0.0, inspecting_ms=0.0), camera=camera,
    )  # fmt: skip


def test_each_output_hears_what_it_is_on_for() -> None:
    rejecting, passing = Told("fail", "not_inspected"), Told("pass")
    outputs = Outputs([rejecting, passing])
    for score, at in ((50, 1.0), (200, 2.0), (None, 3.0)):
        outputs.judged(inspection(score, captured_mono=at))
    assert (rejecting.signals, passing.signals) == ([2.0, 3.0], [1.0])


def test_the_delay_of_a_triggered_part_counts_from_its_trigger() -> None:
    rejecting = Told("fail")
    triggered = inspection(200, captured_mono=7.0)
    Outputs([rejecting]).judged(replace(triggered, frame=replace(triggered.frame, triggered_mono=6.5)))
    assert rejecting.signals == [6.5]


def test_parts_that_a_person_lets_go_by_are_passed() -> None:
    rejecting, passing = Told("fail", "not_inspected"), Told("pass")
    let_by = replace(inspection(None), not_inspected="bypassed")  # type: ignore[arg-type, unused-ignore]
    Outputs([rejecting, passing]).judged(let_by)
    assert (len(rejecting.signals), len(passing.signals)) == (0, 1)


def test_an_output_hears_its_own_cameras_alone() -> None:
    top, every = Told("fail", cameras=("top",)), Told("fail")
    outputs = Outputs([top, every])
    outputs.judged(inspection(200, camera="side"))
    outputs.faults({"side": ("black",)})
    outputs.faults({"top": ("blurred",)})
    outputs.faults({"side": ()})
    assert (len(top.signals), len(every.signals)) == (0, 1)
    assert top.ails == [(False, False), (True, False), (True, False)]
    assert every.ails == [(True, True), (True, True), (True, False)]


def test_a_part_that_never_came_to_the_judge_is_not_inspected() -> None:
    rejecting, failing = Told("not_inspected"), Told("fail")
    outputs = Outputs([rejecting, failing])
    outputs.missed("overwritten", "top", 5.0)
    outputs.missed("unreadable", "top", 6.0)
    assert (rejecting.signals, failing.signals) == ([5.0, 6.0], [])


def test_an_output_that_breaks_costs_the_line_nothing_and_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Told("fail")
    monkeypatch.setattr(broken, "signal", lambda _: 1 / 0)
    outputs = Outputs([broken])
    outputs.judged(inspection(200))
    outputs.judged(inspection(200))
    assert outputs.errors == 2
    assert len(caplog.records) == 1


def test_outputs_that_cannot_all_be_opened_leave_none_open() -> None:
    there, missing = FakeTerminal(), FakeTerminal()
    missing.away = True
    wirings = [Wiring(name=name, on=frozenset({"fail"})) for name in ("there", "missing")]
    with (
        pytest.raises(OutputError, match="nobody is there"),
        Outputs([Output(wirings[0], there), Output(wirings[1], missing)]),
    ):
        pass
    assert (there.opened, there.closed, there.last) == (1, 1, 1)


def test_the_operators_page_has_a_light_for_each_output() -> None:
    well = OutputStatus(name="reject", fired=3, late=0, failed=0, waiting=0, problem=None)
    lights = output_lights([well, replace(well, late=1), replace(well, problem="nobody is there.")])
    assert [(light.name, light.colour, light.says) for light in lights] == [
        ("output reject", "green", "3 signals"),
        ("output reject", "amber", "3 signals, 1 late, 0 failed. Look at its delay and its wire."),
        ("output reject", "red", "nobody is there."),
    ]


# In a station


def settings(folder: Path, plc: Plc, **more: Any) -> StationFile:
    output = {
        "name": "reject",
        "kind": "modbus",
        "host": "127.0.0.1",
        "port": plc.server.port,
        "coil": 7,
        "pulse_ms": 5,
    }
    return StationFile.model_validate(
        {
            "station": {"device": "press-7"},
            "camera": [{"source": "synthetic"}],
            "inspection": {"bank": "bank.npz", "max_age_s": PATIENCE_S},
            "spool": {"path": str(folder / "spool.db"), "commit_ms": 1.0},
            "log": {"verdicts": str(folder / "verdicts.jsonl")},
            "output": [{**output, **more}],
        }
    )


def connected(plc: Plc, judge: FakeJudge | None = None) -> Callable[[StationFile], FakeJudge]:
    """A judge that is there when the output is: what is told before fails, as with a PLC that is away."""

    def open_judge(_settings: StationFile) -> FakeJudge:
        plc.wait_for(lambda: bool(plc.edges(7)))
        return judge or FakeJudge()

    return open_judge


def test_a_reject_is_at_the_plc_before_anything_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Plc() as plc:
        plain = lane_module.Lane.say

        def say(lane: lane_module.Lane, inspected: Inspection) -> None:
            if inspected.verdict is not None and inspected.verdict.status == "fail":
                plc.wait_for(lambda: True in plc.edges(7))  # or it would never come
            plain(lane, inspected)

        monkeypatch.setattr(lane_module.Lane, "say", say)
        summary = run_station(
            settings(tmp_path, plc, safe="idle"),
            stop=threading.Event(),
            open_source=lambda _settings, _halt: FakeCamera([GOOD, BAD, GOOD]),
            open_judge=connected(plc),
        )
        assert plc.edges(7) == [False, True, False]
    (status,) = summary.outputs
    assert (status.fired, status.failed) == (1, 0)
    assert "output reject: 1 signals" in str(summary)


def test_a_part_that_the_inspector_cannot_judge_is_rejected(tmp_path: Path) -> None:
    with Plc() as plc:
        summary = run_station(
            settings(tmp_path, plc, safe="idle", on=["not_inspected"]),
            stop=threading.Event(),
            open_source=lambda _settings, _halt: FakeCamera([GOOD, BROKEN, BAD]),
            open_judge=connected(plc),
        )
    assert summary.outputs[0].fired == 1


def test_parts_that_are_overwritten_while_the_judge_is_busy_are_rejected(tmp_path: Path) -> None:
    camera = FakeCamera([GOOD] * 6, live=True, hangs=True)

    class Slow(FakeJudge):
        def inspect(self, shown: Any, /) -> Any:
            assert camera.hanging.wait(PATIENCE_S)  # all parts have passed meanwhile
            camera.released.set()
            return super().inspect(shown)

    with Plc() as plc:
        summary = run_station(
            settings(tmp_path, plc, safe="idle", on=["not_inspected"]),
            stop=threading.Event(),
            open_source=lambda _settings, _halt: camera,
            open_judge=connected(plc, Slow()),
        )
    overwritten = summary.not_inspected["overwritten"]
    assert overwritten >= 4
    assert summary.outputs[0].fired == overwritten


def test_the_signal_of_a_part_that_never_came_to_the_judge_counts_from_its_own_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, float]] = []
    monkeypatch.setattr(Outputs, "signal", lambda _outputs, signal, _camera, there: told.append((signal, there)))
    taken: list[float] = []

    class Stamped(FakeCamera):
        def read(self) -> Frame | None:
            shown = super().read()
            if shown is not None:
                taken.append(shown.captured_mono)
            return shown

    camera = Stamped([GOOD] * 6, live=True, hangs=True)

    class Slow(FakeJudge):
        def inspect(self, shown: Any, /) -> Any:
            assert camera.hanging.wait(PATIENCE_S)
            camera.released.set()
            return super().inspect(shown)

    with Plc() as plc:
        summary = run_station(
            settings(tmp_path, plc),
            stop=threading.Event(),
            open_source=lambda _settings, _halt: camera,
            open_judge=connected(plc, Slow()),
        )
    assert summary.not_inspected["overwritten"] >= 4
    assert sorted(there for _, there in told) == taken


@pytest.mark.parametrize("live", [True, False])
def test_parts_that_nobody_looked_at_because_of_the_stop_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    if not live:  # this one does not hang
        monkeypatch.setattr("edge_resad.device.handover.LEAVE_S", PATIENCE_S)
    stop, first_is_judged = threading.Event(), threading.Event()

    class OneFirst(FakeCamera):
        def read(self) -> Frame | None:
            assert self._taken == 0 or first_is_judged.wait(PATIENCE_S)
            return super().read()

    camera = OneFirst([GOOD] * 6, live=live, hangs=live)

    def judged(_inspection: Inspection) -> None:
        first_is_judged.set()
        assert not live or camera.hanging.wait(PATIENCE_S)  # the newest part lies in the slot
        stop.set()

    with Plc() as plc:
        summary = run_station(
            settings(tmp_path, plc, safe="idle", on=["not_inspected"]),
            stop=stop,
            on_inspection=judged,
            open_source=lambda _settings, _halt: camera,
            open_judge=connected(plc),
        )
        camera.released.set()
    assert summary.not_inspected["stopped"] >= 1
    assert summary.outputs[0].fired == sum(summary.not_inspected.values())


def test_the_safe_level_is_there_before_the_engine_and_after_the_last_part(tmp_path: Path) -> None:
    with Plc() as plc:

        def judge(_settings: StationFile) -> FakeJudge:
            plc.wait_for(lambda: plc.edges(7) == [True])  # the engine takes its time
            return FakeJudge()

        camera, stop = FakeCamera([GOOD], hangs=True), threading.Event()

        def stopped(_inspection: Inspection) -> None:
            stop.set()
            camera.released.set()

        run_station(
            settings(tmp_path, plc),
            stop=stop,
            on_inspection=stopped,
            open_source=lambda _settings, _halt: camera,
            open_judge=judge,
        )
        assert plc.edges(7)[0] is plc.edges(7)[-1] is True


def test_a_camera_that_falls_silent_puts_its_output_to_the_safe_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_module, "JUDGING_S", 1e6)  # so that nothing else can
    stop, opened = threading.Event(), list[FakeCamera]()

    class UntilTheOutputFollows(FakeCamera):
        """Shows one good part after the other until the output is not at its safe level any more, then hangs."""

        def read(self) -> Frame | None:
            self._taken = 0 if plc.edges(7) == [True] else 1
            return super().read()

    def camera(_settings: StationFile, _halt: threading.Event) -> FakeCamera:
        opened.append(UntilTheOutputFollows([GOOD], live=True, hangs=True))
        return opened[-1]

    with Plc() as plc:
        told = settings(tmp_path, plc)
        silent = {"cameras": (told.camera.model_copy(update={"source": "/dev/video9"}),)}
        watch = {"silent_s": 0.3, "frozen_s": 0.0}  # it shows one picture for as long as the output takes
        silent["watch"] = told.watch.model_copy(update=watch)  # type: ignore[assignment]
        running = threading.Thread(
            target=lambda: run_station(
                told.model_copy(update=silent),
                stop=stop,
                open_source=camera,
                open_judge=connected(plc),
            )
        )
        running.start()
        try:
            plc.wait_for(lambda: plc.edges(7)[:3] == [True, False, True])
        finally:
            stop.set()
            for one in opened:
                one.released.set()
            running.join(PATIENCE_S)
        assert not running.is_alive()


def test_an_output_lives_by_its_own_cameras_and_that_of_all_by_each_of_them() -> None:
    top, both = Told("fail", cameras=("top",)), Told("fail")
    outputs = Outputs([top, both])
    outputs.alive({"top": True, "side": False})
    outputs.alive({"top": True, "side": False})
    assert (top.lives, both.lives) == (2, 0)
    outputs.alive({"top": False, "side": True})
    assert (top.lives, both.lives) == (2, 1)


def test_the_state_says_how_each_output_does() -> None:
    outputs = Outputs([Told("fail")])
    assert outputs.facts() == {"outputs": {"told": {"fired": 0, "late": 0, "failed": 0, "problem": None}}}
    assert Outputs([]).facts() == {}


def test_a_plc_that_is_away_costs_no_part_its_verdict(tmp_path: Path) -> None:
    with Plc() as plc:
        plc.stop()
        summary = run_station(
            settings(tmp_path, plc, safe="idle"),
            stop=threading.Event(),
            open_source=lambda _settings, _halt: FakeCamera([GOOD, BAD, BAD]),
            open_judge=lambda _settings: FakeJudge(),
        )
    assert (summary.passed, summary.failed) == (1, 2)
    assert summary.outputs[0].fired == 0
    assert summary.outputs[0].failed == 2
    with Spool(tmp_path / "spool.db", max_bytes=10**9) as spool:
        assert spool.waiting() > 0
