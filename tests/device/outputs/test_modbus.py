"""Outputs at a real Modbus/TCP server: written in time, found again, and in nobody's way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import groupby

import pytest

import edge_resad.device.outputs.output as output_module
from edge_resad.device.outputs import Encoder, Output, Outputs, Wiring, modbus
from edge_resad.device.outputs.modbus import ModbusTerminal, ModbusTicks, knock
from edge_resad.device.settings import Cause
from edge_resad.errors import OutputError
from tests.device.outputs.fakes import FakeTerminal
from tests.plc import PATIENCE_S, Plc


@pytest.fixture(autouse=True)
def _close_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be shown, and when the outputs close is still to be, has the time of a busy machine."""
    monkeypatch.setattr(output_module, "JUDGING_S", PATIENCE_S)
    monkeypatch.setattr(output_module, "EXIT_S", PATIENCE_S)
    monkeypatch.setattr(output_module, "JOIN_S", PATIENCE_S)


def wired(name: str, *on: Cause, pulse_s: float = 0.02) -> Wiring:
    return Wiring(name=name, on=frozenset(on), pulse_s=pulse_s, safe_active=False)


def coil(plc: Plc, address: int = 7) -> ModbusTerminal:
    return ModbusTerminal(server=plc.server, table="coil", address=address)


def test_a_coil_shows_each_pulse_and_is_idle_before_and_after() -> None:
    with Plc() as plc, Outputs([Output(wired("reject", "fail"), coil(plc))]) as outputs:
        outputs.alive({"cam0": True})
        plc.wait_for(lambda: plc.edges(7) == [False])
        for fired in (1, 2):
            outputs.signal("fail", "cam0", time.monotonic())
            plc.wait_for(lambda fired=fired: plc.edges(7) == [False, *[True, False] * fired])  # type: ignore[misc]
        assert (outputs.status[0].fired, outputs.status[0].failed) == (2, 0)
        assert outputs.problems == ()


def test_a_register_counts_heartbeats() -> None:
    with Plc() as plc:
        terminal = ModbusTerminal(server=plc.server, table="register", address=3)
        with Outputs([Output(wired("alive", "heartbeat"), terminal)]) as outputs:
            outputs.alive({"cam0": True})
            plc.wait_for(lambda: (3, 5) in plc.registers)
    values = [value for value, _ in groupby(value for address, value in plc.registers if address == 3)]
    assert values[:6] == [0, 1, 2, 3, 4, 5]  # each once, though it is refreshed while nothing changes


def test_a_safe_level_is_written_when_the_station_stops() -> None:
    wiring = Wiring(name="reject", on=frozenset({"fail"}), safe_active=True)
    with Plc() as plc:
        with Outputs([Output(wiring, coil(plc))]) as outputs:
            outputs.alive({"cam0": True})
            plc.wait_for(lambda: plc.edges(7)[-1:] == [False])
        assert plc.edges(7)[-1] is True


def test_a_server_that_hangs_delays_no_other_output_and_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = FakeTerminal()
    monkeypatch.setattr(modbus, "TIMEOUT_S", 0.5)
    with Plc() as plc:
        outputs = Outputs([Output(wired("plc", "fail"), coil(plc)), Output(wired("pin", "fail"), pin)])
        with outputs:
            outputs.alive({"cam0": True})
            plc.wait_for(lambda: plc.edges(7) == [False])
            _until(lambda: outputs.problems == ())
            caplog.clear()  # where the machine was too busy to connect at once
            plc.hang()
            asked = plc.requests
            outputs.signal("fail", "cam0", time.monotonic())
            plc.wait_for(lambda: plc.requests > asked)  # it has the request and does not answer
            _until(lambda: 1 in pin.shown)
            assert plc.edges(7) == [False]
            _until(lambda: outputs.status[0].failed == 1 and "does not answer" in "".join(outputs.problems))
            monkeypatch.setattr(modbus, "TIMEOUT_S", PATIENCE_S)
            plc.answer()
            _until(lambda: outputs.problems == ())
            outputs.signal("fail", "cam0", time.monotonic())
            plc.wait_for(lambda: plc.edges(7)[-2:] == [True, False])
            assert [status.failed for status in outputs.status] == [1, 0]
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


def test_a_server_that_restarts_is_found_again_and_gets_the_level() -> None:
    with Plc() as plc, Outputs([Output(wired("reject", "fail"), coil(plc))]) as outputs:
        outputs.alive({"cam0": True})
        plc.wait_for(lambda: plc.edges(7) == [False])
        plc.stop()
        _until(lambda: outputs.problems != ())  # noticed without a signal
        outputs.signal("fail", "cam0", time.monotonic())
        _until(lambda: outputs.status[0].failed == 1)
        plc.coils.clear()
        plc.start()
        plc.wait_for(lambda: plc.edges(7) == [False])
        _until(lambda: outputs.problems == ())
        assert outputs.status[0].failed == 1


def test_a_connection_that_was_closed_while_it_idled_costs_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModbusTerminal, "refresh_s", None)  # so that nobody notices before the signal
    with Plc() as plc, Outputs([Output(wired("reject", "fail"), coil(plc))]) as outputs:
        outputs.alive({"cam0": True})
        plc.wait_for(lambda: plc.edges(7) == [False])
        plc.stop()
        plc.start()
        outputs.signal("fail", "cam0", time.monotonic())
        plc.wait_for(lambda: plc.edges(7) == [False, True, False])
        assert (outputs.status[0].fired, outputs.status[0].failed) == (1, 0)


def test_a_server_that_is_away_at_the_start_stops_nothing() -> None:
    with Plc() as plc:
        plc.stop()
        with Outputs([Output(wired("reject", "fail"), coil(plc))]) as outputs:
            _until(lambda: "does not answer" in "".join(outputs.problems))
            plc.start()
            plc.wait_for(lambda: plc.edges(7) == [False])


def test_a_server_that_hangs_does_not_hold_the_station_when_it_stops(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modbus, "TIMEOUT_S", 0.5)
    with Plc() as plc:
        with Outputs([Output(wired("reject", "fail"), coil(plc))]) as outputs:
            outputs.alive({"cam0": True})
            plc.wait_for(lambda: plc.edges(7) == [False])
            plc.hang()
        assert "reject" in caplog.text  # that what it shows is not known


def test_a_coil_that_the_server_lacks_is_said() -> None:
    with Plc() as plc, Outputs([Output(wired("reject", "fail"), coil(plc, 9_999))]) as outputs:
        _until(lambda: "refuses coil 9999 of unit 1: it has no such address" in "".join(outputs.problems))


def test_an_encoder_is_an_input_register_that_counts() -> None:
    with Plc() as plc:
        plc.count = 65_530
        wiring = Wiring(name="reject", on=frozenset({"fail"}), pulse_s=0.02, delay_counts=50, safe_active=False)
        encoder = Encoder(ModbusTicks(server=plc.server, register=4, poll_s=0.005))
        output = Output(wiring, coil(plc), encoder=encoder)
        with Outputs([output], [encoder]) as outputs:
            outputs.alive({"cam0": True})
            plc.wait_for(lambda: plc.edges(7) == [False])
            _until(lambda: encoder.count == 0)
            outputs.signal("fail", "cam0", time.monotonic())
            _until(lambda: output._awaited == 50)  # or the belt would seem to have moved before the picture
            plc.count += 49
            _until(lambda: encoder.count == 49)
            assert plc.edges(7) == [False]
            plc.count += 1
            plc.wait_for(lambda: plc.edges(7) == [False, True, False])
            assert outputs.status[0].failed == 0


def test_a_plc_that_started_anew_between_two_looks_at_its_register_is_an_encoder_that_was_lost() -> None:
    with Plc() as plc:
        plc.count = 40_000
        reader = ModbusTicks(server=plc.server, register=4).open()
        assert (reader.read() or ())[1:] == (40_000,)
        plc.stop()
        plc.count = 0
        plc.start()
        with pytest.raises(OutputError, match="does not answer"):
            reader.read()
        assert (reader.read() or ())[1:] == (0,)
        reader.close()


def test_a_knock_changes_nothing_and_says_what_the_server_has_against_it() -> None:
    with Plc() as plc:
        assert knock(plc.server, "coil", 7) is None
        assert knock(plc.server, "register", 7) is None
        assert knock(plc.server, "input", 7) is None
        assert "it has no such address" in (knock(plc.server, "coil", 9_999) or "")
        assert (plc.coils, plc.registers) == ([], [])
        plc.stop()
        with pytest.raises(OutputError, match=r"the Modbus server 127\.0\.0\.1:\d+ does not answer"):
            knock(plc.server, "coil", 7)


def _until(happened: Callable[[], bool]) -> None:
    """Wait for what another thread does and nobody announces."""
    deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not happened():
        assert time.monotonic() < deadline
        pause.wait(0.01)
