"""How one kind of head learns: what an epoch holds, what a step does, and how good the head is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from edge_resad.train.features import ClassFeatures
from edge_resad.train.selection import HeldOutScore
from edge_resad.train.team import Team

B = TypeVar("B")


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What is left to chance. The rest of how a head is trained is in its profile."""

    seed: int = 42
    shots: tuple[int, ...] = (4,)  # references of a product; drawn anew each time where there are several

    @property
    def usual_shots(self) -> int:
        """The number that is drawn most often: so many references judge the head."""
        return statistics.mode(self.shots)


class Course(Protocol[B]):
    """What the loop needs of a head and its optimisers."""

    team: Team
    epochs: int

    def check(self, seen: Sequence[ClassFeatures], held_out: Sequence[ClassFeatures] = ()) -> None:
        """Refuse what this head cannot be trained or judged on, before the first step.

        Raises:
            TrainingError: what is missing.
        """

    def start(self, epoch: int, seen: Sequence[ClassFeatures]) -> dict[str, float]:
        """Begin an epoch, counted from 0; returns its `stage`, 1 without defects and 2 with them, and its `lr`."""

    def batches(self, seen: Sequence[ClassFeatures], random: np.random.Generator) -> Sequence[B]:
        """Draw the epoch's batches."""

    def learn(self, seen: Sequence[ClassFeatures], batch: B, shuffle: torch.Generator) -> dict[str, float]:
        """Take one step with this process's share of a batch; returns losses and figures."""

    def judge(self, held_out: Sequence[ClassFeatures]) -> HeldOutScore:
        """Judge the head on products that it never learned from."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on, the head's under `head`."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict` of a course of the same profile."""
