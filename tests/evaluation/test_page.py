"""An evaluation's page: whole, self-contained, every class in it, several results beside each other."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.datasets.find import find_classes
from edge_resad.errors import EdgeResadError, ImageError
from edge_resad.evaluation.page import render, write_report
from edge_resad.evaluation.protocol import Results, evaluate
from tests.evaluation.test_protocol import Brightness
from tests.evaluation.tree import inspection_class, write

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Checks that tags close in order; remembers headings, pictures and rows of tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []
        self.lines = 0  # in charts
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(dict(attrs)["src"] or "")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("h1", "h2"):
            self.headings.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.lines += tag == "polyline"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        if {"h1", "h2"} & set(self.open[-1:]):
            self.headings[-1] += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes; defects of the first are squares with a mask, those of the second have none."""
    root = tmp_path_factory.mktemp("page")
    first = inspection_class(root / "a/cookie", good=3, defects=0)
    for index in range(4):
        part: NDArray[np.uint8] = np.full((48, 48, 3), 100, np.uint8)
        part[8 * index : 8 * index + 12, 20:40] = 150 + 10 * index
        write(first / f"test/spot/{index}.png", part)
        write(first / f"ground_truth/spot/{index}_mask.png", (part[:, :, 0] > 120).astype(np.uint8))
    inspection_class(root / "b/<odd> & end", masks=False)
    return root


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return evaluate(find_classes(folder), Brightness(48), shots=1, seeds=[0, 1])


def test_every_tag_that_opens_closes(results: Results) -> None:
    assert Page(render(results)).open == []
    assert Page(render({"nn": results, "resad": results})).open == []


def test_every_class_has_a_section_and_a_row(results: Results) -> None:
    page = Page(render(results))
    assert page.headings == ["1 reference, 2 draws", "Detection", "Localisation", "a/cookie", "b/<odd> & end"]
    assert [row[0] for row in page.rows] == 2 * ["class", "a/cookie", "b/<odd> & end", "mean"]


def test_nothing_in_the_page_points_outside(results: Results) -> None:
    assert re.findall(r"https?:|src=\"(?!data:)|<script|<link|@import|url\(", render(results)) == []


def test_figures_are_percent_and_what_is_missing_is_a_dash(results: Results) -> None:
    detection, localisation = (rows for rows in (Page(render(results)).rows[:4], Page(render(results)).rows[4:]))
    assert detection[0][1:] == ["image AUROC", "image AP", "image F1max"]
    assert detection[1][1:] == ["100.0 ± 0.0"] * 3
    assert localisation[0][1:] == ["pixel AUROC", "pixel AP", "pixel F1max", "AUPRO", "AUPIMO"]
    assert localisation[2][1:] == ["–"] * 5


def test_the_worth_a_look_come_with_photograph_map_and_mask(results: Results) -> None:
    page = Page(render(results))
    # four cases with three pictures but for the good one, which has no mask; two defects and a good part without masks
    assert len(page.pictures) == (3 * 3 + 2) + (2 * 2 + 2)
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in page.pictures)
    for title in ("Highest", "Middle", "Lowest"):
        assert f"{title} score of the defects" in page.text
    assert "180 score, above 3 of 3 good" in page.text
    assert "100 score, above 0 of 4 defective" in page.text


def test_every_draw_is_a_line_in_each_plot(results: Results) -> None:
    # the first class: ROC and overlap of two draws; the second has no masks and no overlap
    assert Page(render(results)).lines == 2 + 2 + 2
    assert Page(render({"nn": results, "resad": results})).lines == 12


def test_notes_are_said_where_their_class_is(results: Results) -> None:
    text = Page(render(results)).text
    assert text.index("no masks, so localisation cannot be measured") > text.index("b/<odd> & end")


def test_two_results_stand_beside_each_other_with_the_difference(results: Results) -> None:
    first, *others = results.classes
    worse = tuple(replace(draw, image_auroc=0.75, aupro=None) for draw in first.seeds)
    page = Page(render({"nn": results, "<resad>": replace(results, classes=(replace(first, seeds=worse), *others))}))
    detection = page.rows[:5]
    assert page.headings[0] == "nn beside <resad>"
    assert detection[1][:3] == ["nn", "<resad>", "diff."]
    assert detection[2][:4] == ["a/cookie", "100.0 ± 0.0", "75.0 ± 0.0", "-25.0"]
    assert detection[4][:4] == ["mean", "100.0 ± 0.0", "87.5 ± 0.0", "-12.5"]
    cells = page.rows[7]
    assert cells[0] == "a/cookie"
    assert cells[10:13] == [cells[10], "–", ""]


def test_a_class_that_one_result_lacks_is_shown_for_the_other(results: Results) -> None:
    page = Page(render({"nn": replace(results, classes=results.classes[:1]), "resad": results}))
    assert page.headings[-2:] == ["a/cookie", "b/<odd> & end"]
    assert page.rows[3][:4] == ["b/<odd> & end", "–", "100.0 ± 0.0", ""]


def test_graded_parts_get_a_table_of_their_own(folder: Path, tmp_path: Path) -> None:
    graded = inspection_class(tmp_path / "graded", masks=False)
    (graded / "parts.csv").write_text("file,severity\nscratch/0.png,1\nscratch/1.png,2\n")
    page = Page(render(evaluate(find_classes(graded), Brightness(), shots=1, seeds=[0])))
    assert page.headings == ["1 reference, 1 draw", "Detection", "Localisation", "Severity", "graded"]
    assert page.rows[-1] == ["graded", "90.0", "89.4", "50.0"]  # tau-b: 4 / sqrt(4 * 5)


def test_results_without_pictures_or_parts_still_make_a_page(results: Results) -> None:
    bare = replace(
        results,
        classes=tuple(
            replace(one, cases=(), seeds=tuple(replace(draw, parts=(), overlap=(), seconds=None) for draw in one.seeds))
            for one in results.classes
        ),
    )
    page = Page(render(bare))
    assert page.pictures == []
    assert "nothing to compare" in page.text
    assert Page(render(Results(shots=1, seeds=(0,), classes=()))).headings[0] == "1 reference, 1 draw"


def test_a_class_without_test_images_makes_a_page(tmp_path: Path) -> None:
    (one,) = find_classes(inspection_class(tmp_path / "new"))
    page = Page(render(evaluate([replace(one, test=())], Brightness(), shots=1, seeds=[0])))
    assert page.headings[-1] == "new"
    assert "no part was judged" in page.text


def test_a_class_without_defects_makes_a_page(tmp_path: Path) -> None:
    inspection_class(tmp_path / "fine", defects=0)
    page = Page(render(evaluate(find_classes(tmp_path), Brightness(), shots=1, seeds=[0])))
    assert "nan" not in page.text
    assert "no defective test image" in page.text


def test_a_picture_of_any_shape_is_shown(tmp_path: Path) -> None:
    inspection_class(tmp_path / "band", good=1, defects=0)
    write(tmp_path / "band/test/cut/0.png", np.full((3, 2000, 3), 200, np.uint8))
    write(tmp_path / "band/ground_truth/cut/0_mask.png", np.full((3, 2000), 255, np.uint8))
    page = Page(render(evaluate(find_classes(tmp_path), Brightness(), shots=1, seeds=[0])))
    assert len(page.pictures) == 3 + 2


def test_writing_makes_the_folder_and_says_what_was_judged(results: Results, tmp_path: Path) -> None:
    path = write_report(results, tmp_path / "new/page.html", about="Bundle <1234>.")
    assert "Bundle <1234>." in Page(path.read_text(encoding="utf-8")).text
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_a_page_that_cannot_be_written_is_one_sentence(results: Results, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EdgeResadError, match=r"cannot write the report to .*file/page\.html"):
        write_report(results, tmp_path / "file/page.html")


def test_a_picture_that_has_gone_is_named(tmp_path: Path) -> None:
    folder = inspection_class(tmp_path / "cookie")
    results = evaluate(find_classes(folder), Brightness(), shots=1, seeds=[0])
    (folder / "test/good/0.png").unlink()
    with pytest.raises(ImageError, match=r"test/good/0\.png"):
        render(results)
