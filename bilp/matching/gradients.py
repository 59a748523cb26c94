"""Gradient matching (DC; Zhao et al. 2021, and DSA; Zhao & Bilen 2021): the gradient of a class's cross-entropy."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.errors import ConfigError
from bilp.matching import distance
from bilp.matching.base import Pullback, Vectors, require_samples
from bilp.matching.batch_norm import freeze_statistics, require_independent_samples
from bilp.matching.per_sample import blocks_of, micro_batches, per_sample_gradients
from bilp.matching.pullback import generic_pullback, gradient_pullback
from bilp.matching.pushforward import generic_pushforward, gradient_pushforward
from bilp.matching.recording import matched_parameters
from bilp.nets import Network


class GradientMatching:
    """phi = gradient by every weight of two or more dimensions, blocks `[rows, columns]` with one row per output.

    D = sum of 1 - cosine over all rows of all blocks. Biases and norm scales of one dimension take no part.
    """

    def __init__(self, name: str) -> None:
        """`name` is dc or dsa; they differ only in the augmentation of the images, which happens before."""
        self.name = name

    def real(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Blocks `[B, rows, columns]`, detached. Raises ConfigError if batch norm would mix the samples."""
        _check(network, images, labels)
        return per_sample_gradients(network, images, labels)

    def real_mean(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Gradient of the mean cross-entropy, blocks `[rows, columns]`, detached, in micro-batches of exact weight."""
        parameters = _check(network, images, labels)
        sums: list[Tensor] = []
        for rows in micro_batches(images):
            with torch.enable_grad():
                loss = functional.cross_entropy(network(images[rows].detach()), labels[rows], reduction="sum") / len(images)
            found = torch.autograd.grad(loss, parameters, materialize_grads=True)
            sums = list(found) if not sums else [total.add_(part) for total, part in zip(sums, found, strict=True)]
        return blocks_of(sums)

    def synthetic(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Gradient of the mean cross-entropy, blocks `[rows, columns]`, differentiable with respect to the images."""
        parameters = _check(network, images, labels)
        with torch.enable_grad():
            loss = functional.cross_entropy(network(images), labels)
            return blocks_of(torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True))

    def pullback(self, network: Network, images: Tensor, labels: Tensor, count: int, byte_budget: int, classes: int = 1) -> Pullback:
        """See Matching."""
        _check(network, images, labels)
        fast = gradient_pullback(network, images, labels, classes, count, byte_budget)
        return fast or generic_pullback(partial(self.synthetic, network), images, labels, classes, count, byte_budget)

    def pushforward(self, network: Network, images: Tensor, labels: Tensor, tangents: Tensor) -> Vectors:
        """See bilp.matching.pushforward."""
        _check(network, images, labels)
        fast = gradient_pushforward(network, images, labels, tangents)
        return fast or generic_pushforward(lambda points: self.synthetic(network, points, labels), images, tangents)

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        """Sum over rows of 1 - cosine, a scalar."""
        return distance.rowwise_cosine(mu, psi)

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        """dD/dpsi, blocks `[rows, columns]` or `[B, rows, columns]`."""
        return distance.rowwise_cosine_cotangent(mu, psi)

    def directional(self, mu: Vectors, psi: Vectors, along: Vectors) -> Vectors:
        """See bilp.matching.directional."""
        return distance.rowwise_cosine_directional(mu, psi, along)

    def freeze_statistics(self, network: Network, images: Tensor) -> None:
        """See Matching."""
        freeze_statistics(network, images)


def _check(network: nn.Module, images: Tensor, labels: Tensor) -> list[nn.Parameter]:
    """The matched parameters, if the network and the batch can be matched."""
    require_samples(images, labels)
    require_independent_samples(network)
    parameters = matched_parameters(network)
    if not parameters:
        raise ConfigError("the network has no weight matrix, so there is no gradient to match: use method dm or another network")
    frozen = [name for name, parameter in network.named_parameters() if parameter.dim() >= 2 and not parameter.requires_grad]
    if frozen:
        raise ConfigError(f"gradient matching differentiates by {frozen[0]!r}, which is frozen: call network.requires_grad_(True)")
    return parameters
