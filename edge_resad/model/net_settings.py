"""How large the residual network is and how it is trained, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NetSettings:
    """Size of the network and how it is trained."""

    width: int = 12  # channels that a level's residuals are projected to
    hidden: int = 24  # channels of the two convolutions
    top_cells: int = 6  # cells of the map whose mean is a part's logit
    share: float = 0.1  # of the logit in the fused logarithm
    epochs: int = 5
    batch: int = 8  # images of one product, half of them defective
    visits: int = 4  # batches of a product in an epoch, with the same references
    lr: float = 2e-3  # the highest: it rises for a tenth of the steps and falls along a cosine
    weight_decay: float = 1e-2  # decoupled
    shots: tuple[int, ...] = (2, 4, 4, 8)  # references, drawn for every product of an epoch
    copies: tuple[int, ...] = (1, 1, 4, 8)  # turned copies that share the bank's room with them, drawn likewise
    defect_weight: float = 4.0  # of a defective cell in the loss
    part_weight: float = 0.15  # of the part's own loss, against that of its cells
    least_share: float = 0.2  # of a cell that a defect must cover; what covers less is not judged
