"""Distribution matching (DM; Zhao & Bilen 2023): the mean embedding of a class under a random network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bilp.matching.base import Matching
from bilp.matching.distance import SQUARED
from bilp.matching.jacobian import Pullback, Vectors
from bilp.matching.per_sample import micro_batches
from bilp.matching.pullback import feature_pullback
from bilp.matching.pushforward import feature_pushforward
from bilp.nets import Network


class ActivationMatching(Matching):
    """A matching whose `vector` are activations of the network: real vectors need no graph, and classes share a pass."""

    def real(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        self.check(network, images, labels)
        with torch.no_grad():
            parts = [self.vector(network, images[rows], labels[rows]) for rows in micro_batches(images)]
            return tuple(torch.cat(blocks) for blocks in zip(*parts, strict=True))

    def means_by_class(self, network: Network, images: Tensor, labels: Tensor, classes: int, shares: Tensor | None = None) -> Vectors:
        blocks = (block.unflatten(0, (classes, -1)) for block in self.real(network, images, labels))
        if shares is None:
            return tuple(block.mean(dim=1) for block in blocks)
        return tuple(torch.bmm(shares.to(block).view(classes, 1, -1), block.flatten(2)).view(classes, *block.shape[2:]) for block in blocks)

    def synthetic_by_class(self, network: Network, images: Tensor, labels: Tensor, classes: int) -> Vectors:
        if classes == 1:
            return super().synthetic_by_class(network, images, labels, classes)
        return tuple(block.unflatten(0, (classes, -1)).mean(dim=1) for block in self.real(network, images, labels))


class FeatureMatching(ActivationMatching):
    """phi = features before the classifier, one block `[F]`; D = squared Euclidean distance of the means."""

    name = "features"

    def vector(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        return (network.embed(images),)

    def values(self, network: Network) -> int:
        return network.classifier.in_features

    @torch.no_grad()
    def real_mean(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        self.check(network, images, labels)
        sums = [network.embed(images[rows]).sum(dim=0) for rows in micro_batches(images)]
        return (torch.stack(sums).sum(dim=0) / len(images),)

    def distances_and_gradient(self, network: Network, images: Tensor, labels: Tensor, means: Sequence[Vectors]) -> tuple[Tensor, Tensor]:
        self.check(network, images, labels)
        points = images.detach().requires_grad_()
        with torch.enable_grad():
            psi = network.embed(points).unflatten(0, (len(means), -1)).mean(dim=1)
            distances = self.distances_by_class((torch.stack([mean for (mean,) in means]),), (psi,))
        (gradient,) = torch.autograd.grad(distances.sum(), points, materialize_grads=True)
        return distances.detach(), gradient

    def pullback(self, network: Network, images: Tensor, labels: Tensor, count: int, byte_budget: int, classes: int = 1) -> Pullback:
        self.check(network, images, labels)
        return feature_pullback(network, images, classes, count, byte_budget)

    def pushforward(self, network: Network, images: Tensor, labels: Tensor, tangents: Tensor) -> Vectors:
        self.check(network, images, labels)
        return feature_pushforward(network, images, tangents)

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        return SQUARED.value(mu, psi)

    def distances_by_class(self, mu: Vectors, psi: Vectors) -> Tensor:
        return SQUARED.by_class(mu, psi)

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        return SQUARED.cotangent(mu, psi)

    def cotangents_by_class(self, mu: Vectors, psi: Vectors) -> Vectors:
        return SQUARED.cotangent(mu, psi)

    def directional(self, mu: Vectors, psi: Vectors, along: Vectors) -> Vectors:
        return SQUARED.directional(mu, psi, along)
