"""A running station is asked over a socket: by several at once, and by some who mean no good."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edge_resad.device.control import MOST_CLIENTS, REQUEST_BYTES, ControlClient, Controls, ControlSocket
from edge_resad.errors import ControlError, ProductError

WAIT_S = 60.0  # a deadline, not a pause


def controls() -> Controls:
    known = Controls()
    known.register("echo", lambda arguments: arguments, "echo ANYTHING: say it again")
    known.register("large", lambda arguments: {"text": "x" * int(arguments["bytes"])}, "large bytes=N: so many bytes")

    def refuse(_arguments: dict[str, Any]) -> dict[str, Any]:
        raise ProductError("no product cap here. Make it.")

    def break_down(_arguments: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("out of order")

    known.register("refuse", refuse, "refuse: what cannot be")
    known.register("break", break_down, "break: a fault of ours")
    return known


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "control.sock"
    with ControlSocket(path, controls()):
        yield path


def dialled(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(WAIT_S)
    connection.connect(str(path))
    return connection


def test_a_thread_that_ends_before_it_is_woken_up_is_no_fault(tmp_path: Path) -> None:
    class UntilItHasEnded(threading.Event):
        def set(self) -> None:
            super().set()
            serving._thread.join(WAIT_S)

    with ControlSocket(tmp_path / "control.sock", controls()) as serving:
        serving._closing = UntilItHasEnded()
    assert not serving._thread.is_alive()


def test_a_question_is_answered(path: Path) -> None:
    assert ControlClient(path).ask("echo", product="cap", parts=3) == {"product": "cap", "parts": 3}


def test_what_cannot_be_done_is_said_in_a_sentence(path: Path) -> None:
    with pytest.raises(ControlError, match="no product cap here"):
        ControlClient(path).ask("refuse")


def test_an_unknown_command_is_answered_with_the_known_ones(path: Path) -> None:
    with pytest.raises(ControlError, match=r"knows no 'dance'.* break, echo, large, refuse"):
        ControlClient(path).ask("dance")


def test_a_fault_of_a_command_is_logged_and_the_next_question_answered(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = ControlClient(path)
    with pytest.raises(ControlError, match="a fault of this program"):
        client.ask("break")
    assert "out of order" in caplog.text
    assert client.ask("echo", again=True) == {"again": True}


def test_many_ask_at_once_and_each_gets_its_own_answer(path: Path) -> None:
    with ThreadPoolExecutor(MOST_CLIENTS) as pool:
        answers = list(pool.map(lambda number: ControlClient(path).ask("echo", number=number), range(200)))
    assert [answer["number"] for answer in answers] == list(range(200))


def test_one_who_hangs_costs_the_others_nothing(path: Path) -> None:
    with dialled(path) as silent, dialled(path) as half, dialled(path) as deaf:
        half.sendall(b'{"ask": "ec')
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b'{"ask": "large", "arguments": {"bytes": 3000000}}\n' * 20)
        assert ControlClient(path, timeout_s=WAIT_S).ask("echo", here=1) == {"here": 1}
        half.sendall(b'ho"}\n')
        assert json.loads(half.makefile("rb").readline()) == {"result": {}}
        silent.close()
        assert ControlClient(path, timeout_s=WAIT_S).ask("echo", here=2) == {"here": 2}


def test_too_many_who_say_nothing_make_room_for_one_who_asks(path: Path) -> None:
    idle = [dialled(path) for _ in range(MOST_CLIENTS + 5)]
    assert ControlClient(path).ask("echo", here=1) == {"here": 1}
    assert idle[0].recv(1) == b""  # the one that was silent for longest had to go
    for connection in idle:
        connection.close()


def test_one_who_is_slow_to_ask_makes_no_room_where_another_has_left(tmp_path: Path) -> None:
    path, begun, go_on = tmp_path / "control.sock", threading.Event(), threading.Event()
    known = controls()

    def hang(_arguments: dict[str, Any]) -> dict[str, Any]:
        begun.set()
        go_on.wait(WAIT_S)
        return {}

    known.register("hang", hang, "hang: for long")
    with ControlSocket(path, known, most_clients=3), dialled(path) as slow, dialled(path) as leaving:
        leaving.sendall(b'{"ask": "echo"}\n')
        assert json.loads(leaving.makefile("rb").readline()) == {"result": {}}
        with dialled(path) as hanging:
            hanging.sendall(b'{"ask": "hang"}\n')
            assert begun.wait(WAIT_S)
            with dialled(path) as coming:  # both in the time in which nobody looks
                leaving.close()
                go_on.set()
                coming.sendall(b'{"ask": "echo"}\n')
                assert json.loads(coming.makefile("rb").readline()) == {"result": {}}
                slow.sendall(b'{"ask": "echo"}\n')
                assert json.loads(slow.makefile("rb").readline()) == {"result": {}}


@pytest.mark.parametrize(
    "asked",
    [b"", b"nonsense", b"[1, 2]", b'"status"', b"7", b'{"ask": 7}', b'{"ask": "echo", "arguments": [1]}',
     b"\xff\xfe", b"[" * 3000, b'{"ask": "echo", "arguments": null}',
     b'{"ask": "echo", "arguments": {"text": "\\ud800"}}'],
)  # fmt: skip
def test_nonsense_is_answered_by_what_a_question_looks_like(path: Path, asked: bytes) -> None:
    with dialled(path) as connection, connection.makefile("rb") as reader:
        connection.sendall(asked + b"\n" + b'{"ask": "echo"}\n')
        assert "a question is a line of JSON" in json.loads(reader.readline())["error"]
        assert json.loads(reader.readline()) == {"result": {}}


def test_a_question_without_an_end_is_refused_and_its_asker_dropped(path: Path) -> None:
    with dialled(path) as connection:
        connection.sendall(b"x" * (REQUEST_BYTES + 1))
        said = connection.makefile("rb").read()
    assert b"bytes at most" in said
    assert ControlClient(path).ask("echo") == {}


def test_an_answer_without_measure_is_not_sent(path: Path) -> None:
    with pytest.raises(ControlError, match="too long"):
        ControlClient(path).ask("large", bytes=10**7)
    assert len(ControlClient(path).ask("large", bytes=3 * 10**6)["text"]) == 3 * 10**6


def test_an_answer_that_json_cannot_say_is_a_fault_that_is_said(tmp_path: Path) -> None:
    known = Controls()
    known.register("odd", lambda _: {"value": float("nan")}, "odd: no number")
    with (
        ControlSocket(tmp_path / "control.sock", known),
        pytest.raises(ControlError, match="cannot be said"),
    ):
        ControlClient(tmp_path / "control.sock").ask("odd")


def test_the_socket_is_open_to_its_user_and_group_alone_and_goes_with_the_station(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with ControlSocket(path, controls()):
        assert path.stat().st_mode & 0o777 == 0o660
        assert [item.name for item in tmp_path.iterdir()] == ["control.sock"]
    assert not path.exists()


def test_the_socket_of_a_station_that_died_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    script = f"import os, socket; s = socket.socket(socket.AF_UNIX); s.bind({str(path)!r}); s.listen(); os._exit(9)"
    subprocess.run([sys.executable, "-c", script], check=False, timeout=WAIT_S)
    assert path.is_socket()
    with pytest.raises(ControlError, match="no station answers"):
        ControlClient(path).ask("echo")
    with ControlSocket(path, controls()):
        assert ControlClient(path).ask("echo") == {}


def test_the_socket_of_a_station_that_lives_is_left_alone(path: Path) -> None:
    with pytest.raises(ControlError, match="another station answers"), ControlSocket(path, Controls()):
        pass
    assert ControlClient(path).ask("echo") == {}


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("mine")
    with pytest.raises(ControlError, match="is no socket"), ControlSocket(path, Controls()):
        pass
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long_and_a_folder_that_takes_nothing_are_said(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="shorter path"), ControlSocket(tmp_path / ("x" * 120), Controls()):
        pass
    with pytest.raises(ControlError, match="no socket can be made"), ControlSocket(Path("/proc/x.sock"), Controls()):
        pass


def test_nobody_at_home_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match=r"no station answers at .*Start it: edge-resad run STATION"):
        ControlClient(tmp_path / "control.sock").ask("echo")


def test_a_command_that_hangs_does_not_keep_the_station_from_ending(tmp_path: Path) -> None:
    path, begun, go_on = tmp_path / "control.sock", threading.Event(), threading.Event()
    known = Controls()

    def hang(_arguments: dict[str, Any]) -> dict[str, Any]:
        begun.set()
        go_on.wait(WAIT_S)
        return {}

    known.register("hang", hang, "hang: for long")
    with ControlSocket(path, known):
        connection = dialled(path)
        connection.sendall(b'{"ask": "hang"}\n')
        assert begun.wait(WAIT_S)
    assert not path.exists()
    go_on.set()
    assert json.loads(connection.makefile("rb").readline()) == {"result": {}}
    connection.close()


def test_a_thousand_clients_leave_no_handle_behind(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(1000):
        assert ControlClient(path).ask("echo", number=number) == {"number": number}
    with dialled(path) as last:  # by now the thread has seen all others go
        last.sendall(b'{"ask": "echo"}\n')
        last.recv(100)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
