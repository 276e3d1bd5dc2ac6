"""Products by the clock: each change once, none forgotten over a night, none repeated by a clock that is set back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_resad.bank import bank_content
from edge_resad.device.changeover import Changeover
from edge_resad.device.settings import ProductsSection, ScheduleSection, load_station
from edge_resad.device.timetable import Timetable
from edge_resad.errors import ProductError, SettingsError
from edge_resad.recipe import Choice, Recipe, Roi, Shelf
from tests.mqtt_peers import eventually
from tests.products import BUNDLE, bank_of, stocked

CHANGES = [ScheduleSection(at="06:00", use="bolt"), ScheduleSection(at="22:30", use="cap@2")]


def at(day: int, hour: int, minute: int = 0, second: int = 0) -> float:
    return datetime(2026, 3, day, hour, minute, second).timestamp()


def test_a_change_is_due_once_from_its_minute_on() -> None:
    table = Timetable(CHANGES, since=at(2, 5, 59))
    assert table.due(at(2, 5, 59, 59)) is None
    due = table.due(at(2, 6))
    assert due is not None
    assert due.use == "bolt"
    assert table.due(at(2, 6, 0, 1)) is None
    assert table.due(at(2, 22, 31)) == CHANGES[1]
    assert table.due(at(3, 6, 30)) == CHANGES[0]


def test_what_was_due_while_nobody_was_here_is_done_at_the_start_and_only_the_last_of_it() -> None:
    assert Timetable(CHANGES, since=at(2, 5)).due(at(2, 23)) == CHANGES[1]
    assert Timetable(CHANGES, since=at(2, 5)).due(at(9, 7)) == CHANGES[0]
    assert Timetable(CHANGES, since=at(2, 7)).due(at(2, 8)) is None


def test_a_clock_that_is_set_back_repeats_nothing() -> None:
    table = Timetable(CHANGES, since=at(2, 5))
    assert table.due(at(2, 7)) == CHANGES[0]
    assert table.due(at(2, 5, 30)) is None
    assert table.due(at(2, 6, 30)) is None
    assert table.due(at(2, 23)) == CHANGES[1]


def test_a_clock_that_ran_years_ahead_for_a_moment_is_followed_again() -> None:
    table = Timetable(CHANGES, since=at(2, 7))
    ahead = datetime(2031, 3, 2, 7).timestamp()
    assert table.due(ahead) == CHANGES[0]
    assert table.due(at(2, 8)) is None
    assert table.due(at(2, 23)) == CHANGES[1]
    assert Timetable(CHANGES, since=ahead).due(at(2, 8)) is None  # so was what was put to use meanwhile


def test_a_clock_that_was_not_set_at_the_start_repeats_nothing_when_it_is() -> None:
    table = Timetable(CHANGES, since=at(2, 7))
    assert table.due(100.0) is None
    assert table.due(at(2, 8)) is None
    assert table.due(at(2, 23)) == CHANGES[1]


def test_a_machine_whose_clock_is_not_set_changes_nothing() -> None:
    table = Timetable(CHANGES, since=0.0)
    assert table.due(86400.0 * 400) is None


@given(steps=st.lists(st.integers(1, 90), min_size=1, max_size=60))
def test_however_often_it_is_asked_every_change_comes_once_and_in_order(steps: list[int]) -> None:
    now, table, seen = at(2, 0), Timetable(CHANGES, since=at(2, 0)), []
    for minutes in steps:
        before, now = now, now + 60 * minutes
        due = table.due(now)
        expected = [
            (moment, change)
            for day in range(2, 8)
            for change in CHANGES
            if before < (moment := at(day, *(int(piece) for piece in change.at.split(":")))) <= now
        ]
        assert due == (max(expected)[1] if expected else None)
        seen += [due] if due else []


def shelf_of(folder: Path) -> Shelf:
    shelf = Shelf(folder / "products")
    stocked(shelf, "flange")
    stocked(shelf, "cap")
    return shelf


def changeover(shelf: Shelf, **schedule: Any) -> Changeover:
    told = ProductsSection(folder=shelf.folder, use="flange", schedule=(ScheduleSection(**schedule),))
    return Changeover(BUNDLE, told, poll_s=0.01)


def test_a_running_station_puts_a_product_to_use_when_it_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, now = shelf_of(tmp_path), [at(2, 5, 59)]
    monkeypatch.setattr("edge_resad.device.changeover.time.time", lambda: now[0])
    with changeover(shelf, at="06:00", use="cap") as judge:
        assert judge.product.label == "flange@1"
        now[0] = at(2, 6, 0, 1)
        assert eventually(lambda: str(shelf.in_use()) == "cap@1")


def test_a_change_for_which_the_disk_has_no_room_is_made_as_soon_as_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, now, is_full = shelf_of(tmp_path), [at(2, 5, 59)], [True]
    written = Shelf.use

    def use(one: Shelf, choice: Choice) -> None:
        if is_full[0]:
            raise ProductError("no space")
        written(one, choice)

    monkeypatch.setattr("edge_resad.device.changeover.time.time", lambda: now[0])
    monkeypatch.setattr("edge_resad.device.changeover.RETRY_MIN_S", 0.01)
    monkeypatch.setattr(Shelf, "use", use)
    with changeover(shelf, at="06:00", use="cap") as judge:
        now[0] = at(2, 6, 0, 1)
        assert eventually(lambda: judge.problem == "no space")
        is_full[0] = False
        assert eventually(lambda: str(shelf.in_use()) == "cap@1")
        assert eventually(lambda: judge.problem is None)


def test_a_running_station_puts_nothing_to_use_that_it_cannot_judge_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, now = shelf_of(tmp_path), [at(2, 5, 59)]
    made = bank_of("cap")
    lid = bank_content(replace(made, info=made.info.model_copy(update={"precision": "int8"})))
    shelf.add(Recipe(product="lid", regions=(Roi(name="whole", bank="whole.npz"),)), {"whole.npz": lid})
    monkeypatch.setattr("edge_resad.device.changeover.time.time", lambda: now[0])
    with changeover(shelf, at="06:00", use="lid") as judge:
        now[0] = at(2, 6, 0, 1)
        assert eventually(lambda: judge.problem is not None)
        assert shelf.in_use() is None
        assert judge.product.label == "flange@1"


def test_a_product_of_the_schedule_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="no product ring"), changeover(shelf_of(tmp_path), at="06:00", use="ring"):
        pass


@pytest.mark.parametrize("wrong", ["6:00", "24:00", "06:60", "morning"])
def test_a_time_is_hours_and_minutes(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "station.toml"
    file.write_text(
        '[station]\ndevice = "d"\n[camera]\nsource = "synthetic"\n[products]\nfolder = "products"\n'
        f'[[products.schedule]]\nat = "{wrong}"\nuse = "cap"\n'
    )
    with pytest.raises(SettingsError, match="at is"):
        load_station(file)
