"""A training that can be killed at any time: where it is, what it draws next, and the files that remember both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from edge_resad.train import checkpoint
from edge_resad.train.course import Course
from edge_resad.train.selection import HeldOutScore


class Best(NamedTuple):
    """The head in `best.pt`."""

    epoch: int = 0  # from 1; 0 where there is none yet
    image_auroc: float | None = None  # of held out products; None without any, and the last epoch is the best
    pixel_auroc: float | None = None


class Run:
    """Epochs and steps done, generators, and the course with its optimisers.

    about: what decides how training goes on, as JSON has it; a checkpoint that says otherwise is refused.
    """

    def __init__(self, course: Course[Any], seed: int, out: Path, about: Mapping[str, Any]) -> None:
        self.course = course
        self.epoch = 0
        self.step = 0
        self.best = Best()
        self.random = np.random.default_rng(seed)  # of images and references
        self.shuffle = torch.Generator().manual_seed(seed)  # of rows
        self._out = out
        self._about = about

    def resume(self) -> None:
        """Go on from `last.pt`; a fresh start where there is none.

        Raises:
            TrainingError: it cannot be read, or was trained with other settings.
        """
        path, team = self._out / checkpoint.LAST, self.course.team
        found = checkpoint.load(path) if team.rank == 0 and path.exists() else None
        if found:
            checkpoint.check_same(path, found[1]["settings"], self._about)
        found = team.told(found)
        if found is None:
            return
        state, about = found
        self.course.load_state_dict(state)
        self.shuffle.set_state(state["shuffle"])
        torch.set_rng_state(state["torch"])
        self.random.bit_generator.state = about["random"]
        self.epoch, self.step, self.best = about["epoch"], about["step"], Best(**about["best"])

    def keep(self, found: HeldOutScore | None) -> bool:
        """Write `last.pt`, and `best.pt` before it where the head is the best so far; says whether it is."""
        is_best = found is None or not self.best.epoch or found.score > _score(self.best)
        if is_best:
            self.best = Best(self.epoch, *(found or ()))
        about = {
            "settings": self._about,
            "epoch": self.epoch,
            "step": self.step,
            "best": self.best._asdict(),
            "random": self.random.bit_generator.state,
            "processes": self.course.team.size,
        }
        state = self.course.state_dict()
        if is_best:
            checkpoint.save(self._out / checkpoint.BEST, {"head": state["head"]}, about)
        generators = {"shuffle": self.shuffle.get_state(), "torch": torch.get_rng_state()}
        checkpoint.save(self._out / checkpoint.LAST, {**state, **generators}, about)
        return is_best


def _score(best: Best) -> float:
    assert best.image_auroc is not None
    return HeldOutScore(best.image_auroc, best.pixel_auroc).score
