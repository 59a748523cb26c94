"""Causal effects of linear gradient matching on the features of synthetic images: closed forms without a backward pass.

G_r is the mean over classes of the mean gradients mu_c of their samples. Leaving out sample i of a class with n samples
leaves H_i = G_r - k (g_i - mu_c) with k = 1 / (C (n - 1)). With q(G) = dD/dG_s of D = 1 - cos(G, G_s), what changes is

    q(G_r) - q(H_i) = -[ a_i G_r + k (g_i - mu_c) / |H_i| - b_i G_s ] / |G_s|
    a_i = 1 / |G_r| - 1 / |H_i|,    b_i = (cos(G_r, G_s) - cos(H_i, G_s)) / |G_s|

so the effect on the features of the synthetic images is a combination of three pullbacks that all samples share and of that of
g_i = r_i z_i^T, which is [ (r_i . r_j) z_i + (z_i . z_j) W^T (diag p_j - p_j p_j^T) r_i ] / m for synthetic feature j of m.
Its squared norm takes inner products alone. These are differences of nearly equal numbers, hence float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.causal.cotangent import NOISE
from bilp.matching.head_gradient import HeadInputs, cosine_cotangent


@dataclass(frozen=True)
class LeftOut:
    """What leaving samples of one class out does to the real gradient."""

    whole: Tensor
    """G_r `[C, F + 1]`."""
    mean: Tensor
    """mu_c, the mean gradient of the class's samples `[C, F + 1]`."""
    scale: float
    """k: how much of g_i - mu_c is missing from G_r without sample i."""


@dataclass(frozen=True)
class Coefficients:
    """q(G_r) - q(H_i) of every sample `[n]`, as coefficients of G_r, of g_i - mu_c and of G_s."""

    whole: Tensor
    own: Tensor
    synthetic: Tensor


def effect_norms(real: HeadInputs, left_out: LeftOut, synthetic: HeadInputs) -> Tensor:
    """Norm of every sample's effect on all synthetic features together, float64 `[n]`; 0 for one whose gradient is the mean.

    Costs O(n C F + n m C^2) for n samples and m synthetic features of F values under a classifier of C classes, and O(n C F + m C F)
    with weights of 0.

    Args:
        real: the samples of one class, of which each is left out once.
        left_out: the real gradient, and the class's part in it.
        synthetic: the synthetic features of all classes.
    """
    real, synthetic = real.double(), synthetic.double()
    left_out = LeftOut(left_out.whole.double(), left_out.mean.double(), left_out.scale)
    gradient = synthetic.mean_gradient()
    found = coefficients(real, left_out, gradient)
    shared = [synthetic.pull(matrix) for matrix in (left_out.whole, left_out.mean, gradient)]
    # A row of weights per sample: of J(G_r), J(mu_c), J(G_s), whose Gram matrix is 3 x 3, and of J(g_i).
    weights = torch.stack([found.whole, -found.own, found.synthetic], dim=1)
    flat = torch.stack([part.flatten() for part in shared])
    fixed = ((weights @ (flat @ flat.T)) * weights).sum(dim=1)
    mixed = (weights * torch.stack([_products(real, synthetic, part) for part in shared], dim=1)).sum(dim=1)
    squares = fixed + 2.0 * found.own * mixed + found.own.square() * _squares(real, synthetic)
    return torch.where(_differs(real, left_out.mean), squares.clamp_min(0.0).sqrt(), 0.0)


def coefficients(real: HeadInputs, left_out: LeftOut, synthetic: Tensor) -> Coefficients:
    """The coefficients of q(G_r) - q(H_i), where `synthetic` is G_s `[C, F + 1]`; all in float64."""
    whole, k = left_out.whole, left_out.scale
    along_whole, along_synthetic = (inner(real, matrix) - (left_out.mean * matrix).sum() for matrix in (whole, synthetic))
    length, other = torch.linalg.vector_norm(whole), torch.linalg.vector_norm(synthetic)
    grown = k * (k * apart(real, left_out.mean) - 2.0 * along_whole)  # |H_i|^2 - |G_r|^2
    rest = (length.square() + grown).clamp_min(torch.finfo(grown.dtype).tiny).sqrt()
    shrunk = grown / ((rest + length) * rest * length)  # 1 / |G_r| - 1 / |H_i|, without the difference
    cosines = (whole * synthetic).sum() * shrunk / other + k * along_synthetic / (rest * other)
    return Coefficients(-shrunk / other, -k / rest / other, cosines / other.square())


def inner(real: HeadInputs, matrix: Tensor) -> Tensor:
    """<g_i, M> = r_i^T M z_i `[n]` of a matrix M `[C, F + 1]`."""
    return (real.residuals @ matrix * real.extended).sum(dim=1)


def apart(real: HeadInputs, mean: Tensor) -> Tensor:
    """|g_i - mu|^2 `[n]`."""
    own = real.residuals.square().sum(dim=1) * real.extended.square().sum(dim=1)
    return (own - 2.0 * inner(real, mean) + mean.square().sum()).clamp_min(0.0)


def leave_one_out_norms(real: HeadInputs, others: Tensor, share: float, synthetic: HeadInputs) -> Tensor:
    """The same norms by their definition: the mean without each sample anew, and its pullback through the features. Slow.

    Args:
        real: the samples of one class.
        others: what the other classes add to G_r, `[C, F + 1]`.
        share: how much of G_r is the mean of this class.
        synthetic: the synthetic features of all classes.
    """
    real, synthetic = real.double(), synthetic.double()
    gradient, count = synthetic.mean_gradient(), len(real.features)

    def moved(shares: Tensor) -> Tensor:
        return synthetic.pull(cosine_cotangent(others.double() + share * real.mean_gradient(shares), gradient))

    everyone = moved(real.features.new_full((count,), 1.0 / count))
    rest = (
        real.features.new_full((count,), 1.0 / (count - 1)).index_fill(0, torch.tensor(i).to(gradient.device), 0.0) for i in range(count)
    )
    return torch.stack([torch.linalg.vector_norm(everyone - moved(shares)) for shares in rest])


def _products(real: HeadInputs, synthetic: HeadInputs, part: Tensor) -> Tensor:
    """sum_j <part_j, J_j(g_i)> `[n]` for part `[m, F]`: r_i^T T z_i with T = (R^T [part, 0] + (P W part)^T Z) / m."""
    padded = torch.nn.functional.pad(part, (0, 1))
    adjoint = synthetic.residuals.T @ padded + synthetic.bent(part @ synthetic.weight.T).T @ synthetic.extended
    return inner(real, adjoint / len(part))


def _squares(real: HeadInputs, synthetic: HeadInputs) -> Tensor:
    """sum_j |J_j(g_i)|^2 `[n]`."""
    overlaps = real.residuals @ synthetic.residuals.T  # r_i . r_j
    total = overlaps.square().sum(dim=1) * real.features.square().sum(dim=1)
    if bool(synthetic.weight.any()):
        similar = real.extended @ synthetic.extended.T  # z_i . z_j
        logits, gram = real.features @ synthetic.weight.T, synthetic.weight @ synthetic.weight.T
        for j, p in enumerate(synthetic.probabilities):
            bent = p * (real.residuals - (real.residuals @ p).unsqueeze(1))
            total += 2.0 * overlaps[:, j] * similar[:, j] * (logits * bent).sum(dim=1)
            total += similar[:, j].square() * (bent @ gram * bent).sum(dim=1)
    return total / len(synthetic.features) ** 2


def _differs(real: HeadInputs, mean: Tensor) -> Tensor:
    """Whether a sample's gradient differs from the mean by more than rounding of the features, bool `[n]`."""
    differs: Tensor = apart(real, mean).sqrt() > NOISE * torch.finfo(torch.float32).eps * torch.linalg.vector_norm(mean)
    return differs
