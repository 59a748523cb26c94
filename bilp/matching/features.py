"""Distribution matching (DM; Zhao & Bilen 2023): the mean embedding of a class under a random network."""

from __future__ import annotations

import torch
from torch import Tensor

from bilp.matching import distance
from bilp.matching.base import Pullback, Vectors, require_samples
from bilp.matching.batch_norm import freeze_statistics, require_independent_samples
from bilp.matching.per_sample import micro_batches
from bilp.matching.pullback import feature_pullback
from bilp.matching.pushforward import feature_pushforward
from bilp.nets import Network


class FeatureMatching:
    """phi = features before the classifier, one block `[F]`; D = squared Euclidean distance of the means."""

    name = "features"

    @torch.no_grad()
    def real(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Embeddings `[B, F]`, detached. Raises ConfigError if batch norm would mix the samples."""
        require_samples(images, labels)
        require_independent_samples(network)
        return (torch.cat([network.embed(images[rows]) for rows in micro_batches(images)]),)

    @torch.no_grad()
    def real_mean(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Mean embedding `[F]`, detached, in micro-batches of exact weight."""
        require_samples(images, labels)
        require_independent_samples(network)
        sums = [network.embed(images[rows]).sum(dim=0) for rows in micro_batches(images)]
        return (torch.stack(sums).sum(dim=0) / len(images),)

    def synthetic(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Mean embedding `[F]`, differentiable with respect to the images."""
        require_samples(images, labels)
        require_independent_samples(network)
        with torch.enable_grad():
            return (network.embed(images).mean(dim=0),)

    def pullback(self, network: Network, images: Tensor, labels: Tensor, count: int, byte_budget: int, classes: int = 1) -> Pullback:
        """See Matching."""
        require_samples(images, labels)
        require_independent_samples(network)
        return feature_pullback(network, images, classes, count, byte_budget)

    def pushforward(self, network: Network, images: Tensor, labels: Tensor, tangents: Tensor) -> Vectors:
        """See bilp.matching.pushforward."""
        require_samples(images, labels)
        require_independent_samples(network)
        return feature_pushforward(network, images, tangents)

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        """Squared Euclidean distance, a scalar."""
        return distance.squared(mu, psi)

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        """2 (psi - mu), `[F]` or `[B, F]`."""
        return distance.squared_cotangent(mu, psi)

    def directional(self, mu: Vectors, psi: Vectors, along: Vectors) -> Vectors:
        """See bilp.matching.directional."""
        return distance.squared_directional(along)

    def freeze_statistics(self, network: Network, images: Tensor) -> None:
        """See Matching."""
        freeze_statistics(network, images)
