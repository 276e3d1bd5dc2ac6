"""A camera's lane: what it goes on with when the engine was opened again, or another product is on the line."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_resad.bank import bank_content
from edge_resad.device.changeover import Changeover
from edge_resad.device.frame import Frame
from edge_resad.device.handover import NewestFrame
from edge_resad.device.lane import CAUGHT_UP_S, Lane
from edge_resad.device.pressure import Pressure
from edge_resad.device.revival import Absent
from edge_resad.device.settings import CameraSection, ProductsSection, StationFile, WatchSection
from edge_resad.device.spool import Spool
from edge_resad.device.watch import LEARN_FRAMES
from edge_resad.engine.inspector import Inspector
from edge_resad.messages import AlertMessage, read_message
from edge_resad.recipe import Recipe, Roi, Shelf
from tests.fakes import FakeCamera, FakeJudge
from tests.mqtt_peers import eventually
from tests.products import BUNDLE, bank_of, part, stocked

NEVER_S = 1000.0


def shown(family: str, seed: int, defect: str | None = None) -> Frame:
    return Frame(image=part(family, seed, defect), frame_id=seed, captured_mono=0.0, captured_wall=1_700_000_000.0)


def told(folder: Path) -> StationFile:
    return StationFile.model_validate(
        {
            "station": {"device": "press-7"},
            "camera": {"source": "folder:parts"},
            "inspection": {"bank": "none.npz"},
            "spool": {"path": str(folder / "spool.db"), "commit_ms": 1.0},
            "drift": {"on": False},
        }
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool.db", max_bytes=10**8, commit_ms=1.0)


def test_a_threshold_that_a_person_has_set_outlives_an_engine_that_was_opened_again(
    spool: Spool, tmp_path: Path
) -> None:
    with spool, Inspector(BUNDLE, bank_of("flange")) as first, Inspector(BUNDLE, bank_of("flange")) as second:
        lane = Lane(told(tmp_path), first, spool, lambda _told, _halt: FakeCamera([]))
        lane.set_threshold(0.001)
        lane.put(Absent("the GPU is gone"))
        lane.put(second)
        verdict = lane.step(shown("flange", 50)).verdict
    assert first.threshold == 0.001
    assert verdict is not None
    assert (verdict.threshold, verdict.status) == (0.001, "fail")


def test_a_product_that_was_changed_while_the_engine_was_away_begins_its_own_alerts(
    spool: Spool, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "products")
    stocked(shelf, "flange", debounce_k=1, debounce_n=1)
    stocked(shelf, "cap", debounce_k=2, debounce_n=2)
    shelf.use(shelf.find("flange"))
    products = ProductsSection(folder=shelf.folder)
    with spool, ExitStack() as open_judges:
        judge = open_judges.enter_context(Changeover(BUNDLE, products, poll_s=NEVER_S))
        lane = Lane(told(tmp_path), judge, spool, lambda _told, _halt: FakeCamera([]))
        lane.say(lane.step(shown("flange", 50, "scratch")))
        open_judges.close()
        lane.put(Absent("the GPU is gone"))
        shelf.use(shelf.find("cap"))
        lane.put(open_judges.enter_context(Changeover(BUNDLE, products, poll_s=NEVER_S)))
        lane.say(lane.step(shown("flange", 51)))  # no cap at all
        lane.say(lane.step(shown("flange", 51)))  # no cap at all
        assert spool.flush(60.0)
        said = [read_message(letter.body) for letter in spool.oldest(100) if letter.kind == "alert"]
    alerts = [(message.data.product, message.data.phase) for message in said if isinstance(message, AlertMessage)]
    assert alerts == [("flange", "new"), ("flange", "end"), ("cap", "new")]
    assert {product: (tally.passed, tally.failed) for product, tally in lane.tallies.items()} == {
        "flange": (0, 1), "cap": (0, 2),
    }  # fmt: skip


def test_a_wired_camera_may_be_still_for_long_and_one_whose_driver_lets_go_of_nothing_is_no_progress(
    spool: Spool, tmp_path: Path
) -> None:
    wired = told(tmp_path).model_copy(
        update={"cameras": (CameraSection.model_validate({"source": "basler", "trigger": {"kind": "camera"}}),)}
    )
    camera = FakeCamera([], live=True, hangs=True)
    with spool, Lane(wired, FakeJudge(), spool, lambda _told, _halt: camera) as lane:
        assert eventually(lambda: lane.capture.opened)
        assert [lane.look(float(now), None) for now in range(3)] == ["on"] * 3
        lane.capture.is_stuck = True
        assert lane.look(3.0, None) == "away"
        camera.released.set()


@pytest.mark.parametrize("follows", [True, False])
def test_a_camera_is_not_called_silent_because_the_engine_held_up_the_line(
    spool: Spool, tmp_path: Path, follows: bool
) -> None:
    """follows: whether the camera gave another part meanwhile."""
    watched = told(tmp_path).model_copy(
        update={
            "cameras": (CameraSection.model_validate({"source": "/dev/video0"}),),
            "watch": WatchSection(frozen_s=0.0, silent_s=1.0),
        }
    )
    with spool:
        lane = Lane(watched, FakeJudge(), spool, lambda _told, _halt: FakeCamera([], live=True))
        lane.capture.opened = True
        slot, now = lane.capture.slot, time.monotonic()
        lane.look(now, None)
        slot.put(shown("flange", 1))
        part_there = slot.take()
        assert part_there is not None
        inspection = lane.step(part_there)
        if follows:
            slot.put(shown("flange", 2))
        lane.look(now + 100.0, inspection)  # so long it took
        assert lane.is_away is not follows


def test_a_part_that_nobody_looked_at_is_counted_while_the_line_runs_and_once(spool: Spool, tmp_path: Path) -> None:
    with spool:
        lane = Lane(told(tmp_path), FakeJudge(), spool, lambda _told, _halt: FakeCamera([]))
        slot = NewestFrame(live=True)
        lane.capture.slot = slot
        for seed in (1, 2, 3):
            slot.put(shown("flange", seed))
        assert [reason for reason, _ in lane.missed()] == ["overwritten", "overwritten"]
        assert lane.tally.not_inspected == {"overwritten": 2}
        slot.put(shown("flange", 4))
        lane.count_unseen()
        lane.count_unseen()
    assert lane.tally.not_inspected == {"overwritten": 3}
    assert {name: tally.not_inspected for name, tally in lane.tallies.items()} == {lane.product: {"overwritten": 3}}


def test_the_inspection_of_a_queue_is_behind_until_no_part_lost_its_turn_for_a_while(
    spool: Spool, tmp_path: Path
) -> None:
    section = CameraSection.model_validate({"source": "folder:parts", "trigger": {"kind": "camera", "queue": 1}})
    queued = told(tmp_path).model_copy(update={"cameras": (section,)})
    said: list[tuple[str, ...]] = []
    with spool:
        lane = Lane(
            queued, FakeJudge(), spool, lambda _told, _halt: FakeCamera([], live=True),
            say=lambda faults: said.append(faults["cam0"]),
        )  # fmt: skip
        slot = lane.capture.slot
        lane.look(0.0, None)
        slot.put(shown("flange", 1))
        slot.put(shown("flange", 2))
        lane.look(1.0, None)
        assert lane.pressure == Pressure(waiting=1, most=1, is_behind=True)
        while (frame := slot.take()) is not None:
            lane.look(2.0, lane.step(replace(frame, captured_mono=time.monotonic())))
        lane.look(2.0 + CAUGHT_UP_S - 1.5, None)
        assert lane.pressure == Pressure(waiting=0, most=1, is_behind=True)
        lane.look(2.0 + CAUGHT_UP_S, None)
        assert lane.pressure == Pressure(waiting=0, most=1, is_behind=False)
        slot.put(shown("flange", 3))  # at the monotonic clock's 0, long ago
        frame = slot.take()
        assert frame is not None
        late = lane.step(frame)
        assert late.not_inspected == "too_old"
        lane.look(20.0, late)
        lane.look(40.0, None)
    assert [faults for before, faults in pairwise(said) if faults != before] == [("behind",), (), ("behind",), ()]


def test_a_folder_that_waits_for_the_inspection_is_never_behind(spool: Spool, tmp_path: Path) -> None:
    section = CameraSection.model_validate({"source": "folder:parts", "trigger": {"kind": "camera", "queue": 1}})
    queued = told(tmp_path).model_copy(update={"cameras": (section,)})
    said: list[tuple[str, ...]] = []
    with (
        spool,
        Lane(
            queued,
            FakeJudge(),
            spool,
            lambda _told, _halt: FakeCamera([50] * 5),
            say=lambda faults: said.append(faults["cam0"]),
        ) as lane,
    ):
        for number in range(5):
            frame = lane.capture.slot.get(60.0)
            assert frame is not None
            lane.look(float(number), lane.step(frame))
            assert lane.pressure is not None
            assert (lane.pressure.most, lane.pressure.is_behind) == (1, False)
    assert set(said) <= {()}


def test_blur_is_noticed_on_products_that_come_by_turns_and_learnt_anew_with_another_reference(
    spool: Spool, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "products")
    stocked(shelf, "flange")
    stocked(shelf, "cap")
    shelf.use(shelf.find("flange"))
    with spool, Changeover(BUNDLE, ProductsSection(folder=shelf.folder), poll_s=NEVER_S) as judge:
        lane = Lane(told(tmp_path), judge, spool, lambda _told, _halt: FakeCamera([]))
        assert lane._watch is not None

        def pass_by(family: str, seed: int, blur_px: float = 0.0) -> None:
            shelf.use(shelf.find(family))
            judge.step()
            frame = shown(family, seed)
            if blur_px:
                frame = replace(frame, image=np.asarray(cv2.GaussianBlur(frame.image, (0, 0), blur_px), np.uint8))
            lane.step(frame)

        for seed in range(LEARN_FRAMES):
            pass_by("flange", seed)
            pass_by("cap", seed)
        assert not lane._watch._spells
        pass_by("flange", 50, 5.0)
        assert "blurred" in lane._watch._spells
        recipe = Recipe(product="cap", regions=(Roi(name="whole", bank="whole.npz"),))
        shelf.add(recipe, {"whole.npz": bank_content(bank_of("flange"))})
        pass_by("cap", 50, 5.0)
        spell = lane._watch._spells.get("blurred")  # forgotten after a second
        assert spell is None or not spell.is_on
