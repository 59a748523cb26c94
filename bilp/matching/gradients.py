"""Gradient matching (DC; Zhao et al. 2021, and DSA; Zhao & Bilen 2021): the gradient of a class's cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.errors import ConfigError
from bilp.matching.base import Matching, shares_of
from bilp.matching.batched_classes import gradients_by_class, means_by_class, pulled_distances
from bilp.matching.distance import ROWWISE_COSINE, Distance
from bilp.matching.jacobian import Pullback, Vectors
from bilp.matching.per_sample import announce_generic_path, blocks_of, micro_batches, per_sample_gradients
from bilp.matching.pullback import gradient_pullback
from bilp.matching.pushforward import gradient_pushforward
from bilp.matching.recording import NoRule, matched_parameters
from bilp.nets import Network


class GradientMatching(Matching):
    """phi = gradient with respect to every weight of two or more dimensions, blocks `[rows, columns]`, one row per output.

    D = sum of 1 - cosine over all rows of all blocks. Biases and norm scales of one dimension take no part.
    """

    kind = "gradient matching"
    none_matched = "the network has no weight matrix, so there is no gradient to match: use method dm or another network"

    def __init__(self, name: str, distance: Distance = ROWWISE_COSINE) -> None:
        """`name` is dc or dsa; they differ only in the augmentation of the images, which happens before."""
        self.name = name
        self._distance = distance

    def parameters(self, network: nn.Module) -> list[nn.Parameter]:
        """Those whose gradients are compared, in the network's order."""
        return matched_parameters(network)

    def check(self, network: Network, images: Tensor, labels: Tensor) -> None:
        super().check(network, images, labels)
        if not self.parameters(network):
            raise ConfigError(self.none_matched)
        frozen = [name for name, parameter in network.named_parameters() if parameter.dim() >= 2 and not parameter.requires_grad]
        if frozen:
            raise ConfigError(f"{self.kind} differentiates by {frozen[0]!r}, which is frozen: call network.requires_grad_(True)")

    def vector(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Gradients of each sample's cross-entropy, blocks `[B, rows, columns]`, one sample after the other: the definition."""
        parameters = self.parameters(network)
        each = []
        for row in range(len(images)):
            loss = functional.cross_entropy(network(images[row : row + 1]), labels[row : row + 1])
            each.append(blocks_of(torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)))
        return tuple(torch.stack(blocks) for blocks in zip(*each, strict=True))

    def real(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        self.check(network, images, labels)
        return per_sample_gradients(network, images, labels, self.parameters(network))

    def real_mean(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        return self._mean(network, images, labels, None)

    def weighted_mean(self, network: Network, images: Tensor, labels: Tensor, weights: Tensor) -> Vectors:
        """The gradient of the weighted sum of the losses: no sample's gradient is formed."""
        return self._mean(network, images, labels, shares_of(weights, len(images)))

    def _mean(self, network: Network, images: Tensor, labels: Tensor, shares: Tensor | None) -> Vectors:
        self.check(network, images, labels)
        parameters = self.parameters(network)
        sums: list[Tensor] = []
        for rows in micro_batches(images):
            with torch.enable_grad():
                logits = network(images[rows].detach())
                if shares is None:
                    loss = functional.cross_entropy(logits, labels[rows], reduction="sum") / len(images)
                else:
                    loss = (functional.cross_entropy(logits, labels[rows], reduction="none") * shares[rows].to(logits)).sum()
            found = torch.autograd.grad(loss, parameters, materialize_grads=True)
            sums = list(found) if not sums else [total.add_(part) for total, part in zip(sums, found, strict=True)]
        return blocks_of(sums)

    def means_by_class(self, network: Network, images: Tensor, labels: Tensor, classes: int, shares: Tensor | None = None) -> Vectors:
        self.check(network, images, labels)
        if classes > 1:
            try:
                return means_by_class(network, images, labels, self.parameters(network), classes, shares)
            except NoRule as reason:
                announce_generic_path(str(reason))
        return super().means_by_class(network, images, labels, classes, shares)

    def synthetic(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Gradient of the mean cross-entropy, blocks `[rows, columns]`, differentiable with respect to the images."""
        self.check(network, images, labels)
        with torch.enable_grad():
            loss = functional.cross_entropy(network(images), labels)
            return blocks_of(torch.autograd.grad(loss, self.parameters(network), create_graph=True, materialize_grads=True))

    def synthetic_by_class(self, network: Network, images: Tensor, labels: Tensor, classes: int) -> Vectors:
        self.check(network, images, labels)
        if classes > 1:
            try:
                return gradients_by_class(network, images, labels, self.parameters(network), classes)
            except NoRule as reason:
                announce_generic_path(str(reason))
        return super().synthetic_by_class(network, images, labels, classes)

    def distances_and_gradient(self, network: Network, images: Tensor, labels: Tensor, means: Sequence[Vectors]) -> tuple[Tensor, Tensor]:
        self.check(network, images, labels)
        try:
            return pulled_distances(self, network, images, labels, self.parameters(network), means)
        except NoRule as reason:
            announce_generic_path(str(reason))
            return super().distances_and_gradient(network, images, labels, means)

    def pullback(self, network: Network, images: Tensor, labels: Tensor, count: int, byte_budget: int, classes: int = 1) -> Pullback:
        self.check(network, images, labels)
        fast = gradient_pullback(network, images, labels, self.parameters(network), classes, count, byte_budget)
        return fast or super().pullback(network, images, labels, count, byte_budget, classes)

    def pushforward(self, network: Network, images: Tensor, labels: Tensor, tangents: Tensor) -> Vectors:
        self.check(network, images, labels)
        fast = gradient_pushforward(network, images, labels, self.parameters(network), tangents)
        return fast or super().pushforward(network, images, labels, tangents)

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        return self._distance.value(mu, psi)

    def distances_by_class(self, mu: Vectors, psi: Vectors) -> Tensor:
        return self._distance.by_class(mu, psi)

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        return self._distance.cotangent(mu, psi)

    def cotangents_by_class(self, mu: Vectors, psi: Vectors) -> Vectors:
        return self._distance.cotangent(mu, psi)

    def directional(self, mu: Vectors, psi: Vectors, along: Vectors) -> Vectors:
        return self._distance.directional(mu, psi, along)
