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

    The mean without i is computed anew from the remaining samples.

    Args:
        matching: Its `distance`, `synthetic` and `real_mean` are used.
        network: Its samples must not influence each other.
        real: Images `[B, C, H, W]` and labels `[B]`.
        synthetic: Stored images `[M, C, H, W]`, and one label for each image that `augment` makes of them.
        augment: From stored images to those that enter the network.
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
    """G: the gradient of D(mean, psi(augment(S))) with respect to S by autograd, `[M, C, H, W]`, detached.

    Args:
        matching: Its `distance` and `synthetic` are used.
        network: Its samples must not influence each other.
        mean: mu, blocks `[...]`.
        synthetic: Stored images S `[M, C, H, W]`, and one label for each image that `augment` makes of them.
        augment: From stored images to those that enter the network.
    """
    images = synthetic[0].detach().requires_grad_()
    with torch.enable_grad():
        loss = matching.distance(mean, matching.synthetic(network, augment(images), synthetic[1]))
    return torch.autograd.grad(loss, images, materialize_grads=True)[0]
