"""A pulse by hand, and what the doctor says of wires."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_resad.cli import app
from edge_resad.device.doctor import Case, Check
from edge_resad.device.doctor.outputs import outputs
from edge_resad.device.outputs import trial
from edge_resad.device.outputs.trial import BEFORE_S, fire
from edge_resad.device.settings import StationFile, load_station
from edge_resad.errors import EdgeResadError, OutputError
from tests.device.outputs.fakes import FakeTerminal
from tests.plc import Plc


def file_of(folder: Path, *tables: str) -> Path:
    path = folder / "station.toml"
    begin = '[station]\ndevice = "press-7"\n[camera]\nsource = "synthetic"\n[inspection]\nbank = "bank.npz"\n'
    path.write_text(begin + "\n".join(tables), encoding="utf-8")
    return path


def gate(plc: Plc, name: str = "gate", coil: int = 7) -> str:
    where = f'host = "127.0.0.1"\nport = {plc.server.port}'
    return f'[[output]]\nname = "{name}"\nkind = "modbus"\n{where}\ncoil = {coil}\nsafe = "idle"\n'


def looked(station: StationFile, **replaced: object) -> list[Check]:
    return list(outputs(Case(station=station, **replaced)))  # type: ignore[arg-type]


def test_a_pulse_by_hand_is_idle_active_idle_and_then_safe() -> None:
    terminal, slept = FakeTerminal(), list[float]()
    said = list(fire(terminal, pulse_s=0.25, after=1, sleep=slept.append))
    assert said == ["idle", "active for 250 ms", "idle", "left active, as while nobody judges"]
    assert (terminal.shown, slept, terminal.closed) == ([0, 1, 0, 1], [BEFORE_S, 0.25, BEFORE_S], 1)


def test_a_wire_that_breaks_on_the_way_is_given_back() -> None:
    terminal = FakeTerminal()

    def breaks(_seconds: float) -> None:
        terminal.away = True

    with pytest.raises(OutputError, match="nobody is there"):
        list(fire(terminal, pulse_s=0.25, after=0, sleep=breaks))
    assert terminal.closed == 1


def test_an_electrician_fires_one_output_of_a_station_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "BEFORE_S", 0.0)
    with Plc() as plc:
        path = file_of(tmp_path, gate(plc), gate(plc, "lamp", 8))
        done = CliRunner().invoke(app, ["output", "test", str(path), "lamp", "--hold-s", "0.01"])
        assert done.exit_code == 0, done.output
        assert done.output.splitlines() == [
            "lamp: idle", "lamp: active for 10 ms", "lamp: idle", "lamp: left idle, as while nobody judges",
        ]  # fmt: skip
        assert (plc.edges(8), plc.edges(7)) == ([False, True, False], [])
        assert CliRunner().invoke(app, ["output", "test", str(path)]).exit_code == 0
        assert plc.edges(7) == [False, True, False]


@pytest.mark.parametrize(
    ("has_output", "says"), [(True, "no output door in .* There are: gate"), (False, "has no outputs. Add a section")]
)
def test_an_output_that_is_not_in_the_file_is_said(tmp_path: Path, has_output: bool, says: str) -> None:
    with Plc() as plc:
        path = file_of(tmp_path, *([gate(plc)] if has_output else []))
        done = CliRunner().invoke(app, ["output", "test", str(path), "door"])
    assert isinstance(done.exception, EdgeResadError)
    with pytest.raises(EdgeResadError, match=says):
        raise done.exception


def test_the_doctor_knocks_at_every_plc_and_sets_nothing(tmp_path: Path) -> None:
    with Plc() as plc:
        belt = f'[encoder]\nkind = "modbus"\nhost = "127.0.0.1"\nport = {plc.server.port}\ninput_register = 3\n'
        station = load_station(file_of(tmp_path, gate(plc), gate(plc, "lamp", 9_999), belt))
        found = looked(station)
        assert [(check.name, check.state) for check in found] == [
            ("output gate", "ok"), ("output lamp", "warning"), ("encoder belt", "ok"),
        ]  # fmt: skip
        assert "has no such address" in found[1].says
        assert plc.coils == []
        plc.stop()
        assert [check.state for check in looked(station)] == ["problem"] * 3


def test_the_doctor_looks_at_pins(tmp_path: Path) -> None:
    wires = '[[output]]\nname = "reject"\nkind = "gpio"\npin = 12\n[encoder]\nkind = "gpio"\npin = "PQ.05"\n'
    station = load_station(file_of(tmp_path, wires))

    def look(chip: str, pin: int | str) -> str:
        if pin == 12:
            return f"pin {pin} of {chip}"
        raise OutputError(f"{chip} has no pin {pin!r}.")

    good, bad = looked(station, look_at_pin=look)
    assert (good.state, good.says) == ("ok", "pin 12 of /dev/gpiochip0")
    assert (bad.state, bad.says) == ("problem", "/dev/gpiochip0 has no pin 'PQ.05'")


def test_the_doctor_looks_at_the_pin_of_a_trigger_too(tmp_path: Path) -> None:
    trigger = 'fps = 10\n[camera.trigger]\nkind = "gpio"\nchip = "/dev/gpiochip1"\nline = "PQ.06"\n'
    path = file_of(tmp_path)
    path.write_text(path.read_text().replace('source = "synthetic"\n', f'source = "synthetic"\n{trigger}'))
    (found,) = looked(load_station(path), look_at_pin=lambda chip, pin: f"pin {pin} of {chip}")
    assert (found.name, found.state, found.says) == ("trigger cam0", "ok", "pin PQ.06 of /dev/gpiochip1")

    def held(chip: str, pin: int | str) -> str:
        raise OutputError(f"pin {pin} of {chip} is in use by spi cs. Stop what holds it, or set another pin.")

    (found,) = looked(load_station(path), look_at_pin=held)
    assert (found.state, found.says) == (
        "problem", "pin PQ.06 of /dev/gpiochip1 is in use by spi cs. Stop what holds it, or set another pin"
    )  # fmt: skip


def test_a_doctor_without_a_station_has_no_wires_to_look_at() -> None:
    assert list(outputs(Case())) == []
