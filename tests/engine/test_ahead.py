"""A part that was made ready ahead is judged as any other; what was made of another is never taken for it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.decision import NotInspected
from edge_resad.engine.ahead import Ahead
from edge_resad.engine.alignment import Aligner
from edge_resad.engine.cutout import Cutout, Matrix
from edge_resad.engine.inspector import Inspector
from edge_resad.engine.product_inspector import ProductInspector
from edge_resad.errors import ImageError
from edge_resad.recipe import Alignment, Product, Recipe, Roi
from tests.products import BUNDLE, SIDE, Image, bank_of, enrolled, good_parts, moved, part
from tests.traced import traced

WAIT_S = 60.0  # a deadline, not a pause
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


@contextmanager
def seeing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Image]]:
    """Every picture that is scaled or copied for the network meanwhile."""
    seen: list[Image] = []
    see = Inspector.see

    def noted(inspector: Inspector, picture: Image, paint: NDArray[np.bool_] | None, out: Image) -> None:
        seen.append(picture)
        see(inspector, picture, paint, out)

    with monkeypatch.context() as patch:
        patch.setattr(Inspector, "see", noted)
        yield seen


@contextmanager
def unused(monkeypatch: pytest.MonkeyPatch, *methods: Callable[..., Any]) -> Iterator[None]:
    """Nobody calls these meanwhile."""

    def refuse(*_: object) -> None:
        raise AssertionError("it was made ready before")

    with monkeypatch.context() as patch:
        for method in methods:
            patch.setattr(f"{method.__module__}.{method.__qualname__}", refuse)
        yield


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


class Slow:
    """A part that is being made ready until it is told to go on."""

    def __init__(self, ahead: Ahead[NDArray[np.uint8]], picture: NDArray[np.uint8]) -> None:
        self.go_on = threading.Event()
        self._begun = threading.Event()
        self._picture = picture
        self._maker = threading.Thread(target=lambda: ahead.fill(picture, self._fill))

    def __enter__(self) -> Slow:
        self._maker.start()
        assert self._begun.wait(WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._maker.join(WAIT_S)

    def _fill(self, room: NDArray[np.uint8]) -> None:
        self._begun.set()
        self.go_on.wait(WAIT_S)
        np.copyto(room, self._picture)


def test_who_judges_waits_for_the_very_part_that_is_being_made_and_for_no_other(
    ahead: Ahead[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_resad.engine.ahead.WAIT_S", WAIT_S)
    picture, changed = pixels(7), ahead._changed
    wait_for = changed.wait_for
    with Slow(ahead, picture) as slow:

        def seen(done: Callable[[], bool], timeout: float | None = None) -> bool:
            if not done():  # he waits, so the other one may go on
                slow.go_on.set()
            return wait_for(done, timeout)

        monkeypatch.setattr(changed, "wait_for", seen)
        assert ahead.take(pixels(1)) is None
        assert not slow.go_on.is_set()
        room = ahead.take(picture)
        assert slow.go_on.is_set()
    assert room is not None
    assert np.array_equal(room, picture)


def test_who_judges_does_not_wait_for_ever(ahead: Ahead[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_resad.engine.ahead.WAIT_S", 0.01)
    picture = pixels(7)
    with Slow(ahead, picture):
        assert ahead.take(picture) is None


def test_a_picture_that_nobody_takes_is_not_kept(ahead: Ahead[NDArray[np.uint8]]) -> None:
    picture = pixels(7)
    filled(ahead, picture)
    kept = weakref.ref(picture)
    del picture
    assert kept() is None
    assert ahead.take(pixels(7)) is None


@pytest.mark.parametrize("size", [(SIDE, SIDE), (720, 1280), (90, 70), (100, 700)])
def test_a_part_made_ready_is_judged_to_the_last_digit_as_one_that_was_not(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    frames = [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(3)]
    with Inspector(BUNDLE, bank_of("board")) as inspector:
        plain = [(inspector.inspect(frame), inspector.score_map.copy()) for frame in frames]
        for frame, (verdict, score_map) in zip(frames, plain, strict=True):
            inspector.make_ready(frame)
            with seeing(monkeypatch) as seen:
                assert inspector.inspect(frame) == verdict
            assert [picture.shape for picture in seen] == [(SIDE, SIDE, 3)]
            assert seen[0] is not frame
            assert np.array_equal(inspector.score_map, score_map)
            inspector.make_ready(frames[0])  # for nothing, as far as the next one is another


def test_inspectors_beside_each_other_make_their_own_parts_ready() -> None:
    frame = part("board", 7)
    with Inspector(BUNDLE, bank_of("board")) as first, Inspector(BUNDLE, bank_of("cap"), beside=first) as second:
        alone = first.inspect(frame), second.inspect(frame)
        assert alone[0].score != alone[1].score
        second.make_ready(frame)
        first.make_ready(frame)
        assert (first.inspect(frame), second.inspect(frame)) == alone


def test_a_product_sees_the_same_of_a_part_made_ready(halves: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [moved(part("board", seed), 3 * seed - 8, 5 - seed, seed - 6.0)[0] for seed in range(5, 9)]
    with ProductInspector(BUNDLE, halves) as inspector:
        for frame in frames:
            plain, where, cells = inspector.inspect(frame), inspector.place, inspector.score_map.copy()
            inspector.make_ready(frame)
            with unused(monkeypatch, Aligner.align, Cutout.take):
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


def test_a_product_that_comes_into_use_while_a_part_is_made_ready_sees_it_by_itself(
    halves: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Recipe(product="board", picture_px=(SIDE, SIDE), regions=(Roi(name="all", bank="all.npz"),))
    other = enrolled(tmp_path, whole, good_parts("board"))
    frame, begun, go_on = part("board", 7), threading.Event(), threading.Event()
    take = Cutout.take
    with ProductInspector(BUNDLE, other) as inspector:
        expected = inspector.inspect(frame)

    def slowly(cutout: Cutout, image: Image, to_frame: Matrix | None) -> Image:
        if threading.current_thread() is maker:
            begun.set()
            go_on.wait(WAIT_S)
        return take(cutout, image, to_frame)

    with ProductInspector(BUNDLE, halves) as inspector:
        monkeypatch.setattr(Cutout, "take", slowly)
        maker = threading.Thread(target=lambda: inspector.make_ready(frame))
        maker.start()
        assert begun.wait(WAIT_S)
        inspector.load(inspector.prepare(other))
        assert inspector.inspect(frame) == expected
        go_on.set()
        maker.join(WAIT_S)
        assert inspector.inspect(frame) == expected


def test_what_cannot_be_made_ready_says_why_when_it_is_judged(halves: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    blank: Image = np.full((SIDE, SIDE, 3), 128, np.uint8)
    good = part("board", 5)
    with ProductInspector(BUNDLE, halves) as inspector:
        inspector.make_ready(blank)
        with unused(monkeypatch, Aligner.align), pytest.raises(NotInspected, match="cannot be aligned"):
            inspector.inspect(blank)  # not aligned in vain once more
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
