"""Which images a batch holds, which good parts its products show for it, and what the head gets of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_resad.model.head import ResADHead
from edge_resad.train.features import ClassFeatures
from edge_resad.train.step import Stage, labels_on_grid

Images = NDArray[np.intp]
"""(n,) images of one product, as `ClassFeatures` counts them."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's images; two arrays say of every image its product and its place there."""

    product: NDArray[np.intp]  # (B,)
    image: Images  # (B,)
    references: Mapping[int, Images]  # of every product in the batch, the good parts it is compared with

    def share(self, rank: int, size: int) -> Batch:
        """What one of several processes learns from; all of them get equally many images."""
        product, image = self.product[rank::size], self.image[rank::size]
        return Batch(product, image, {index: self.references[index] for index in np.unique(product).tolist()})


def images_of(one: ClassFeatures, stage: Stage) -> Images:
    """What a stage learns from: good parts of training; in stage 2 all parts but defects that nobody outlined."""
    return np.arange(len(one.paths))[one.train] if stage == 1 else np.flatnonzero(one.outlined)


def draw_batches(
    features: Sequence[ClassFeatures],
    stage: Stage,
    *,
    batch: int,
    shots: Sequence[int],
    random: np.random.Generator,
    multiple: int = 1,
) -> list[Batch]:
    """One epoch: every image once, in random order, in whole batches; what fills none waits for the next epoch.

    References are drawn anew for every batch: distinct good parts of training that are not in the batch themselves, as
    on a line, unless a product has too few. (The released code draws with replacement, among the batch's own too.)

    batch:    images a step, all of them where there are fewer.
    shots:    how many references; drawn for each product of each batch where there are several.
    multiple: a batch is a multiple of this, so that processes get equal shares.
    """
    chosen = [images_of(one, stage) for one in features]
    product = np.repeat(np.arange(len(chosen)), [len(images) for images in chosen])
    image = np.concatenate(chosen)
    size = min(batch, len(image)) // multiple * multiple
    if not size:
        raise ValueError(f"{len(image)} images and a batch of {batch} make no batch for {multiple} processes")
    order = random.permutation(len(image))
    batches = []
    for start in range(0, len(order) - size + 1, size):
        taken = order[start : start + size]
        references = {}
        for index in np.unique(product[taken]).tolist():
            own = image[taken][product[taken] == index]
            references[index] = _draw_references(features[index], own, int(random.choice(list(shots))), random)
        batches.append(Batch(product[taken], image[taken], references))
    return batches


def residuals_of(
    head: ResADHead, features: Sequence[ClassFeatures], batch: Batch
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What one step of training takes, on the head's device.

    returns: residuals per level (B, N_l, C_l) float32, and where they are abnormal (B, N_l) bool.
    """
    device, size = next(head.parameters()).device, head.profile.size
    levels = [
        torch.empty(len(batch.image), g**2, t.channels) for g, t in zip(head.grids, head.profile.taps, strict=True)
    ]
    masks = torch.zeros(len(batch.image), size, size, dtype=torch.bool)
    for index in batch.references:
        at = np.flatnonzero(batch.product == index)
        for level, rows in zip(levels, features[index].take(batch.image[at]), strict=True):
            level[at] = torch.from_numpy(rows).float()
        masks[at] = torch.from_numpy(features[index].masks[batch.image[at]])
    place = {index: number for number, index in enumerate(batch.references)}
    banks = [bank_of(features[index], images, device) for index, images in batch.references.items()]
    product = torch.tensor([place[index] for index in batch.product.tolist()])
    residuals = head.residuals([level.to(device) for level in levels], banks, product)
    masks = masks.to(device)
    return residuals, tuple(labels_on_grid(masks, grid, head.settings.labels) for grid in head.grids)


def bank_of(one: ClassFeatures, references: Images, device: torch.device) -> list[Tensor]:
    """All patches of some good parts, raw: per level (M_l, C_l) float32."""
    return [rows.flatten(0, 1) for rows in rows_of(one, references, device)]


def rows_of(one: ClassFeatures, images: Images, device: torch.device) -> list[Tensor]:
    """Some images' features: per level (n, N_l, C_l) float32."""
    return [torch.from_numpy(rows).to(device).float() for rows in one.take(images)]


def _draw_references(one: ClassFeatures, own: Images, shots: int, random: np.random.Generator) -> Images:
    good = images_of(one, 1)
    others = np.setdiff1d(good, own)
    pool = others if len(others) >= shots else good
    return np.asarray(random.choice(pool, size=min(shots, len(pool)), replace=False))
