"""systemd's end of the wire: a real datagram socket, and a station that only feeds the watchdog while it gets on."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from edge_resad.device.notify import Service
from edge_resad.device.pipeline import Inspection, Latency, Reason
from edge_resad.device.progress import PATIENCE, Progress, VitalSigns
from edge_resad.device.station import run_station
from edge_resad.device.v4l2 import V4L2Camera
from edge_resad.errors import CameraError
from tests.device.test_station import BROKEN, GOOD, WAIT_S, settings, station
from tests.fakes import FakeCamera, FakeClock, FakeDevice, FakeJudge, frame, picture
from tests.mqtt_peers import eventually

WATCHDOG_S = 0.4  # of a station under test; it feeds four times as often


class Systemd:
    """The receiving end of NOTIFY_SOCKET. Its thread takes what comes: the kernel keeps ten messages, no more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._heard: list[str] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def listen(self) -> list[str]:
        """Everything heard so far."""
        with self._lock:
            while True:
                try:
                    self._heard.append(self._socket.recv(4096).decode())
                except BlockingIOError:
                    return list(self._heard)

    def busy(self) -> AbstractContextManager[object]:
        """While it lasts nothing is taken."""
        return self._lock

    def fed(self) -> int:
        return sum("WATCHDOG=1" in message for message in self.listen())

    def close(self) -> None:
        self._closing.set()
        self._thread.join(WAIT_S)
        self._socket.close()

    def _take(self) -> None:
        while not self._closing.is_set():
            if select.select([self._socket], [], [], 0.05)[0]:
                self.listen()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    """A systemd that watches this process."""
    listening = Systemd(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(listening.path))
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_S * 1e6)))
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    yield listening
    listening.close()


# The socket


def test_ready_is_said_once_with_the_state(systemd: Systemd) -> None:
    service = Service(str(systemd.path), describe=lambda: "3 passed,\n1 failed")
    service.ready()
    service.ready()
    assert systemd.listen() == ["READY=1\nSTATUS=3 passed, 1 failed"]


def test_what_systemd_was_too_busy_to_hear_of_the_start_is_said_again(systemd: Systemd) -> None:
    clock = FakeClock()
    service = Service(str(systemd.path), describe=lambda: "well", clock=clock)
    with systemd.busy(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        others.setblocking(False)
        with suppress(BlockingIOError):  # until its queue is full
            while True:
                others.sendto(b"X=1", str(systemd.path))
        service.ready()
    systemd.listen()
    for _ in range(2):
        clock.now += 5.0
        service.progress()
    assert [message for message in systemd.listen() if message != "X=1"] == ["READY=1\nSTATUS=well", "STATUS=well"]


def test_the_watchdog_is_fed_four_times_in_its_time_however_many_parts_there_are(systemd: Systemd) -> None:
    clock = FakeClock()
    service = Service(str(systemd.path), watchdog_s=40.0, clock=clock)
    service.ready()
    for _ in range(320):
        clock.now += 0.125
        service.progress()
    assert systemd.fed() == 4


def test_nothing_is_fed_before_the_station_is_ready(systemd: Systemd) -> None:
    Service(str(systemd.path), watchdog_s=1.0).progress()
    assert systemd.listen() == []


def test_without_a_watchdog_the_state_is_told_and_nothing_fed(systemd: Systemd) -> None:
    clock = FakeClock()
    service = Service(str(systemd.path), describe=lambda: "well", clock=clock)
    service.ready()
    clock.now += 10
    service.progress()
    assert systemd.listen()[1:] == ["STATUS=well"]


def test_an_abstract_socket_is_reached(tmp_path: Path) -> None:
    name = f"edge-resad-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.setblocking(False)
        Service(f"@{name}").stopping()
        assert listening.recv(100) == b"STOPPING=1"


def test_without_systemd_nothing_is_sent_and_nothing_fails() -> None:
    service = Service.of_environment(environ={})
    service.ready()
    service.progress()
    service.stopping()


def test_a_socket_that_has_gone_costs_a_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Service(str(tmp_path / "gone")).ready()
    assert caplog.messages == ["systemd cannot be told READY=1: No such file or directory"]


@pytest.mark.parametrize("environ", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}])
def test_a_watchdog_that_is_not_ours_is_not_fed(systemd: Systemd, environ: dict[str, str]) -> None:
    told = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "4", **environ}
    service = Service.of_environment(environ=told)
    service.ready()
    service._fed_at -= 100
    service.progress()
    assert systemd.fed() == 0
    assert len(systemd.listen()) == 2


# Progress


def inspection(not_inspected: Reason | None = None) -> Inspection:
    latency = Latency(waiting_ms=0.0, inspecting_ms=0.0)
    return Inspection(frame=frame(), verdict=None, not_inspected=not_inspected, latency=latency)


def test_a_part_is_progress_and_so_is_one_that_came_too_late() -> None:
    progress = Progress(VitalSigns())
    assert progress.step(inspection())
    assert progress.step(inspection("too_old"))


def test_silence_is_no_progress_unless_the_camera_waits_on_purpose() -> None:
    signs = VitalSigns()
    progress = Progress(signs)
    assert not progress.step(None)
    signs.wait(0)
    assert progress.step(None)
    assert not progress.step(None)


def test_a_camera_in_a_long_wait_is_alive_all_the_time() -> None:
    signs = VitalSigns()
    progress = Progress(signs)
    waiting = threading.Thread(target=signs.wait)
    waiting.start()
    assert eventually(lambda: progress.step(None))
    assert all(progress.step(None) for _ in range(3))
    signs.set()
    waiting.join()
    progress.step(None)
    assert not progress.step(None)


def test_an_inspector_that_fails_on_every_part_is_no_progress_and_one_verdict_makes_up_for_it() -> None:
    progress = Progress(VitalSigns())
    said = [progress.step(inspection("inspector_error")) for _ in range(PATIENCE)]
    assert said == [True] * (PATIENCE - 1) + [False]
    assert progress.step(inspection())


# The station


class Watched:
    """A station in a thread of its own, while systemd watches."""

    def __init__(self, run: Callable[[threading.Event], object]) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=run, args=(self._stop,))

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)


def test_a_station_is_ready_feeds_the_watchdog_and_says_that_it_stops(tmp_path: Path, systemd: Systemd) -> None:
    camera = FakeCamera([GOOD] * 10**6)
    with Watched(lambda stop: station(settings(tmp_path), camera, stop=stop)):
        assert eventually(lambda: systemd.fed() >= 3)
    heard = systemd.listen()
    assert heard[0].startswith("READY=1\nSTATUS=")
    assert "0 failed, 0 not inspected" in heard[1]
    assert heard[-1] == "STOPPING=1"


def test_a_station_whose_camera_hangs_in_a_read_stops_feeding_the_watchdog(tmp_path: Path, systemd: Systemd) -> None:
    camera, judged = FakeCamera([GOOD] * 3, hangs=True), threading.Semaphore(0)

    def run(stop: threading.Event) -> None:
        station(settings(tmp_path), camera, stop=stop, on_inspection=lambda _inspection: judged.release())

    with Watched(run):
        assert camera.hanging.wait(WAIT_S)
        assert all(judged.acquire(timeout=WAIT_S) for _ in range(3))
        assert eventually(lambda: any("READY=1" in message for message in systemd.listen()))
        before, since = systemd.fed(), time.monotonic()
        assert eventually(lambda: time.monotonic() - since > 2 * WATCHDOG_S)  # systemd would have killed it by now
        assert systemd.fed() <= before + 1  # of the last part it may still be told
        camera.released.set()


def test_a_station_whose_camera_hangs_while_it_opens_is_never_ready(tmp_path: Path, systemd: Systemd) -> None:
    entered, released = threading.Event(), threading.Event()

    class Stuck(FakeCamera):
        def __enter__(self) -> FakeCamera:
            entered.set()
            released.wait(WAIT_S)
            return super().__enter__()

    with Watched(lambda stop: station(settings(tmp_path), Stuck([GOOD]), stop=stop)):
        assert entered.wait(WAIT_S)
        since = time.monotonic()
        assert eventually(lambda: time.monotonic() - since > WATCHDOG_S)
        assert systemd.listen() == []
        released.set()


def test_a_station_that_looks_for_a_lost_camera_feeds_the_watchdog(tmp_path: Path, systemd: Systemd) -> None:
    devices = iter([FakeDevice([picture(GOOD)])])

    def plugged_in() -> FakeDevice:
        device = next(devices, None)
        if device is None:
            raise CameraError("no camera at /dev/video0")
        return device

    def inspect(stop: threading.Event) -> None:
        run_station(
            settings(tmp_path),
            stop=stop,
            open_source=lambda _settings, halt: V4L2Camera("/dev/video0", open_device=plugged_in, stop=halt),
            open_judge=lambda _settings: FakeJudge(),
        )

    with Watched(inspect):
        assert eventually(lambda: systemd.fed() >= 6)


def test_a_station_whose_inspector_fails_on_every_part_stops_feeding_the_watchdog(
    tmp_path: Path, systemd: Systemd
) -> None:
    failed: list[Inspection] = []
    with Watched(
        lambda stop: station(settings(tmp_path), FakeCamera([BROKEN] * 10**6), stop=stop, on_inspection=failed.append)
    ):
        assert eventually(lambda: any("READY=1" in message for message in systemd.listen()))
        assert eventually(lambda: len(failed) > PATIENCE)
        before, since = systemd.fed(), time.monotonic()
        assert eventually(lambda: time.monotonic() - since > 2 * WATCHDOG_S)
        assert systemd.fed() == before


def test_a_station_that_fails_says_that_it_stops(tmp_path: Path, systemd: Systemd) -> None:
    class Gone(FakeCamera):
        def __enter__(self) -> FakeCamera:
            raise CameraError("no camera")

    with pytest.raises(CameraError):
        station(settings(tmp_path), Gone([]))
    assert systemd.listen() == ["STOPPING=1"]
