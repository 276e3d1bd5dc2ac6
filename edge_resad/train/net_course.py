"""The residual network's course: small batches of one product, half of them defective, cells weighed by their masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_resad.errors import TrainingError
from edge_resad.model.detector import FusedDetector, net_for, top_cells, unit_rows
from edge_resad.model.net_settings import NetSettings
from edge_resad.model.profile import Profile
from edge_resad.model.residual_net import Comparison, compare
from edge_resad.train.batches import Images, images_of, rows_of
from edge_resad.train.course import Draws
from edge_resad.train.features import ClassFeatures
from edge_resad.train.losses import cell_loss, part_loss
from edge_resad.train.selection import HeldOutScore, judge_with
from edge_resad.train.team import Team

_WARM_UP = 0.1  # of all steps, until the learning rate is highest
_FIRST, _LAST = 1 / 25, 1e-4 / 25  # of the highest learning rate, at the first and at the last step


@dataclass(frozen=True, eq=False)
class NetBatch:
    """Images of one product, and the good parts they are compared with."""

    product: int
    references: Images
    copies: int  # among whose patches the bank's room is shared
    image: Images  # (B,), defective ones in front
    quarter_turns: int  # of everything that the network sees: it must not matter which way is up
    mirrored: bool

    def share(self, rank: int, size: int) -> Images:
        """What one of several processes learns from; all of them get equally many images."""
        return self.image[rank::size]


@dataclass(frozen=True, eq=False)
class Shown:
    """Good parts of a product as the detector takes them, as many patches of them as it has room for."""

    banks: tuple[Tensor, ...]  # per level (M_l, C_l), unit-norm rows
    level_norm: Tensor  # (L, 2)


class NetCourse:
    """A `ResidualNet` and how it is trained; see `Course`."""

    def __init__(self, profile: Profile, draws: Draws, team: Team) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draws.seed)
            net = net_for(profile)
        self.team = team
        self.settings: NetSettings = net.settings
        self.epochs = self.settings.epochs
        self._detector = FusedDetector(profile, nn.Identity(), net).to(team.device)
        self.head = self._detector.net
        self._profile = profile
        self._draws = draws
        self._optimizer = torch.optim.AdamW(
            self.head.parameters(), lr=self.settings.lr, weight_decay=self.settings.weight_decay
        )
        self._steps = 0  # taken
        self._shown: tuple[Images, Shown] | None = None  # of the last batch's references

    def check(self, seen: Sequence[ClassFeatures], held_out: Sequence[ClassFeatures] = ()) -> None:
        """Refuse products with too few good parts or no outlined defect, single references, too many processes."""
        if min(self._draws.shots) < 2:
            raise TrainingError(
                "with one reference nothing says how far good parts lie from each other, and this head needs that. "
                "Give --shots of 2 or more."
            )
        for one in held_out:
            if len(images_of(one, 1)) < 2:
                raise TrainingError(
                    f"{one.name} is held out to choose the model, but has fewer than 2 good parts to show. Hold out a "
                    "product that has more."
                )
        for one in seen:
            if not (one.is_defective & one.outlined).any() or len(images_of(one, 1)) < 3:
                raise TrainingError(
                    f"{one.name} has no defect with a mask, or fewer than 3 good parts to learn from, and this head "
                    "learns from both. Give it some, or leave it out: --leave-out."
                )
        if self.settings.batch % (2 * self.team.size):
            raise TrainingError(
                f"a batch of {self.settings.batch} images, half of them defective, cannot be shared by "
                f"{self.team.size} processes. Give a --batch that is a multiple of {2 * self.team.size}."
            )

    def start(self, epoch: int, seen: Sequence[ClassFeatures]) -> dict[str, float]:
        """The learning rate changes with every step: here the one that the epoch begins with."""
        return {"stage": 2, "lr": self._lr(len(seen))}

    def batches(self, seen: Sequence[ClassFeatures], random: np.random.Generator) -> list[NetBatch]:
        """Some batches of every product, products in random order, references drawn anew for each."""
        return [
            batch
            for product in random.permutation(len(seen)).tolist()
            for batch in self._visit(product, seen[product], random)
        ]

    def learn(self, seen: Sequence[ClassFeatures], batch: NetBatch, shuffle: torch.Generator) -> dict[str, float]:
        """One step: the loss of every cell and that of every part."""
        settings, one, images = self.settings, seen[batch.product], batch.share(self.team.rank, self.team.size)
        if self._shown is None or self._shown[0] is not batch.references:
            self._shown = batch.references, self.show(one, batch.references, batch.copies)
        with torch.no_grad():
            levels = [self._turned(level, batch, len(images)) for level in self._compared(one, images, self._shown[1])]
        masks = torch.from_numpy(one.masks[images]).to(self.team.device)
        shares = _turn(_cell_shares(masks, self.head.grids[0])[..., None], batch)[..., 0]
        logits = self.head(levels)
        cells = cell_loss(logits, shares, settings.least_share, settings.defect_weight)
        part = part_loss(self.head.part_logit(logits), masks.flatten(1).any(1))
        for group in self._optimizer.param_groups:
            group["lr"] = self._lr(len(seen))
        self._optimizer.zero_grad()
        torch.autograd.backward(cells + settings.part_weight * part)
        self.team.average_([one.grad for one in self.head.parameters() if one.grad is not None])
        self._optimizer.step()
        self._steps += 1
        return {"cells": cells.item(), "part": part.item()}

    def judge(self, held_out: Sequence[ClassFeatures]) -> HeldOutScore:
        """By the fused score, as the bundle computes it, but with a bank whose patches are drawn, not a coreset."""
        return judge_with(self._judged, held_out, shots=self._draws.usual_shots, seed=self._draws.seed)

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser and steps taken."""
        return {"head": self.head.state_dict(), "optimizer": self._optimizer.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.head.load_state_dict(state["head"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._steps = state["steps"]

    @torch.no_grad()
    def show(self, one: ClassFeatures, references: Images, copies: int = 1) -> Shown:
        """Good parts as a bank, with what they say of each other: each is compared with all others.

        A device's bank has room for so many patches, and where turned copies of the references are in it, fewer of them
        are in the pose of the part that is judged. Here as many are drawn as would be left.

        references: at least 2 of them.
        copies:     of each reference that share the room, itself included.
        """
        banks, norms = [], []
        random = np.random.default_rng(references)
        for level, (tap, rows) in enumerate(zip(self._profile.taps, self._units(one, references), strict=True)):
            cells, flat = rows.shape[1], rows.flatten(0, 1)
            drawn = np.sort(random.permutation(len(flat))[: tap.capacity // copies])
            bank = flat[torch.from_numpy(drawn).to(flat.device)]
            owners = torch.from_numpy(drawn // cells).to(flat.device)
            far = torch.stack([1 - (own @ bank[owners != part].T).amax(1) for part, own in enumerate(rows)])  # (K, N_l)
            typical = far.mean().clamp_min(1e-6)
            top = far.topk(top_cells(self._profile, tap), 1).values.mean().clamp_min(1e-6)
            share = self._detector.shares[level]
            norms.append(torch.stack([share / typical, share / top]))
            banks.append(bank.T.contiguous().T)  # a product with its transpose is faster where that lies in order
        return Shown(tuple(banks), torch.stack(norms))

    def _judged(self, one: ClassFeatures, references: Images, tested: Images) -> tuple[Tensor, Tensor]:
        """Maps (T, s, s) and scores (T,) of parts; h0 and H0 of the fusion shift them all alike and are left out."""
        shown = self.show(one, references)
        fusion = torch.tensor([1.0, self.settings.share, 0.0, 0.0], device=self.team.device)
        maps, scores = [], []
        for image in tested:
            rows = [level[0] for level in self._rows(one, np.array([image]))]
            found = self._detector.judge(rows, *shown.banks, shown.level_norm, fusion)
            maps.append(found[0])
            scores.append(found[1])
        return torch.stack(maps), torch.stack(scores)

    def _visit(self, product: int, one: ClassFeatures, random: np.random.Generator) -> list[NetBatch]:
        good, half = images_of(one, 1), self.settings.batch // 2
        shots = min(int(random.choice(list(self._draws.shots))), len(good) - 1)
        references = np.asarray(random.choice(good, shots, replace=False))
        copies = int(random.choice(list(self.settings.copies)))
        defective = np.flatnonzero(one.is_defective & one.outlined)
        sound = np.setdiff1d(np.flatnonzero(~one.is_defective), references)
        return [
            NetBatch(
                product=product,
                references=references,
                copies=copies,
                image=np.concatenate([random.choice(defective, half), random.choice(sound, half)]),
                quarter_turns=int(random.integers(4)),
                mirrored=bool(random.integers(2)),
            )
            for _ in range(self.settings.visits)
        ]

    def _compared(self, one: ClassFeatures, images: Images, shown: Shown) -> list[Comparison]:
        levels = []
        for level, rows in enumerate(self._units(one, images)):
            typical = self._detector.shares[level] / shown.level_norm[level, 0]
            levels.append(compare(rows.flatten(0, 1), shown.banks[level], typical)[0])
        return levels

    def _units(self, one: ClassFeatures, images: Images) -> list[Tensor]:
        return [unit_rows(rows) for rows in self._rows(one, images)]

    def _rows(self, one: ClassFeatures, images: Images) -> list[Tensor]:
        return rows_of(one, images, torch.device(self.team.device))

    def _turned(self, level: Comparison, batch: NetBatch, images: int) -> Comparison:
        grid = math.isqrt(len(level.distance) // images)
        return Comparison(
            *(_turn(of.reshape(images, grid, grid, -1), batch).reshape(of.shape).contiguous() for of in level)
        )

    def _lr(self, products: int) -> float:
        all_steps = self.epochs * self.settings.visits * products
        done, rising = self._steps / max(1, all_steps - 1), _WARM_UP
        if done < rising:
            low, along = _FIRST, (1 - math.cos(math.pi * done / rising)) / 2
        else:
            low, along = _LAST, (1 + math.cos(math.pi * (min(done, 1) - rising) / (1 - rising))) / 2
        return self.settings.lr * (low + (1 - low) * along)


def _turn(cells: Tensor, batch: NetBatch) -> Tensor:
    """(B, S, S, C), turned counter-clockwise, then mirrored."""
    turned = torch.rot90(cells, batch.quarter_turns, (1, 2))
    return turned.flip(2) if batch.mirrored else turned


def _cell_shares(masks: Tensor, grid: int) -> Tensor:
    """Which share of every cell is defective: (B, S, S) bool to (B, grid, grid)."""
    return functional.adaptive_avg_pool2d(masks.float(), grid)
