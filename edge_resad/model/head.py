"""The learned head: residuals of features to a bank, constrained, judged by a flow per level (ResAD, ResAD++)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from edge_resad.model.constraintor import build_constraintor
from edge_resad.model.distribution import match_distribution
from edge_resad.model.flow import Flow
from edge_resad.model.folded_flow import FoldedFlow
from edge_resad.model.head_settings import HeadSettings
from edge_resad.model.likelihood import abnormal_probability, log_likelihood
from edge_resad.model.position import position_code
from edge_resad.model.profile import Profile
from edge_resad.model.quantizer import Quantizer
from edge_resad.model.residual import nearest, residual
from edge_resad.model.scoring import MapScorer, image_scores


class Judgement(NamedTuple):
    """What the head says of every patch, per level (B, N_l)."""

    log_likelihood: tuple[Tensor, ...]  # of a normal patch, nats per channel
    abnormal: tuple[Tensor, ...]  # probability of the abnormal centre


class ResADHead(nn.Module):
    """Everything that is learned, level by level; levels share nothing.

    Features are rows, (B, N_l, C_l), row-major over the grid. A bank is per level (M_l, C_l), raw.
    """

    def __init__(self, profile: Profile, seed: int = 42) -> None:
        super().__init__()
        if profile.head is None:
            raise ValueError(f"profile {profile.name!r} has no learned head")
        self.profile = profile
        self.settings: HeadSettings = profile.head
        self.grids = tuple(profile.grid(tap) for tap in profile.taps)
        settings, channels = self.settings, [tap.channels for tap in profile.taps]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.quantizers = nn.ModuleList(
                [] if settings.alpha is None else [Quantizer(settings.codes, count) for count in channels]
            )
            self.constraintors = nn.ModuleList(build_constraintor(settings.constraintor, count) for count in channels)
            self.flows = nn.ModuleList(Flow(count, settings.position_dims, settings.blocks) for count in channels)
        self.scorer = MapScorer(self.grids, profile.size // settings.map_stride, settings.blur)
        for level, grid in enumerate(self.grids if settings.position_dims else ()):
            self.register_buffer(f"code_{level}", position_code(settings.position_dims, grid, grid), persistent=False)

    @torch.no_grad()
    def residuals(
        self, features: Sequence[Tensor], banks: Sequence[Sequence[Tensor]], product: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Match every image against the bank of its product.

        features: per level (B, N_l, C_l).
        banks:    per product, per level (M_l, C_l).
        product:  (B,) which bank an image belongs to; not needed with one bank.
        returns:  per level (B, N_l, C_l), without gradient.
        """
        if not self.settings.residuals:
            return tuple(self._scaled(rows) for rows in features)
        if product is None:
            if len(banks) != 1:
                raise ValueError(f"{len(banks)} banks, so say of every image which is its own")
            product = torch.zeros(len(features[0]), dtype=torch.long)
        out = tuple(torch.empty_like(rows) for rows in features)
        for index in sorted(set(product.tolist())):
            images = (product == index).nonzero()[:, 0].to(features[0].device)
            for level, (rows, bank) in enumerate(zip(features, banks[index], strict=True)):
                out[level][images] = self._residual(rows[images], bank)
        return out

    def adapt(self, level: int, rows: Tensor) -> Tensor:
        """Give residuals (B, N, C) the distribution of the training products'; inference alone, none where alpha is."""
        if self.settings.alpha is None:
            return rows
        return match_distribution(rows, self.quantizers[level](rows), self.settings.alpha)

    def constrain(self, level: int, rows: Tensor) -> Tensor:
        """Run one level's constraintor on rows (B, N, C)."""
        grid = self.grids[level]
        return cast(Tensor, self.constraintors[level](rows, (grid, grid)))

    def flow(self, level: int, rows: Tensor, position: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run one level's flow.

        rows:     (R, C) constrained features.
        position: (R,) int64, the cell of the grid of every row; None: R / N whole images, in order.
        returns:  z (R, C), log-determinant (R,).
        """
        flow = cast(Flow, self.flows[level])
        if not flow.condition:
            return cast(tuple[Tensor, Tensor], flow(rows))
        code = cast(Tensor, getattr(self, f"code_{level}"))
        if position is None:
            position = torch.arange(len(rows), device=rows.device) % len(code)
        return cast(tuple[Tensor, Tensor], flow(rows, code, position))

    def judge(self, residuals: Sequence[Tensor]) -> Judgement:
        """Judge residuals, per level (B, N_l, C_l), the way an inspection does: adapt, constrain, flow.

        Call `eval()` first: in training the batch norms would learn from what they judge.
        """
        likelihoods, probabilities = [], []
        for level, rows in enumerate(residuals):
            constrained = self.constrain(level, self.adapt(level, rows))
            z, log_det = self.flow(level, constrained.flatten(0, 1))
            shape = rows.shape[:2]
            likelihoods.append(log_likelihood(z, log_det).reshape(shape))
            probabilities.append(abnormal_probability(z).reshape(shape))
        return Judgement(tuple(likelihoods), tuple(probabilities))

    def forward(
        self, features: Sequence[Tensor], banks: Sequence[Sequence[Tensor]], product: Tensor | None = None
    ) -> Judgement:
        """Judge features: arguments as for `residuals`."""
        return self.judge(self.residuals(features, banks, product))

    def folded(self) -> FoldedHead:
        """The head in the form a device runs, with the weights it has now, in eval mode."""
        return FoldedHead(self).eval()

    def _residual(self, rows: Tensor, bank: Tensor) -> Tensor:
        flat = rows.flatten(0, 1)
        matched = bank[nearest(flat, bank, self.profile.match)]
        found = residual(self._scaled(flat), self._scaled(matched), self.settings.residual)
        return found.reshape(rows.shape)

    def _scaled(self, rows: Tensor) -> Tensor:
        return rows if self.settings.feature_scale == 1 else rows * self.settings.feature_scale


class FoldedHead(nn.Module):
    """Features and one bank to map and score, with everything folded that is known beforehand.

    Its weights are copies of the head's: make it anew after more training.
    """

    def __init__(self, head: ResADHead) -> None:
        super().__init__()
        self.flows = nn.ModuleList(
            FoldedFlow(cast(Flow, flow), (grid, grid)) for flow, grid in zip(head.flows, head.grids, strict=True)
        )
        self.head = copy.deepcopy(head).requires_grad_(False)
        self.head.flows = nn.ModuleList()  # the folded ones stand for them

    def judge(self, features: Sequence[Tensor], banks: Sequence[Tensor]) -> Judgement:
        """Judge features, per level (B, N_l, C_l), against one bank, per level (M_l, C_l)."""
        head = self.head
        likelihoods, probabilities = [], []
        for level, (rows, bank) in enumerate(zip(features, banks, strict=True)):
            seen = head._residual(rows, bank) if head.settings.residuals else head._scaled(rows)
            likelihood, probability = self.flows[level](head.constrain(level, head.adapt(level, seen)))
            likelihoods.append(likelihood)
            probabilities.append(probability)
        return Judgement(tuple(likelihoods), tuple(probabilities))

    def forward(self, features: Sequence[Tensor], banks: Sequence[Tensor], level_max: Tensor) -> tuple[Tensor, Tensor]:
        """Score images.

        features:  per level (B, N_l, C_l).
        banks:     per level (M_l, C_l), raw.
        level_max: (L,) log-likelihoods that are typical of the product, frozen at enrolment.
        returns:   map (B, S, S), score (B,).
        """
        settings = self.head.settings
        scores = self.head.scorer(*self.judge(features, banks), level_max)
        score_map = scores.likelihood if settings.score == "v1" else scores.merged
        return score_map, image_scores(score_map, settings.top_cells)
