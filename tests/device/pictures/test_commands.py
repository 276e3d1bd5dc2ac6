from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_resad.device.control import Controls
from edge_resad.device.pictures.commands import register_pictures
from edge_resad.device.pictures.pictures import Pictures
from tests.device.pictures.test_pictures import BAD, GOOD, inspection, keep


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[Pictures]:
    with Pictures(tmp_path, max_bytes=10**8, min_free_bytes=0) as opened:
        yield opened


def ask(pictures: Pictures | None, name: str, /, **arguments: object) -> dict[str, Any]:
    controls = Controls()
    register_pictures(controls, pictures)
    return controls.answer(name, arguments)


def test_a_capture_is_begun_watched_and_ended_from_outside(pictures: Pictures, tmp_path: Path) -> None:
    folder = str(tmp_path / "captures" / "morning")
    assert ask(pictures, "capture", n=3, label="good", name="morning") == {"result": {"folder": folder, "wanted": 3}}
    keep(pictures, inspection(GOOD))
    told = {"folder": folder, "wanted": 3, "written": 1}
    assert ask(pictures, "capturing") == {"result": {**told, "ended": False, "problem": None}}
    ended = {**told, "ended": True, "problem": "It was stopped."}
    assert ask(pictures, "capture-stop") == {"result": ended}
    assert ask(pictures, "capturing") == {"result": ended}


def test_a_kept_picture_is_found_by_the_message_that_speaks_of_it(pictures: Pictures, tmp_path: Path) -> None:
    keep(pictures, inspection(BAD, number=7), ids=["s-1", "s-2"])
    found = ask(pictures, "kept-picture", id="s-2")["result"]
    assert Path(found["file"]) == tmp_path / "rejects" / "0000000001-s-1+s-2.jpg"
    assert found["about"]["frame_id"] == 7


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("capture", {}, "n is missing. Say how many frames: n=20."),
        ("capture", {"n": "many"}, "n is no whole number. Say how many frames: n=20."),
        ("capture", {"n": 0}, "0 frames were asked for, expected 1 to 10000."),
        ("capture", {"n": 3, "label": 7}, "label is 7, expected text."),
        ("capturing", {}, "nothing is being taken. Begin with capture n=20."),
        ("kept-picture", {"id": "s-9"}, "there is no picture of s-9: it was not kept, or went."),
    ],
)
def test_what_cannot_be_done_is_answered_with_a_sentence(
    pictures: Pictures, name: str, arguments: dict[str, object], says: str
) -> None:
    assert ask(pictures, name, **arguments) == {"error": says}


def test_a_station_without_pictures_says_what_to_set() -> None:
    for name, arguments in (("capture", {"n": 3}), ("capturing", {}), ("kept-picture", {"id": "s-1"})):
        assert "Set [pictures] folder" in ask(None, name, **arguments)["error"]
