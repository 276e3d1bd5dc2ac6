"""The losses of ResAD and ResAD++, one function each, and the two of the residual network.

rows, before: (R, C) features of R patches after and before the constraintor.
abnormal:     (R,) bool, true where the patch lies on a defect.
likelihood:   (R,) log-likelihood, nats per channel.

A loss is a scalar. A set of patches that is empty contributes 0, with a gradient of 0. "Radius" is sqrt(|x| + 1) - 1.
Where ResAD++'s released code and the papers differ, the docstring says so.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

COMMITMENT = 0.25  # weight of the codebook's own gradient
RADIUS = 0.4  # largest radius of the shell for normal patches
SHELL = 0.99  # inner over outer radius of the shell
CLOSER = 0.9  # the shell stays this much inside the nearest abnormal patch
PUSH = 0.1  # radius by which abnormal patches are kept outside the shell
_LABEL_MARGIN = 1e-5  # of the focal loss's soft labels


def codebook_loss(codes: Tensor, rows: Tensor) -> Tensor:
    """Distance of normal residuals to their codes (ResAD++ section 3, vector quantisation).

    codes:   (R, C) the code that each row is assigned to.
    rows:    (R, C) raw residuals of normal patches.
    returns: 1.25 times the mean squared error; a quarter of the error moves the codes, the residuals are given.
    """
    if not len(rows):
        return codes.sum()
    return COMMITMENT * functional.mse_loss(codes, rows.detach()) + functional.mse_loss(codes.detach(), rows)


def radius(rows: Tensor) -> Tensor:
    """Pseudo-Huber length of rows (..., C): sqrt(|x| + 1) - 1 (ResAD section 3.3; the norm is not squared)."""
    return torch.sqrt(torch.linalg.vector_norm(rows, dim=-1) + 1) - 1


def occ_v1(rows: Tensor, before: Tensor, abnormal: Tensor) -> Tensor:
    """Abnormal invariant one-class loss (ResAD equation 2), as the released code has it.

    Mean radius of normal patches plus mean squared change of abnormal ones.
    """
    return _mean(radius(rows[~abnormal])) + _mean((rows[abnormal] - before[abnormal]).square())


def occ_v1_paper(rows: Tensor, before: Tensor, abnormal: Tensor) -> Tensor:
    """The same as the paper writes it (ResAD equation 2): one mean over all patches, the change as a length.

    The caller averages over levels.
    """
    change = torch.linalg.vector_norm(rows - before, dim=1)
    return _mean(torch.where(abnormal, change, radius(rows)))


def shell_of(rows: Tensor, abnormal: Tensor) -> Tensor:
    """Outer radius of the normal patches' shell: 0.4, or less where an abnormal patch is nearer. No gradient."""
    return torch.cat([rows.new_tensor([RADIUS]), CLOSER * radius(rows.detach()[abnormal])]).min()


def occ_one_sided(rows: Tensor, before: Tensor, abnormal: Tensor) -> Tensor:
    """Log barrier that only pulls normal patches inwards, abnormal ones stay (ResAD++, ablation)."""
    outer = shell_of(rows, abnormal)
    return _barrier(radius(rows[~abnormal]) - outer) + invariance(rows, before, abnormal)


def occ_linear(rows: Tensor, before: Tensor, abnormal: Tensor) -> Tensor:
    """Bidirectional contraction with linear terms, abnormal patches stay (ResAD++, ablation)."""
    outer = shell_of(rows, abnormal)
    inner = SHELL * outer
    normal = radius(rows[~abnormal])
    contraction = _mean(normal[normal > outer] - inner) + _mean(outer - normal[normal < inner])
    return contraction + invariance(rows, before, abnormal)


def occ_log_barrier(rows: Tensor, before: Tensor, abnormal: Tensor) -> Tensor:
    """Log-barrier bidirectional contraction: squeeze normal patches into a thin shell (ResAD++).

    Abnormal patches stay where they are and are pushed at least 0.1 outside the shell. Each barrier is at least ln 2
    outside of its bound and 0 inside, so the loss ends on a plateau.
    """
    outer = shell_of(rows, abnormal)
    normal, far = radius(rows[~abnormal]), radius(rows[abnormal])
    contraction = _barrier(normal - outer) + _barrier(SHELL * outer - normal)
    return contraction + invariance(rows, before, abnormal) + _barrier(outer + PUSH - far)


def invariance(rows: Tensor, before: Tensor, abnormal: Tensor) -> Tensor:
    """Keep abnormal patches what they were before the constraintor, in value and direction (ResAD++)."""
    after, given = rows[abnormal], before[abnormal]
    cosine = functional.cosine_similarity(after, given, dim=1)
    return _mean((after - given).square()) + _mean(1 - cosine)


def orthogonality(rows: Tensor, abnormal: Tensor) -> Tensor:
    """Mean squared entry of X^T X - I over normal patches X (n, C), not divided by n (ResAD++ on ImageBind)."""
    normal = rows[~abnormal]
    gram = normal.T @ normal
    return (gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).square().mean()


def maximum_likelihood(likelihood: Tensor) -> Tensor:
    """Mean of minus the log-likelihood (ResAD equations 4 to 6, first term; ResAD++ on ImageBind)."""
    return -_mean(likelihood)


def bounded_likelihood(likelihood: Tensor) -> Tensor:
    """Mean of minus the log-sigmoid of the log-likelihood (ResAD++ on WideResNet50)."""
    return -_mean(functional.logsigmoid(likelihood))


def focal(likelihood: Tensor, likelihood_abnormal: Tensor, abnormal: Tensor) -> Tensor:
    """Focal loss, gamma 2, of telling both centres apart (ResAD++).

    likelihood_abnormal: (R,) log-likelihood around the abnormal centre.
    """
    probability = torch.stack([likelihood, likelihood_abnormal], 1).softmax(1)
    target = torch.stack([~abnormal, abnormal], 1).to(probability.dtype)
    right = (target.clamp(_LABEL_MARGIN, 1 - _LABEL_MARGIN) * probability).sum(1) + _LABEL_MARGIN
    return _mean(-((1 - right) ** 2) * right.log())


def boundary_of(likelihood: Tensor, quantile: float) -> Tensor | None:
    """The log-likelihood that a small share of normal patches stays below; None where there is no normal patch.

    likelihood: (n,) of normal patches. returns: () without gradient, the value of rank int(quantile n).
    """
    count = len(likelihood)
    if not count:
        return None
    rank = min(int(np.float32(quantile) * np.float32(count)), count - 1)  # in 32 bits, as the released code
    return likelihood.detach().kthvalue(rank + 1).values


def running_boundary(boundary: Tensor, new: Tensor | None, momentum: float) -> Tensor:
    """Follow the boundary: momentum * old + (1 - momentum) * new; as it was where a mini-batch has none."""
    return boundary if new is None else momentum * boundary + (1 - momentum) * new


def background_log_barrier(likelihood: Tensor, abnormal: Tensor, boundary: Tensor, margin: float) -> Tensor:
    """Push normal patches above the boundary and abnormal ones a margin below it, by softplus (ResAD++).

    Mean over those that violate it, for normal and abnormal patches apart.
    """
    normal, defect = likelihood[~abnormal], likelihood[abnormal]
    low, high = normal[normal <= boundary], defect[defect >= boundary - margin]
    return _mean(functional.softplus(boundary - low)) + _mean(functional.softplus(high - (boundary - margin)))


def background_hinge(
    likelihood: Tensor, abnormal: Tensor, boundary: Tensor, margin: float, normalizer: float = 1.0
) -> Tensor:
    """The same with hinges (ResAD equations 4 to 6, second term): mean over violators, where the paper sums.

    normalizer: divides likelihood and boundary first, so that the margin is small beside them (BGAD's code: 10).
    """
    scaled, bound = likelihood / normalizer, boundary / normalizer
    normal, defect = scaled[~abnormal], scaled[abnormal]
    low, high = normal[normal <= bound], defect[defect >= bound - margin]
    return _mean(bound - low) + _mean(high - (bound - margin))


def _barrier(excess: Tensor) -> Tensor:
    """Mean of softplus over positive excesses, weighted by their exponential, through which no gradient flows."""
    outside = excess[excess > 0]
    return _mean(outside.detach().exp() * functional.softplus(outside))


def _mean(values: Tensor) -> Tensor:
    return values.mean() if values.numel() else values.sum()


def cell_loss(logits: Tensor, shares: Tensor, least: float, weight: float) -> Tensor:
    """Cross-entropy of a cell being defective, our own: the papers' heads are no classifiers.

    logits:  (B, S, S).
    shares:  (B, S, S) share of the cell that is defective; cells between 0 and `least` are not judged.
    weight:  of a defective cell, of which there are few.
    returns: the sum over judged cells, over the number of all cells.
    """
    defective = shares > least
    judged = defective | (shares == 0)
    loss = functional.binary_cross_entropy_with_logits(
        logits, defective.float(), reduction="none", pos_weight=logits.new_tensor(weight)
    )
    return (loss * judged).mean()


def part_loss(logits: Tensor, defective: Tensor) -> Tensor:
    """Cross-entropy of a part being defective: (B,) logits, (B,) bool."""
    return functional.binary_cross_entropy_with_logits(logits, defective.float())
