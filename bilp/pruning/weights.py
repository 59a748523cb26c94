"""Soft weights instead of dropping: a real sample counts the less the farther its score lies out.

With z the standardized score, w = exp(-p(z) / temperature), where p(z) is what of |z| lies at an end that is cut. The mean that
the synthetic images are matched to is then h = sum w_i h_i / sum w_i, and n_eff = (sum w_i)^2 / sum w_i^2 samples would know it
as precisely: the counterpart of the number that dropping keeps.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Scores farther out than this, and the zeros that have no logarithm, count as if they lay here.
FARTHEST = 8.0
# Temperatures between which the one is looked for at which the effective size is as asked: nothing and everything counts.
COLDEST, HOTTEST = 1e-3, 1e3
STEPS = 60


def penalties(standardized: Tensor, low_part: float) -> Tensor:
    """How far out every sample `[n]` lies, in standard deviations: at both ends with a low part of 0.5, at the high one alone with 0."""
    z = standardized.nan_to_num(nan=0.0).clamp(-FARTHEST, FARTHEST)
    low, high = min(1.0, 2.0 * low_part), min(1.0, 2.0 * (1.0 - low_part))
    return high * z.clamp(min=0.0) + low * (-z).clamp(min=0.0)


def soft_weights(penalty: Tensor, temperature: float) -> Tensor:
    """exp(-p / temperature), float64 `[n]`, of mean 1: a sample that nothing is known of may count 1 among these."""
    raw = torch.exp(-(penalty - penalty.min()).double() / temperature)
    return raw / raw.mean()


def effective_share(weights: Tensor) -> float:
    """Effective size (sum w)^2 / sum w^2 as a share of the n samples, over 0 and up to 1."""
    return float(weights.double().sum().square() / weights.double().square().sum() / len(weights))


def temperature_for(penalty: Tensor, share: float) -> float:
    """The temperature at which the effective share of samples `[n]` is `share`, or the closest that there is, by bisection.

    The effective size grows with the temperature (its logarithm's derivative with respect to s = 1 / temperature is
    2 (E_2s[p] - E_s[p]), never above 0), so there is one.
    """
    low, high = COLDEST, HOTTEST
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        if effective_share(soft_weights(penalty, middle)) < share:
            low = middle
        else:
            high = middle
    return high
