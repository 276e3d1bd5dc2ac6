"""ResAD's head of a checkpoint as the few-shot protocol sees it: in torch, on the workstation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_resad.errors import TrainingError
from edge_resad.image import fit
from edge_resad.model.backbone import weights_digest
from edge_resad.model.detector import Encoder, load_backbone
from edge_resad.model.preprocess import paper_crop
from edge_resad.model.scoring import level_maxima
from edge_resad.train.checkpoint import load_head
from edge_resad.train.selection import left_out


class HeadScorer:
    """Judges parts with a trained `ResADHead`; its product's constants come from the references alone.

    checkpoint: what `edge-resad train` wrote.
    threads:    of torch, for the whole process.
    backbone_weights: file, for a backbone whose weights come with no package.
    backbone:   None for the profile's own.

    Raises:
        TrainingError: no such file, damaged, of another kind of head, or trained on another backbone's features.
        BundleError: the backbone's weights are not there.
    """

    def __init__(
        self,
        checkpoint: Path,
        *,
        threads: int = 1,
        backbone_weights: Path | None = None,
        backbone: nn.Module | None = None,
    ) -> None:
        torch.set_num_threads(threads)
        head, about = load_head(checkpoint)
        self._profile = head.profile
        self._folded = head.folded()
        frozen = backbone or load_backbone(self._profile, backbone_weights)
        if weights_digest(frozen) != about["settings"]["backbone_sha256"]:
            raise TrainingError(
                f"{checkpoint} was trained on features of another {self._profile.backbone} than this one. Give the "
                "weights that it was trained with: --backbone-weights FILE."
            )
        self._encoder = Encoder(self._profile, frozen).eval()

    @torch.no_grad()
    def enrol(self, references: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Keep all patches of the references; each is judged against the others, a single one against itself."""
        shown = [self._encode(image) for image in references]
        judged = [self._folded.judge(part, _bank(others)) for part, others in left_out(shown)]
        found = [level_maxima(one.log_likelihood) for one in judged]
        self._level_max = torch.stack(found).amax(0)
        self._bank = _bank(shown)

    @torch.no_grad()
    def score(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Anomaly map (h, w) and image score."""
        score_map, score = self._folded(self._encode(image), self._bank, self._level_max)
        found = np.asarray(score_map[0].numpy(), np.float32)
        return _in_frame(found, image.shape[:2]) if self._profile.crop else found, float(score[0])

    def _encode(self, image: NDArray[np.uint8]) -> list[Tensor]:
        size = self._profile.size
        fitted = (
            paper_crop(image, size) if self._profile.crop else fit(image, size, np.empty((size, size, 3), np.uint8))
        )
        return [rows[None] for rows in self._encoder(torch.from_numpy(fitted))]  # per level (1, N_l, C_l)


def _in_frame(found: NDArray[np.float32], frame: tuple[int, int]) -> NDArray[np.float32]:
    """Put the map (s, s) of a picture's middle where it belongs; beside it nothing is known and nothing is anomalous.

    frame: height and width of the picture.
    """
    side = len(found)
    height, width = (round(side * length / min(frame)) for length in frame)
    whole = np.full((height, width), found.min(), np.float32)
    top, left = (height - side) // 2, (width - side) // 2
    whole[top : top + side, left : left + side] = found
    return whole


def _bank(parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    return [torch.cat([rows[0] for rows in level]) for level in zip(*parts, strict=True)]
