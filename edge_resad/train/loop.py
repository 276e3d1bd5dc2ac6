"""Train a head: epoch by epoch, and choose the best by products that it never learned from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from edge_resad.errors import TrainingError
from edge_resad.model.profile import Profile
from edge_resad.train import checkpoint
from edge_resad.train.batches import images_of
from edge_resad.train.course import B, Course, Draws
from edge_resad.train.features import ClassFeatures, FeatureCache
from edge_resad.train.flow_course import FlowCourse
from edge_resad.train.log import TrainingLog
from edge_resad.train.net_course import NetCourse
from edge_resad.train.run import Best, Run
from edge_resad.train.selection import HeldOutScore
from edge_resad.train.split import Split
from edge_resad.train.team import Team

_LOSSES = ("codebook", "occ", "flow", "cells", "part")


class EpochSaid(NamedTuple):
    """One epoch, for who watches."""

    epoch: int  # from 1
    stage: int  # 1 without defects, 2 with them
    figures: dict[str, float]  # means over its steps, as `Course.learn` names them
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
    course = course_of(profile, draws, team)
    _check(seen)
    course.check(seen, held_out)
    run = Run(course, draws.seed, out, _about(profile, draws, cache, seen, held_out))
    run.resume()
    with TrainingLog(out if team.rank == 0 else None, run.epoch, run.step) as log:
        for epoch in range(run.epoch, course.epochs):
            start, begun = time.perf_counter(), course.start(epoch, seen)
            batches = course.batches(seen, run.random)
            said = []
            for batch in batches:
                said.append(learn(course, seen, batch, run.shuffle))
                run.step += 1
                log.step(run.step, said[-1])
                progress(f"epoch {epoch + 1} of {course.epochs}: {losses_of(said[-1])}", len(said), len(batches))
            run.epoch = epoch + 1
            if team.rank == 0:
                found = course.judge(held_out) if held_out else None
                figures = {name: float(np.mean([one[name] for one in said])) for name in said[0]}
                seconds = time.perf_counter() - start
                log.epoch(run.step, _line(run.epoch, begun, figures, found, seconds))
                is_best = run.keep(found)
                epoch_done(EpochSaid(run.epoch, int(begun["stage"]), figures, found, is_best))
    best: Best = team.told(run.best)  # all end together
    return best


def course_of(profile: Profile, draws: Draws, team: Team) -> Course[Any]:
    """How the profile's learned head is trained."""
    return NetCourse(profile, draws, team) if profile.head is None else FlowCourse(profile, draws, team)


def learn(course: Course[B], features: Sequence[ClassFeatures], batch: B, shuffle: torch.Generator) -> dict[str, float]:
    """One step, with this process's share of a batch; what it says is the mean over the team.

    Raises:
        TrainingError: a loss is no number.
    """
    said = course.team.mean(course.learn(features, batch, shuffle))
    broken = [name for name, value in said.items() if not math.isfinite(value)]
    if broken:
        raise TrainingError(
            f"{broken[0]} is no longer a number. Expected losses that fall. Start anew with a smaller --lr."
        )
    return said


def losses_of(said: Mapping[str, float]) -> str:
    """The losses of a step or an epoch in words, as far as there are some."""
    return ", ".join(f"{name} {said[name]:.3f}" for name in _LOSSES if name in said)


def _check(seen: Sequence[ClassFeatures]) -> None:
    """Refuse what no head can be trained on, before the first step."""
    for one in seen:
        if not len(images_of(one, 1)):
            raise TrainingError(f"{one.name} has no good part to compare with. Give it some, or leave it out.")


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


def _line(
    epoch: int, begun: dict[str, float], figures: dict[str, float], found: HeldOutScore | None, seconds: float
) -> dict[str, float | str]:
    """A line of the log: losses are means over the epoch's steps, fields of what is not known are empty."""
    image, pixel = (None, None) if found is None else (found.image_auroc, found.pixel_auroc)
    known: dict[str, float | None] = {"held_out_image_auroc": image, "held_out_pixel_auroc": pixel}
    judged = {name: "" if value is None else value for name, value in known.items()}
    return {"epoch": epoch, **begun, **figures, **judged, "seconds": seconds}
