"""On photographs of real parts: four good ones are enough to tell the others apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_resad.bundle import open_bundle
from edge_resad.datasets.find import find_classes
from edge_resad.datasets.inspection_class import InspectionClass, subset
from edge_resad.datasets.masks import read_mask
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.inspector import Inspector
from edge_resad.evaluation.metrics import auroc
from edge_resad.image import read_image

pytestmark = pytest.mark.shared
SHOTS = 4


def _class(folder: Path, name: str) -> InspectionClass:
    found = {each.name: each for each in find_classes(folder)}
    if name not in found:
        pytest.skip(f"{folder} holds no class {name}")
    return found[name]


@pytest.mark.parametrize(
    ("name", "at_least"), [("aws_lookout/cookie", 0.9), ("aws_lookout/alien", 0.7), ("mvtec/leather_tiny", 0.95)]
)
def test_four_good_parts_are_enough_to_rank_the_others(evaluation_data: Path, name: str, at_least: float) -> None:
    product = _class(evaluation_data, name)
    bundle = open_bundle()
    references = [read_image(file) for file in product.train[:SHOTS]]
    parts = subset(product.test, 12, 16)
    with Inspector(bundle, enrol(bundle, references, product=name.replace("/", "-")).bank) as inspector:
        scores = [inspector.inspect(read_image(part.path)).score for part in parts]
    found = auroc(scores, [part.is_defective for part in parts])
    assert found is not None
    assert found >= at_least


def test_the_map_is_higher_on_a_defect_than_beside_it(evaluation_data: Path) -> None:
    product = _class(evaluation_data, "mvtec/leather_tiny")
    bundle = open_bundle()
    references = [read_image(file) for file in product.train[:SHOTS]]
    with Inspector(bundle, enrol(bundle, references, product="leather").bank) as inspector:
        higher = []
        for part in product.test:
            if part.mask is None:
                continue
            inspector.inspect(read_image(part.path))
            mask = read_mask(part.mask)
            rows, columns = np.nonzero(mask)
            grid = inspector.score_map.shape
            cells = np.zeros(grid, bool)
            cells[rows * grid[0] // mask.shape[0], columns * grid[1] // mask.shape[1]] = True
            higher.append(inspector.score_map[cells].max() > np.percentile(inspector.score_map[~cells], 95))
    assert len(higher) > 5
    assert np.mean(higher) > 0.8
