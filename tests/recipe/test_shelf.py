"""The shelf keeps every version, changes none, and loses none to a full disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_resad.bank import bank_content
from edge_resad.errors import ProductError
from edge_resad.recipe import Choice, Recipe, Roi, Shelf
from tests.products import as_png, bank_of, part, stocked


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "products")


def _all_files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_every_change_is_a_new_version_and_the_old_one_stays(shelf: Shelf) -> None:
    first = stocked(shelf, "flange")
    before = _all_files(shelf.folder / "flange" / "1")
    second = stocked(shelf, "flange", debounce_k=2, debounce_n=3, note="fewer alerts")
    assert (first.label, second.label) == ("flange@1", "flange@2")
    assert shelf.versions("flange") == [1, 2]
    assert _all_files(shelf.folder / "flange" / "1") == before
    assert shelf.open(Choice(product="flange", version=1)).recipe == first.recipe


def test_a_name_is_its_newest_version_and_an_at_names_another(shelf: Shelf) -> None:
    stocked(shelf, "flange")
    stocked(shelf, "flange", note="second")
    assert str(shelf.find("flange")) == "flange@2"
    assert str(shelf.find("flange@1")) == "flange@1"
    with pytest.raises(ProductError, match=r"no version 3 of flange .* There are: 1, 2"):
        shelf.find("flange@3")
    with pytest.raises(ProductError, match=r"no product cap .* There are: flange"):
        shelf.find("cap")
    with pytest.raises(ProductError, match="no product"):
        shelf.find("../flange@1")


def test_a_version_that_was_changed_by_hand_is_refused(shelf: Shelf) -> None:
    stocked(shelf, "flange")
    recipe = shelf.folder / "flange" / "1" / "recipe.toml"
    recipe.chmod(0o644)
    recipe.write_text(recipe.read_text() + "min_area_px = 900\n")
    with pytest.raises(ProductError, match=r"recipe\.toml was changed or is damaged. A version never changes"):
        shelf.open(shelf.find("flange"))


def test_a_product_that_could_not_be_used_is_not_stored(shelf: Shelf) -> None:
    recipe = Recipe(product="flange", regions=(Roi(name="whole", bank="whole.npz"),))
    with pytest.raises(ProductError, match="not a bank"):
        shelf.add(recipe, {"whole.npz": b"nothing"})
    assert shelf.names() == []
    assert list(shelf.folder.rglob("*")) == []


def test_a_mask_of_another_size_is_refused(shelf: Shelf) -> None:
    recipe = Recipe(
        product="flange", picture_px=(64, 64), ignore="ignore.png", regions=(Roi(name="whole", bank="whole.npz"),)
    )
    with pytest.raises(ProductError, match=r"ignore\.png is a picture of 256 x 256 px, expected \(64, 64\)"):
        shelf.add(recipe, {"whole.npz": bank_content(bank_of("flange")), "ignore.png": as_png(part("flange", 1))})


@pytest.mark.parametrize("refused", range(5))  # each of the files, and the folder
def test_a_full_disk_leaves_the_versions_before(shelf: Shelf, refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stocked(shelf, "flange")
    before = _all_files(shelf.folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full_after(refused))
        with pytest.raises(ProductError, match=r"cannot write a version of flange .*No space left on device"):
            stocked(shelf, "flange", note="second")
    if refused < 4:
        assert _all_files(shelf.folder) == before
    assert shelf.open(Choice(product="flange", version=1)).recipe.note == ""
    assert not list((shelf.folder / "flange").glob(".*"))


def test_what_a_killed_program_left_is_no_version_and_is_taken_away(shelf: Shelf) -> None:
    stocked(shelf, "flange")
    left, fresh = (shelf.folder / "flange" / name for name in (".new-left", ".new-fresh"))
    for folder in (left, fresh):
        folder.mkdir()
        (folder / "recipe.toml").write_text("half a rec")
    os.utime(left, (0, 0))
    assert shelf.versions("flange") == [1]
    stocked(shelf, "flange")
    assert (left.exists(), fresh.exists()) == (False, True)


def test_a_full_disk_leaves_the_product_in_use(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    stocked(shelf, "flange")
    stocked(shelf, "flange", note="second")
    shelf.use(shelf.find("flange@1"))
    monkeypatch.setattr(os, "fsync", _full_after(0))
    with pytest.raises(ProductError, match="No space left"):
        shelf.use(shelf.find("flange@2"))
    assert shelf.in_use() == Choice(product="flange", version=1)
    assert not list(shelf.folder.glob(".*"))


def test_a_product_that_cannot_be_opened_cannot_be_put_to_use(shelf: Shelf) -> None:
    stocked(shelf, "flange")
    (shelf.folder / "flange" / "1" / "whole.npz").unlink()
    with pytest.raises(ProductError, match="no file"):
        shelf.use(Choice(product="flange", version=1))
    assert shelf.in_use() is None


def test_a_code_names_one_product(shelf: Shelf) -> None:
    stocked(shelf, "flange", codes=("4711",))
    assert shelf.coded("4711") == shelf.coded("flange") == Choice(product="flange", version=1)
    assert shelf.coded("0815") is None


def test_a_recipe_that_cannot_be_read_stands_in_no_other_products_way(shelf: Shelf) -> None:
    recipe = stocked(shelf, "cap").shelf / "cap" / "1" / "recipe.toml"
    recipe.chmod(0o644)
    recipe.write_text("nonsense")
    stocked(shelf, "flange", codes=("4711",))
    assert shelf.coded("4711") == Choice(product="flange", version=1)
    assert shelf.coded("cap") == Choice(product="cap", version=1)
    with pytest.raises(ProductError, match=r'the code "4711" already stands for flange'):
        stocked(shelf, "cap", codes=("4711",))
    with pytest.raises(ProductError, match=r'the code "flange" already stands for flange'):
        stocked(shelf, "cap", codes=("flange",))


def _full_after(times: int) -> Callable[[int], None]:
    """An fsync that works so many times, then finds the disk full."""
    left = iter(range(times))

    def fsync(_descriptor: int) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fsync
