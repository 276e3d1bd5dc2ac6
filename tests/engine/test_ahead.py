"""A part that was made ready ahead is judged as any other; what was made of another is never taken for it."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.decision import NotInspected
from edge_resad.engine.ahead import Ahead
from edge_resad.engine.inspector import Inspector
from edge_resad.engine.product_inspector import ProductInspector
from edge_resad.errors import ImageError
from edge_resad.recipe import Alignment, Product, Recipe, Roi
from tests.products import BUNDLE, SIDE, Image, bank_of, enrolled, good_parts, moved, part
from tests.traced import traced

WAIT_S = 20.0  # a deadline, not a pause
HALVES = Recipe(
    product="board",
    picture_px=(SIDE, SIDE),
    mm_per_px=0.1,
    alignment=Alignment(),
    regions=(
        Roi(name="left", bank="left.npz", box=(40, 48, 80, 160), polygon=((44, 52), (116, 60), (110, 200), (44, 190))),
        Roi(name="right", bank="right.npz", box=(128, 48, 80, 160)),
    ),
)


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A board that lies now here, now there, with two regions, of one of which only a part counts."""
    return enrolled(tmp_path_factory.mktemp("products"), HALVES, good_parts("board"), reference=part("board", 0))


def pixels(brightness: int) -> NDArray[np.uint8]:
    return np.full((2, 2, 3), brightness, np.uint8)


def filled(ahead: Ahead[NDArray[np.uint8]], picture: NDArray[np.uint8]) -> None:
    ahead.fill(picture, lambda room: np.copyto(room, picture))


@pytest.fixture
def ahead() -> Ahead[NDArray[np.uint8]]:
    return Ahead(lambda: np.zeros((2, 2, 3), np.uint8))


def test_what_was_made_of_a_picture_is_there_once(ahead: Ahead[NDArray[np.uint8]]) -> None:
    picture = pixels(7)
    filled(ahead, picture)
    room = ahead.take(picture)
    assert room is not None
    assert np.array_equal(room, picture)
    assert ahead.take(picture) is None


def test_a_picture_that_looks_the_same_is_another_one(ahead: Ahead[NDArray[np.uint8]]) -> None:
    filled(ahead, pixels(7))
    assert ahead.take(pixels(7)) is None


def test_the_next_one_is_made_while_what_was_taken_stays(ahead: Ahead[NDArray[np.uint8]]) -> None:
    first, second = pixels(1), pixels(2)
    filled(ahead, first)
    room = ahead.take(first)
    filled(ahead, second)
    assert room is not None
    assert np.array_equal(room, first)
    following = ahead.take(second)
    assert following is not None
    assert np.array_equal(following, second)


def test_a_newer_picture_takes_the_place_of_one_that_nobody_took(ahead: Ahead[NDArray[np.uint8]]) -> None:
    old, new = pixels(1), pixels(2)
    filled(ahead, old)
    filled(ahead, new)
    assert ahead.take(old) is None
    assert ahead.take(new) is not None


def test_what_could_not_be_made_is_not_there_and_what_was_before_is_gone(ahead: Ahead[NDArray[np.uint8]]) -> None:
    old, broken = pixels(1), pixels(2)
    filled(ahead, old)

    def fails(room: NDArray[np.uint8]) -> None:
        room.fill(9)
        raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"):
        ahead.fill(broken, fails)
    assert ahead.take(broken) is None
    assert ahead.take(old) is None


def test_who_judges_waits_for_the_very_part_that_is_being_made_and_for_no_other(
    ahead: Ahead[NDArray[np.uint8]],
) -> None:
    picture, begun, go_on = pixels(7), threading.Event(), threading.Event()

    def slowly(room: NDArray[np.uint8]) -> None:
        begun.set()
        go_on.wait(WAIT_S)
        np.copyto(room, picture)

    maker = threading.Thread(target=lambda: ahead.fill(picture, slowly))
    maker.start()
    assert begun.wait(WAIT_S)
    assert ahead.take(pixels(1)) is None  # while it is being made
    taken: list[NDArray[np.uint8] | None] = []
    taker = threading.Thread(target=lambda: taken.append(ahead.take(picture)))
    taker.start()
    go_on.set()
    taker.join(WAIT_S)
    maker.join(WAIT_S)
    assert taken[0] is not None
    assert np.array_equal(taken[0], picture)


@pytest.mark.parametrize("size", [(SIDE, SIDE), (720, 1280), (90, 70), (100, 700)])
def test_a_part_made_ready_is_judged_to_the_last_digit_as_one_that_was_not(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    frames = [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(3)]
    with Inspector(BUNDLE, bank_of("board")) as inspector:
        plain = [(inspector.inspect(frame), inspector.score_map.copy()) for frame in frames]
        for frame, (verdict, score_map) in zip(frames, plain, strict=True):
            inspector.make_ready(frame)
            assert inspector.inspect(frame) == verdict
            assert np.array_equal(inspector.score_map, score_map)
            inspector.make_ready(frames[0])  # for nothing, as far as the next one is another


def test_a_product_sees_the_same_of_a_part_made_ready(halves: Product) -> None:
    frames = [moved(part("board", seed), 3 * seed - 8, 5 - seed, seed - 6.0)[0] for seed in range(5, 9)]
    with ProductInspector(BUNDLE, halves) as inspector:
        for frame in frames:
            plain, where, cells = inspector.inspect(frame), inspector.place, inspector.score_map.copy()
            inspector.make_ready(frame)
            assert inspector.inspect(frame) == plain
            assert inspector.place == where
            assert inspector.place is not None
            assert np.array_equal(inspector.score_map, cells)


def test_a_part_made_ready_for_one_product_is_judged_by_the_one_that_came_into_use(
    halves: Product, tmp_path: Path
) -> None:
    whole = Recipe(product="board", picture_px=(SIDE, SIDE), regions=(Roi(name="all", bank="all.npz"),))
    other = enrolled(tmp_path, whole, good_parts("board"))
    frame = part("board", 7)
    with ProductInspector(BUNDLE, other) as inspector:
        expected = inspector.inspect(frame)
    with ProductInspector(BUNDLE, halves) as inspector:
        inspector.make_ready(frame)
        inspector.load(inspector.prepare(other))
        assert inspector.inspect(frame) == expected
        assert inspector.place is None


def test_what_cannot_be_made_ready_says_why_when_it_is_judged(halves: Product) -> None:
    blank: Image = np.full((SIDE, SIDE, 3), 128, np.uint8)
    good = part("board", 5)
    with ProductInspector(BUNDLE, halves) as inspector:
        for _ in range(2):
            with pytest.raises(NotInspected, match="cannot be aligned"):
                inspector.make_ready(blank)
            with pytest.raises(NotInspected, match="cannot be aligned"):
                inspector.inspect(blank)
        assert inspector.place is None
        with pytest.raises(NotInspected, match="px"):
            inspector.make_ready(good[:-2])
        with pytest.raises(ImageError):
            inspector.make_ready(good[:, ::2])
        inspector.make_ready(good)
        assert inspector.inspect(good).product == "board"


def test_making_parts_ready_leaves_no_memory_behind(halves: Product) -> None:
    frames = [part("board", seed) for seed in range(5, 9)]
    with ProductInspector(BUNDLE, halves) as inspector:

        def judge(index: int) -> None:
            inspector.make_ready(frames[index % len(frames)])
            inspector.inspect(frames[index % len(frames)])

        _, growth = traced(judge, 30)
    assert growth < 1000
