"""Scores that follow the grades of defects are told from scores that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from edge_resad.datasets.find import find_classes
from edge_resad.datasets.inspection_class import InspectionClass
from edge_resad.errors import ImageError
from edge_resad.evaluation.severity import read_severities, severity_alignment
from tests.evaluation.tree import inspection_class


def test_scores_in_the_order_of_the_grades_agree_wholly() -> None:
    found = severity_alignment([0.1, 0.2, 0.3], [0, 1, 2])
    assert (found.concordance, found.kendall_tau_b, found.concordance_defective) == (1.0, 1.0, 1.0)


def test_scores_turned_round_disagree_wholly() -> None:
    found = severity_alignment([0.3, 0.2, 0.1], [0, 1, 2])
    assert (found.concordance, found.kendall_tau_b, found.concordance_defective) == (0.0, -1.0, 0.0)


def test_constant_scores_say_nothing() -> None:
    found = severity_alignment([1.0, 1.0, 1.0], [0, 1, 2])
    assert (found.concordance, found.kendall_tau_b, found.concordance_defective) == (0.5, None, 0.5)


def test_one_grade_alone_cannot_be_compared() -> None:
    found = severity_alignment([0.1, 0.2], [1, 1])
    assert found.concordance is found.kendall_tau_b is found.concordance_defective is None
    assert severity_alignment([], []).concordance is None


def test_detecting_well_does_not_mean_grading_well() -> None:
    """Good parts far below, defects in the wrong order: the concordance of all is high, that of defects zero."""
    found = severity_alignment([0.0] * 8 + [9.0, 8.0, 7.0], [0] * 8 + [1, 2, 3])
    assert found.concordance == pytest.approx(24 / 27)
    assert found.concordance_defective == 0.0


def test_a_hand_count_with_ties() -> None:
    # pairs of (severity, score): good 0.1, minor 0.4, minor 0.2, major 0.4
    found = severity_alignment([0.1, 0.4, 0.2, 0.4], [0, 1, 1, 2])
    # same way: 0-1, 0-1, 0-2, 1(0.2)-2; scores tied: 1(0.4)-2; grades tied: one pair
    assert found.concordance == pytest.approx(4.5 / 5)
    assert found.kendall_tau_b == pytest.approx(4 / 5)
    assert found.concordance_defective == pytest.approx(1.5 / 2)


@pytest.mark.parametrize("seed", range(4))
def test_tau_b_is_the_correlation_of_the_signs_of_all_pairs(seed: int) -> None:
    random = np.random.default_rng(seed)
    grades = random.integers(0, 4, 60)
    scores = np.round(random.normal(size=60) + 0.4 * grades, 1)  # with ties
    s, v = (np.sign(values[:, None] - values[None, :]).ravel() for values in (scores, grades))
    expected = np.sum(s * v) / np.sqrt(np.sum(s * s) * np.sum(v * v))
    assert severity_alignment(scores, grades).kendall_tau_b == pytest.approx(expected, abs=1e-12)


def test_with_two_grades_the_concordance_is_auroc() -> None:
    random = np.random.default_rng(3)
    grades = random.integers(0, 2, 80)
    scores = np.round(random.normal(size=80) + grades, 1)
    found = severity_alignment(scores, grades)
    assert found.concordance == pytest.approx(roc_auc_score(grades, scores), abs=1e-12)
    assert found.concordance_defective is None


def test_a_fraction_counts_as_the_next_grade() -> None:
    assert severity_alignment([1, 2, 3], [0, 0.5, 1]) == severity_alignment([1, 2, 3], [0, 1, 1])


@pytest.mark.parametrize("severities", [[0, -1], [0, float("nan")]])
def test_a_grade_below_zero_is_refused(severities: list[float]) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        severity_alignment([1, 2], severities)


def test_scores_and_severities_are_as_many() -> None:
    with pytest.raises(ValueError, match="3 scores but 2 severities"):
        severity_alignment([1, 2, 3], [0, 1])


def _graded(folder: Path, lines: str) -> InspectionClass:
    inspection_class(folder, good=1, defects=2)
    (folder / "parts.csv").write_text(lines, encoding="utf-8")
    (one,) = find_classes(folder)
    return one


@pytest.mark.parametrize(
    "lines",
    [
        "file,defect,severity\ntest/scratch/0.png,scratch,1\ntest/scratch/1.png,scratch,3\ntest/good/0.png,good,0\n",
        "file,defect,severity\n0.png,scratch,1\n1.png,scratch,2.5\n0.png,good,0\n",
        "severity,file\n1,scratch/0.png\n3,scratch/1.png\n",
        "file,severity\nx/test/scratch/rgb/0.png,1\nx/test/scratch/rgb/1.png,3\n",
        "\ufeffimage_path_raw,severity,anomaly_score\nmvtec/cookie/test/scratch/0.png,1,\nx\\scratch\\1.png,3,\n",
    ],
    ids=[
        "paths in the class",
        "names beside defects",
        "no defect column",
        "folders below the defect's",
        "the benchmark's own columns",
    ],
)
def test_grades_are_read_however_the_file_names_its_parts(tmp_path: Path, lines: str) -> None:
    one = _graded(tmp_path / "cookie", lines)
    found = read_severities(one)
    assert found is not None
    assert {f"{path.parent.name}/{path.name}": grade for path, grade in found.items()} == {
        "good/0.png": 0,
        "scratch/0.png": 1,
        "scratch/1.png": 3,
    }


def test_a_class_without_the_file_has_no_grades(tmp_path: Path) -> None:
    (one,) = find_classes(inspection_class(tmp_path / "cookie"))
    assert read_severities(one) is None


def test_a_part_that_nobody_graded_is_left_out(tmp_path: Path) -> None:
    found = read_severities(_graded(tmp_path / "cookie", "file,severity\nscratch/0.png,2\n"))
    assert found is not None
    assert sorted(found.values()) == [0, 2]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("name,grade\n0.png,1\n", "has the columns name, grade. Expected file and severity"),
        ("", "has the columns of no name"),
        ("file,severity\nscratch/0.png,bad\n", "line 2: the severity is 'bad'"),
        ("file,severity\nscratch/0.png,-1\n", "line 2: the severity is '-1'"),
        ("file,severity\nscratch/0.png\n", "line 2: the severity is None"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, lines: str, says: str) -> None:
    one = _graded(tmp_path / "cookie", lines)
    with pytest.raises(ImageError, match=says):
        read_severities(one)


def test_a_file_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    one = _graded(tmp_path / "cookie", "")
    (tmp_path / "cookie/parts.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ImageError, match="cannot be read as grades"):
        read_severities(one)
