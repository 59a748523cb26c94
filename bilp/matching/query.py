"""The loss on real images of a network that was trained on the synthetic ones: what LinBa lowers (Deng & Russakovsky 2022, equation 5).

With theta_T the parameters after that training, L = mean_i CE(theta_T; x_i, y_i), so real samples act through the mean of
phi_i = grad CE_i at theta_T alone, dL/dS = (dtheta_T/dS)^T mean_i phi_i, and leaving a sample out changes this exactly linearly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bilp.config import Frozen
from bilp.matching.base import Matching
from bilp.matching.jacobian import Vectors
from bilp.matching.per_sample import micro_batches
from bilp.nets import Network


class QueryMatching(Matching):
    """phi = gradient of a sample's cross-entropy with respect to all parameters, one block for each.

    The loss of the method is that of all classes together (`bilp.distill.loops.linba`). D = <mu, psi>, whose derivative by psi is mu.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def vector(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        parameters, each = list(network.parameters()), []
        for row in range(len(images)):
            loss = functional.cross_entropy(network(images[row : row + 1]), labels[row : row + 1])
            each.append(torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True))
        return tuple(torch.stack(blocks) for blocks in zip(*each, strict=True))

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        return torch.stack([(a * b).sum() for a, b in zip(mu, psi, strict=True)]).sum()


def queries(name: str, **settings: Frozen) -> Matching:
    """The gradient with respect to all weights, at the end of a training on the synthetic images."""
    return QueryMatching(name)


def weighted_loss(network: Network, images: Tensor, labels: Tensor, shares: Tensor) -> tuple[Tensor, Vectors]:
    """sum_i w_i CE_i with `shares` w `[B]` on the images' device, a scalar, and its gradient with respect to all parameters; detached."""
    parameters, total = list(network.parameters()), torch.zeros((), device=images.device, dtype=images.dtype)
    sums: Sequence[Tensor] = [torch.zeros_like(parameter) for parameter in parameters]
    for rows in micro_batches(images):
        with torch.enable_grad():
            loss = (functional.cross_entropy(network(images[rows]), labels[rows], reduction="none") * shares[rows]).sum()
        found = torch.autograd.grad(loss, parameters, materialize_grads=True)
        total, sums = total + loss.detach(), [old + new for old, new in zip(sums, found, strict=True)]
    return total, tuple(sums)


def losses_along(network: Network, images: Tensor, labels: Tensor, directions: Sequence[Vectors]) -> Tensor:
    """<phi_i, u> for all samples and each of some directions u of the parameters, `[K, B]`, detached: no sample's gradient is formed.

    The gradient of sum_i w_i CE_i is linear in w, so the derivative of its product with u by w is what is asked for. That gradient
    is the same for all directions, which share it.
    """
    parameters, parts = list(network.parameters()), []
    for rows in micro_batches(images):
        weights = images.new_ones(len(images[rows]), requires_grad=True)
        with torch.enable_grad():
            losses = functional.cross_entropy(network(images[rows]), labels[rows], reduction="none")
            found = torch.autograd.grad((losses * weights).sum(), parameters, create_graph=True, materialize_grads=True)
        along = []
        for number, direction in enumerate(directions, 1):
            with torch.enable_grad():
                product = torch.stack([(u * own).sum() for u, own in zip(direction, found, strict=True)]).sum()
            along.append(torch.autograd.grad(product, weights, retain_graph=number < len(directions))[0])
        parts.append(torch.stack(along))
    return torch.cat(parts, dim=1)
