"""The demo's products: repeatable, honest about where a defect is, and quick enough to be a camera."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_resad.demo.products import DEFECTS, FAMILIES, draw

EVERY_FAMILY = pytest.mark.parametrize("family", sorted(FAMILIES))
EVERY_DEFECT = pytest.mark.parametrize("defect", DEFECTS)


@EVERY_FAMILY
def test_the_same_seed_gives_the_same_bytes(family: str) -> None:
    once, again = draw(family, 5, defect="scratch"), draw(family, 5, defect="scratch")
    assert once.image.tobytes() == again.image.tobytes()
    assert once.mask.tobytes() == again.mask.tobytes()


@EVERY_FAMILY
def test_another_seed_gives_another_part(family: str) -> None:
    one, other = draw(family, 1).image, draw(family, 2).image
    assert cv2.absdiff(one, other).mean() > 2


@EVERY_FAMILY
def test_a_good_part_has_no_mask_and_no_severity(family: str) -> None:
    part = draw(family, 3, size=256)
    assert part.image.shape == (256, 256, 3)
    assert part.image.dtype == np.uint8
    assert part.mask.shape == (256, 256)
    assert not part.mask.any()
    assert (part.defect, part.severity) == (None, 0)


@EVERY_FAMILY
@EVERY_DEFECT
def test_a_defect_changes_its_part_inside_the_mask_and_nowhere_else(family: str, defect: str) -> None:
    good, bad = draw(family, 11, size=256), draw(family, 11, size=256, defect=defect)
    levels = cv2.absdiff(good.image, bad.image).max(axis=2)
    assert not levels[~bad.mask].any()
    assert levels[bad.mask].mean() > 10


@EVERY_FAMILY
@EVERY_DEFECT
@pytest.mark.parametrize("severity", [1, 2, 3])
def test_every_defect_can_be_seen_at_every_severity(family: str, defect: str, severity: int) -> None:
    part = draw(family, 100, size=256, defect=defect, severity=severity)
    assert part.mask.sum() >= 4
    assert part.mask.mean() < 0.12


@EVERY_DEFECT
def test_a_severe_defect_weighs_more_than_a_subtle_one(defect: str) -> None:
    def weight(severity: int) -> float:
        total = 0.0
        for family in FAMILIES:
            for seed in range(2):
                good = draw(family, seed, size=256).image
                bad = draw(family, seed, size=256, defect=defect, severity=severity).image
                total += float(cv2.absdiff(good, bad).sum())
        return total

    assert weight(3) > 1.3 * weight(1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"family": "spoon", "seed": 0}, "no product family 'spoon'; there are flange"),
        ({"family": "cap", "seed": 0, "defect": "rust"}, "no defect 'rust'; there are scratch"),
        ({"family": "cap", "seed": 0, "size": 20}, "size=20"),
        ({"family": "cap", "seed": 0, "defect": "dent", "severity": 4}, "got 4"),
        ({"family": "cap", "seed": -1}, "got -1"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        draw(**arguments)  # type: ignore[arg-type]


def test_the_contact_sheet_is_a_small_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "sheet.jpg"
    done = subprocess.run(
        [sys.executable, "-m", "edge_resad.demo.products", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert path.stat().st_size <= 300_000
    picture = cv2.imread(str(path))
    assert picture is not None
    assert picture.shape[0] > 1000


def test_products_need_no_torch() -> None:
    code = "import sys, edge_resad.demo.products; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
