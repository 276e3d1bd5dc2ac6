"""The board counts every part once, remembers the last rejects with their pictures, and is of one moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_resad.decision import Verdict
from edge_resad.device.board import PICTURE_BYTES, REJECTS, Board
from edge_resad.device.pipeline import Inspection, Latency
from edge_resad.errors import ControlError
from edge_resad.image import decode_image
from edge_resad.overlay import thumbnail
from tests.fakes import FakeClock, frame, verdict
from tests.mqtt_peers import eventually

GOOD, BAD = 50, 150  # scores against the threshold of 100
MAP = np.zeros((4, 4), np.float32)


def inspection(score: int | None, frame_id: int = 0, **changes: Any) -> Inspection:
    """A part of this score; None: it could not be inspected."""
    judged: Verdict | None = None if score is None else verdict(float(score))
    if judged is not None:
        judged = replace(judged, **changes)
    return Inspection(
        frame=frame(frame_id, brightness=score or 0, captured_mono=1.0),
        verdict=judged,
        not_inspected=None if judged else "black",
        latency=Latency(waiting_ms=1.0, inspecting_ms=9.0),
    )


def test_an_empty_board_says_that_nothing_came_yet() -> None:
    said = Board(["cam0"]).snapshot()
    assert (said["last"], said["yield"], said["latency_ms"], said["rejects"]) == (None, None, None, [])
    with pytest.raises(ControlError, match="no part has come yet"):
        Board(["cam0"]).last_frame()


@given(scores=st.lists(st.sampled_from([GOOD, BAD, None]), max_size=60))
def test_every_part_is_counted_once_and_the_yield_is_of_those_that_were_judged(scores: list[int | None]) -> None:
    board = Board(["cam0"], run="r")
    for number, score in enumerate(scores):
        board.inspected(inspection(score, number), MAP)
    said = board.snapshot()
    counts = said["counts"]
    passed, failed = scores.count(GOOD), scores.count(BAD)
    assert (counts["passed"], counts["failed"], counts["not_inspected"]) == (passed, failed, scores.count(None))
    assert counts["reasons"] == ({"black": scores.count(None)} if None in scores else {})
    assert said["yield"] == (passed / (passed + failed) if passed + failed else None)
    rejected = [number for number, score in enumerate(scores) if score == BAD]
    assert [one["frame_id"] for one in said["rejects"]] == rejected[::-1][:REJECTS]
    assert said["unseen_rejects"] == failed
    if scores:
        assert said["last"]["frame_id"] == len(scores) - 1


def test_the_rejects_have_pictures_with_their_outlines_and_old_ones_go() -> None:
    drawn: list[Any] = []

    def draw(*what: Any, **how: Any) -> bytes:
        drawn.append(how["polygons"])
        return thumbnail(*what, **how)

    with Board(["cam0"], draw=draw, run="r") as board:
        for number in range(REJECTS + 3):
            board.inspected(inspection(BAD, number), MAP + BAD)
            assert eventually(lambda: board.snapshot()["rejects"][0]["picture"])
        said = board.snapshot()
        assert [one["id"] for one in said["rejects"]] == [f"r-{n}" for n in range(REJECTS + 3, 3, -1)]
        assert all(one["picture"] for one in said["rejects"])
        jpeg = board.picture("r-15")
        assert len(jpeg) <= PICTURE_BYTES
        assert decode_image(jpeg, "r-15").shape == (8, 8, 3)
        assert drawn[0] == [((1, 2), (4, 2), (4, 6), (1, 6))]
        with pytest.raises(ControlError, match="r-3 is none of the last 12 rejects"):
            board.picture("r-3")


def test_the_line_waits_for_no_picture_and_of_a_flood_the_newest_are_drawn() -> None:
    drawing, go_on = threading.Event(), threading.Event()

    def slow(*what: Any, **how: Any) -> bytes:
        drawing.set()
        assert go_on.wait(60)
        return thumbnail(*what, **how)

    with Board(["cam0"], draw=slow, run="r") as board:
        board.inspected(inspection(BAD), MAP + BAD)
        assert drawing.wait(60)
        for number in range(1, 500):
            board.inspected(inspection(BAD, number), MAP + BAD)
        assert board.snapshot()["counts"]["failed"] == 500
        go_on.set()
        assert eventually(lambda: all(one["picture"] for one in board.snapshot()["rejects"]))
        assert board.snapshot()["rejects"][0]["id"] == "r-500"


def test_of_a_flood_what_waits_for_its_picture_is_held_no_larger_than_it_is_drawn_from() -> None:
    drawing, go_on = threading.Event(), threading.Event()
    given: list[tuple[tuple[int, ...], Any]] = []

    def slow(image: NDArray[np.uint8], *what: Any, **how: Any) -> bytes:
        drawing.set()
        assert go_on.wait(60)
        given.append((image.shape, how["polygons"][0]))
        return thumbnail(image, *what, **how)

    part = inspection(
        BAD, regions=(replace(verdict(150.0).regions[0], polygon=((800, 400), (1600, 400), (1600, 900))),)
    )
    large = replace(part, frame=replace(part.frame, image=np.full((1501, 4001, 3), 90, np.uint8)))
    with Board(["cam0"], draw=slow, run="r") as board:
        board.inspected(large, MAP + BAD)
        assert drawing.wait(60)
        for _ in range(REJECTS - 1):
            board.inspected(large, MAP + BAD)
        go_on.set()
        assert eventually(lambda: all(one["picture"] for one in board.snapshot()["rejects"]))
    whole = ((1501, 4001, 3), ((800, 400), (1600, 400), (1600, 900)))
    small = ((375, 1000, 3), ((200, 100), (400, 100), (400, 225)))
    assert sorted(given, reverse=True) == [whole] * 2 + [small] * (REJECTS - 2)


def test_a_picture_that_cannot_be_drawn_costs_neither_the_reject_nor_the_next_picture(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def moody(*what: Any, **how: Any) -> bytes:
        if what[0][0, 0, 0] == BAD:
            raise MemoryError("no room")
        return thumbnail(*what, **how)

    with Board(["cam0"], draw=moody, run="r") as board:
        board.inspected(inspection(BAD, 0), MAP + BAD)
        assert eventually(lambda: "no picture of reject r-1" in caplog.text)
        board.inspected(inspection(BAD + 1, 1), MAP + BAD)
        assert eventually(lambda: board.snapshot()["rejects"][0]["picture"])
        assert [one["picture"] for one in board.snapshot()["rejects"]] == [True, False]


def test_a_snapshot_is_of_one_moment_while_the_line_runs() -> None:
    board, stop = Board(["cam0"]), threading.Event()

    def line() -> None:
        number = 0
        while not stop.is_set():
            board.inspected(inspection((GOOD, BAD, None)[number % 3], number), MAP)
            number += 1

    thread = threading.Thread(target=line)
    thread.start()
    try:
        assert eventually(lambda: board.version > 10)
        for _ in range(300):
            said = board.snapshot()
            counts = said["counts"]
            parts = counts["passed"] + counts["failed"] + counts["not_inspected"]
            assert said["version"] == parts
            assert said["last"]["frame_id"] == parts - 1
            assert sum(counts["reasons"].values()) == counts["not_inspected"]
            assert said["unseen_rejects"] == counts["failed"]
    finally:
        stop.set()
        thread.join()


def test_clearing_begins_the_counts_anew_and_keeps_the_rejects() -> None:
    clock = FakeClock()
    board = Board(["cam0"], clock=clock)
    for score in (GOOD, BAD, None):
        board.inspected(inspection(score), MAP)
    clock.now += 60
    board.clear()
    said = board.snapshot()
    assert said["counts"] == {
        "since": clock.wall(), "passed": 0, "failed": 0, "not_inspected": 0, "reasons": {},
    }  # fmt: skip
    assert said["latency_ms"] is None
    assert len(said["rejects"]) == 1


def test_a_part_that_never_reached_the_inspection_is_counted_all_the_same() -> None:
    board = Board(["cam0"])
    board.missed("overwritten")
    assert board.snapshot()["counts"]["reasons"] == {"overwritten": 1}


def test_acknowledging_says_how_many_rejects_were_new() -> None:
    board = Board(["cam0"])
    board.inspected(inspection(BAD), MAP)
    board.inspected(inspection(BAD), MAP)
    assert board.acknowledge() == 2
    board.inspected(inspection(BAD), MAP)
    assert board.snapshot()["unseen_rejects"] == 1


@pytest.mark.parametrize(("size_mm", "shown"), [((1.234, 5.0), "1.2 x 5.0 mm"), (None, "3 x 4 px")])
def test_a_reject_says_how_large_it_is_in_the_unit_that_is_known(
    size_mm: tuple[float, float] | None, shown: str
) -> None:
    board = Board(["cam0"])
    region = replace(verdict(150.0).regions[0], size_mm=size_mm)
    board.inspected(inspection(BAD, regions=(region,), product="cap", product_version=2), MAP)
    (reject,) = board.snapshot()["rejects"]
    assert (reject["size"], reject["product"]) == (shown, "cap@2")
    assert board.snapshot()["products"] == {"cam0": "cap@2"}


@pytest.mark.parametrize(
    "change",
    [
        lambda board: board.set_faults({"cam0": ("black",)}),
        lambda board: board.say_drift("the light fades"),
        lambda board: board.set_product("cam0", "cap@1"),
        lambda board: board.inspected(inspection(GOOD), MAP),
        lambda board: board.clear(),
        lambda board: board.missed("overwritten"),
        lambda board: board.acknowledge(),
    ],
)
def test_whatever_changes_makes_a_new_version(change: Callable[[Board], object]) -> None:
    board = Board(["cam0"])
    before = board.version
    change(board)
    assert board.version > before


def test_the_last_frame_is_shown_as_the_camera_saw_it_no_larger_than_a_screen() -> None:
    board = Board(["cam0"])
    part = inspection(None)
    large = replace(part.frame, image=np.full((1500, 2000, 3), 90, np.uint8))
    board.inspected(replace(part, frame=large), MAP)
    shown = decode_image(board.last_frame(), "the last frame")
    assert shown.shape == (960, 1280, 3)
    assert abs(int(shown[5, 5, 0]) - 90) <= 2


def test_a_part_without_a_picture_leaves_the_last_picture_where_it_is() -> None:
    board = Board(["cam0"])
    board.inspected(inspection(GOOD, 1), MAP)
    blank = frame(2).without_picture("backlog")
    board.inspected(replace(inspection(None, 2), frame=blank, not_inspected="backlog"), MAP)
    assert decode_image(board.last_frame(), "the last frame").mean() == pytest.approx(GOOD, abs=2)
    assert board.snapshot()["counts"]["reasons"] == {"backlog": 1}
