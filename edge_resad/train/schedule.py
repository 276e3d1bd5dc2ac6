"""When training sees defects and how fast it learns: the papers' schedule, as long as one wants it."""

from __future__ import annotations

from dataclasses import replace

from edge_resad.model.head_settings import HeadSettings
from edge_resad.train.step import Stage

DECAY = 0.1  # of the learning rate, after every milestone


def lasting(settings: HeadSettings, epochs: int) -> HeadSettings:
    """The same schedule over so many epochs: stage 1 and the milestones keep their share of them."""
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    stretch = epochs / settings.epochs
    stage1 = max(1, round(stretch * settings.stage1_epochs)) if settings.stage1_epochs else 0
    milestones = tuple(max(1, round(stretch * milestone)) for milestone in settings.lr_milestones)
    return replace(settings, epochs=epochs, stage1_epochs=min(stage1, epochs), lr_milestones=milestones)


def stage_at(settings: HeadSettings, epoch: int) -> Stage:
    """Which stage an epoch, counted from 0, belongs to."""
    return 1 if epoch < settings.stage1_epochs else 2


def lr_at(settings: HeadSettings, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0."""
    return settings.lr * DECAY ** sum(epoch >= milestone for milestone in settings.lr_milestones)
