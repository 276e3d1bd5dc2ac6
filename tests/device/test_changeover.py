"""The product changes at a running line: between two parts, within a second, and no part is judged by half of each."""

from __future__ import annotations

import json
import logging
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import pytest

from edge_resad.bank import bank_content
from edge_resad.decision import NotInspected
from edge_resad.device.changeover import Changeover
from edge_resad.device.codes import CodeReader
from edge_resad.device.drift.charts_file import read_charts
from edge_resad.device.frame import Clock, Frame
from edge_resad.device.judges import reviving_judges
from edge_resad.device.lane import Lane, enrolled_of
from edge_resad.device.pipeline import Inspection, Latency
from edge_resad.device.revival import CALM_S, PATIENCE, Revival
from edge_resad.device.settings import ProductsSection, StationFile
from edge_resad.device.spool import Spool
from edge_resad.device.station import run_station
from edge_resad.device.summary import StationSummary
from edge_resad.errors import EngineError, ProductError
from edge_resad.messages import AlertMessage, Verdict, VerdictMessage, read_message
from edge_resad.recipe import Choice, Product, Recipe, Roi, Shelf
from tests.fakes import FakeCamera
from tests.mqtt_peers import eventually
from tests.products import BUNDLE, SIDE, Image, bank_of, part, stocked

WAIT_S = 60.0  # a deadline, not a pause
CHANGE_S = 30.0  # a second, and the machine of a test may be busy
NEVER_S = 1000.0
READING_S = 0.05


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Flanges and caps, flanges on the line."""
    shelf = Shelf(tmp_path / "products")
    stocked(shelf, "flange")
    stocked(shelf, "cap", codes=("4711",))
    shelf.use(shelf.find("flange"))
    return shelf


class Pictures:
    """A camera that shows these pictures, each as long as the inspection takes."""

    live = False
    unreadable = 0

    def __init__(self, pictures: Iterator[Image]) -> None:
        self._pictures = enumerate(pictures)

    def __enter__(self) -> Pictures:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def read(self) -> Frame | None:
        shown = next(self._pictures, None)
        clock = Clock()
        if shown is None:
            return None
        return Frame(image=shown[1], frame_id=shown[0], captured_mono=clock.monotonic(), captured_wall=clock.wall())


def settings(folder: Path, **products: object) -> StationFile:
    raw: dict[str, Any] = {
        "station": {"device": "press-7", "product": "unsaid"},
        "camera": {"source": "synthetic"},
        "products": {"folder": str(folder / "products"), **products},
        "spool": {"path": str(folder / "spool.db"), "commit_ms": 1.0, "thumbnails": False},
        "log": {"verdicts": str(folder / "verdicts.jsonl")},
        "pictures": {"folder": str(folder / "pictures"), "min_free_mb": 0},
        "metrics": {"prometheus_file": str(folder / "press-7.prom")},
    }
    return StationFile.model_validate(raw)


def station(
    told: StationFile, pictures: Iterator[Image], on_inspection: Callable[[Inspection], None] | None = None
) -> StationSummary:
    return run_station(
        told,
        stop=threading.Event(),
        on_inspection=on_inspection,
        open_source=lambda _settings, _halt: Pictures(pictures),
    )


def said(folder: Path) -> list[VerdictMessage | AlertMessage]:
    with Spool(folder / "spool.db", max_bytes=10**9) as spool:
        messages = [read_message(letter.body) for letter in spool.oldest(10_000)]
    return [message for message in messages if isinstance(message, VerdictMessage | AlertMessage)]


def watched(shelf: Shelf, **products: Any) -> Changeover:
    """A changeover whose thread never looks: the test says when, with `step`."""
    return Changeover(BUNDLE, ProductsSection(folder=shelf.folder, **products), poll_s=NEVER_S)


# A running station


def test_a_running_station_changes_its_product_within_a_second_and_between_two_parts(
    shelf: Shelf, tmp_path: Path
) -> None:
    asked: list[float] = []
    changed: list[float] = []
    judged: list[Inspection] = []
    end = time.monotonic() + WAIT_S

    def line() -> Iterator[Image]:
        """Flanges; caps from the moment at which the product is changed."""
        while len([one for one in judged if one.verdict is not None and one.verdict.product == "cap"]) < 3:
            assert time.monotonic() < end
            yield part("flange" if not changed else "cap", 50)

    def seen(inspection: Inspection) -> None:
        judged.append(inspection)
        assert inspection.verdict is not None
        if len(judged) == 3:
            asked.append(time.monotonic())
            shelf.use(shelf.find("cap"))
        if not changed and inspection.verdict.product == "cap":
            changed.append(time.monotonic())

    summary = station(settings(tmp_path), line(), seen)
    assert changed[0] - asked[0] < CHANGE_S
    products = [(one.verdict.product, one.verdict.product_version) for one in judged if one.verdict is not None]
    first_cap = products.index(("cap", 1))
    assert products == [("flange", 1)] * first_cap + [("cap", 1)] * (len(products) - first_cap)
    assert summary.not_inspected == {}
    messages = [message.data for message in said(tmp_path) if isinstance(message, VerdictMessage)]
    assert [(data.product, data.product_version) for data in messages if isinstance(data, Verdict)] == products
    lines = [json.loads(text) for text in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert [(one["product"], one["product_version"]) for one in lines] == products
    figures = (tmp_path / "press-7.prom").read_text()
    counted = dict(re.findall(r'parts_total\{.*product="(\w+)",status="passed"\} (\d+)', figures))
    expected = Counter(one.verdict.product for one in judged if one.verdict is not None and not one.verdict.regions)
    assert counted == {name: str(expected[name]) for name in ("flange", "cap")}


def test_every_verdict_is_that_of_one_product_alone(shelf: Shelf) -> None:
    frames = [part("flange", 50, "scratch"), part("cap", 50, "scratch")]
    alone = {}
    for name in ("flange", "cap"):
        shelf.use(shelf.find(name))
        with watched(shelf) as judge:
            alone[name] = [judge.inspect(frame) for frame in frames]
    with watched(shelf) as judge:
        for turn in range(6):
            shelf.use(shelf.find(("flange", "cap")[turn % 2]))
            for frame in range(2):
                if frame:
                    judge.step()
                judge.before(frames[frame])
                name = judge.product.recipe.product
                assert judge.inspect(frames[frame]) == alone[name][frame]


def test_an_alert_ends_with_its_product_and_the_next_product_begins_its_own(shelf: Shelf, tmp_path: Path) -> None:
    stocked(shelf, "cap", debounce_k=2, debounce_n=2)
    told = settings(tmp_path)
    done: list[Inspection] = []

    def line() -> Iterator[Image]:
        end = time.monotonic() + WAIT_S
        yield part("flange", 50, "scratch")
        while not any(one.verdict is not None and one.verdict.product == "cap" for one in done):
            assert time.monotonic() < end
            yield part("flange", 50, "scratch")
        yield part("cap", 50, "scratch")

    def seen(inspection: Inspection) -> None:
        if not done:
            shelf.use(shelf.find("cap"))
        done.append(inspection)

    station(told, line(), seen)
    alerts = [message.data for message in said(tmp_path) if isinstance(message, AlertMessage)]
    alerts = [alert for alert in alerts if alert.fault is None]  # that every part fails is said too
    assert [(alert.product, alert.phase) for alert in alerts][:2] == [("flange", "new"), ("flange", "end")]
    assert {alert.product for alert in alerts[2:]} == {"cap"}  # two of two bad ones
    assert alerts[2].phase == "new"
    assert alerts[2].verdict is not None
    assert alerts[2].verdict.frame_id == next(
        one.frame.frame_id for one in done if one.verdict is not None and one.verdict.product == "cap"
    ) + 1  # fmt: skip
    assert (alerts[2].product_version, alerts[0].product_version) == (2, 1)


def test_a_part_that_cannot_be_judged_is_counted_and_logged_and_raises_no_alarm(shelf: Shelf, tmp_path: Path) -> None:
    stocked(shelf, "flange", picture_px=(SIDE, SIDE))
    shelf.use(shelf.find("flange"))
    small = np.zeros((100, 100, 3), np.uint8)
    summary = station(settings(tmp_path), iter([part("flange", 50), small, part("flange", 51)]))
    assert (summary.passed, summary.failed, summary.not_inspected) == (2, 0, {"wrong_size": 1})
    lines = [json.loads(text) for text in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert lines[1]["status"] == "not inspected"
    assert lines[1]["reason"] == "wrong_size"


def test_a_station_with_products_tells_what_every_stage_took(shelf: Shelf, tmp_path: Path) -> None:
    stocked(shelf, "flange")
    shelf.use(shelf.find("flange"))
    summary = station(settings(tmp_path), iter([part("flange", 50)]))
    assert {"waiting", "resize", "engine", "decide", "outputs", "signal", "total"} == set(summary.stages)  # no align


# What the station begins with


def test_each_product_has_its_own_charts_of_drift(shelf: Shelf, tmp_path: Path) -> None:
    def coded_parts() -> Iterator[Image]:
        for family, count in (("flange", 3), ("cap", 2), ("flange", 1)):
            for _ in range(count):
                yield coded(family, family)

    station(settings(tmp_path, code="qr"), coded_parts())
    kept = read_charts(tmp_path / "drift" / "cam0.json")
    assert {product: charts.rejects.parts for product, charts in kept.items()} == {"cap": 2, "flange": 4}


def test_what_enrolment_says_of_good_parts_is_that_of_the_product_on_the_line(shelf: Shelf) -> None:
    stocked(shelf, "cap")
    with watched(shelf, code="qr") as judge:
        flange = enrolled_of(judge, "unsaid")
        judge.before(coded("cap", "cap"))
        cap = enrolled_of(judge, "unsaid")
    assert (flange.product, cap.product) == ("flange", "cap")
    assert flange.of != cap.of
    assert flange.good == bank_of("flange").info.threshold.good
    assert cap.good is not None
    assert cap.good.samples == 4


def test_what_was_put_to_use_is_used_after_a_restart(shelf: Shelf) -> None:
    shelf.use(shelf.find("cap"))
    with watched(shelf, use="flange") as judge:
        assert judge.product.label == "cap@1"


def test_the_station_file_names_the_product_while_nobody_else_has(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "products")
    stocked(shelf, "flange")
    with pytest.raises(ProductError, match=r"no product of .* is in use\. There are: flange\. Name one: edge-resad"):
        watched(shelf).__enter__()
    with watched(shelf, use="flange") as judge:
        assert judge.product.label == "flange@1"


# What can go wrong


def test_a_new_version_is_not_used_before_somebody_says_so(shelf: Shelf) -> None:
    with watched(shelf) as judge:
        stocked(shelf, "flange", note="second")
        judge.step()
        assert judge.before(part("flange", 50)) is False
        assert judge.product.label == "flange@1"
        shelf.use(shelf.find("flange"))
        judge.step()
        assert judge.before(part("flange", 50)) is True
        assert judge.product.label == "flange@2"


@pytest.mark.parametrize("what", ["gone", "damaged", "nonsense"])
def test_a_product_that_cannot_be_used_leaves_the_one_before(
    shelf: Shelf, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with watched(shelf) as judge:
        shelf.use(shelf.find("cap"))
        if what == "gone":
            shutil.rmtree(shelf.folder / "cap")
        elif what == "damaged":
            bank = shelf.folder / "cap" / "1" / "whole.npz"
            bank.chmod(0o644)
            bank.write_bytes(bank.read_bytes()[:1000])
        else:
            (shelf.folder / "in-use.json").write_text("cap")
        for _ in range(3):
            judge.step()
        assert judge.before(part("flange", 50)) is False
        assert judge.inspect(part("flange", 50)).product == "flange"
        assert judge.problem is not None
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert caplog.records[0].getMessage().startswith("the product stays flange@1: ")


def test_a_product_that_could_not_be_read_for_a_moment_is_said_and_tried_again(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_resad.device.changeover.RETRY_MIN_S", 0.0)
    with watched(shelf) as judge:
        shelf.use(shelf.find("cap"))
        with monkeypatch.context() as patch:
            patch.setattr(Shelf, "open", _without_memory)
            judge.step()
            judge.step()
        assert judge.before(part("flange", 50)) is False
        assert judge.problem == "MemoryError. It is tried again."
        judge.step()
        assert judge.problem is None
        assert judge.before(part("cap", 50)) is True
        assert judge.product.label == "cap@1"


def _without_memory(_shelf: Shelf, _choice: Choice) -> Product:
    raise MemoryError


def test_a_product_of_another_precision_leaves_the_one_before(shelf: Shelf) -> None:
    bank = bank_of("cap")
    info = bank.info.model_copy(update={"precision": "int8"})
    recipe = Recipe(product="lid", regions=(Roi(name="whole", bank="whole.npz"),))
    shelf.add(recipe, {"whole.npz": bank_content(type(bank)(info=info, levels=bank.levels))})
    with watched(shelf) as judge:
        shelf.use(Choice(product="lid", version=1))
        judge.step()
        assert judge.before(part("flange", 50)) is False
        assert judge.problem is not None
        again = f"edge-resad product change lid --good GOOD_PARTS --products {shelf.folder} --precision fp32"
        assert again in judge.problem
        with pytest.raises(ProductError, match="lid@1 cannot be used here"):
            judge.check(Choice(product="lid", version=1))
        judge.check(Choice(product="cap", version=1))


# Codes


def coded(text: str, family: str) -> Image:
    """A part with a QR code in the corner of its picture."""
    square = cv2.QRCodeEncoder.create().encode(text)
    code = cv2.resize(square, (96, 96), interpolation=cv2.INTER_NEAREST)
    frame: Image = np.full((SIDE + 128, SIDE, 3), 255, np.uint8)
    frame[:SIDE] = part(family, 50)
    frame[SIDE + 16 : SIDE + 112, 16:112] = cv2.cvtColor(code, cv2.COLOR_GRAY2BGR)
    return frame


def test_the_code_on_a_part_names_the_product_that_judges_this_very_part(shelf: Shelf) -> None:
    with watched(shelf, code="qr") as judge:
        told = []
        for text, family in (("flange", "flange"), ("4711", "cap"), ("flange", "flange"), ("cap", "cap")):
            frame = coded(text, family)
            judge.before(frame)
            told.append(judge.inspect(frame).product)
    assert told == ["flange", "cap", "flange", "cap"]


def test_a_part_whose_code_names_no_product_is_not_inspected(shelf: Shelf) -> None:
    with watched(shelf, code="qr") as judge:
        frame = coded("0815", "cap")
        assert judge.before(frame) is False
        with pytest.raises(NotInspected, match=r'its code says "0815", which names no product') as refused:
            judge.inspect(frame)
        assert refused.value.obstacle == "unknown_product"
        judge.before(part("flange", 50))
        assert judge.inspect(part("flange", 50)).product == "flange"


def test_a_part_whose_code_is_that_of_two_products_is_not_inspected(shelf: Shelf) -> None:
    stocked(shelf, "nameplate", codes=("0815",))
    stocked(shelf, "nameplate")  # it has given the code up,
    stocked(shelf, "board", codes=("0815",))  # and another one has it now
    shelf.use(Choice(product="nameplate", version=1))
    with watched(shelf, code="qr") as judge:
        frame = coded("0815", "board")
        assert judge.before(frame) is False
        with pytest.raises(NotInspected, match=r'its codes say "0815", which names several products'):
            judge.inspect(frame)
        shelf.use(shelf.find("nameplate"))
        judge.step()
        judge.before(frame)
        assert judge.inspect(frame).product == "board"


def test_a_part_without_a_code_is_judged_by_the_product_of_the_last_one(shelf: Shelf) -> None:
    with watched(shelf, code="qr") as judge:
        judge.before(coded("4711", "cap"))
        judge.before(part("cap", 50))
        assert judge.inspect(part("cap", 50)).product == "cap"


def test_what_follows_a_part_whose_code_names_a_product_that_cannot_be_read_is_not_judged_by_another_one(
    shelf: Shelf,
) -> None:
    bank = shelf.folder / "cap" / "1" / "whole.npz"
    content = bank.read_bytes()
    with watched(shelf, code="qr") as judge:
        bank.chmod(0o644)
        bank.write_bytes(content[:1000])
        for frame in (coded("4711", "cap"), part("cap", 50)):
            assert judge.before(frame) is False
            with pytest.raises(NotInspected, match="its code cannot be followed"):
                judge.inspect(frame)
        bank.write_bytes(content)
        judge.before(part("cap", 50))
        assert judge.inspect(part("cap", 50)).product == "cap"


def failed() -> Inspection:
    """A part on which the inspector failed."""
    frame = Frame(image=part("cap", 50), frame_id=0, captured_mono=time.monotonic(), captured_wall=1.0)
    latency = Latency(waiting_ms=0.0, inspecting_ms=0.0)
    return Inspection(frame=frame, verdict=None, not_inspected="inspector_error", latency=latency)


def opened_again(revival: Revival) -> Changeover:
    """The judge after an engine that fails part after part was opened again at once."""
    revival._opened_at -= CALM_S
    assert [revival.step(failed()) for _ in range(PATIENCE)] == [False] * (PATIENCE - 1) + [True]
    judge = revival.judges[0]
    assert isinstance(judge, Changeover)
    return judge


def test_what_a_code_named_goes_on_when_the_engine_is_opened_again_unless_somebody_put_a_product_to_use(
    shelf: Shelf, tmp_path: Path
) -> None:
    with reviving_judges(settings(tmp_path, code="qr"), None, threading.Event()) as revival:
        first = revival.judges[0]
        assert isinstance(first, Changeover)
        first.before(coded("4711", "cap"))
        second = opened_again(revival)
        second.before(part("cap", 50))
        assert (second is first, second.inspect(part("cap", 50)).product) == (False, "cap")
        shelf.use(shelf.find("flange"))
        third = opened_again(revival)

        def is_flange() -> bool:  # at once, or soon where the second one had been told and had not changed over yet
            third.before(part("flange", 50))
            return third.inspect(part("flange", 50)).product == "flange"

        assert eventually(is_flange, WAIT_S)


def test_an_engine_that_is_opened_again_goes_on_with_what_judged_where_the_product_in_use_cannot_be_used(
    shelf: Shelf, tmp_path: Path
) -> None:
    made = bank_of("cap")
    lid = bank_content(replace(made, info=made.info.model_copy(update={"precision": "int8"})))
    shelf.add(Recipe(product="lid", regions=(Roi(name="whole", bank="whole.npz"),)), {"whole.npz": lid})
    with reviving_judges(settings(tmp_path), None, threading.Event()) as revival:
        first = revival.judges[0]
        assert isinstance(first, Changeover)
        shelf.use(shelf.find("lid"))  # for the next start
        assert eventually(lambda: first.problem is not None)
        second = opened_again(revival)
        assert second.product.label == "flange@1"
        assert eventually(lambda: second.problem is not None)
        second.before(part("flange", 50))
        assert second.inspect(part("flange", 50)).product == "flange"


def test_where_a_code_is_needed_a_part_without_one_is_not_inspected(shelf: Shelf) -> None:
    with watched(shelf, code="qr", code_needed=True) as judge:
        judge.before(part("flange", 50))
        with pytest.raises(NotInspected, match="its code is not found"):
            judge.inspect(part("flange", 50))
        judge.before(coded("flange", "flange"))
        assert judge.inspect(coded("flange", "flange")).product == "flange"


def test_a_product_that_is_named_again_follows_what_a_code_named(shelf: Shelf) -> None:
    with watched(shelf, code="qr") as judge:
        judge.before(coded("4711", "cap"))
        shelf.use(shelf.find("flange"))  # as it was before
        judge.step()
        judge.before(part("flange", 50))
        assert judge.product.label == "flange@1"


def test_a_word_that_cannot_be_read_for_a_moment_does_not_take_back_what_a_code_named(shelf: Shelf) -> None:
    word = shelf.folder / "in-use.json"
    with watched(shelf, code="qr") as judge:
        judge.before(coded("4711", "cap"))
        word.rename(shelf.folder / "away")
        judge.step()
        judge.before(part("cap", 50))
        (shelf.folder / "away").rename(word)
        judge.step()
        judge.before(part("cap", 50))
        assert judge.inspect(part("cap", 50)).product == "cap"


def test_a_code_means_the_version_that_was_put_to_use(shelf: Shelf) -> None:
    stocked(shelf, "flange", note="second")
    with watched(shelf, code="qr") as judge:
        judge.before(coded("flange", "flange"))
        assert judge.product.label == "flange@1"


def test_a_code_that_breaks_its_reader_costs_this_part_and_no_other(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(shelf, code="qr") as judge:
        with monkeypatch.context() as patch:
            patch.setattr(CodeReader, "read", _broken)
            judge.before(part("flange", 50))
            with pytest.raises(NotInspected, match="its code cannot be followed: too dark"):
                judge.inspect(part("flange", 50))
        judge.before(part("flange", 50))
        assert judge.inspect(part("flange", 50)).product == "flange"


def _broken(_reader: CodeReader, _picture: Image) -> list[str]:
    raise cv2.error("too dark")


def test_codes_that_could_not_be_read_for_a_moment_are_said_once_and_then_followed(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "recipe", _unreadable)
        judge = watched(shelf, code="qr")
        with judge:
            judge.step()
            patch.undo()
            judge.step()
            judge.before(coded("4711", "cap"))
            assert judge.inspect(coded("4711", "cap")).product == "cap"
    assert caplog.text.count("codes of cap@1 cannot be read: too many files are open") == 1


def _unreadable(_shelf: Shelf, _choice: Choice) -> Recipe:
    raise ProductError("too many files are open")


def test_a_changeover_that_cannot_begin_gives_its_engine_back(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = watched(shelf, code="qr")
    monkeypatch.setattr(Shelf, "names", _broken_names)
    with pytest.raises(OSError, match="too many"), judge:
        pass
    assert not hasattr(judge.inspector, "_engine")


def _broken_names(_shelf: Shelf) -> list[str]:
    raise OSError("too many files are open")


def test_codes_are_not_looked_for_unless_they_are_asked_for(shelf: Shelf) -> None:
    with watched(shelf) as judge:
        assert judge.before(coded("4711", "cap")) is False
        assert judge.product.label == "flange@1"


def test_the_code_of_a_part_that_is_not_judged_is_not_looked_for_and_what_a_person_asked_for_is_done(
    shelf: Shelf, tmp_path: Path
) -> None:
    now, bypassed = time.monotonic(), threading.Event()
    cap = Frame(image=coded("4711", "cap"), frame_id=0, captured_mono=now + 1000.0, captured_wall=1.0)
    black = replace(cap, image=np.zeros_like(cap.image))
    told = settings(tmp_path, code="qr")
    told = told.model_copy(update={"cameras": (told.camera.model_copy(update={"source": "/dev/video9"}),)})
    with Spool(tmp_path / "spool.db", max_bytes=10**8) as spool, watched(shelf, code="qr") as judge:
        camera = FakeCamera([], live=True)
        lane = Lane(told, judge, spool, lambda _told, _halt: camera, is_bypassed=bypassed.is_set)
        for unseen, why in ((replace(cap, captured_mono=now - 1000.0), "too_old"), (black, "black")):
            assert lane.step(unseen).not_inspected == why
            assert (lane.product, "code_ms" in judge.timings) == ("flange", False)
        bypassed.set()
        assert lane.step(cap).not_inspected == "bypassed"
        assert lane.product == "flange"
        shelf.use(shelf.find("cap"))
        judge.step()
        assert lane.step(replace(cap, image=coded("flange", "flange"))).not_inspected == "bypassed"
        assert lane.product == "cap"
        bypassed.clear()
        verdict = lane.step(replace(cap, image=coded("flange", "flange"))).verdict
        assert verdict is not None
        assert verdict.product == "flange"


def test_reading_a_code_is_a_stage_of_its_own_and_no_waiting(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = CodeReader.read

    def slow(reader: CodeReader, picture: Image) -> list[str]:
        time.sleep(READING_S)
        return plain(reader, picture)

    monkeypatch.setattr(CodeReader, "read", slow)
    summary = station(settings(tmp_path, code="qr"), iter([coded("flange", "flange")]))
    assert list(summary.stages)[:2] == ["waiting", "code"]
    assert summary.stages["code"].max >= 1e3 * READING_S
    spent = sum(stage.max for name, stage in summary.stages.items() if name not in ("signal", "total"))
    assert spent <= summary.stages["total"].max + 1.0  # so the reading is not in waiting too


def test_an_engine_that_does_not_take_the_next_product_costs_parts_and_not_the_line(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(shelf) as judge:
        engine = judge.inspector._engine
        write, left = engine.write, [2]  # then the engine fails, with half of a bank written

        def failing(name: str, rows: Any) -> None:
            if not left[0]:
                raise EngineError("the GPU is gone")
            left[0] -= 1
            write(name, rows)

        monkeypatch.setattr(engine, "write", failing)
        shelf.use(shelf.find("cap"))
        judge.step()
        assert judge.before(part("flange", 50)) is False
        with pytest.raises(EngineError, match="the GPU is gone"):
            judge.inspect(part("flange", 50))
        monkeypatch.setattr(engine, "write", write)
        assert judge.before(part("cap", 50)) is True
        assert judge.inspect(part("cap", 50)).product == "cap"
        assert judge.inspect(part("cap", 50)).status == "pass"
