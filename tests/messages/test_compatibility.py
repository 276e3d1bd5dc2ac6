"""Messages that stations have written in the past are read for ever.

The files below `v1` were written by the program of their day and are never changed. A new kind of message, or a new
field, adds a file; a change for which one of these would have to be rewritten needs a new schema version and a folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_resad.messages import SCHEMA_VERSION, read_message, read_thumbnail, read_topic, type_of

RECORDED = Path(__file__).parent
VERSIONS = sorted(RECORDED.glob("v[0-9]*"))
MESSAGES = sorted(RECORDED.glob("v[0-9]*/*.json"))


def _lost(recorded: Any, read: Any, at: str = "") -> list[str]:
    """What was in the recorded message and is not, or is something else, in what was read."""
    if isinstance(recorded, dict) and isinstance(read, dict):
        return [lost for name, part in recorded.items() for lost in _lost(part, read.get(name), f"{at}.{name}")]
    if isinstance(recorded, list) and isinstance(read, list) and len(recorded) == len(read):
        pairs = enumerate(zip(recorded, read, strict=True))
        return [lost for index, (before, now) in pairs for lost in _lost(before, now, f"{at}[{index}]")]
    return [] if recorded == read else [f"{at}: {recorded!r} was read as {read!r}"]


def test_every_schema_version_has_its_recordings() -> None:
    assert [folder.name for folder in VERSIONS] == [f"v{number + 1}" for number in range(SCHEMA_VERSION)]


@pytest.mark.parametrize("file", MESSAGES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_recorded_message_is_read_and_nothing_of_it_is_lost(file: Path) -> None:
    message = read_message(file.read_bytes())
    assert _lost(json.loads(file.read_bytes()), message.model_dump(mode="json")) == []


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_a_recorded_picture_is_read(folder: Path) -> None:
    origin, jpeg = read_thumbnail((folder / "thumbnail.jpg").read_bytes())
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert (origin.device, origin.seq, origin.clock_synced) == ("jetson-07", 8, True)
    assert picture is not None
    assert picture.shape == (16, 24, 3)


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_recorded_topics_mean_what_they_meant(folder: Path) -> None:
    lines = [
        (topic, kind) for topic, kind in (line.split() for line in (folder / "topics.txt").read_text().splitlines())
    ]
    assert {topic: type_of(topic) for topic, _ in lines} == dict(lines)
    assert {read_topic(topic).address.prefix for topic, _ in lines} == {"er/v1/graz/l4/jetson-07"}


def test_a_loss_would_be_noticed() -> None:
    recorded, read = {"data": {"seq": 1, "old": 2, "regions": [{"x": 1}]}}, {"data": {"seq": 1.5, "regions": [{}]}}
    assert _lost(recorded, read) == [
        ".data.seq: 1 was read as 1.5",
        ".data.old: 2 was read as None",
        ".data.regions[0].x: 1 was read as None",
    ]
