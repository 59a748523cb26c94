"""The causal effect by its definition: leave each sample out, once. Slow, and the truth for every other estimator."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bilp.matching import Matching, Vectors
from bilp.nets import Network


def leave_one_out(
    matching: Matching,
    network: Network,
    real: tuple[Tensor, Tensor],
    synthetic: tuple[Tensor, Tensor],
    augment: Callable[[Tensor], Tensor],
) -> Iterator[Tensor]:
    """ITE_i = G(mean of all) - G(mean without i), one `[M, C, H, W]` per real sample, in order.

    `real` and `synthetic` are (images, labels). G is the gradient of the distance with respect to the synthetic images
    before `augment`, by autograd; the mean without i is computed anew from the remaining samples.
    """
    images, labels = real
    whole = meta_gradient(matching, network, matching.real_mean(network, images, labels), synthetic, augment)
    everyone = torch.arange(len(images), device=images.device)
    for i in range(len(images)):
        rest = everyone[everyone != i]
        mean = matching.real_mean(network, images[rest], labels[rest])
        yield whole - meta_gradient(matching, network, mean, synthetic, augment)


def meta_gradient(
    matching: Matching,
    network: Network,
    mean: Vectors,
    synthetic: tuple[Tensor, Tensor],
    augment: Callable[[Tensor], Tensor],
) -> Tensor:
    """Gradient of D(mean, psi(augment(S))) with respect to S, `[M, C, H, W]`, detached."""
    images = synthetic[0].detach().requires_grad_()
    with torch.enable_grad():
        loss = matching.distance(mean, matching.synthetic(network, augment(images), synthetic[1]))
    return torch.autograd.grad(loss, images, materialize_grads=True)[0]
