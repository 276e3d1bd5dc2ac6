"""A machine is known by its board, then by its system, and what says nothing lasting is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_resad.device.machine_ids import are_of_others, machine_ids

SYSTEM = "0123456789abcdef0123456789abcdef"


def machine(root: Path, *, serial: bytes | None = None, system: str | None = None) -> dict[str, str]:
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "etc").mkdir()
    if serial is not None:
        (root / "proc/device-tree/serial-number").write_bytes(serial)
    if system is not None:
        (root / "etc/machine-id").write_text(system)
    return machine_ids(root)


def test_a_board_and_a_system_have_ids_that_do_not_give_them_away(tmp_path: Path) -> None:
    found = machine(tmp_path, serial=b"1421523012345\0", system=f"{SYSTEM}\n")
    assert set(found) == {"board", "system"}
    assert "14215" not in str(found)
    assert SYSTEM[:8] not in str(found)
    assert machine_ids(tmp_path) == found


@pytest.mark.parametrize(("serial", "system"), [(None, None), (b"\0", "uninitialized\n"), (b"0000000000\0", "")])
def test_what_says_nothing_is_no_id(tmp_path: Path, serial: bytes | None, system: str | None) -> None:
    assert machine(tmp_path, serial=serial, system=system) == {}


def test_a_cloned_system_is_another_machine_where_its_board_says_so(tmp_path: Path) -> None:
    one = machine(tmp_path / "one", serial=b"1\0", system=SYSTEM)
    clone = machine(tmp_path / "clone", serial=b"2\0", system=SYSTEM)
    renewed = machine(tmp_path / "renewed", serial=b"1\0", system=SYSTEM[::-1])
    assert are_of_others(one, clone)
    assert not are_of_others(one, renewed)  # the board decides
    assert not are_of_others(one, {})  # a container
