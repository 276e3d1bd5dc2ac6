"""Reports say the same numbers to a file and to a reader."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from edge_resad.evaluation.protocol import ClassResult, Results, SeedResult
from edge_resad.evaluation.report import as_json, as_table
from edge_resad.evaluation.severity import SeverityAlignment


def _draw(seed: int, image: float, pixel: float | None) -> SeedResult:
    return SeedResult(
        seed=seed,
        image_auroc=image,
        image_ap=image,
        image_f1max=image,
        pixel_auroc=pixel,
        pixel_ap=pixel,
        pixel_f1max=pixel,
        aupro=pixel,
        aupimo=pixel,
        seconds=1.5,
    )


def _class(name: str, draws: Sequence[SeedResult], notes: tuple[str, ...] = ()) -> ClassResult:
    return ClassResult(name=name, references=4, good=60, defective=100, with_mask=90, seeds=tuple(draws), notes=notes)


RESULTS = Results(
    shots=4,
    seeds=(0, 1),
    classes=(
        _class("magtile/magnetic_tile", [_draw(0, 0.80, 0.5), _draw(1, 0.90, 0.7)]),
        _class("elpv/[mono]", [_draw(0, 0.50, None), _draw(1, 0.60, None)], notes=("no masks [at all]",)),
    ),
)


def _rounded(value: object) -> object:
    return json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 9))


def test_the_file_holds_every_number() -> None:
    report = _rounded(as_json(RESULTS, bundle="edge", precision="fp32"))
    counted = {"good": 60, "defective": 100, "with_mask": 90, "references": 4}

    def metrics(image: float, pixel: float | None) -> dict[str, float | None]:
        image_side = dict.fromkeys(("image_auroc", "image_ap", "image_f1max"), image)
        return {**image_side, **dict.fromkeys(("pixel_auroc", "pixel_ap", "pixel_f1max", "aupro", "aupimo"), pixel)}

    def draw(seed: int, image: float, pixel: float | None) -> dict[str, object]:
        return {"seed": seed, **metrics(image, pixel), "severity": None, "seconds": 1.5}

    assert report == {
        "classes": {
            "magtile/magnetic_tile": {
                **metrics(0.85, 0.6),
                "severity": None,
                "seeds": [draw(0, 0.8, 0.5), draw(1, 0.9, 0.7)],
                "test_images": counted,
            },
            "elpv/[mono]": {
                **metrics(0.55, None),
                "severity": None,
                "seeds": [draw(0, 0.5, None), draw(1, 0.6, None)],
                "test_images": counted,
            },
        },
        "mean": metrics(0.7, 0.6),
        "severity": None,
        "bundle": "edge",
        "precision": "fp32",
    }


def test_the_file_is_strict_json_even_where_nothing_could_be_measured() -> None:
    nothing = Results(shots=1, seeds=(0,), classes=())
    report = as_json(nothing, bundle="edge", precision="fp32")
    assert json.loads(json.dumps(report, allow_nan=False))["mean"]["aupro"] is None


def test_the_file_holds_the_severity_alignment_where_parts_are_graded() -> None:
    aligned = SeverityAlignment(concordance=0.9, kendall_tau_b=0.8, concordance_defective=None)
    graded = Results(shots=4, seeds=(0,), classes=(_class("a", [replace(_draw(0, 0.8, None), severity=aligned)]),))
    report = as_json(graded, bundle="edge", precision="fp32")
    expected = {"concordance": 0.9, "kendall_tau_b": 0.8, "concordance_defective": None}
    assert report["severity"] == report["classes"]["a"]["severity"] == expected
    assert report["classes"]["a"]["seeds"][0]["severity"] == expected
    assert "concordance" in _shown(graded)
    assert "concordance" not in _shown(RESULTS)


def _shown(results: Results | dict[str, Results]) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(as_table(results))
    return console.export_text()


def test_the_screen_shows_percent_with_the_spread_over_draws() -> None:
    (row,) = (line for line in _shown(RESULTS).splitlines() if "magnetic_tile" in line)
    assert "85.0 ± 7.1" in row
    assert "60.0 ± 14.1" in row
    assert "60 + 100" in row


def test_the_screen_shows_a_dash_for_what_was_not_measured() -> None:
    (row,) = (line for line in _shown(RESULTS).splitlines() if "elpv" in line and "%" not in line and "55.0" in line)
    assert f"{row} ".count(" - ") == 5


def test_the_screen_shows_the_mean_over_classes() -> None:
    (row,) = (line for line in _shown(RESULTS).splitlines() if "mean" in line)
    assert "70.0 ± 7.1" in row


def test_one_class_needs_no_mean() -> None:
    assert "mean" not in _shown(Results(shots=4, seeds=(0, 1), classes=RESULTS.classes[:1]))


def _better(by: float) -> Results:
    """The same with other figures of images."""
    classes = tuple(
        replace(one, seeds=tuple(replace(draw, image_auroc=(draw.image_auroc or 0) + by) for draw in one.seeds))
        for one in RESULTS.classes
    )
    return replace(RESULTS, classes=classes)


def test_several_results_stand_beside_each_other_with_the_difference_to_the_first() -> None:
    lines = _shown({"nn": RESULTS, "[resad]": _better(0.05), "third": _better(-0.02)}).splitlines()
    (heading,) = (line for line in lines if "metric" in line)
    assert heading.split() == [
        "class",
        "good",
        "+",
        "bad",
        "metric",
        "nn",
        "[resad]",
        "difference",
        "third",
        "difference",
    ]
    first, _, mean = (line for line in lines if "image AUROC" in line)
    assert first.split()[:4] == ["magtile/magnetic_tile", "60", "+", "100"]
    assert first.split()[-10:] == ["85.0", "±", "7.1", "90.0", "±", "7.1", "+5.0", "83.0", "±", "7.1", "-2.0"][-10:]
    assert mean.split()[0] == "mean"
    assert "+5.0" in mean


def test_what_one_result_lacks_is_a_dash_and_no_difference() -> None:
    fewer = replace(RESULTS, classes=RESULTS.classes[1:])
    lines = _shown({"nn": RESULTS, "resad": fewer}).splitlines()
    (row,) = (line for line in lines if "magnetic_tile" in line)
    assert row.split()[-4:] == ["85.0", "±", "7.1", "-"]


def test_a_report_needs_a_result() -> None:
    with pytest.raises(ValueError, match="at least one result"):
        as_table({})


def test_names_and_notes_are_shown_letter_by_letter() -> None:
    shown = _shown(RESULTS)
    assert "elpv/[mono]: no masks [at all]" in shown


def test_one_draw_has_no_spread() -> None:
    shown = _shown(Results(shots=1, seeds=(0,), classes=(_class("cookie", [_draw(0, 0.8, 0.5)]),)))
    assert "±" not in shown
    assert "1 reference, 1 draw" in shown
