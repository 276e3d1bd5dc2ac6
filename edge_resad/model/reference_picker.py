"""Pick references that look like a given part: bags of visual words over a grid, as CPR does and ResAD++'s code offers.

For the workstation: it wants all good parts at hand, so it helps to choose the few that are shown to the device.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELLS = 5  # on one side of the grid whose cells are compared
IGNORED = 5  # cells, those that differ most
SMOOTHING = 1e-3  # added to every frequency: without it one missing word makes a distance infinite

Floats = NDArray[np.floating]


def words_of(features: Floats, centers: Floats) -> NDArray[np.intp]:
    """Give every patch the word it is most similar to, by cosine.

    features: (H, W, C). centers: (K, C), from k-means over patches of good parts. returns: (H, W), 0 to K - 1.
    """
    similarity = _unit(features) @ _unit(centers).T
    return np.asarray(similarity.argmax(-1), np.intp)


def histograms_of(words: NDArray[np.intp], count: int, cells: int = CELLS) -> NDArray[np.float64]:
    """Count words in every cell of a grid; rows and columns that do not fill a cell are cut off.

    words: (H, W), 0 to count - 1. returns: (cells * cells, count) frequencies.
    """
    height, width = (side // cells for side in words.shape)
    if not height or not width:
        raise ValueError(f"words of shape {words.shape} are too few for {cells} cells a side")
    tiles = words[: height * cells, : width * cells].reshape(cells, height, cells, width).swapaxes(1, 2)
    flat = tiles.reshape(cells * cells, height * width)
    return np.asarray((flat[:, :, None] == np.arange(count)).mean(1))


def distances(
    part: NDArray[np.float64],
    references: NDArray[np.float64],
    *,
    ignored: int = IGNORED,
    smoothing: float = SMOOTHING,
) -> NDArray[np.float64]:
    """How differently a part and each reference are composed: Kullback-Leibler divergence, cell by cell.

    The cells that differ most are left out, since a defect may be there; the others are averaged.

    part:       (G, K) frequencies. references: (R, G, K).
    smoothing:  0 as published, where a word that the part lacks makes the distance infinite.
    returns:    (R,) nats.
    """
    p, q = _smoothed(references, smoothing), _smoothed(part, smoothing)[None]
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / q), 0.0)
    by_cell = np.sort(terms.sum(-1), axis=-1)
    return np.asarray(by_cell[:, : by_cell.shape[1] - ignored].mean(1))


def pick(
    part: NDArray[np.float64], references: NDArray[np.float64], count: int, *, smoothing: float = SMOOTHING
) -> NDArray[np.intp]:
    """The indices of the references most like the part, nearest first, equal ones in their order.

    part: (G, K) frequencies. references: (R, G, K). returns: (count,).
    """
    return np.argsort(distances(part, references, smoothing=smoothing), kind="stable")[:count]


def _smoothed(frequencies: NDArray[np.float64], smoothing: float) -> NDArray[np.float64]:
    raised = frequencies + smoothing
    return np.asarray(raised / raised.sum(-1, keepdims=True))


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12))
