"""A camera's lane goes on with another judge as it was told to before: the engine was opened again."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from edge_resad.device.changeover import Changeover
from edge_resad.device.frame import Frame
from edge_resad.device.handover import NewestFrame
from edge_resad.device.lane import Lane
from edge_resad.device.revival import Absent
from edge_resad.device.settings import CameraSection, ProductsSection, StationFile
from edge_resad.device.spool import Spool
from edge_resad.engine.inspector import Inspector
from edge_resad.messages import AlertMessage, read_message
from edge_resad.recipe import Shelf
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
        assert spool.flush(20.0)
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
