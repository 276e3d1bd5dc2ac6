"""References are picked as CPR's code picks them, and without its infinities by default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.model.reference_picker import distances, histograms_of, pick, words_of

FOLDER = Path(__file__).resolve().parent


def _golden(name: str) -> Mapping[str, NDArray[np.float64]]:
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def test_words_and_histograms() -> None:
    numbers = _golden("cpr")
    words = words_of(numbers["feat"][0].transpose(1, 2, 0), numbers["centers"])
    np.testing.assert_array_equal(words, numbers["bow_map"])
    cells, count = int(numbers["S"]), int(numbers["NC"])
    np.testing.assert_allclose(histograms_of(words, count, cells), numbers["histograms"], atol=1e-6)
    for features, expected in zip(numbers["ref_feats"], numbers["ref_histograms"], strict=True):
        found = histograms_of(words_of(features.transpose(1, 2, 0), numbers["centers"]), count, cells)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_distances_without_smoothing_are_infinite_where_a_word_is_missing() -> None:
    numbers = _golden("cpr")
    found = distances(numbers["histograms"], numbers["ref_histograms"], ignored=int(numbers["tau"]), smoothing=0)
    np.testing.assert_allclose(found, numbers["global_distance"], atol=1e-6)
    assert np.isinf(found).sum() == 3
    order = pick(numbers["histograms"], numbers["ref_histograms"], 5, smoothing=0)
    np.testing.assert_array_equal(order, numbers["order"])


def test_by_default_every_distance_is_finite_and_the_part_itself_is_the_nearest() -> None:
    numbers = _golden("cpr")
    found = distances(numbers["histograms"], numbers["ref_histograms"])
    assert np.isfinite(found).all()
    assert found.min() == pytest.approx(0, abs=1e-9)


def test_a_distance_between_full_histograms() -> None:
    numbers = _golden("cpr_dense")
    found = distances(numbers["hist"], numbers["ref_hist"][None], smoothing=0)
    np.testing.assert_allclose(found, numbers["global_distance"], rtol=1e-5)


def test_a_picture_smaller_than_the_grid_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="too few for 5 cells"):
        histograms_of(np.zeros((4, 9), int), 3)
