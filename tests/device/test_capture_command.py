"""A capture that the fleet asks for is accepted, says how far it is, and is done when its frames are there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_resad.device.commands.ledger import Ledger
from edge_resad.device.pictures.commands import register_pictures
from edge_resad.device.pictures.pictures import Pictures
from edge_resad.messages import Reply, command_message, read_key
from tests.device.commanded import ADDRESS, make_keys
from tests.device.pictures.test_pictures import GOOD, inspection, keep
from tests.device.wired import Wire, commanded


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[Pictures]:
    with Pictures(tmp_path / "pictures", max_bytes=10**8, min_free_bytes=0) as opened:
        yield opened


@contextmanager
def station(folder: Path, pictures: Pictures) -> Iterator[Wire]:
    make_keys(folder)
    with commanded(folder) as (wire, line, _):
        register_pictures(line.controls, pictures)
        yield wire


def capture(wire: Wire, folder: Path, command_id: str, count: int, *, answers: int) -> Reply:
    """Ask for frames; the last of so many answers."""
    about = {"issued_by": "anna", "host": "office", "wall": time.time(), "expires_s": 600.0}
    payload = command_message(
        ADDRESS,
        "capture",
        command_id=command_id,
        arguments={"count": count},
        key=read_key(folder / "operator.key"),
        **about,  # type: ignore[arg-type]
    )
    wire.hear(ADDRESS.command_topic("capture"), payload)
    return wire.answered(command_id, answers)[-1]


def audited(folder: Path) -> list[tuple[str, str]]:
    file = folder / "commands.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [(line["command_id"], line["status"]) for line in lines]


def test_it_is_accepted_says_how_far_it_is_and_is_done_when_its_frames_are_there(
    tmp_path: Path, pictures: Pictures
) -> None:
    into = tmp_path / "pictures" / "captures" / "capture-0001"
    with station(tmp_path, pictures) as wire:
        accepted = capture(wire, tmp_path, "c1", 2, answers=1)
        assert (accepted.status, accepted.sentence) == ("accepted", f"The next 2 frames go to {into}.")
        keep(pictures, inspection(GOOD))
        so_far = capture(wire, tmp_path, "c1", 2, answers=2)
        assert (so_far.status, so_far.again, so_far.sentence) == ("accepted", True, f"1 of 2 frames are in {into}.")
        assert audited(tmp_path) == []
        keep(pictures, inspection(GOOD, number=1))
        done = wire.answered("c1", 3)[-1]
        assert (done.status, done.sentence) == ("done", f"2 of 2 frames are in {into}.")
        assert done.result == {"folder": str(into), "wanted": 2, "written": 2}
        assert len(list(into.rglob("*.png"))) == 2
        again = capture(wire, tmp_path, "c1", 2, answers=4)
        assert (again.status, again.again, again.result) == ("done", True, done.result)
    assert audited(tmp_path) == [("c1", "done")]


def test_it_fails_where_somebody_stops_it_and_says_how_many_are_there(tmp_path: Path, pictures: Pictures) -> None:
    with station(tmp_path, pictures) as wire:
        capture(wire, tmp_path, "c1", 2, answers=1)
        keep(pictures, inspection(GOOD))
        pictures.stop_capture()
        stopped = wire.answered("c1", 2)[-1]
        pictures.capture(1, name="another")  # what is taken now is nobody's of the fleet
    assert (stopped.status, (stopped.result or {})["written"]) == ("failed", 1)
    assert str(stopped.sentence).endswith("capture-0001. It was stopped.")


def test_while_one_is_taken_another_is_refused_with_how_far_that_is(tmp_path: Path, pictures: Pictures) -> None:
    with station(tmp_path, pictures) as wire:
        capture(wire, tmp_path, "c1", 2, answers=1)
        keep(pictures, inspection(GOOD))
        other = capture(wire, tmp_path, "c2", 5, answers=1)
        assert other.status == "failed"
        assert "a capture is being taken: 1 of 2 frames in" in str(other.sentence)
        keep(pictures, inspection(GOOD, number=1))
        assert wire.answered("c1", 2)[-1].status == "done"


def test_a_station_that_ends_before_its_frames_came_answers_that_they_did_not(
    tmp_path: Path, pictures: Pictures
) -> None:
    with station(tmp_path, pictures) as wire:
        capture(wire, tmp_path, "c1", 3, answers=1)
        keep(pictures, inspection(GOOD))
    ended = wire.replies("c1")[-1]
    assert ended.status == "failed"
    assert str(ended.sentence).startswith("The station ended: 1 of 3 frames are in ")
    with Ledger(tmp_path / "commands.db") as ledger:
        assert ledger.unsettled() == []
    assert audited(tmp_path) == [("c1", "failed")]
