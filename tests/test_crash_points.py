"""Every crash point that the code names is reached by it, and is where a test kills a process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge_resad.device import crash_points as of_a_station
from edge_resad.fleet import crash_points as of_a_collector

CHECKOUT = Path(__file__).resolve().parent.parent
STATIONS: tuple[str, ...] = (
    *of_a_station.CRASH_POINTS,
    *of_a_station.COMMAND_CRASH_POINTS,
    *of_a_station.CONFIG_CRASH_POINTS,
    *of_a_station.LEDGER_CRASH_POINTS,
)
COLLECTORS: tuple[str, ...] = of_a_collector.CRASH_POINTS
TESTS = {
    "device": ("test_spool_crashes.py", "test_commands_once.py"),
    "fleet": ("test_crash_points.py", "test_ingest.py"),
}

# Prints the point of every test that has one, as pytest would run them.
_COLLECT = """
import sys, pytest
class Ear:
    def pytest_collection_finish(self, session):
        for item in session.items:
            if hasattr(item, "callspec") and "point" in item.callspec.params:
                print("point", item.callspec.params["point"])
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[Ear()]))
"""


def reached(room: str, call: str) -> set[str]:
    """The points that the code of a room comes by."""
    files = (CHECKOUT / "edge_resad" / room).rglob("*.py")
    return {point for file in files for point in re.findall(rf'\b{call}\("([a-z-]+)"\)', file.read_text())}


def test_every_point_is_in_the_code() -> None:
    assert reached("device", "reach") == set(STATIONS)
    assert reached("fleet", "crash_point") == set(COLLECTORS)
    assert len(set(STATIONS)) == len(STATIONS)


@pytest.mark.parametrize(("room", "points"), [("device", STATIONS), ("fleet", COLLECTORS)])
def test_at_every_point_a_test_kills_a_process(room: str, points: tuple[str, ...]) -> None:
    files = [str(Path("tests") / room / name) for name in TESTS[room]]
    done = subprocess.run(
        [sys.executable, "-c", _COLLECT, *files], cwd=CHECKOUT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    named = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("point ")]
    assert {point.partition(":")[0] for point in named} == set(points)
