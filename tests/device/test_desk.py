"""What a running station answers, command by command; and what stands around it: lights, bypass, errands, labels."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_resad.device.board import REJECTS, Board
from edge_resad.device.bypass import Bypass, Bypassed
from edge_resad.device.control import Controls
from edge_resad.device.desk import CameraDesk, Desk
from edge_resad.device.errands import Errands
from edge_resad.device.labels import Labels
from edge_resad.device.lights import (
    Light,
    broker_light,
    camera_lights,
    disk_light,
    engine_light,
    oldest_s,
    spool_light,
)
from edge_resad.device.link import LinkStatus
from edge_resad.device.pressure import Pressure
from edge_resad.device.spool import Spool
from edge_resad.errors import ControlError, ProductError, SpoolError
from edge_resad.messages import Address, not_inspected_message
from edge_resad.recipe import Choice, Shelf
from tests.device.test_board import BAD, GOOD, MAP, inspection
from tests.mqtt_peers import eventually
from tests.products import stocked


class Threshold:
    """Holds a threshold as an inspector does."""

    def __init__(self) -> None:
        self.value = 1.3

    def __call__(self, value: float | None) -> float:
        if value is not None:
            self.value = value
        return self.value


class Place:
    """A desk with all that it needs."""

    def __init__(self, folder: Path, shelf: Shelf | None = None) -> None:
        self.board = Board(["cam0", "cam1"], run="r")
        self.bypass = Bypass()
        self.labels = folder / "labels.jsonl"
        self.threshold = Threshold()
        self.wrong: str | None = None
        self.refused: str | None = None  # a product that cannot judge here
        self.controls = Controls()
        lanes = [
            CameraDesk(
                camera=name,
                shelf=shelf,
                threshold=self.threshold,
                check_product=self.check,
                self_test=lambda: self.wrong,
            )
            for name in ("cam0", "cam1")
        ]
        desk = Desk(
            self.board, lanes, self.bypass, Labels(self.labels), about={"device": "press-7"},
            lights=lambda: [Light(name="disk", colour="green", says="9.0 GB free")],
        )  # fmt: skip
        desk.register(self.controls)

    def check(self, choice: Choice) -> None:
        if choice.product == self.refused:
            raise ProductError(f"{choice} was made in int8")

    def ask(self, name: str, **arguments: Any) -> dict[str, Any]:
        """The result; a refusal is raised with its sentence."""
        answer = self.controls.answer(name, arguments)
        if "error" in answer:
            raise ControlError(answer["error"])
        json.dumps(answer)
        result: dict[str, Any] = answer["result"]
        return result


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_status_has_counts_lights_and_the_commands_there_are(place: Place) -> None:
    place.board.inspected(inspection(GOOD), MAP)
    place.board.set_faults({"cam1": ("black",)})
    said = place.ask("status")
    assert said["counts"]["passed"] == 1
    assert [(light["name"], light["colour"]) for light in said["lights"]] == [
        ("cam0", "green"), ("cam1", "red"), ("disk", "green")
    ]  # fmt: skip
    assert said["station"] == {"device": "press-7"}
    assert set(said["commands"]) == set(place.ask("help"))
    assert said["bypass"] is None


def test_a_status_of_which_nothing_is_new_is_short(place: Place) -> None:
    version = place.ask("status")["version"]
    assert place.ask("status", since=version) == {"version": version, "unchanged": True}
    place.board.inspected(inspection(GOOD), MAP)
    assert place.ask("status", since=version)["counts"]["passed"] == 1


def test_a_bypass_needs_a_reason_and_ends_when_it_is_told_to(place: Place) -> None:
    for reason in (None, "", "  ", True):
        with pytest.raises(ControlError, match="reason"):
            place.ask("bypass", reason=reason)
    version = place.board.version
    assert place.ask("bypass", reason="new\n lamp")["reason"] == "new lamp"
    assert place.board.version > version
    assert place.ask("status")["bypass"]["reason"] == "new lamp"
    assert place.ask("resume") == {"inspected": "again"}
    assert place.ask("resume") == {"inspected": "all along"}
    assert place.ask("status")["bypass"] is None


def test_the_fleet_hears_of_a_bypass(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Bypassed | None] = []
    bypass = Bypass(heard.append, wall=lambda: 5.0)
    bypass.begin("test")
    bypass.end()
    bypass.end()
    assert heard == [Bypassed(reason="test", since=5.0), None]
    assert "Reason: test" in caplog.text


def test_the_fleet_hears_last_what_holds_where_two_begin_and_end_a_bypass_at_the_same_moment() -> None:
    heard: list[Bypassed | None] = []

    def say(bypassed: Bypassed | None) -> None:
        if bypassed is not None:
            ending.start()
            ending.join(0.2)  # done, or waiting for its turn
        heard.append(bypassed)

    bypass = Bypass(say, wall=lambda: 5.0)
    ending = threading.Thread(target=bypass.end)
    bypass.begin("test")
    ending.join()
    assert heard == [Bypassed(reason="test", since=5.0), None]
    assert bypass.now is None


def test_a_label_is_on_the_disk_before_it_is_shown(place: Place) -> None:
    place.board.inspected(inspection(BAD, 41), MAP)
    assert place.ask("label", id="r-1", by="ann") == {"id": "r-1", "label": "false_reject"}
    (line,) = place.labels.read_text().splitlines()
    said = json.loads(line)
    assert (said["camera"], said["frame_id"], said["label"], said["by"]) == ("cam0", 41, "false_reject", "ann")
    assert place.ask("status")["rejects"][0]["label"] == "false_reject"
    place.ask("label", id="r-1", label="true_reject")
    assert len(place.labels.read_text().splitlines()) == 2
    with pytest.raises(ControlError, match="r-9 is none of the last"):
        place.ask("label", id="r-9")
    with pytest.raises(ControlError, match="no label 'ugly'"):
        place.ask("label", id="r-1", label="ugly")


def test_a_label_that_a_slow_disk_has_taken_is_no_error_though_others_took_the_rejects_place(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Labels.append

    def slowly(labels: Labels, said: Mapping[str, object]) -> None:
        append(labels, said)
        for _ in range(REJECTS):
            place.board.inspected(inspection(BAD), MAP)

    monkeypatch.setattr(Labels, "append", slowly)
    place.board.inspected(inspection(BAD), MAP)
    assert place.ask("label", id="r-1") == {"id": "r-1", "label": "false_reject"}
    assert len(place.labels.read_text().splitlines()) == 1


def test_a_label_that_the_disk_does_not_take_is_refused_and_not_shown(place: Place) -> None:
    place.labels.mkdir()
    place.board.inspected(inspection(BAD), MAP)
    with pytest.raises(ControlError, match="does not take the label"):
        place.ask("label", id="r-1")
    assert place.ask("status")["rejects"][0]["label"] is None


def test_the_threshold_is_said_and_set_and_nonsense_is_not(place: Place) -> None:
    assert place.ask("threshold") == {"threshold": {"cam0": 1.3, "cam1": 1.3}}
    assert place.ask("threshold", set=1.5)["until"] == "the station stops"
    assert place.threshold.value == 1.5
    for value in (0, -1, "much", True, float("nan"), float("inf")):
        with pytest.raises(ControlError, match="a threshold is a number above 0"):
            place.ask("threshold", set=value)
    with pytest.raises(ControlError, match=r"no camera 'cam9'\. There are: cam0, cam1"):
        place.ask("threshold", camera="cam9")


def test_a_self_test_says_what_is_wrong(place: Place) -> None:
    assert place.ask("self-test") == {"engine": "computes what it should"}
    place.wrong = "its map is zero throughout"
    with pytest.raises(ControlError, match="of cam1 does not compute what it should: its map is zero throughout"):
        place.ask("self-test", camera="cam1")


def test_pictures_come_as_jpegs(place: Place) -> None:
    with pytest.raises(ControlError, match="no part has come yet"):
        place.ask("snapshot")
    with place.board:
        place.board.inspected(inspection(BAD), MAP + BAD)
        assert base64.b64decode(place.ask("snapshot")["jpeg"]).startswith(b"\xff\xd8")
        assert eventually(lambda: place.board.snapshot()["rejects"][0]["picture"])
        assert base64.b64decode(place.ask("picture", id="r-1")["jpeg"]).startswith(b"\xff\xd8")
    with pytest.raises(ControlError, match=r"id is missing\. Say it like id="):
        place.ask("picture")


def test_acknowledging_and_clearing_are_for_the_operator(place: Place) -> None:
    place.board.inspected(inspection(BAD), MAP)
    assert place.ask("acknowledge") == {"acknowledged": 1}
    place.ask("clear")
    assert place.ask("status")["counts"]["failed"] == 0


def test_a_product_is_put_to_use_and_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "products")
    stocked(shelf, "flange")
    stocked(shelf, "flange", min_area_px=4)
    stocked(shelf, "cap")
    place = Place(tmp_path, shelf)
    place.board.set_product("cam0", "flange@2")
    assert place.ask("products")["cam0"]["in_use"] == "flange@2"  # nobody has put one to use: that of the station file
    assert place.ask("product", use="flange@1") == {"asked_for": "flange@1", "cameras": ["cam0", "cam1"]}
    assert place.ask("products")["cam0"] == {"products": {"cap": [1], "flange": [1, 2]}, "in_use": "flange@1"}
    place.ask("product", use="cap", camera="cam1")
    assert str(shelf.in_use()) == "cap@1"
    with pytest.raises(ControlError, match="no product ring"):
        place.ask("product", use="ring")
    with pytest.raises(ControlError, match=r"use is missing\. Say it like use=flange"):
        place.ask("product")


def test_a_product_that_cannot_judge_here_is_refused_and_not_put_to_use(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "products")
    stocked(shelf, "flange")
    stocked(shelf, "cap")
    shelf.use(shelf.find("flange"))
    place = Place(tmp_path, shelf)
    place.refused = "cap"
    with pytest.raises(ControlError, match="cap@1 was made in int8"):
        place.ask("product", use="cap")
    assert str(shelf.in_use()) == "flange@1"  # or the next start would begin with it


def test_a_station_of_one_bank_has_no_products_to_change(place: Place) -> None:
    assert place.ask("products") == {}
    with pytest.raises(ControlError, match="one bank and no products"):
        place.ask("product", use="cap")


# Errands


def test_an_errand_is_done_by_the_line_between_two_parts() -> None:
    errands, done_by = Errands(), []

    def work() -> int:
        done_by.append(threading.current_thread().name)
        return 42

    stop = threading.Event()

    def line() -> None:
        while not stop.is_set():
            errands.do()

    thread = threading.Thread(target=line, name="line")
    thread.start()
    try:
        assert errands.ask(work, within_s=20) == 42
        assert done_by == ["line"]
        with pytest.raises(ProductError, match="no"):
            errands.ask(lambda: (_ for _ in ()).throw(ProductError("no")), within_s=20)
        assert errands.ask(work, within_s=20) == 42  # what one raised is its asker's alone
    finally:
        stop.set()
        thread.join()


def test_an_errand_that_nobody_came_to_in_time_is_not_done_later() -> None:
    errands, done = Errands(), []
    with pytest.raises(ControlError, match="the line did not come to it"):
        errands.ask(lambda: done.append(1), within_s=0.01)
    errands.do()
    assert done == []


def test_who_waits_for_a_line_that_hangs_at_an_errand_is_told_so_and_waits_no_longer() -> None:
    errands, begun, released = Errands(), threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        released.wait(60)
        return 42

    def line() -> None:
        while not released.is_set():
            errands.do()

    thread = threading.Thread(target=line, name="line")
    thread.start()
    try:
        with pytest.raises(ControlError, match=r"the line began it and was not done with it 0.05 s later: it hangs"):
            errands.ask(work, within_s=20, longest_s=0.05)
        assert begun.is_set()
    finally:
        released.set()
        thread.join()


# Lights


@pytest.mark.parametrize(
    ("faults", "colour", "says"),
    [((), "green", "well"), (("blurred",), "amber", "Clean the lens"), (("blurred", "black"), "red", "lens cap"),
     (("behind",), "amber", "faster than they are inspected"), (("odd_thing",), "amber", "odd thing")],
)  # fmt: skip
def test_a_cameras_light(faults: tuple[str, ...], colour: str, says: str) -> None:
    (light,) = camera_lights({"cam0": faults}, {})
    assert (light.name, light.colour) == ("cam0", colour)
    assert says in light.says


def test_the_light_of_a_camera_with_a_queue_says_how_many_parts_wait() -> None:
    pressures = {"side": Pressure(waiting=2, most=5, is_behind=False)}
    top, side = camera_lights({"top": (), "side": ()}, pressures)
    assert top == Light(name="top", colour="green", says="well")
    assert side == Light(name="side", colour="green", says="well; parts that wait: 2, of late at most 5")


def test_the_engines_light() -> None:
    assert engine_light("cpu int8", 0, None) == Light(name="engine", colour="green", says="cpu int8")
    assert engine_light("cpu int8", 1, None).colour == "amber"
    assert engine_light("cpu int8", 10, None).colour == "red"
    assert engine_light("cpu int8", 0, "cap@2 cannot be used here").says == "cap@2 cannot be used here"


def link(connected: bool, problem: str | None = None) -> LinkStatus:
    return LinkStatus(connected=connected, protocol=None, waiting=0, dead=0, problem=problem)


@pytest.mark.parametrize(
    ("status", "colour"),
    [(link(True), "green"), (link(True, "it takes no alerts"), "amber"), (link(False), "red"),
     (link(False, "no broker at x"), "red")],
)  # fmt: skip
def test_the_brokers_light(status: LinkStatus, colour: str) -> None:
    light = broker_light(status)
    assert light is not None
    assert light.colour == colour
    assert light.says == status.problem or status.problem is None


def test_without_a_broker_there_is_no_light_for_it() -> None:
    assert broker_light(None) is None


def test_the_spools_light_is_amber_where_what_waits_is_late_and_red_where_the_disk_takes_nothing() -> None:
    assert spool_light(0, None, None, has_broker=True).says == "nothing waits"
    assert spool_light(3, 5.0, None, has_broker=True).colour == "green"
    late = spool_light(3, 4000.0, None, has_broker=True)
    assert (late.colour, late.says) == ("amber", "3 messages wait, the first for 67 min")
    assert spool_light(3, 4000.0, None, has_broker=False).colour == "green"
    assert spool_light(3, 5.0, "the disk is full", has_broker=True) == Light(
        name="spool", colour="red", says="the disk is full"
    )


def test_the_spools_light_says_what_the_broker_will_never_take() -> None:
    one = spool_light(0, None, None, has_broker=True, dead=1)
    assert (one.colour, one.says) == (
        "amber",
        "nothing waits; 1 message stays that the broker will never take: edge-resad spool dead STATION says why",
    )
    assert "2 messages stay that the broker" in spool_light(3, 5.0, None, has_broker=True, dead=2).says
    assert spool_light(0, None, "the disk is full", has_broker=True, dead=1).colour == "red"


def test_the_disks_light(tmp_path: Path) -> None:
    assert "GB free" in disk_light(tmp_path).says
    assert disk_light(tmp_path / "nowhere").colour == "red"


def test_the_age_of_what_waits_is_that_of_the_first_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = Address(site="s", line="l", device="d")
    with Spool(tmp_path / "spool.db", max_bytes=10**7, commit_ms=0) as spool:
        assert oldest_s(spool, 0.0) is None
        stamp = spool.put(
            address.verdict_topic("cam0"),
            lambda stamp: not_inspected_message(address, stamp, product="p", camera="cam0", reason="black", frame_id=0),
            kind="pass",
        )
        assert spool.flush(60)
        age = oldest_s(spool, stamp.wall + 90.0)
        assert age is not None
        assert np.isclose(age, 90.0, atol=0.01)

        def refuse(*_: object) -> None:
            raise SpoolError("the spool cannot be read")

        monkeypatch.setattr("edge_resad.device.spoolfile.SpoolFile.read", refuse)
        assert oldest_s(spool, stamp.wall + 90.0) is None  # the other lights shine all the same
