"""The factory's training material: repeatable, various, honest about its defects, and safe with folders."""

from __future__ import annotations

import csv
import errno
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_resad.demo.products import FAMILIES
from edge_resad.demo.products.factory import FACTORY, KINDS, FactoryError, draw, folder, kinds_of, write_factory
from edge_resad.demo.products.factory.folder import MARK
from edge_resad.demo.products.factory.sheet import factory_sheet
from edge_resad.whole_file import write_whole
from tests.mqtt_peers import eventually

EVERY_FAMILY = pytest.mark.parametrize("family", sorted(FACTORY))
EVERY_KIND = pytest.mark.parametrize("kind", sorted(KINDS))
SMALL = 128  # pixels a side


def a_family_with(kind: str) -> str:
    return next(name for name, family in FACTORY.items() if kind in family.kinds)


def test_there_are_many_families_and_kinds() -> None:
    assert len(FACTORY.keys() - FAMILIES.keys()) >= 16
    assert len(KINDS) >= 18
    assert set(KINDS) == {kind for family in FACTORY.values() for kind in family.kinds}


@EVERY_FAMILY
def test_the_same_seed_gives_the_same_bytes(family: str) -> None:
    once = draw(family, 5, variant=1, size=SMALL, defect="scratch")
    draw(family, 6, variant=1, size=SMALL)
    again = draw(family, 5, variant=1, size=SMALL, defect="scratch")
    assert once.image.tobytes() == again.image.tobytes()
    assert once.mask.tobytes() == again.mask.tobytes()


@EVERY_FAMILY
def test_variants_are_different_products_and_seeds_different_parts(family: str) -> None:
    part, other, redesigned = (draw(family, *key, size=SMALL) for key in ((1,), (2,), (1,)))
    redesigned = draw(family, 1, variant=3, size=SMALL)
    assert cv2.absdiff(part.image, other.image).mean() > 0.8
    assert cv2.absdiff(part.image, redesigned.image).mean() > 4
    assert part.image.shape == (SMALL, SMALL, 3)
    assert not part.mask.any()


@EVERY_FAMILY
def test_the_defects_of_a_family_can_be_seen(family: str) -> None:
    turn = sorted(FACTORY).index(family) % 3  # a third of the kinds for each family, so that all have their turn
    for k, kind in enumerate(kinds_of(family, 2)[turn::3]):
        part = draw(family, 40 + k, variant=2, size=SMALL, defect=kind, severity=1 + k % 3)
        assert part.mask.any(), kind
        assert part.mask.mean() < 0.45, kind


@EVERY_KIND
def test_a_defect_changes_its_part_inside_the_mask_and_nowhere_else(kind: str) -> None:
    family = a_family_with(kind)
    variant = next(v for v in range(1, 9) if not compressed(family, v))
    good, bad = (draw(family, 7, variant=variant, size=SMALL, defect=defect) for defect in (None, kind))
    levels = cv2.absdiff(good.image, bad.image).max(axis=2)
    assert not levels[~bad.mask].any()
    assert levels[bad.mask].mean() > 8


def compressed(family: str, variant: int) -> bool:
    from edge_resad.demo.products.factory.part import product

    return product(family, variant, SMALL).look.quality > 0


@EVERY_KIND
def test_a_clear_defect_weighs_more_than_a_subtle_one(kind: str) -> None:
    families = [name for name, family in FACTORY.items() if kind in family.kinds][:2]

    def weight(severity: int) -> float:
        total = 0.0
        for family in families:
            for seed in range(2):
                good = draw(family, seed, variant=1, size=SMALL).image
                bad = draw(family, seed, variant=1, size=SMALL, defect=kind, severity=severity).image
                total += float(cv2.absdiff(good, bad).sum())
        return total

    assert weight(3) > 1.2 * weight(1)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_variant_0_of_a_demo_product_is_the_demos_own(family: str) -> None:
    from edge_resad.demo.products import draw as demo_draw

    assert draw(family, 4, size=SMALL).image.tobytes() == demo_draw(family, 4, size=SMALL).image.tobytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"family": "spoon", "seed": 0}, "no product family 'spoon'"),
        ({"family": "woven", "seed": 0, "defect": "chip"}, "no defect 'chip' of woven"),
        ({"family": "woven", "seed": 0, "size": 20}, "size=20"),
        ({"family": "woven", "seed": 0, "severity": 4}, "got 4"),
        ({"family": "woven", "seed": -1}, "got -1"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        draw(**arguments)  # type: ignore[arg-type]


def test_a_written_class_has_the_layout_of_mvtec_and_a_list(tmp_path: Path) -> None:
    out = tmp_path / "made"
    (folder,) = write_factory(out, families=["woven"], variants=1, good=3, defective=5, size=SMALL)
    assert folder == out / "woven-1"
    assert len(list((folder / "train" / "good").glob("*.png"))) == 3
    assert len(list((folder / "test" / "good").glob("*.png"))) == 1
    bad = [path for path in (folder / "test").glob("*/*.png") if path.parent.name != "good"]
    assert len(bad) == 5
    for path in bad:
        mask = cv2.imread(
            str(folder / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"), cv2.IMREAD_GRAYSCALE
        )
        assert mask is not None
        assert set(np.unique(mask)) == {0, 255}
    with (folder / "parts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {str(path.relative_to(folder)) for path in folder.glob("t*/*/*.png")}
    assert {row["severity"] for row in rows if row["defect"] != "good"} == {"1", "2", "3"}


def test_processes_write_the_same_files_as_one(tmp_path: Path) -> None:
    made = []
    for jobs in (1, 2):
        out = tmp_path / str(jobs)
        write_factory(out, families=["cast", "tablet"], variants=1, good=2, defective=2, size=SMALL, jobs=jobs)
        made.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert made[0] == made[1]


def test_an_interrupted_run_goes_on_with_the_classes_that_are_missing(tmp_path: Path) -> None:
    def make(*families: str) -> list[Path]:
        return write_factory(tmp_path, families=families, variants=1, good=1, defective=1, size=SMALL)

    (first,) = make("cast")
    before = (first / "parts.csv").stat().st_mtime_ns
    assert make("cast", "knit") == [first, tmp_path / "knit-1"]
    assert (first / "parts.csv").stat().st_mtime_ns == before


def test_a_folder_that_is_not_the_factorys_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FactoryError, match="holds files that are not the factory's"):
        write_factory(tmp_path, families=["cast"], variants=1, good=1, defective=1)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_folder_of_other_settings_is_not_mixed(tmp_path: Path) -> None:
    write_factory(tmp_path, families=["cast"], variants=1, good=1, defective=1, size=SMALL)
    with pytest.raises(FactoryError, match="made with other settings"):
        write_factory(tmp_path, families=["cast"], variants=1, good=2, defective=1, size=SMALL)
    assert (tmp_path / MARK).exists()


def test_the_command_says_what_it_made_and_what_it_cannot_make(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge_resad.demo.products.factory", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    few = ("--variants", "1", "--good", "1", "--defective", "1", "--size", "128", "--jobs", "1")
    done = run(str(tmp_path / "a"), "--families", "cast,knit", *few)
    assert done.returncode == 0, done.stderr
    assert "2 products, 6 parts" in done.stdout
    refused = run(str(tmp_path / "b"), "--families", "spoon", *few)
    assert refused.returncode == 1
    assert refused.stderr.startswith('the factory makes no "spoon". Choose of ')


def test_an_interrupt_ends_the_processes_that_only_begin_without_a_word(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_resad.demo.products.factory", str(tmp_path / "out"), "--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as factory:
        children = Path(f"/proc/{factory.pid}/task/{factory.pid}/children")

        def one_imports() -> bool:
            for child in (Path(f"/proc/{child}") for child in children.read_text().split()):
                with suppress(FileNotFoundError, ProcessLookupError):  # one that has ended meanwhile
                    if "spawn_main" in (child / "cmdline").read_text() and "numpy" in (child / "maps").read_text():
                        return True
            return False

        assert eventually(one_imports, within_s=60)
        os.killpg(factory.pid, signal.SIGINT)
        _, said = factory.communicate(timeout=60)
    assert (factory.returncode, said) == (130, "")


def test_the_contact_sheet_has_a_row_for_every_family() -> None:
    two, four = (factory_sheet(families).shape for families in (["cast", "gear"], ["cast", "gear", "wood", "label"]))
    assert two[1] == four[1]
    assert two[0] < four[0]


def test_the_factory_needs_no_torch() -> None:
    code = "import sys, edge_resad.demo.products.factory; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("full", ["factory.json", "parts.csv"])
def test_a_full_disk_is_one_sentence_and_the_factory_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        if path.name == full:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_whole(path, content)

    def make() -> list[Path]:
        return write_factory(
            tmp_path / "out", families=["cap"], variants=1, good=1, test_good=1, defective=1, size=SMALL
        )

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_whole", refuse)
        with pytest.raises(FactoryError, match=r"cannot write into .*: No space left on device\. Check space"):
            make()
    (made,) = make()
    with (made / "parts.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 3
