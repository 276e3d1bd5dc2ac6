"""`edge-resad product`: from good parts to a product on the line, and what an operator can put right is one line."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_resad.bank import bank_content
from edge_resad.device.changeover import first_product
from edge_resad.device.settings import ProductsSection
from edge_resad.errors import ProductError
from edge_resad.recipe import Recipe, Roi, Shelf
from tests.products import SIDE, bank_of, part, stocked
from tests.test_cli import Shell, run

__all__ = ["run"]  # the fixture


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good parts, bad ones and an ignore mask."""
    folder = tmp_path_factory.mktemp("line")
    pictures = {f"good/{seed}.png": part("flange", seed) for seed in range(3)}
    pictures |= {"parts/1.png": part("flange", 50), "parts/2.png": part("flange", 51, "scratch")}
    pictures |= {"parts/3.png": part("cap", 51)}
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:30] = 255
    for name, picture in {**pictures, "mask.png": mask, "small.png": mask[:100]}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(folder / name), picture)
    return folder


@pytest.fixture(scope="module")
def made(line: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one product, made by the command."""
    from typer.testing import CliRunner

    from edge_resad.cli import app

    products = tmp_path_factory.mktemp("made") / "products"
    roi = ["--roi", f"face=20,20,{SIDE - 40},{SIDE - 40}", "--ignore", str(line / "mask.png")]
    align = ["--align", str(line / "good" / "0.png"), "--max-turn-deg", "180", "--mm-per-px", "0.1"]
    more = ["--min-area-mm2", "0.2", "--debounce", "2/3", "--code", "4711", "--note", "the first"]
    told = ["product", "new", "flange", "--good", str(line / "good"), *roi, *align, *more, "--products", str(products)]
    done = CliRunner().invoke(app, told)
    assert done.exit_code == 0, done.output
    return products


@pytest.fixture
def products(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    import shutil

    shutil.copytree(made, tmp_path / "products")
    return tmp_path / "products"


def test_a_product_is_made_and_shown(run: Shell, products: Path) -> None:
    shown = run("product", "show", "flange", "--products", products)
    assert shown.code == 0
    for words in (
        "flange@1", "note: the first", "picture: 256 x 256 px", "scale: 0.1 mm/px", "minimum area: 0.2 mm2",
        "debounce: 2 of 3", "codes: 4711", "up to 100 px and 180 degrees", "ignored: 11.7% of the picture",
        "region face: 216 x 216 px at (20, 20); threshold", "3 references",
    ):  # fmt: skip
        assert words in shown.out


def test_a_change_is_a_new_version_and_says_what_is_different(run: Shell, products: Path) -> None:
    changed = run("product", "change", "flange", "--threshold", "1.9", "--note", "new lamp", "--products", products)
    assert "flange@1 -> flange@2" in changed.out
    assert "-> 1.900 (by hand)" in changed.out
    told = run("product", "diff", "flange@1", "--products", products).out
    assert "note: the first -> new lamp" in told
    back = run("product", "change", "flange", "--threshold", "bank", "--products", products)
    assert "1.900 (by hand) -> " in back.out
    assert "(the bank's)" in back.out


def test_thresholds_are_estimated_from_more_good_parts(run: Shell, line: Path, products: Path, tmp_path: Path) -> None:
    for seed in range(60, 64):
        assert cv2.imwrite(str(tmp_path / f"{seed}.png"), part("flange", seed))
    more: list[str | Path] = ["--threshold-from", tmp_path, "--false-alarm-rate", "0.2", "--products", products]
    done = run("product", "change", "flange", *more)
    assert "face.npz: threshold " in done.out
    assert "4 good parts promise at most 20.0% false alarms" in done.out
    assert [text for text in done.out.splitlines() if text.startswith("  ")][1].startswith("  threshold of face: ")
    assert "bank of face" not in done.out


def test_an_estimate_takes_the_place_of_a_threshold_by_hand(
    run: Shell, line: Path, products: Path, tmp_path: Path
) -> None:
    run("product", "change", "flange", "--threshold", "9", "--products", products)
    assert cv2.imwrite(str(tmp_path / "60.png"), part("flange", 60))
    done = run("product", "change", "flange", "--threshold-from", tmp_path, "--products", products)
    assert "threshold of face: 9.000 (by hand) -> " in done.out
    assert "(the bank's)" in done.out


def test_references_say_nothing_of_the_threshold(run: Shell, line: Path, products: Path) -> None:
    told = run("product", "change", "flange", "--threshold-from", line / "good", "--products", products).refusal
    assert "every picture given is a reference of face.npz, which knows them by heart" in told


def test_masks_alignment_and_codes_can_be_taken_away(run: Shell, line: Path, products: Path) -> None:
    without = ["--without", "ignore", "--without", "align", "--without", "codes"]
    done = run("product", "change", "flange", *without, "--good", line / "good", "--products", products)
    assert done.code == 0
    assert "codes: 4711 -> none" in done.out
    assert "-> off" in done.out
    assert "ignore mask: 11.7% -> 0.0% of the picture" in done.out


def test_a_change_of_nothing_is_no_version(run: Shell, products: Path) -> None:
    told = run("product", "change", "flange", "--precision", "int8", "--products", products).refusal
    assert "nothing would be different from flange@1" in told
    assert not (products / "flange" / "2").exists()


def test_the_product_on_the_line_is_said_and_listed(run: Shell, products: Path) -> None:
    assert run("product", "list", "--products", products).out == "flange  1 version, newest 1  the first\n"
    assert run("product", "use", "flange", "--products", products).out == "in use: flange@1\n"
    assert "in use: flange@1" in run("product", "list", "--products", products).out


def test_a_damaged_product_is_listed_as_such_beside_the_others(run: Shell, products: Path) -> None:
    stocked(Shelf(products), "cap")
    recipe = products / "flange" / "1" / "recipe.toml"
    recipe.chmod(0o644)
    recipe.write_text("nonsense")
    cap, flange = run("product", "list", "--products", products).out.splitlines()
    assert cap == "cap  1 version, newest 1"
    assert flange.startswith(f"flange  1 version, newest 1  damaged: {recipe} is not valid TOML")


def test_a_product_is_carried_to_another_station(run: Shell, products: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    assert run("product", "export", "flange", "-o", tmp_path / "parcel", "--products", products).code == 0
    brought = run("product", "import", tmp_path / "parcel", "--products", there)
    assert brought.out.startswith("flange@1: imported")
    assert "was here already" in run("product", "import", tmp_path / "parcel", "--products", there).out
    shown = [run("product", "show", "flange", "--products", folder).out for folder in (products, there)]
    assert shown[0] == shown[1]


def test_a_product_that_a_running_station_cannot_change_to_is_put_to_use_only_on_purpose(
    run: Shell, line: Path, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "products")
    stocked(shelf, "flange")
    recipe = Recipe(product="lid", regions=(Roi(name="whole", bank="whole.npz"),))
    made = bank_of("cap")
    shelf.add(
        recipe, {"whole.npz": bank_content(replace(made, info=made.info.model_copy(update={"precision": "int8"})))}
    )
    use = ("product", "use", "--products", shelf.folder)
    assert run(*use, "flange").code == 0
    refusal = run(*use, "lid").refusal
    assert "lid@1 is of precision int8, flange@1, which is in use, of precision fp32" in refusal
    assert str(shelf.in_use()) == "flange@1"
    again, anyway = re.findall(r": edge-resad (product .+?)\.(?= |$)", refusal)
    assert run(*shlex.split(anyway)).code == 0
    assert str(shelf.in_use()) == "lid@1"
    assert run(*use, "flange", "--anyway").code == 0
    assert run(*shlex.split(again.replace("GOOD_PARTS", str(line / "good")))).code == 0
    assert run(*use, "lid").code == 0
    assert str(shelf.in_use()) == "lid@2"


def test_the_commands_that_are_said_work_for_the_folder_that_they_were_said_of(
    run: Shell, line: Path, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "my products")
    where = ("--products", shelf.folder)

    def said(text: str) -> list[str]:
        """The first command in a text, as words."""
        found = re.search(r"edge-resad (product .+?)(?:\.?$|\. |, or )", text, re.M)
        assert found is not None
        filled = found[1].replace("GOOD_PARTS", str(line / "good")).replace("NAME", "flange")
        return shlex.split(filled)

    good = ("--good", line / "good")
    assert run(*said(run("product", "list", *where).out)).code == 0
    assert shelf.names() == ["flange"]
    assert run(*said(run("product", "show", "cap", *where).refusal.replace("NAME", "cap"))).code == 0
    assert shelf.names() == ["cap", "flange"]
    changed = run(*said(run("product", "new", "cap", *good, *where).refusal), "--min-area-px", "30")
    assert run(*said(changed.out.splitlines()[-1])).out == "in use: cap@2\n"
    estimated = run("product", "change", "cap", "--threshold-from", line / "parts" / "1.png", *where).out
    again = ["product", "change", "cap", "--threshold-from", str(line / "good"), "--products", str(shelf.folder)]
    assert said(estimated.splitlines()[0]) == again
    with pytest.raises(ProductError) as refused:
        first_product(Shelf(copied(shelf, tmp_path / "copy")), ProductsSection(folder=tmp_path / "copy"))
    assert run(*said(str(refused.value))).code == 0
    assert str(Shelf(tmp_path / "copy").in_use()) == "flange@1"


def copied(shelf: Shelf, folder: Path) -> Path:
    """The same products, of which none is in use yet."""
    shutil.copytree(shelf.folder, folder, ignore=shutil.ignore_patterns("in-use.json"))
    return folder


def test_in_a_folder_of_the_usual_name_the_commands_need_no_folder(
    run: Shell, line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("product", "list").out.endswith("Make one: edge-resad product new NAME --good GOOD_PARTS\n")


def test_parts_are_inspected_by_a_product(run: Shell, line: Path, products: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    done = run("inspect", line / "parts", "--product", "flange", "--products", products, "--out", pictures)
    lines = done.out.splitlines()
    assert [text.split()[0] for text in lines[:2]] == ["PASS", "FAIL"]
    assert lines[2].startswith("----  not inspected: the part cannot be aligned")
    assert lines[3] == "3 parts, 1 failed, 1 not inspected"
    assert done.code == 1  # a script must not take an unjudged part for a good one
    assert re.search(r"worst \d+ x \d+ px at \(\d+, \d+\), \d+\.\d x \d+\.\d mm$", lines[1])
    assert sorted(file.name for file in pictures.iterdir()) == ["1.jpg", "2.jpg"]
    as_json = run("inspect", line / "parts" / "3.png", "--product", "flange", "--products", products, "--json")
    assert json.loads(as_json.out)["reason"] == "not_aligned"


def test_a_bank_of_whole_pictures_makes_a_product_of_whole_pictures(run: Shell, line: Path, tmp_path: Path) -> None:
    products = tmp_path / "products"
    assert run("enrol", line / "good", "-o", tmp_path / "flange.npz").code == 0
    done = run("product", "new", "flange", "--bank", tmp_path / "flange.npz", "--products", products)
    assert "region whole: whole picture" in done.out
    assert f"put it on the line: edge-resad product use flange@1 --products {products}" in done.out
    told = run(
        "product", "new", "half", "--bank", tmp_path / "flange.npz", "--mm-per-px", "1", "--code", "flange",
        "--products", products,
    ).refusal  # fmt: skip
    assert 'the code "flange" already stands for flange' in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "cap"], "no product cap in "),
        (["show", "flange@7"], "no version 7 of flange"),
        (["new", "flange"], "there is a product flange in "),
        (["new", "cap"], "cap needs good parts"),
        (["new", "cap", "--roi", "0,0,64,64"], "Give pictures of good parts: --good FOLDER"),
        (["new", "cap", "--good", "{line}/good", "--roi", "250,0,64,64"], "beyond a picture of (256, 256)"),
        (["new", "cap", "--good", "{line}/good", "--ignore", "{line}/small.png"], "is 256 x 100 px, the good"),
        (["new", "cap", "--good", "{line}/parts", "--align", "{line}/good/0.png"], "good part 3 of 3 cannot be used"),
        (["new", "c/p", "--good", "{line}/good"], "product"),
        (["new", "cap", "--good", "{line}/good", "--roi", "0,0,99,99,50,50"], "at most 0 pixels, expected 64 or more"),
        (["change", "flange", "--align", "{line}/good/0.png"], "must be made of good parts seen that way"),
        (["change", "flange", "--threshold", "rim=2"], "no region rim to set a threshold of. There are: face"),
        (["new", "cap", "--good", "{line}/good", "--max-shift-px", "3"], "Give a reference picture: --align FILE"),
        (["import", "{line}/mask.png"], "is no exported product or is damaged"),
        (["export", "flange", "-o", "/proc/no/parcel"], "cannot write"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(run: Shell, line: Path, products: Path, arguments: list[str], says: str) -> None:
    filled = [text.format(line=line) for text in arguments]
    assert says in run("product", *filled, "--products", products).refusal
    assert [file.name for file in products.iterdir()] == ["flange"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["product"], ["product", "polish"], ["product", "new", "cap", "--good", "x", "--bank", "y"],
        ["product", "new", "cap", "--good", "{line}/good", "--roi", "1,2,3"],
        ["product", "new", "cap", "--good", "{line}/good", "--roi", "1,2,60.5,60"],
        ["product", "new", "cap", "--good", "{line}/good", "--roi", "nan,2,60,60"],
        ["product", "change", "flange", "--debounce", "1.5/2"],
        ["product", "change", "flange", "--debounce", "1e400/1e400"],
        ["product", "change", "flange", "--debounce", "many"], ["product", "change", "flange", "--without", "face"],
        ["inspect", "x"], ["inspect", "x", "--bank", "y", "--product", "flange"],
        ["inspect", "x", "--product", "flange", "--threshold", "2"],
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_2(run: Shell, line: Path, products: Path, arguments: list[str]) -> None:
    more = ["--products", str(products)] if arguments[:1] == ["product"] and len(arguments) > 2 else []
    assert run(*(text.format(line=line) for text in arguments), *more).code == 2
