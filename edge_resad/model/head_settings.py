"""What a learned head is made of and how it is trained: ResAD, ResAD++ and their ablations as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """The defaults are ResAD++ on WideResNet50; a profile says what differs.

    How features are matched to the bank (cosine or L2) belongs to the profile, since the bank's layout depends on it.
    """

    # What the flow sees
    residuals: bool = True  # False: the ablation that feeds the features themselves
    feature_scale: float = 1.0  # multiplies features; radius and margins below are meant for WideResNet50's
    residual: Literal["signed", "squared"] = "squared"  # f - p, or its square in every channel
    alpha: float | None = 0.4  # share of the value kept by distribution matching; None: no codebook, no matching
    codes: int = 1536  # entries of every level's codebook
    codebook: Literal["gradient", "ema"] = "gradient"  # "ema": k-means start and moving averages, not as published
    constraintor: Literal["conv", "ortho_mlp"] | None = "conv"  # None: the ablation without
    blocks: int = 10  # of every level's flow
    position_dims: int = 256  # of the position code that conditions the flow, a multiple of 4; 0: unconditional

    # What it learns
    occ: Literal["log_barrier", "one_sided", "linear", "v1", "v1_paper"] = "log_barrier"
    orthogonality: float = 0.0  # weight of the regulariser; ResAD++ on ImageBind: 0.5
    likelihood: Literal["logsigmoid", "plain"] = "logsigmoid"
    abnormal_center: bool = True  # False: ResAD, no likelihood around the ones and no focal loss
    background: Literal["log_barrier", "hinge"] = "log_barrier"
    background_weight: float = 1.0  # lambda
    background_margin: float = 0.1  # tau, nats per channel
    background_normalizer: float = 1.0  # divides likelihood and boundary before the hinge; BGAD's code: 10
    boundary_quantile: float = 0.05  # beta, of the normal rows' likelihoods
    boundary_momentum: float = 0.9  # of the running boundary; 0: the mini-batch's own
    labels: Literal["nearest", "bilinear"] = "nearest"  # how a mask comes to a level's grid

    # How it is trained
    stage1_epochs: int = 10  # on good parts alone
    epochs: int = 100
    batch: int = 32  # images
    lr: float = 1e-5
    weight_decay: float = 5e-4  # added to the gradient, as torch.optim.Adam does
    lr_milestones: tuple[int, ...] = (70, 90)  # epochs after which lr is divided by 10
    flow_chunk: int = 8192  # rows of one optimiser step of a flow
    drop_remainder: bool = False  # True: as released, where a level with fewer rows than a chunk never learns

    # How it scores
    score: Literal["merged", "v1"] = "merged"  # "merged": mean of likelihood and classifier; "v1": likelihood, summed
    map_stride: int = 1  # pixels of the network's input per cell of the map
    blur: float = 4.0  # sigma of the map's smoothing, cells of the map; 0: none
    top_cells: int = 1  # of the map, whose mean is the image's score

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in 0 to 1, or None, got {self.alpha}")
        if self.position_dims % 4 or self.position_dims < 0:
            raise ValueError(f"position_dims must be a multiple of 4, got {self.position_dims}")
        for name in ("blocks", "codes", "batch", "flow_chunk", "map_stride", "top_cells"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


RESAD_PP = HeadSettings()
"""ResAD++ as released for WideResNet50, but for the flows of small levels, which learn."""

RESAD_PP_IMAGEBIND = HeadSettings(
    residual="signed",
    constraintor="ortho_mlp",
    blocks=4,
    position_dims=0,
    orthogonality=0.5,
    likelihood="plain",
    labels="bilinear",
    stage1_epochs=1,
)
"""ResAD++ as released for ImageBind."""

RESAD_V1 = HeadSettings(
    residual="signed",
    alpha=None,
    blocks=8,
    occ="v1",
    likelihood="plain",
    abnormal_center=False,
    background="hinge",
    boundary_momentum=0.0,
    stage1_epochs=0,  # the paper names none
    lr_milestones=(70, 90, 100),
    score="v1",
    blur=0.0,
)
"""ResAD as in the first paper."""

# The features of EfficientNet-Lite0 have a deviation of 7 to 8: on drawn and on photographed parts a good patch's
# squared residual is about 100 long, a defect's 500. Scaled, that is 0.6 and 3, on either side of the shell.
RESAD_EDGE = HeadSettings(feature_scale=0.08, codes=512, blocks=4, position_dims=32, lr=1e-3, map_stride=8, blur=0.6)
"""ResAD++ small enough for a device beside EfficientNet-Lite0."""
