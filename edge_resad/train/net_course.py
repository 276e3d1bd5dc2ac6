"""The residual network's course: small batches of one product, half of them defective, cells weighed by their masks."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edge_resad.errors import TrainingError
from edge_resad.evaluation.metrics import auroc
from edge_resad.model.detector import NearestFusion
from edge_resad.model.profile import Profile
from edge_resad.model.residual_net import Comparison, ResidualNet, compare, reference_spread
from edge_resad.train import losses
from edge_resad.train.batches import Images, images_of
from edge_resad.train.course import Draws
from edge_resad.train.features import ClassFeatures
from edge_resad.train.selection import HeldOutScore, drawn_references, pixel_auroc
from edge_resad.train.step import cell_shares
from edge_resad.train.team import Team
