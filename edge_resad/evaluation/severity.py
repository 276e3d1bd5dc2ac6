"""Whether a higher score means a worse defect: the grades of a class's parts, and how well scores keep their order.

Cao et al., Are Anomaly Scores Telling the Whole Story?, 2024. Good parts have grade 0, defects 1 and more.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_resad.datasets.inspection_class import InspectionClass
from edge_resad.errors import ImageError

GRADES_FILE = "parts.csv"
FILE_COLUMNS = ("file", "image_path_raw")  # the second is the multilevel benchmark's own


@dataclass(frozen=True, kw_only=True)
class SeverityAlignment:
    """How well scores keep the order of grades; None where nothing can be compared."""

    concordance: float | None  # share of pairs of different grade whose scores stand the same way, ties half: 0..1
    kendall_tau_b: float | None  # -1..1, corrected for ties
    concordance_defective: float | None  # the concordance among defective parts alone, without what detection does

    def metric(self, name: str) -> float | None:
        value: float | None = getattr(self, name)
        return value


def severity_alignment(scores: ArrayLike, severities: ArrayLike) -> SeverityAlignment:
    """Compare every pair of parts.

    scores:     (N,) higher is more anomalous.
    severities: (N,) 0 for good, higher is worse; fractions count as the next whole grade.
    """
    s = np.asarray(scores, np.float64).reshape(-1)
    v = np.ceil(np.asarray(severities, np.float64).reshape(-1))
    if s.size != v.size:
        raise ValueError(f"{s.size} scores but {v.size} severities")
    if not (np.isfinite(s).all() and np.isfinite(v).all() and (v >= 0).all()):
        raise ValueError("scores must be finite, and severities finite and 0 or more")
    all_pairs, among_defects = _pairs(s, v), _pairs(s[v > 0], v[v > 0])
    return SeverityAlignment(
        concordance=all_pairs.concordance,
        kendall_tau_b=all_pairs.tau_b,
        concordance_defective=among_defects.concordance,
    )


def read_severities(one: InspectionClass) -> dict[Path, int] | None:
    """The grade of every test image that has one, good ones 0; None where the class has no grades.

    They stand in `parts.csv` in the class's folder, the one that holds all its images: a column `file`, a path with the
    defect's folder in it or a name beside a column `defect`, and a column `severity`.

    Raises:
        ImageError: the file has other columns, or a line without a grade.
    """
    images = [*one.train, *(part.path for part in one.test)]
    file = Path(os.path.commonpath(images), GRADES_FILE)
    if not one.test or not file.is_file():
        return None
    grades = dict(_grades(file))
    found = {part.path: grades.get((part.defect, part.path.name)) for part in one.test}
    good = {part.path: 0 for part in one.test if not part.is_defective}
    return {path: grade for path, grade in found.items() if grade is not None} | good


def _grades(file: Path) -> Iterator[tuple[tuple[str, str], int]]:
    """(a folder in the part's path, name of its file) -> grade, line by line."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            rows = csv.DictReader(opened)
            columns = rows.fieldnames or []
            named = next((column for column in FILE_COLUMNS if column in columns), None)
            if named is None or "severity" not in columns:
                raise ImageError(
                    f"{file} has the columns {', '.join(columns) or 'of no name'}. Expected file and severity, and "
                    "defect where the file's folder does not say it."
                )
            for row in rows:
                path = PurePosixPath((row[named] or "").replace("\\", "/"))
                grade = _grade(row["severity"], file, rows.line_num)
                for folder in {*path.parts[:-1], row.get("defect") or ""}:  # one of them is the defect's
                    yield (folder, path.name), grade
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise ImageError(f"{file} cannot be read as grades: {problem}. Expected a CSV file in UTF-8.") from problem


def _grade(text: str | None, file: Path, line: int) -> int:
    try:
        grade = float(text or "")
    except ValueError:
        grade = math.nan
    if not (math.isfinite(grade) and grade >= 0):
        raise ImageError(
            f"{file}, line {line}: the severity is {text!r}. Expected a number, 0 for good, higher for worse."
        )
    return math.ceil(grade)


@dataclass(frozen=True)
class _Pairs:
    """How many pairs there are of each kind."""

    same: int  # both differ and stand the same way
    opposite: int  # both differ and stand the other way
    score_tied: int  # only the scores are equal
    grade_tied: int  # only the grades are equal

    @property
    def concordance(self) -> float | None:
        comparable = self.same + self.opposite + self.score_tied
        return (self.same + self.score_tied / 2) / comparable if comparable else None

    @property
    def tau_b(self) -> float | None:
        differ = self.same + self.opposite
        product = (differ + self.grade_tied) * (differ + self.score_tied)
        return (self.same - self.opposite) / math.sqrt(product) if product else None


def _pairs(s: NDArray[np.float64], v: NDArray[np.float64]) -> _Pairs:
    same = opposite = score_tied = grade_tied = 0
    for k in range(s.size - 1):  # a row at a time: memory stays small
        by_score, by_grade = np.sign(s[k + 1 :] - s[k]), np.sign(v[k + 1 :] - v[k])
        way = by_score * by_grade
        same += int(np.count_nonzero(way > 0))
        opposite += int(np.count_nonzero(way < 0))
        score_tied += int(np.count_nonzero((by_score == 0) & (by_grade != 0)))
        grade_tied += int(np.count_nonzero((by_grade == 0) & (by_score != 0)))
    return _Pairs(same, opposite, score_tied, grade_tied)
