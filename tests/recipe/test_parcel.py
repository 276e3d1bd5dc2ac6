"""A parcel brings a product over whole, and what was made to do harm brings nothing."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_resad.bank import bank_content
from edge_resad.errors import ProductError
from edge_resad.recipe import Choice, Recipe, Roi, Shelf, add_parcel, differences, open_parcel, pack
from tests.products import BUNDLE, bank_of, stocked

BUNDLE_ID = BUNDLE.manifest.bundle_id


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "products")


@pytest.fixture
def parcel(shelf: Shelf, tmp_path: Path) -> Path:
    stocked(shelf, "flange", note="first")
    stocked(shelf, "flange", mm_per_px=0.1, codes=("4711",))
    pack(shelf, shelf.find("flange"), tmp_path / "flange.product")
    return tmp_path / "flange.product"


def _rewritten(parcel: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The parcel with other entries."""
    with zipfile.ZipFile(parcel) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(parcel, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return parcel


def test_a_product_comes_over_whole_with_its_number(shelf: Shelf, parcel: Path, tmp_path: Path) -> None:
    there = Shelf(tmp_path / "there")
    product, is_new = add_parcel(there, open_parcel(parcel, bundle_id=BUNDLE_ID))
    ours = shelf.open(shelf.find("flange"))
    assert (product.label, is_new) == ("flange@2", True)
    assert product.recipe == ours.recipe
    assert product.content_id == ours.content_id
    assert differences(ours, product) == []


def test_the_same_parcel_twice_is_one_version(parcel: Path, tmp_path: Path) -> None:
    there = Shelf(tmp_path / "there")
    add_parcel(there, open_parcel(parcel))
    assert add_parcel(there, open_parcel(parcel))[1] is False
    assert there.versions("flange") == [2]


def test_a_parcel_never_replaces_a_version_of_the_same_number(parcel: Path, tmp_path: Path) -> None:
    there = Shelf(tmp_path / "there")
    stocked(there, "flange", note="ours")
    stocked(there, "flange", note="ours too")
    product, _ = add_parcel(there, open_parcel(parcel))
    assert product.label == "flange@3"
    assert there.open(Choice(product="flange", version=2)).recipe.note == "ours too"


def test_the_same_version_gives_the_same_bytes(shelf: Shelf, parcel: Path, tmp_path: Path) -> None:
    pack(shelf, shelf.find("flange"), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == parcel.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_parcel_that_was_cut_off_is_refused(parcel: Path, share: float) -> None:
    content = parcel.read_bytes()
    parcel.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ProductError, match=r"is no exported product or is damaged .*Export it again"):
        open_parcel(parcel)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.8])
def test_a_parcel_with_one_flipped_byte_is_refused(parcel: Path, share: float) -> None:
    content = bytearray(parcel.read_bytes())
    content[int(share * len(content))] ^= 0x55
    parcel.write_bytes(content)
    with pytest.raises(ProductError, match="damaged"):
        open_parcel(parcel)


@pytest.mark.parametrize(
    "name", ["../../evil.npz", "/tmp/evil.npz", "..\\evil.npz", "sub/evil.npz", "evil.npz", "evil.npz\x00.png"]
)
def test_a_file_that_nothing_names_is_refused(parcel: Path, name: str) -> None:
    _rewritten(parcel, lambda entries: entries.update({name: b"evil"}))
    with pytest.raises(ProductError, match="does not hold what it says"):
        open_parcel(parcel)


@pytest.mark.parametrize("name", ["../../evil.npz", "/tmp/evil.npz", "sub/evil.npz"])
def test_a_path_out_of_the_shelf_is_refused_though_the_manifest_names_it(parcel: Path, name: str) -> None:
    from edge_resad.bundle import file_digest

    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        manifest["files"][name] = file_digest(b"evil")
        entries |= {"manifest.json": json.dumps(manifest).encode(), name: b"evil"}

    _rewritten(parcel, change)
    with pytest.raises(ProductError, match="does not hold what its recipe names"):
        open_parcel(parcel)


def test_a_product_with_a_path_for_a_name_is_refused(parcel: Path) -> None:
    _rewritten(
        parcel,
        lambda entries: entries.update(
            {"manifest.json": entries["manifest.json"].replace(b'"flange"', b'"../../etc"')}
        ),
    )
    with pytest.raises(ProductError, match="is no product of edge-resad"):
        open_parcel(parcel)


def test_a_parcel_that_swells_beyond_any_product_is_refused(parcel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_resad.recipe.parcel.MOST_BYTES", 1000)
    with pytest.raises(ProductError, match="larger than any product"):
        open_parcel(parcel)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"not a zip"])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "foreign").write_bytes(content)
    with pytest.raises(ProductError, match="is no exported product"):
        open_parcel(tmp_path / "foreign")


def test_a_foreign_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "foreign.zip", "w") as archive:
        archive.writestr("letter.txt", "dear reader")
    with pytest.raises(ProductError, match=r"is no exported product: it holds letter\.txt"):
        open_parcel(tmp_path / "foreign.zip")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="no file"):
        open_parcel(tmp_path / "nowhere")


def test_banks_of_another_bundle_are_refused_with_the_command(shelf: Shelf, tmp_path: Path) -> None:
    bank = bank_of("flange")
    foreign = replace(bank, info=bank.info.model_copy(update={"bundle_id": "0" * 64}))
    recipe = Recipe(product="flange", regions=(Roi(name="whole", bank="whole.npz"),))
    shelf.add(recipe, {"whole.npz": bank_content(foreign)})
    pack(shelf, shelf.find("flange"), tmp_path / "parcel")
    with pytest.raises(
        ProductError, match=r"belong to another bundle \(000000000000.*edge-resad product new flange --good GOOD_PARTS"
    ):
        open_parcel(tmp_path / "parcel", bundle_id=BUNDLE_ID)


def test_an_export_to_nowhere_says_so(shelf: Shelf, tmp_path: Path) -> None:
    stocked(shelf, "flange")
    (tmp_path / "file").touch()
    with pytest.raises(ProductError, match="cannot write"):
        pack(shelf, shelf.find("flange"), tmp_path / "file" / "parcel")
