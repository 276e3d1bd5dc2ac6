"""A station with triggers, whole: every part that was announced is a verdict or not inspected, and said."""

from __future__ import annotations

import logging
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import pytest
from typer.testing import CliRunner

import edge_resad.device.gpio_trigger as gpio_module
from edge_resad.cli import app
from edge_resad.device import lane, open_station
from edge_resad.device.control import ControlClient
from edge_resad.device.frame import NO_ID, Frame
from edge_resad.device.handover import Capture
from edge_resad.device.live import HalfFrame, LiveCamera, StillWaiting
from edge_resad.device.pipeline import Inspection
from edge_resad.device.progress import Progress, VitalSigns
from edge_resad.device.settings import StationFile, load_station
from edge_resad.device.stages import Stages
from edge_resad.device.station import run_station
from edge_resad.device.summary import StationSummary
from edge_resad.device.telemetry import Telemeter
from edge_resad.device.watch import Watch
from edge_resad.errors import CameraError, ControlError, TriggerError
from edge_resad.messages import Birth, NotInspected, read_message
from tests.device.belt import film, passing
from tests.device.test_gpio_trigger import FakeEdge, FakePin
from tests.device.test_station import alerts, verdicts
from tests.fakes import FakeCamera, FakeClock, FakeDevice, FakeJudge, frame, picture
from tests.mqtt_peers import Mosquitto, Subscriber, eventually
from tests.plc import Plc

WAIT_S = 60.0  # a deadline, not a pause
GOOD = 50


def settings(
    folder: Path,
    source: str = "/dev/video0",
    *,
    output: Sequence[Mapping[str, Any]] = (),
    port: int | None = None,
    **trigger: object,
) -> StationFile:
    """port: of the broker, where there is one."""
    watch = {"frozen_s": 0.0}
    if trigger["kind"] != "camera":
        watch["silent_s"] = 0.0  # what a machine that stands still is taken for
    raw: dict[str, Any] = {
        "station": {"device": "press-7"},
        "camera": {"source": source, "trigger": trigger},
        "inspection": {"bank": "bank.npz", "max_age_s": 1000.0},
        "spool": {"path": str(folder / "spool.db"), "commit_ms": 1.0},
        "log": {"verdicts": str(folder / "verdicts.jsonl")},
        "watch": watch,
        "control": {"socket": str(folder / "control.sock")},
        "output": output,
        "metrics": {"prometheus_file": str(folder / "press-7.prom")},
        **({} if port is None else {"broker": {"host": "127.0.0.1", "port": port}}),
    }
    return StationFile.model_validate(raw)


class Shown(FakeCamera):
    """Shows the given frames as they come; then it ends."""

    def __init__(self, frames: Iterable[Frame], *, live: bool = True) -> None:
        super().__init__([], live=live)
        self._frames = iter(frames)

    def read(self) -> Frame | None:
        return next(self._frames, None)


def running(halt: threading.Event, brightness: int = GOOD) -> Iterator[Frame]:
    """What a camera shows that runs by itself, until it is told to stop."""
    number = 0
    while not halt.wait(0.005):
        yield Frame(
            image=picture(brightness), frame_id=number, captured_mono=time.monotonic(), captured_wall=time.time()
        )
        number += 1


def station(
    told: StationFile,
    camera: Callable[[threading.Event], FakeCamera],
    *,
    judge: FakeJudge | None = None,
    stop: threading.Event | None = None,
    on_inspection: Callable[[Inspection], None] | None = None,
    stages: Stages | None = None,
) -> StationSummary:
    return run_station(
        told,
        stop=stop or threading.Event(),
        on_inspection=on_inspection,
        open_source=lambda _settings, halt: camera(halt),
        open_judge=lambda _settings: judge or FakeJudge(),
        stages=stages,
    )


@pytest.fixture
def pin(monkeypatch: pytest.MonkeyPatch) -> FakePin:
    pin = FakePin()
    monkeypatch.setattr(gpio_module, "open_pin_of_gpiod", lambda _pin: pin)
    return pin


class After:
    """Stops the station after so many parts."""

    def __init__(self, parts: int, then: Callable[[], None] = lambda: None) -> None:
        self.stop = threading.Event()
        self.inspections: list[Inspection] = []
        self._parts = parts
        self._then = then

    def __call__(self, inspection: Inspection) -> None:
        self.inspections.append(inspection)
        if len(self.inspections) == self._parts:
            self.stop.set()
        else:
            self._then()


def edge(number: int) -> FakeEdge:
    return FakeEdge(time.monotonic_ns(), number)


def test_every_edge_on_the_pin_is_one_verdict_and_the_other_pictures_are_none(tmp_path: Path, pin: FakePin) -> None:
    numbers = iter(range(2, 100))
    after = After(5, then=lambda: pin.give(edge(next(numbers))))
    pin.give(edge(1))
    told, stages = settings(tmp_path, kind="gpio", line=7, wait_ms=60_000.0), Stages()
    summary = station(told, lambda halt: Shown(running(halt)), stop=after.stop, on_inspection=after, stages=stages)
    assert (summary.passed, summary.parts) == (5, 5)
    assert len(verdicts(tmp_path)) == 5
    for inspection in after.inspections:
        assert inspection.frame.triggered_mono is not None
        assert inspection.frame.triggered_mono <= inspection.frame.captured_mono
        assert inspection.latency.trigger_ms is not None
        assert inspection.latency.trigger_ms >= inspection.latency.total_ms
    assert list(stages.times())[-1] == "trigger"
    assert pin.released.is_set()


def test_a_part_of_which_the_camera_shows_nothing_is_counted_and_said(tmp_path: Path, pin: FakePin) -> None:
    def blind(halt: threading.Event) -> Iterator[Frame]:
        halt.wait()
        yield from ()

    after = After(2)
    pin.give(edge(1), edge(2))
    told = settings(tmp_path, kind="gpio", line=7, wait_ms=1.0)
    summary = station(told, lambda halt: Shown(blind(halt)), stop=after.stop, on_inspection=after)
    assert summary.not_inspected == {"no_picture": 2}
    said = [message.data for message in verdicts(tmp_path)]
    assert [(data.reason, data.frame_id) for data in said if isinstance(data, NotInspected)] == [
        ("no_picture", NO_ID)
    ] * 2  # fmt: skip
    assert (tmp_path / "verdicts.jsonl").read_text().count('"no_picture"') == 2


def test_of_a_camera_that_is_triggered_by_wire_every_picture_is_a_part_and_what_is_too_many_a_backlog(
    tmp_path: Path,
) -> None:
    all_shown = threading.Event()

    class Slow(FakeJudge):
        def inspect(self, image: Any, /) -> Any:
            assert all_shown.wait(WAIT_S)
            return super().inspect(image)

    def burst() -> Iterator[Frame]:
        for number in range(12):
            yield frame(number, GOOD, captured_mono=time.monotonic())
        all_shown.set()

    summary = station(settings(tmp_path, kind="camera", queue=3), lambda _halt: Shown(burst()), judge=Slow())
    assert summary.parts == 12
    assert summary.passed in (3, 4)  # one may have been taken before the others came
    assert summary.not_inspected == {"backlog": 12 - summary.passed}
    assert sorted(message.data.frame_id for message in verdicts(tmp_path)) == list(range(12))


@pytest.mark.broker
def test_an_inspection_that_is_behind_is_an_amber_light_an_alert_and_in_state_telemetry_and_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "CAUGHT_UP_S", 0.01)
    monkeypatch.setattr(open_station, "Telemeter", lambda *given: Telemeter(*given, every_s=0.05))
    all_shown, go_on, stop = threading.Event(), threading.Event(), threading.Event()

    class Slow(FakeJudge):
        inspected = 0

        def inspect(self, image: Any, /) -> Any:
            assert (all_shown if self.inspected == 0 else go_on).wait(WAIT_S)
            self.inspected += 1
            return super().inspect(image)

    def burst(halt: threading.Event) -> Iterator[Frame]:
        for number in range(12):
            yield frame(number, GOOD, captured_mono=time.monotonic())
        all_shown.set()
        halt.wait()

    with Mosquitto(tmp_path / "broker") as broker, Subscriber(broker.port) as ear:
        page = ControlClient(tmp_path / "control.sock", timeout_s=WAIT_S)

        def light() -> tuple[str, str]:
            (found,) = (light for light in page.ask("status")["lights"] if light["name"] == "cam0")
            return found["colour"], found["says"]

        def said(topic: str) -> list[Any]:
            return [read_message(heard.payload).data for heard in ear.on(topic)]

        def births() -> list[Any]:
            return [data for data in said("/state") if isinstance(data, Birth) and data.faults]

        def waiting(about: Mapping[str, Any]) -> dict[str, Any]:
            return dict(about.get("waiting_parts", {}).get("cam0", {}))

        told = settings(
            tmp_path, "folder:parts", port=broker.port, kind="camera", queue=3
        )  # files need no sign of life
        runs = threading.Thread(target=station, args=(told, lambda halt: Shown(burst(halt))), kwargs={
            "judge": Slow(), "stop": stop,
        })  # fmt: skip
        runs.start()
        try:
            assert eventually(lambda: (tmp_path / "control.sock").exists() and all_shown.is_set(), WAIT_S)
            assert eventually(lambda: light()[0] == "amber", WAIT_S)
            assert "come faster than they are inspected" in light()[1]
            most = r"parts that wait: [12], of late at most 3$"  # once the next one is being inspected
            assert eventually(lambda: bool(re.search(most, light()[1])), WAIT_S), light()
            assert eventually(lambda: any(waiting(data.about).get("behind") for data in said("/tm")), WAIT_S)
            assert eventually(lambda: ("behind",) in [one.faults["cam0"] for one in births()], WAIT_S)
            assert waiting(births()[-1].about)["behind"]
            go_on.set()
            assert eventually(lambda: light()[0] == "green", WAIT_S)
            over = {"now": 0, "most": 3, "behind": False}
            assert eventually(lambda: waiting(said("/tm")[-1].about) == over, WAIT_S)
        finally:
            go_on.set()
            stop.set()
            runs.join(WAIT_S)
    alarms = [message.data for message in alerts(tmp_path)]
    assert [(data.fault, data.phase, data.severity) for data in alarms] == [
        ("behind", "new", "major"), ("behind", "end", "major"),
    ]  # fmt: skip
    figures = (tmp_path / "press-7.prom").read_text()
    assert re.search(r'edge_resad_waiting_parts_most\{.*camera="cam0"\} 3\n', figures)
    assert re.search(r'edge_resad_inspection_behind\{.*camera="cam0"\} 0\n', figures)


class Spoiling(FakeDevice):
    """A device of which every other frame is not whole; when it has no more, nobody triggers it."""

    def __init__(self, frames: int, at_the_end: threading.Event) -> None:
        super().__init__([picture(GOOD)] * frames)
        self._left = 2 * frames
        self._at_the_end = at_the_end

    def grab(self) -> bool:
        if not self._left:
            self._at_the_end.set()
            threading.Event().wait(0.01)
            raise StillWaiting
        self._left -= 1
        if self._left % 2:
            raise HalfFrame("the camera sent half a frame")
        return super().grab()


@pytest.mark.parametrize(
    ("kind", "unreadable"), [("camera", 4), ("free", 4), ("software", 0)]  # told from outside, it is no part yet
)  # fmt: skip
def test_half_a_frame_is_a_part_that_cannot_be_read_where_every_picture_is_a_part(
    kind: str, unreadable: int, tmp_path: Path
) -> None:
    stop = threading.Event()

    def open_source(_told: StationFile, halt: threading.Event) -> LiveCamera:
        return LiveCamera("4711", lambda: Spoiling(4, stop), stop=halt)

    summary = run_station(
        settings(tmp_path, kind=kind), stop=stop, open_source=open_source, open_judge=lambda _told: FakeJudge()
    )
    assert summary.not_inspected.get("unreadable", 0) == unreadable
    assert summary.parts == (0 if kind == "software" else 8)


class Wired(LiveCamera):
    """A camera that waits for its wire; it can be taken away and given back."""

    def __init__(self, halt: threading.Event) -> None:
        self.away = threading.Event()
        super().__init__("4711", self._device_of_it, stop=halt)

    def _device_of_it(self) -> FakeDevice:
        if self.away.is_set():
            raise CameraError("no camera 4711. Check the cable.")
        return Waiting(self.away)


class Waiting(FakeDevice):
    def __init__(self, away: threading.Event) -> None:
        super().__init__([])
        self._away = away

    def grab(self) -> bool:
        if self._away.wait(0.01):
            raise RuntimeError("the device was removed")
        raise StillWaiting


def test_a_wired_camera_that_goes_away_is_said_without_any_part_and_is_over_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cameras: list[Wired] = []
    stop = threading.Event()

    def open_source(_told: StationFile, halt: threading.Event) -> Wired:
        cameras.append(Wired(halt))
        return cameras[-1]

    def take_and_give_back() -> None:
        try:
            assert eventually(lambda: bool(cameras) and cameras[0].is_open)
            cameras[0].away.set()
            assert eventually(lambda: "camera cam0 gives no picture" in caplog.text)
            cameras[0].away.clear()
            assert eventually(lambda: "camera cam0 is no longer silent" in caplog.text)
        finally:
            stop.set()

    acting = threading.Thread(target=take_and_give_back, daemon=True)
    acting.start()
    with caplog.at_level(logging.INFO):
        run_station(
            settings(tmp_path, source="basler:4711", kind="camera"),
            stop=stop,
            open_source=open_source,
            open_judge=lambda _told: FakeJudge(),
        )
    acting.join(WAIT_S)
    assert not acting.is_alive()
    assert "camera lost: the camera at 4711 broke off: the device was removed" in caplog.text
    assert "camera 4711 is back" in caplog.text
    assert [(alert.data.phase, alert.data.fault) for alert in alerts(tmp_path)] == [
        ("new", "silent"),
        ("end", "silent"),
    ]


def test_a_wired_camera_that_hangs_in_its_driver_is_opened_anew_and_a_waiting_one_is_not() -> None:
    clock, silent_s = FakeClock(), lane.WIRED_S["basler"]
    let_go, waits = threading.Event(), threading.Event()

    class Hanging(FakeDevice):
        def grab(self) -> bool:
            waits.set()
            let_go.wait(WAIT_S)
            raise StillWaiting

    def source(halt: threading.Event) -> LiveCamera:
        return LiveCamera("4711", lambda: Hanging([]), stop=halt, clock=clock)

    halt = VitalSigns()
    with Capture(source(halt), halt, reopen=source, silent_s=silent_s, clock=clock) as capture:
        assert waits.wait(WAIT_S)
        capture.look()
        for _ in range(3):  # it comes back from its driver, and is asked again
            clock.now += silent_s - 1.0
            halt.wait(0)
            capture.look()
        assert capture.hangs == 0
        clock.now += silent_s
        capture.look()
        assert capture.hangs == 1
        let_go.set()


def test_a_time_of_silence_longer_than_an_opening_is_kept_after_one() -> None:
    clock, halt, let_go = FakeClock(), VitalSigns(), threading.Event()

    class Quiet(FakeDevice):
        def grab(self) -> bool:
            let_go.wait(WAIT_S)
            return False

    def source(halt: threading.Event) -> LiveCamera:
        return LiveCamera("/dev/video7", lambda: Quiet([]), stop=halt, clock=clock)

    with Capture(source(halt), halt, reopen=source, silent_s=60.0, clock=clock) as capture:
        assert eventually(lambda: not capture.is_gone)
        capture.look()
        clock.now += 59.0
        capture.look()
        assert capture.hangs == 0
        clock.now += 2.0
        capture.look()
        assert capture.hangs == 1
        let_go.set()


def test_a_camera_that_comes_back_to_itself_while_it_is_given_up_does_not_end_its_line() -> None:
    clock, grabs, let_go = FakeClock(), threading.Event(), threading.Event()
    readers: list[threading.Thread] = []

    class Quick(VitalSigns):
        """Whoever is told to stop has stopped before anything else happens."""

        def set(self) -> None:
            super().set()
            let_go.set()
            readers[0].join(WAIT_S)

    class Hanging(FakeDevice):
        def grab(self) -> bool:
            readers.append(threading.current_thread())
            grabs.set()
            let_go.wait(WAIT_S)
            return False

    def source(halt: threading.Event) -> LiveCamera:
        return LiveCamera("/dev/video7", lambda: Hanging([]), stop=halt, clock=clock)

    halt = Quick()
    with Capture(source(halt), halt, reopen=source, silent_s=60.0, clock=clock) as capture:
        assert grabs.wait(WAIT_S)
        capture.look()
        clock.now += 61.0
        capture.look()
        assert capture.hangs == 1
        assert not readers[0].is_alive()
        assert not capture.slot.ended  # or the station would end with it, though its camera is opened again


def test_a_folder_of_parts_waits_for_its_turn_and_loses_none(tmp_path: Path) -> None:
    shown = [frame(number, GOOD) for number in range(40)]
    summary = station(settings(tmp_path, kind="camera", queue=2), lambda _halt: Shown(shown, live=False))
    assert (summary.passed, summary.parts) == (40, 40)


def test_with_presence_the_parts_on_the_belt_are_judged_and_the_empty_belt_is_not(tmp_path: Path) -> None:
    told = settings(tmp_path, kind="presence")
    belt = film([passing(30, 8, behind=150.0 * number, seed=number) for number in range(3)], 130)
    after = After(100)
    summary = station(told, lambda _halt: Shown(belt, live=False), on_inspection=after)
    assert summary.parts == 3
    assert all(inspection.verdict is not None for inspection in after.inspections)


def test_a_camera_that_is_black_is_noticed_before_the_next_part_comes(
    tmp_path: Path, pin: FakePin, caplog: pytest.LogCaptureFixture
) -> None:
    stop, deadline = threading.Event(), time.monotonic() + WAIT_S

    def shown(halt: threading.Event) -> Iterator[Frame]:
        for one in running(halt, brightness=0):
            if "gives black pictures" in caplog.text or time.monotonic() > deadline:
                stop.set()
            yield one

    told = settings(tmp_path, kind="gpio", line=7)
    summary = station(told, lambda halt: Shown(shown(halt)), stop=stop)
    assert summary.parts == 0
    assert "gives black pictures" in caplog.text


def test_a_picture_without_a_part_that_breaks_the_watch_costs_no_part_and_is_said_once(
    tmp_path: Path, pin: FakePin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[Frame] = []

    def broken(_watch: Watch, shown: Frame, _now: float) -> None:
        looks.append(shown)
        if len(looks) == 3:
            pin.give(edge(1))
        raise cv2.error("OpenCV has a headache")

    monkeypatch.setattr(lane, "IDLE_LOOK_S", 0.0)
    monkeypatch.setattr(Watch, "look", broken)
    after = After(1)
    told = settings(tmp_path, kind="gpio", line=7, wait_ms=60_000.0)
    summary = station(told, lambda halt: Shown(running(halt)), stop=after.stop, on_inspection=after)
    assert (summary.passed, summary.parts) == (1, 1)
    assert caplog.text.count("camera cam0: a picture without a part could not be looked at (error)") == 1


def test_a_pin_that_is_lost_makes_the_line_safe_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpio_module, "FIRST_PAUSE_S", 0.05)
    lost, back, is_back = FakePin(), FakePin(), threading.Event()

    def open_pin(_pin: gpio_module.Pin) -> FakePin:
        if not lost.released.is_set():
            return lost
        if not is_back.is_set():
            raise TriggerError("no GPIO chip at /dev/gpiochip0")
        return back

    monkeypatch.setattr(gpio_module, "open_pin_of_gpiod", open_pin)
    reject, fault, after = 0, 1, After(2)
    with Plc() as plc:
        modbus = {"kind": "modbus", "host": plc.server.host, "port": plc.server.port}
        wired = [
            {**modbus, "name": "reject", "coil": reject},
            {**modbus, "name": "fault", "coil": fault, "on": ["fault"]},
        ]
        told = settings(tmp_path, output=wired, kind="gpio", line=7, wait_ms=60_000.0)
        shown: Any = {
            "args": (told, lambda halt: Shown(running(halt))),
            "kwargs": {"stop": after.stop, "on_inspection": after},
        }
        runs = threading.Thread(target=station, **shown)
        runs.start()
        try:
            lost.give(edge(1))
            assert eventually(lambda: len(after.inspections) == 1, WAIT_S)
            plc.wait_for(lambda: plc.edges(reject)[-1:] == plc.edges(fault)[-1:] == [False])
            lost.give(OSError(19, "No such device"))
            plc.wait_for(lambda: plc.edges(reject)[-1:] == plc.edges(fault)[-1:] == [True])
            page = ControlClient(tmp_path / "control.sock", timeout_s=WAIT_S)

            def light() -> dict[str, Any]:
                (found,) = (light for light in page.ask("status")["lights"] if light["name"] == "cam0")
                return dict(found)

            assert eventually(lambda: light()["colour"] == "red", WAIT_S)  # the page hears of it after the outputs
            assert "its trigger's pin gives no edges" in light()["says"]
            is_back.set()
            plc.wait_for(lambda: plc.edges(reject)[-1:] == plc.edges(fault)[-1:] == [False])
            back.give(edge(1))
            assert eventually(lambda: len(after.inspections) == 2, WAIT_S)
        finally:
            after.stop.set()
            runs.join(WAIT_S)
    said = [message.data for message in alerts(tmp_path)]
    assert [(data.fault, data.phase, data.severity) for data in said] == [
        ("trigger_lost", "new", "critical"), ("trigger_lost", "end", "critical"),
    ]  # fmt: skip


# Told by people


@pytest.fixture
def told_by_people(tmp_path: Path) -> Iterator[tuple[Path, After]]:
    """The file of a station that runs and waits for software triggers, and what it says of parts."""
    file = tmp_path / "station.toml"
    file.write_text(
        '[station]\ndevice = "press-7"\n[camera]\nname = "top"\nsource = "/dev/video0"\n[camera.trigger]\n'
        'kind = "software"\nwait_ms = 60000.0\n[inspection]\nbank = "bank.npz"\nmax_age_s = 1000.0\n'
        "[watch]\nfrozen_s = 0.0\nsilent_s = 0.0\n"
    )
    after = After(100)
    runs = threading.Thread(
        target=station,
        args=(load_station(file), lambda halt: Shown(running(halt))),
        kwargs={"stop": after.stop, "on_inspection": after},
    )
    runs.start()
    assert eventually(lambda: (tmp_path / "control.sock").exists() and "trigger" in _known(tmp_path), WAIT_S)
    yield file, after
    after.stop.set()
    runs.join(WAIT_S)


def _known(folder: Path) -> dict[str, Any]:
    try:
        return ControlClient(folder / "control.sock").ask("help")
    except ControlError:  # it is starting
        return {}


def test_a_command_is_a_part(told_by_people: tuple[Path, After]) -> None:
    file, after = told_by_people
    once = CliRunner().invoke(app, ["trigger", str(file), "--camera", "top"])
    assert (once.exit_code, once.output) == (0, "triggered: top\n")
    lines = CliRunner().invoke(app, ["trigger", str(file), "--keys"], input="\n\n")
    assert lines.output.splitlines() == ["a part with every line", "part 1", "part 2"]
    assert eventually(lambda: len(after.inspections) == 3, WAIT_S)
    assert all(inspection.verdict is not None for inspection in after.inspections)
    unknown = CliRunner().invoke(app, ["trigger", str(file), "--camera", "side"])
    assert isinstance(unknown.exception, ControlError)
    assert "no camera 'side'" in str(unknown.exception)


def test_every_key_is_a_part_until_q(told_by_people: tuple[Path, After]) -> None:
    file, after = told_by_people
    ours, theirs = pty.openpty()
    pressing = subprocess.Popen(
        [sys.executable, "-m", "edge_resad", "trigger", str(file), "--keys"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert pressing.stdout is not None
    assert pressing.stdout.readline() == "a part with every key, q ends it\n"
    os.write(ours, b" xq")
    said, _ = pressing.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert said.splitlines() == ["part 1", "part 2"]
    assert pressing.returncode == 0
    assert eventually(lambda: len(after.inspections) == 2, WAIT_S)


def test_a_camera_that_waits_for_its_wire_does_not_hang_and_one_that_runs_by_itself_does() -> None:
    class Still:
        def shown(self) -> bool:
            return False

    assert Progress(Still(), may_be_still=True).step(None)
    assert not Progress(Still()).step(None)
