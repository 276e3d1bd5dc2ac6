"""The part that waits is made ready while another one is judged: at no other time, and never at anybody's expense."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.bank import save_bank
from edge_resad.bench.line import PreparedLine
from edge_resad.decision import Verdict
from edge_resad.device.frame import Frame
from edge_resad.device.handover import NewestFrame
from edge_resad.device.part_queue import EveryFrame, PartQueue
from edge_resad.device.pipeline import Inspection
from edge_resad.device.preparer import Preparer
from edge_resad.device.rota import Rota
from edge_resad.device.settings import StationFile
from edge_resad.device.station import run_station
from edge_resad.engine.inspector import Inspector
from edge_resad.errors import EngineError
from tests.products import BUNDLE, Image, bank_of, part

WAIT_S = 60.0  # a deadline, not a pause


def frame(number: int) -> Frame:
    image = np.zeros((2, 2, 3), np.uint8)
    return Frame(image=image, frame_id=number, captured_mono=0.0, captured_wall=0.0)


class Waits:
    """A frame that waits, or none; and what was made ready."""

    def __init__(self) -> None:
        self.frame: Frame | None = None
        self.made: list[int] = []
        self.news = threading.Condition()

    def coming(self) -> tuple[int, Frame] | None:
        return None if self.frame is None else (0, self.frame)

    def make_ready(self, _camera: int, made: Frame) -> None:
        with self.news:
            self.made.append(made.frame_id)
            self.news.notify_all()

    def until_made(self, *numbers: int) -> bool:
        with self.news:
            return self.news.wait_for(lambda: self.made == list(numbers), WAIT_S)


@pytest.fixture
def waits() -> Waits:
    return Waits()


def test_a_part_that_waits_when_the_line_begins_is_made_ready(waits: Waits) -> None:
    with Preparer(waits.coming, waits.make_ready) as preparer:
        waits.frame = frame(1)
        preparer.judging(True)
        assert waits.until_made(1)


def test_a_part_that_comes_while_the_line_judges_is_made_ready(waits: Waits) -> None:
    with Preparer(waits.coming, waits.make_ready) as preparer:
        preparer.judging(True)
        waits.frame = frame(1)
        preparer.arrived()
        assert waits.until_made(1)


def test_a_part_that_comes_while_the_line_is_free_is_left_to_it(waits: Waits) -> None:
    with Preparer(waits.coming, waits.make_ready) as preparer:
        waits.frame = frame(1)
        preparer.arrived()
        waits.frame = frame(2)
        preparer.judging(True)
        assert waits.until_made(2)  # and not 1 before it


def test_an_error_ends_nothing(waits: Waits, caplog: pytest.LogCaptureFixture) -> None:
    def fails_once(camera: int, made: Frame) -> None:
        waits.make_ready(camera, made)
        if len(waits.made) == 1:
            raise RuntimeError("a bad day")

    waits.frame = frame(1)
    with Preparer(waits.coming, fails_once) as preparer:
        preparer.judging(True)
        assert waits.until_made(1)
        preparer.judging(True)
        assert waits.until_made(1, 1)
    assert "the thread of the preparer died" in caplog.text


def test_a_part_that_takes_for_ever_does_not_keep_a_station_from_stopping() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def for_ever(_camera: int, _frame: Frame) -> None:
        begun.set()
        go_on.wait()
        ended.set()

    with Preparer(lambda: (0, frame(1)), for_ever) as preparer:
        preparer.judging(True)
        assert begun.wait(WAIT_S)
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(WAIT_S)


def test_what_comes_next_is_what_the_rota_gives_next_and_stays_where_it_is() -> None:
    changed = threading.Condition()
    slots = [NewestFrame(live=False, changed=changed) for _ in range(3)]
    rota = Rota(slots, changed)
    assert rota.coming() is None
    for number, slot in enumerate(slots[1:], 1):
        slot.put(frame(number))
    for _ in slots[1:]:
        coming = rota.coming()
        assert coming is not None
        assert rota.next(0.0) == coming
    assert rota.coming() is None


def test_of_a_live_camera_nobody_knows_which_picture_will_be_judged() -> None:
    slot = NewestFrame(live=True)
    slot.put(frame(1))
    assert slot.coming() is None
    assert slot.take() is not None


def test_of_a_queue_the_first_part_comes_next_where_it_has_a_picture() -> None:
    queue = PartQueue(EveryFrame(), most=2)
    assert queue.coming() is None
    for number in range(4):  # the last two lose their pictures
        queue.put(frame(number))
    for number in (0, 1):
        coming = queue.coming()
        assert coming is not None
        assert coming.frame_id == number
        assert queue.take() is coming
    assert queue.coming() is None
    assert [part.missed for part in (queue.take(), queue.take()) if part is not None] == ["backlog", "backlog"]


class Line:
    """A station whose next part is there while one is judged, and who sees what is made ready meanwhile."""

    def __init__(self, folder: Path, pictures: list[Image]) -> None:
        self.folder = folder
        self.pictures = pictures
        self.verdicts: list[Verdict | None] = []
        self.reasons: list[str | None] = []
        self.waited = True

    def run(self, is_made: Callable[[Image], bool] | None = None, **camera: Any) -> None:
        """is_made: whether a part is ready; the line goes on from the part before only then."""
        bank = self.folder / "board.npz"
        save_bank(bank_of("board"), bank)
        lines: list[PreparedLine] = []

        def opened(_told: StationFile, halt: threading.Event) -> PreparedLine:
            lines.append(PreparedLine(self.pictures, halt, frames=len(self.pictures), waiting=1))
            return lines[0]

        def inspected(inspection: Inspection) -> None:
            self.verdicts.append(inspection.verdict)
            self.reasons.append(inspection.not_inspected)
            following = len(self.verdicts)
            if is_made is not None and following < len(self.pictures):
                self.waited &= is_made(self.pictures[following])
            lines[0].done()

        settings = {
            "station": {"device": "press-7"},
            "camera": {"source": "folder:parts", **camera},
            "inspection": {"bank": str(bank)},
            "spool": {"path": str(self.folder / "spool.db")},
            "log": {"verdicts": False},
            "drift": {"on": False},
        }
        run_station(
            StationFile.model_validate(settings), stop=threading.Event(), open_source=opened, on_inspection=inspected
        )


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Callable[[Image], bool]:
    """Waits until an inspector has made a picture ready, or tried to."""
    news, done = threading.Condition(), set[int]()
    make_ready = Inspector.make_ready

    def noted(inspector: Inspector, image: NDArray[np.uint8]) -> None:
        try:
            make_ready(inspector, image)
        finally:
            with news:
                done.add(id(image))
                news.notify_all()

    def is_made(image: Image) -> bool:
        with news:
            return news.wait_for(lambda: id(image) in done, WAIT_S)

    monkeypatch.setattr(Inspector, "make_ready", noted)
    return is_made


@pytest.mark.parametrize("trigger", ["free", "camera"])
def test_a_station_makes_every_part_ready_that_waits_and_judges_it_as_ever(
    tmp_path: Path, made: Callable[[Image], bool], trigger: str
) -> None:
    pictures = [part("board", seed) for seed in range(20, 26)]
    line = Line(tmp_path, pictures)
    line.run(made, trigger={"kind": trigger})
    assert line.waited
    with Inspector(BUNDLE, bank_of("board")) as inspector:
        assert line.verdicts == [inspector.inspect(picture) for picture in pictures]


def test_what_cannot_be_made_ready_costs_its_own_part_alone(tmp_path: Path, made: Callable[[Image], bool]) -> None:
    pictures = [part("board", seed) for seed in range(20, 26)]
    pictures[2] = np.zeros((0, 4, 3), np.uint8)
    line = Line(tmp_path, pictures)
    line.run(made)
    assert line.waited
    assert [verdict is None for verdict in line.verdicts] == [number == 2 for number in range(6)]
    assert line.reasons[2] == "inspector_error"


def test_whatever_goes_wrong_ahead_no_part_is_the_worse_for_it_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = threading.Event()

    def fails(_inspector: Inspector, _image: NDArray[np.uint8]) -> None:
        tried.set()
        raise EngineError("no memory")

    monkeypatch.setattr(Inspector, "make_ready", fails)
    pictures = [part("board", seed) for seed in range(20, 24)]
    line = Line(tmp_path, pictures)
    line.run(lambda _image: tried.wait(WAIT_S))
    assert line.waited
    with Inspector(BUNDLE, bank_of("board")) as inspector:
        assert line.verdicts == [inspector.inspect(picture) for picture in pictures]
    assert caplog.text.count("a part that waits could not be made ready (EngineError)") == 1
