"""ResAD's course: stage 1 on good parts, stage 2 with defects, batches of many products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from edge_resad.errors import TrainingError
from edge_resad.model.head import ResADHead
from edge_resad.model.profile import Profile
from edge_resad.train.batches import Batch, draw_batches, images_of, residuals_of
from edge_resad.train.course import Draws
from edge_resad.train.features import ClassFeatures
from edge_resad.train.schedule import lr_at, stage_at
from edge_resad.train.selection import HeldOutScore, judge_held_out
from edge_resad.train.step import Trainer
from edge_resad.train.team import Team


class FlowCourse:
    """A `ResADHead` and how the papers train it; see `Course`."""

    def __init__(self, profile: Profile, draws: Draws, team: Team) -> None:
        self.team = team
        self.trainer = Trainer(ResADHead(profile, draws.seed).to(team.device), team)
        self.head = self.trainer.head
        self.settings = self.trainer.settings
        self.epochs = self.settings.epochs
        self._draws = draws
        self._stage = stage_at(self.settings, 0)

    def check(self, seen: Sequence[ClassFeatures], held_out: Sequence[ClassFeatures] = ()) -> None:
        """Refuse fewer images than processes, and a stage 2 without an outlined defect."""
        settings, team = self.settings, self.team
        for stage in {stage_at(settings, epoch) for epoch in range(settings.epochs)}:
            images = sum(len(images_of(one, stage)) for one in seen)
            if min(images, settings.batch) < team.size:
                raise TrainingError(
                    f"stage {stage} has {images} images and a batch of {settings.batch}, which {team.size} processes "
                    "cannot share. Give more images, a larger --batch, or start fewer processes."
                )
            if stage == 2 and not any((one.is_defective & one.outlined).any() for one in seen):
                names = ", ".join(one.name for one in seen[:5])
                raise TrainingError(
                    f"none of the products to learn from ({names}) has a defect with a mask, and stage 2 learns from "
                    "them. Give products whose defects are outlined."
                )

    def start(self, epoch: int, seen: Sequence[ClassFeatures]) -> dict[str, float]:
        """Set stage and learning rate."""
        self._stage, lr = stage_at(self.settings, epoch), lr_at(self.settings, epoch)
        self.trainer.set_lr(lr)
        return {"stage": self._stage, "lr": lr}

    def batches(self, seen: Sequence[ClassFeatures], random: np.random.Generator) -> list[Batch]:
        """Every image once, see `draw_batches`."""
        return draw_batches(
            seen, self._stage, batch=self.settings.batch, shots=self._draws.shots, random=random,
            multiple=self.team.size,
        )  # fmt: skip

    def learn(self, seen: Sequence[ClassFeatures], batch: Batch, shuffle: torch.Generator) -> dict[str, float]:
        """One step of the three optimisers."""
        residuals, abnormal = residuals_of(self.head, seen, batch.share(self.team.rank, self.team.size))
        return self.trainer.step(residuals, abnormal, self._stage, shuffle)

    def judge(self, held_out: Sequence[ClassFeatures]) -> HeldOutScore:
        """By the head's own score alone."""
        return judge_held_out(self.head, held_out, shots=self._draws.usual_shots, seed=self._draws.seed)

    def state_dict(self) -> dict[str, Any]:
        """The trainer's."""
        return self.trainer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The trainer's."""
        self.trainer.load_state_dict(state)
