"""ResAD's head of a checkpoint as the few-shot protocol sees it: in torch, on the workstation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_resad.image import fit
from edge_resad.model.detector import Encoder, load_backbone
from edge_resad.model.preprocess import paper_crop
from edge_resad.model.scoring import level_maxima
from edge_resad.train.checkpoint import load_head


class HeadScorer:
    """Judges parts with a trained `ResADHead`; its product's constants come from the references alone.

    checkpoint: what `edge-resad train` wrote.
    threads:    of torch, for the whole process.
    backbone:   None for the profile's own.

    Raises:
        TrainingError: no such file, damaged, or of another kind of head.
        BundleError: the backbone's weights come with no package.
    """

    def __init__(self, checkpoint: Path, *, threads: int = 1, backbone: nn.Module | None = None) -> None:
        torch.set_num_threads(threads)
        self._head, about = load_head(checkpoint)
        self.profile = self._head.profile
        self.about: dict[str, Any] = about
        self._folded = self._head.folded()
        self._encoder = Encoder(self.profile, backbone or load_backbone(self.profile)).eval()

    @torch.no_grad()
    def enrol(self, references: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Keep all patches of the references; each is judged against the others, a single one against itself."""
        shown = [self._encode(image) for image in references]
        found = []
        for index, part in enumerate(shown):
            others = [one for place, one in enumerate(shown) if place != index] or shown
            found.append(level_maxima(self._folded.judge(part, _bank(others)).log_likelihood))
        self._level_max = torch.stack(found).amax(0)
        self._bank = _bank(shown)

    @torch.no_grad()
    def score(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Anomaly map (h, w) and image score."""
        score_map, score = self._folded(self._encode(image), self._bank, self._level_max)
        return np.asarray(score_map[0].numpy(), np.float32), float(score[0])

    def _encode(self, image: NDArray[np.uint8]) -> list[Tensor]:
        size = self.profile.size
        fitted = paper_crop(image, size) if self.profile.crop else fit(image, size, np.empty((size, size, 3), np.uint8))
        return [rows[None] for rows in self._encoder(torch.from_numpy(fitted))]  # per level (1, N_l, C_l)


def _bank(parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    return [torch.cat([rows[0] for rows in level]) for level in zip(*parts, strict=True)]
