"""Train a head: stage 1 on good parts, stage 2 with defects, choose the best by products it never learned from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from edge_resad.errors import TrainingError
from edge_resad.model.head import ResADHead
from edge_resad.model.head_settings import HeadSettings
from edge_resad.model.profile import Profile
from edge_resad.train import checkpoint
from edge_resad.train.batches import Batch, draw_batches, images_of, residuals_of
from edge_resad.train.features import ClassFeatures, FeatureCache
from edge_resad.train.log import TrainingLog
from edge_resad.train.run import Best, Run
from edge_resad.train.schedule import lr_at, stage_at
from edge_resad.train.selection import HeldOutScore, judge_held_out
from edge_resad.train.split import Split
from edge_resad.train.step import Stage, Trainer
from edge_resad.train.team import Team


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What is left to chance. The rest of how a head is trained is in its profile."""

    seed: int = 42
    shots: tuple[int, ...] = (4,)  # references of a product; drawn for every batch where there are several


class EpochSaid(NamedTuple):
    """One epoch, for who watches."""

    epoch: int  # from 1
    stage: Stage
    figures: dict[str, float]  # means over its steps, as `Trainer.step` names them
    held_out: HeldOutScore | None
    is_best: bool


def train(
    profile: Profile,
    split: Split,
    out: Path,
    cache: FeatureCache,
    draws: Draws,
    *,
    team: Team | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    epoch_done: Callable[[EpochSaid], None] = lambda said: None,
) -> Best:
    """Train a profile's head from frozen features, as its settings say, into `out`.

    Writes `last.pt`, `best.pt` and `log.csv`. Goes on from `last.pt` where it is there, so that a process that was
    killed loses the epoch it was in and ends with the same head. On a CPU with the same number of threads the same
    arguments give the same bits.

    Raises:
        TrainingError: nothing to learn from, a checkpoint of other settings, a loss that is no number, or the disk
                       refuses.
        ImageError, CacheError: as `FeatureCache.of`.
    """
    team = team or Team()
    seen = [cache.of(one, progress) for one in split.seen]
    held_out = [cache.of(one, progress) for one in split.held_out]
    trainer = Trainer(ResADHead(profile, draws.seed).to(team.device), team)
    settings = trainer.settings
    _check(seen, settings, team)
    run = Run(trainer, draws.seed, out, _about(profile, draws, cache, seen, held_out))
    run.resume()
    with TrainingLog(out if team.rank == 0 else None, run.epoch, run.step) as log:
        for epoch in range(run.epoch, settings.epochs):
            start, stage, lr = time.perf_counter(), stage_at(settings, epoch), lr_at(settings, epoch)
            trainer.set_lr(lr)
            batches = draw_batches(
                seen, stage, batch=settings.batch, shots=draws.shots, random=run.random, multiple=team.size
            )
            said = []
            for batch in batches:
                said.append(learn(trainer, seen, batch, stage, run.shuffle))
                run.step += 1
                log.step(run.step, said[-1])
                progress(f"epoch {epoch + 1} of {settings.epochs}: {losses_of(said[-1])}", len(said), len(batches))
            run.epoch = epoch + 1
            if team.rank == 0:
                found = _judged(trainer.head, held_out, draws)
                figures = {name: float(np.mean([one[name] for one in said])) for name in said[0]}
                seconds = time.perf_counter() - start
                log.epoch(run.step, _line(run.epoch, stage, lr, figures, found, seconds))
                is_best = run.keep(found)
                epoch_done(EpochSaid(run.epoch, stage, figures, found, is_best))
    best: Best = team.told(run.best)  # all end together
    return best


def learn(
    trainer: Trainer, features: Sequence[ClassFeatures], batch: Batch, stage: Stage, shuffle: torch.Generator
) -> dict[str, float]:
    """One step, with this process's share of a batch; what it says is the mean over the team.

    Raises:
        TrainingError: a loss is no number.
    """
    team = trainer.team
    residuals, abnormal = residuals_of(trainer.head, features, batch.share(team.rank, team.size))
    said = team.mean(trainer.step(residuals, abnormal, stage, shuffle))
    broken = [name for name, value in said.items() if not math.isfinite(value)]
    if broken:
        raise TrainingError(
            f"{broken[0]} is no longer a number in stage {stage}. Expected losses that fall. Start anew with a smaller "
            "--lr."
        )
    return said


def losses_of(said: Mapping[str, float]) -> str:
    """The three losses of a step or an epoch in words, as far as there are some."""
    return ", ".join(f"{name} {said[name]:.3f}" for name in ("codebook", "occ", "flow") if name in said)


def _check(seen: Sequence[ClassFeatures], settings: HeadSettings, team: Team) -> None:
    """Refuse what no head can be trained on, before the first step."""
    for one in seen:
        if not len(images_of(one, 1)):
            raise TrainingError(f"{one.name} has no good part to compare with. Give it some, or leave it out.")
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
                f"none of the products to learn from ({names}) has a defect with a mask, and stage 2 learns from them. "
                "Give products whose defects are outlined."
            )


def _about(
    profile: Profile,
    draws: Draws,
    cache: FeatureCache,
    seen: Sequence[ClassFeatures],
    held_out: Sequence[ClassFeatures],
) -> dict[str, Any]:
    """What a checkpoint was trained with; one with anything else is not gone on from."""
    return {
        "profile": checkpoint.as_json(profile),
        "backbone_sha256": cache.backbone_sha256,
        "seed": draws.seed,
        "shots": list(draws.shots),
        "seen": {one.name: one.digest for one in seen},
        "held_out": {one.name: one.digest for one in held_out},
    }


def _judged(head: ResADHead, held_out: Sequence[ClassFeatures], draws: Draws) -> HeldOutScore | None:
    return judge_held_out(head, held_out, shots=max(draws.shots), seed=draws.seed) if held_out else None


def _line(
    epoch: int, stage: Stage, lr: float, figures: dict[str, float], found: HeldOutScore | None, seconds: float
) -> dict[str, float | str]:
    """A line of the log: losses are means over the epoch's steps, fields of what is not known are empty."""
    image, pixel = (None, None) if found is None else (found.image_auroc, found.pixel_auroc)
    known: dict[str, float | None] = {"held_out_image_auroc": image, "held_out_pixel_auroc": pixel}
    judged = {name: "" if value is None else value for name, value in known.items()}
    return {"epoch": epoch, "stage": stage, "lr": lr, **figures, **judged, "seconds": seconds}
