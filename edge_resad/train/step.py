"""One step of training: codebooks, then constraintors, then flows, each with an optimiser of its own (ResAD++)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional

from edge_resad.model.head import ResADHead
from edge_resad.model.head_settings import HeadSettings
from edge_resad.model.likelihood import log_likelihood
from edge_resad.model.quantizer import Quantizer, perplexity
from edge_resad.train import losses
from edge_resad.train.team import Team

Stage = Literal[1, 2]
"""1: good parts alone. 2: with defective ones."""

_OCC = {
    "log_barrier": losses.occ_log_barrier,
    "one_sided": losses.occ_one_sided,
    "linear": losses.occ_linear,
    "v1": losses.occ_v1,
    "v1_paper": losses.occ_v1_paper,
}
_BILINEAR_SHARE = 0.3  # of a cell that a defect must cover


def labels_on_grid(masks: Tensor, grid: int, how: Literal["nearest", "bilinear"]) -> Tensor:
    """Bring defect masks to a level's grid.

    "nearest" takes the upper left pixel of every cell, so that a small defect may vanish between them (ResAD++ on
    WideResNet50); "bilinear" takes more than 0.3 of what is in a cell's middle (ResAD++ on ImageBind).

    masks:   (B, S, S), non-zero on a defect. returns: (B, grid * grid) bool, row-major.
    """
    defective = (masks != 0).to(torch.float32)[:, None]
    if how == "nearest":
        return functional.interpolate(defective, (grid, grid), mode="nearest").flatten(1) > 0
    small = functional.interpolate(defective, (grid, grid), mode="bilinear", align_corners=False)
    return small.flatten(1) > _BILINEAR_SHARE


def chunks(rows: int, settings: HeadSettings, members: int = 1) -> list[slice]:
    """Divide a level's shuffled rows into those of one flow step each.

    As released, only whole chunks count and a level with fewer rows than one never learns; by default the rest is a
    chunk of its own.

    members: of a team, each of whom takes its share of a chunk.
    """
    step = max(1, settings.flow_chunk // members)
    starts = range(0, rows - step + 1, step) if settings.drop_remainder else range(0, rows, step)
    return [slice(start, min(start + step, rows)) for start in starts]


class Trainer:
    """A head, its three optimisers and the running boundaries; `step` moves all of them by one batch.

    Every optimiser is Adam with weight decay added to the gradient, on biases and norms too, as published.

    In a team every member steps with equally many images, and all have the same head afterwards: gradients, boundaries,
    batch norms' statistics and moving averages are means over the members. That is what one process would do with all
    images wherever a loss is a mean over all patches. It is not where a member's share decides: batch norms normalise
    by it, the shell is that of its own abnormal patches, its rows have their own boundary, a mean over abnormal or
    violating patches is one of means, and a flow's chunk is a share of everybody's rows.
    """

    def __init__(self, head: ResADHead, team: Team | None = None) -> None:
        self.head = head
        self.settings = head.settings
        self.team = team or Team()
        device = next(head.parameters()).device
        self.boundaries = torch.zeros(len(head.grids), device=device)  # per level, nats per channel
        parts = {"constraintor": head.constraintors, "flow": head.flows}
        if not self._follows:
            parts["codebook"] = head.quantizers
        self.optimizers = {
            name: torch.optim.Adam(part.parameters(), lr=self.settings.lr, weight_decay=self.settings.weight_decay)
            for name, part in parts.items()
            if any(True for _ in part.parameters())
        }

    def step(
        self,
        residuals: Sequence[Tensor],
        abnormal: Sequence[Tensor],
        stage: Stage,
        generator: torch.Generator | None = None,
    ) -> dict[str, float]:
        """Learn from one batch.

        residuals: per level (B, N_l, C_l), what `ResADHead.residuals` gives, without gradient.
        abnormal:  per level (B, N_l) bool, what `labels_on_grid` gives.
        generator: of the CPU, shuffles the rows of the flows, so that every device sees the same order.
        returns:   the losses, and per level `r_max_l`, `codes_used_l`, `perplexity_l`, `boundary_l` and
                   `flow_steps_l`. An `r_max` near 0 says that a defect's edge looks normal.
        """
        said = self.codebook_step(residuals, abnormal, generator) if len(self.head.quantizers) else {}
        constrained, more = self.constraintor_step(residuals, abnormal)
        return {**said, **more, **self.flow_step(constrained, abnormal, stage, generator)}

    def codebook_step(
        self, residuals: Sequence[Tensor], abnormal: Sequence[Tensor], generator: torch.Generator | None = None
    ) -> dict[str, float]:
        """Move the codebooks towards the normal residuals."""
        said: dict[str, float] = {}
        terms = []
        for level, (rows, labels) in enumerate(zip(residuals, abnormal, strict=True)):
            quantizer, normal = cast(Quantizer, self.head.quantizers[level]), rows[~labels]
            if self._follows and not bool(quantizer.is_seeded):
                if len(normal):
                    quantizer.seed_from(normal, generator)
                self.team.follow_(list(quantizer.state_dict().values()))
            assigned = quantizer.assign(normal)
            terms.append(losses.codebook_loss(quantizer.codes[assigned], normal))
            if self._follows:
                if len(normal):
                    quantizer.follow(normal)
                self.team.average_([quantizer.codes, cast(Tensor, quantizer.counts)])
            used, even = perplexity(self._of_all(assigned, len(quantizer.codes)), len(quantizer.codes))
            said[f"codes_used_{level}"], said[f"perplexity_{level}"] = used, even
        total = torch.stack(terms).sum()
        if not self._follows:
            self._descend("codebook", total)
        return {"codebook": total.item(), **said}

    def constraintor_step(
        self, residuals: Sequence[Tensor], abnormal: Sequence[Tensor]
    ) -> tuple[list[Tensor], dict[str, float]]:
        """Move the constraintors, and return what they gave before the move: per level (B, N_l, C_l), detached."""
        settings, levels = self.settings, range(len(residuals))
        if settings.constraintor is None:
            return list(residuals), {}
        self.head.constraintors.train()
        constrained = [self.head.constrain(level, residuals[level]) for level in levels]
        terms, said = [], {}
        for level in levels:
            rows, before = constrained[level].flatten(0, 1), residuals[level].flatten(0, 1)
            labels = abnormal[level].flatten()
            term = _OCC[settings.occ](rows, before, labels)
            if settings.occ == "v1_paper":
                term = term / len(levels)
            if settings.orthogonality:
                term = term + settings.orthogonality * losses.orthogonality(rows, labels)
            terms.append(term)
            said[f"r_max_{level}"] = losses.shell_of(rows, labels).item()
            said[f"occ_{level}"] = term.item()
        total = torch.stack(terms).sum()
        self._descend("constraintor", total)
        self.team.average_([buffer for buffer in self.head.constraintors.buffers() if buffer.is_floating_point()])
        return [rows.detach() for rows in constrained], {"occ": total.item(), **said}

    def flow_step(
        self,
        constrained: Sequence[Tensor],
        abnormal: Sequence[Tensor],
        stage: Stage,
        generator: torch.Generator | None = None,
    ) -> dict[str, float]:
        """Move the flows, several times where a level has many rows: constrained per level (B, N_l, C_l)."""
        self.head.flows.train()
        said, seen = {}, []
        for level, rows in enumerate(constrained):
            cells = rows.shape[1]
            flat, labels = rows.flatten(0, 1), abnormal[level].flatten()
            shuffled = torch.randperm(len(flat), generator=generator).to(flat.device)
            parts = chunks(len(flat), self.settings, self.team.size)
            for part in parts:
                chosen = shuffled[part]
                z, log_det = self.head.flow(level, flat[chosen], chosen % cells)
                loss, boundary = flow_loss(z, log_det, labels[chosen], self.boundaries[level], stage, self.settings)
                self.boundaries[level] = boundary
                self._descend("flow", loss)
                self.team.average_([self.boundaries[level]])
                seen.append(loss.item())
            said[f"boundary_{level}"] = self.boundaries[level].item()
            said[f"flow_steps_{level}"] = float(len(parts))
        return {"flow": sum(seen) / max(1, len(seen)), **said}

    def set_lr(self, lr: float) -> None:
        """Give all optimisers one learning rate, for the schedule."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on where training stopped, beside the generator's state."""
        return {
            "head": self.head.state_dict(),
            "boundaries": self.boundaries.clone(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict` of a trainer of the same profile."""
        self.head.load_state_dict(state["head"])
        self.boundaries = state["boundaries"].to(self.boundaries.device, copy=True)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    @property
    def _follows(self) -> bool:
        return self.settings.codebook == "ema"

    def _descend(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        self.team.average_([one.grad for one in parameters if one.grad is not None])
        optimizer.step()

    def _of_all(self, assigned: Tensor, codes: int) -> Tensor:
        """What all members' rows are assigned to, in the order of the codes: (R,) to (sum of R,)."""
        if self.team.size == 1:
            return assigned
        counts = torch.bincount(assigned, minlength=codes)
        self.team.sum_(counts)
        return torch.arange(codes, device=counts.device).repeat_interleave(counts)


def flow_loss(
    z: Tensor, log_det: Tensor, abnormal: Tensor, boundary: Tensor, stage: Stage, settings: HeadSettings
) -> tuple[Tensor, Tensor]:
    """The loss of one chunk of rows, and the running boundary after it (ResAD++ section 4; ResAD equations 4 to 6).

    The likelihood of normal rows comes first and in stage 1 alone. In stage 2, where the chunk has abnormal rows, they
    add their likelihood around their own centre, the focal loss, and the background terms at the boundary that has just
    moved. With plain likelihoods (ResAD++ on ImageBind) stage 1 lacks the background terms alone.

    z: (R, C), log_det: (R,), abnormal: (R,) bool, boundary: (). returns: loss (), boundary () without gradient.
    """
    fit = losses.bounded_likelihood if settings.likelihood == "logsigmoid" else losses.maximum_likelihood
    normal_likelihood = log_likelihood(z, log_det)
    new = losses.boundary_of(normal_likelihood[~abnormal], settings.boundary_quantile)
    boundary = losses.running_boundary(boundary, new, settings.boundary_momentum)
    loss = fit(normal_likelihood[~abnormal])
    if not abnormal.any():
        return loss, boundary
    if settings.abnormal_center and (stage == 2 or settings.likelihood == "plain"):
        around_ones = log_likelihood(z, log_det, center=1.0)
        loss = loss + fit(around_ones[abnormal]) + losses.focal(normal_likelihood, around_ones, abnormal)
    if stage == 2:
        loss = loss + settings.background_weight * _background(normal_likelihood, abnormal, boundary, settings)
    return loss, boundary


def _background(likelihood: Tensor, abnormal: Tensor, boundary: Tensor, settings: HeadSettings) -> Tensor:
    margin = settings.background_margin
    if settings.background == "hinge":
        return losses.background_hinge(likelihood, abnormal, boundary, margin, settings.background_normalizer)
    return losses.background_log_barrier(likelihood, abnormal, boundary, margin)
