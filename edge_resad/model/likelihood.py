"""What a flow's output says of a patch: how likely it is, and which of two centres it is nearer to (ResAD++)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def log_likelihood(z: Tensor, log_det: Tensor, center: float = 0.0) -> Tensor:
    """Log-likelihood of rows under a unit normal around a centre: 0 for normal, 1 for abnormal.

    z:       (..., C), log_det: (...,).
    returns: (...,) nats per channel.
    """
    channels = z.shape[-1]
    return log_likelihood_of(channels, (z - center).square().sum(-1), log_det)


def log_likelihood_of(channels: int, square: Tensor, log_det: Tensor) -> Tensor:
    """The same from |z - centre|^2 (...,): nats per channel."""
    return (log_det - 0.5 * square) / channels - _HALF_LOG_TAU


def abnormal_probability(z: Tensor) -> Tensor:
    """Probability of the abnormal centre against the normal one, both equally likely before.

    softmax over both log-likelihoods per channel is sigmoid(mean z - 1/2): everything else cancels.

    z: (..., C). returns: (...,).
    """
    return torch.sigmoid(z.mean(-1) - 0.5)
