"""A node numbers what it says, says everything at its birth, and afterwards what has changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_resad.device.sparkplug.edge_node import OF_DEVICE, OF_NODE, EdgeNode, Readings
from edge_resad.device.sparkplug.payload import Kind, Value
from tests.device.sparkplug.host import Read, read

NODE: dict[str, Value] = {"Spool/Waiting": 5}
CAMERA: dict[str, Value] = {"Parts/Failed": 0, "Last/Score": None}


def _readings(node: dict[str, Value], *cameras: dict[str, Value]) -> Readings:
    return Readings(node=node, devices={f"cam{number}": camera for number, camera in enumerate(cameras)})


def _born(node: EdgeNode, *, bd_seq: int = 3) -> list[Read]:
    messages = node.births(bd_seq, _readings(NODE, CAMERA, CAMERA), 1.0)
    return [read(message.topic, message.payload) for message in messages]


def test_a_birth_says_the_node_first_then_each_device_with_all_values_and_types() -> None:
    born = _born(EdgeNode("graz", "press-7"))
    assert [(message.verb, message.device, message.seq) for message in born] == [
        ("NBIRTH", None, 0), ("DBIRTH", "cam0", 1), ("DBIRTH", "cam1", 2)
    ]  # fmt: skip
    assert born[0].metrics == {"bdSeq": 3, "Node Control/Rebirth": False, **NODE}
    assert born[1].metrics == CAMERA
    assert born[0].kinds == {"bdSeq": Kind.INT64, "Node Control/Rebirth": Kind.BOOLEAN, "Spool/Waiting": Kind.INT64}
    assert born[1].kinds == {"Parts/Failed": Kind.INT64, "Last/Score": Kind.DOUBLE}


def test_topics_are_those_of_the_namespace() -> None:
    node = EdgeNode("graz", "press-7")
    assert node.topic("NCMD") == "spBv1.0/graz/NCMD/press-7"
    assert node.topic("DDATA", "cam0") == "spBv1.0/graz/DDATA/press-7/cam0"


def test_only_what_changed_is_said_and_nothing_where_nothing_did() -> None:
    node = EdgeNode("graz", "press-7")
    _born(node)
    assert node.changes(_readings(NODE, CAMERA, CAMERA), 2.0) == []
    (said,) = node.changes(_readings(NODE, CAMERA, {**CAMERA, "Last/Score": 1.5}), 3.0)
    message = read(said.topic, said.payload)
    assert (message.verb, message.device, message.seq) == ("DDATA", "cam1", 3)
    assert (message.metrics, message.kinds) == ({"Last/Score": 1.5}, {})
    assert node.changes(_readings(NODE, CAMERA, {**CAMERA, "Last/Score": 1.5}), 4.0) == []


def test_after_255_comes_0_and_a_rebirth_begins_with_0_again() -> None:
    node = EdgeNode("graz", "press-7")
    numbers = [message.seq for message in _born(node)]
    for waiting in range(300):
        (said,) = node.changes(_readings({"Spool/Waiting": -1 - waiting + 1000}, CAMERA, CAMERA), 2.0)
        numbers.append(read(said.topic, said.payload).seq)
    assert numbers == [number % 256 for number in range(303)]
    assert [message.seq for message in _born(node)] == [0, 1, 2]


def test_a_death_has_no_number_and_says_which_birth_it_ends() -> None:
    death = EdgeNode("graz", "press-7").death(3, 1.0)
    message = read(death.topic, death.payload)
    assert death.topic == "spBv1.0/graz/NDEATH/press-7"
    assert (message.seq, message.metrics) == (None, {"bdSeq": 3})


@pytest.mark.parametrize(("of", "metrics"), [("the node", OF_NODE), ("a camera", OF_DEVICE)])
def test_the_page_names_every_metric_and_its_type(of: str, metrics: Mapping[str, Kind]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "sparkplug.md").read_text(encoding="utf-8")
    (table,) = re.findall(rf"^## Metrics of {of}\n(.*?)^(?:## |`bdSeq`|Before)", page, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| (`.*?`) \| (\w+)", table, re.MULTILINE)
    named = {name: kind for names, kind in rows for name in re.findall(r"`(.*?)`", names)}
    assert named == {name: kind.name.capitalize() for name, kind in metrics.items()}


def test_no_metric_of_a_node_is_one_of_a_device() -> None:
    assert not OF_NODE.keys() & OF_DEVICE.keys()
