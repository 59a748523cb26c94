"""What a distillation method compares, as a base class: a new matching says its vector and its distance.

A separable method sees the real data only through the mean mu of a per-sample vector phi, so its loss is
D(mean_i phi(x_i), psi(S)). Real images, labels and networks go in, vectors and distances come out; who draws the
samples and who steps the synthetic images is not the matching's business. Images `[B, C, H, W]` may also be videos
`[B, T, C, H, W]` for a network that takes these. docs/notation.md names the symbols.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from bilp.errors import ConfigError
from bilp.matching.batch_norm import freeze_statistics, require_independent_samples
from bilp.matching.jacobian import JacobianProducts, Pullback, Vectors, generic_pullback, generic_pushforward
from bilp.matching.per_sample import micro_batches
from bilp.nets import Network


class Matching(ABC):
    """What a method compares between real and synthetic images of a class.

    A new matching derives from this class and says its `name`, its `vector` and its `distance`. Everything else follows from
    these by autograd, slowly, for any network. Whatever is overridden is a faster form of the same, and a test compares the
    two; derive from a matching that has such forms only where they stay true.

    Vectors of real samples are detached, that of the synthetic images is differentiable. The order of values inside a block
    is private to a matching, equal in all of its methods.
    """

    name: str
    """What messages call it: the method's name."""

    def __init_subclass__(cls) -> None:
        """A class that says a distance of its own inherits no faster form of another one."""
        super().__init_subclass__()
        forms = (Matching.distance, Matching.distances_by_class), (Matching.cotangent, Matching.cotangents_by_class)
        for definition, faster in forms:
            if definition.__name__ in vars(cls) and faster.__name__ not in vars(cls):
                setattr(cls, faster.__name__, faster)

    @abstractmethod
    def vector(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """phi_i of every image of `[B, C, H, W]`: blocks `[B, ...]`, differentiable with respect to the images.

        `labels` are int64 `[B]`. A row must depend on its own image and label alone. It is called with gradients enabled.
        """

    @abstractmethod
    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        """D(mu, psi), a scalar made of operations that autograd can differentiate; blocks without leading axis."""

    def draw(self, seed: int, *path: str | int) -> None:
        """Draw what the matching itself leaves to chance from the stream called `path`, for all that follows; most leave nothing."""
        return

    def values(self, network: Network) -> int:
        """About how many numbers phi of a sample has; not fewer. Unless a matching knows better, as many as the network has parameters."""
        return sum(parameter.numel() for parameter in network.parameters())

    def check(self, network: Network, images: Tensor, labels: Tensor) -> None:
        """Raises ConfigError if the network or the batch cannot be matched; asked before vectors are formed."""
        require_samples(images, labels)
        require_independent_samples(network)

    def real(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Per-sample vectors phi_i of `[B, C, H, W]`, blocks `[B, ...]`, detached. Memory: B times the size of psi.

        Raises ConfigError as `check` does.
        """
        self.check(network, images, labels)
        parts = [self._detached(network, images[rows], labels[rows]) for rows in micro_batches(images)]
        return tuple(torch.cat(blocks) for blocks in zip(*parts, strict=True))

    def real_mean(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """mu, the mean of `real` over the batch, in micro-batches of exact weight; detached, without leading axis.

        Raises ConfigError as `check` does.
        """
        self.check(network, images, labels)
        sums: list[Tensor] = []
        for rows in micro_batches(images):
            parts = [block.sum(dim=0) for block in self._detached(network, images[rows], labels[rows])]
            sums = parts if not sums else [total.add_(part) for total, part in zip(sums, parts, strict=True)]
        return tuple(total / len(images) for total in sums)

    def weighted_mean(self, network: Network, images: Tensor, labels: Tensor, weights: Tensor) -> Vectors:
        """sum_i w_i phi_i / sum_i w_i over the batch with weights `[B]` on the CPU, not negative; detached, without leading axis.

        Equal weights give `real_mean` itself. Raises ConfigError as `check` does, and for weights that have no sum.
        """
        shares = shares_of(weights, len(images))
        if shares is None:
            return self.real_mean(network, images, labels)
        shares = shares.to(images)
        sums: list[Tensor] = []
        for rows in micro_batches(images):
            parts = [torch.tensordot(shares[rows], block, dims=1) for block in self.real(network, images[rows], labels[rows])]
            sums = parts if not sums else [total.add_(part) for total, part in zip(sums, parts, strict=True)]
        return tuple(sums)

    def means_by_class(self, network: Network, images: Tensor, labels: Tensor, classes: int, shares: Tensor | None = None) -> Vectors:
        """mu of every class, the blocks of `real_mean` with a leading axis K; detached. Memory: that of all samples at once.

        Args:
            network: Its samples must not influence each other.
            images: `[K * B, C, H, W]`, B samples of each of K classes, class by class.
            labels: int64 `[K * B]`.
            classes: K.
            shares: How much of its class's mean a sample is, `[K * B]` on the CPU; they sum to 1 in every class, and are 0 for what
                only fills a batch. Without them all samples of a class are equal parts.

        Raises:
            ConfigError: As `check` does.
        """
        own = list(zip(images.chunk(classes), labels.chunk(classes), strict=True))
        if shares is None:
            found = [self.real_mean(network, *pair) for pair in own]
        else:
            found = [self.weighted_mean(network, *pair, part) for pair, part in zip(own, shares.chunk(classes), strict=True)]
        return tuple(torch.stack(blocks) for blocks in zip(*found, strict=True))

    def synthetic(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """psi(S) of the images S `[M, C, H, W]` of a class, without leading axis, differentiable with respect to `images`.

        Differentiate it with torch.autograd.grad for the images; `backward` would also fill the parameters' gradients. Raises
        ConfigError as `check` does.
        """
        self.check(network, images, labels)
        with torch.enable_grad():
            return tuple(block.mean(dim=0) for block in self.vector(network, images, labels))

    def synthetic_by_class(self, network: Network, images: Tensor, labels: Tensor, classes: int) -> Vectors:
        """psi of every class, the blocks of `synthetic` with a leading axis K; detached.

        `images` `[K * M, C, H, W]` hold M images of each of `classes` classes, class by class. Raises ConfigError as `check`
        does.
        """
        pairs = zip(images.detach().chunk(classes), labels.chunk(classes), strict=True)
        found = zip(*(self.synthetic(network, *pair) for pair in pairs), strict=True)
        return tuple(torch.stack(blocks).detach() for blocks in found)

    def distances_and_gradient(self, network: Network, images: Tensor, labels: Tensor, means: Sequence[Vectors]) -> tuple[Tensor, Tensor]:
        """Distance of every class's psi to its mean `[K]`, and the gradient of their sum with respect to `images`; detached.

        Args:
            network: Its samples must not influence each other.
            images: `[K * M, C, H, W]`, M images of each of K classes, class by class, as they enter the network.
            labels: int64 `[K * M]`.
            means: mu of each of the K classes, as `real_mean` gives it.

        Raises:
            ConfigError: As `check` does.
        """
        distances, gradients = [], []
        for own, own_labels, mean in zip(images.chunk(len(means)), labels.chunk(len(means)), means, strict=True):
            points = own.detach().requires_grad_()
            with torch.enable_grad():
                distance = self.distance(mean, self.synthetic(network, points, own_labels))
            gradients.append(torch.autograd.grad(distance, points, materialize_grads=True)[0])
            distances.append(distance.detach())
        return torch.stack(distances), torch.cat(gradients)

    def pullback(self, network: Network, images: Tensor, labels: Tensor, count: int, byte_budget: int, classes: int = 1) -> Pullback:
        """Products with J^T at `images`, where J is the derivative of `synthetic` for each class with respect to its images.

        Args:
            network: Its samples must not influence each other.
            images: `[K * M, C, H, W]`, M images of each class, class by class.
            labels: int64 `[K * M]`.
            count: Cotangents of every class that will be asked for, to prepare lanes for.
            byte_budget: Bytes near which what is kept between calls stays; a single cotangent of every class may need more.
            classes: K.

        Raises:
            ConfigError: As `check` does.
        """
        self.check(network, images, labels)
        return generic_pullback(partial(self.synthetic, network), images, labels, classes, count, byte_budget)

    def pushforward(self, network: Network, images: Tensor, labels: Tensor, tangents: Tensor) -> Vectors:
        """J_m r_m for directions `[k, M, C, H, W]` at `images` `[M, C, H, W]`: blocks `[k, M, ...]`, detached.

        J_m is the derivative of `synthetic` with respect to image m. Raises ConfigError as `check` does.
        """
        self.check(network, images, labels)
        return generic_pushforward(lambda points: self.synthetic(network, points, labels), images, tangents)

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        """q = dD/dpsi at `psi`, detached, in its shapes; k means, with a leading axis, give one vector for each, `[k, ...]`."""
        if mu[0].dim() == psi[0].dim():
            return self._gradient_at(mu, psi)
        each = [self._gradient_at(tuple(block[row] for block in mu), psi) for row in range(len(mu[0]))]
        return tuple(torch.stack(blocks) for blocks in zip(*each, strict=True))

    def distances_by_class(self, mu: Vectors, psi: Vectors) -> Tensor:
        """D of every class `[K]` from blocks of mu and psi with a leading axis K; differentiable as `distance` is."""
        each = ((tuple(block[c] for block in mu), tuple(block[c] for block in psi)) for c in range(len(psi[0])))
        return torch.stack([self.distance(*pair) for pair in each])

    def cotangents_by_class(self, mu: Vectors, psi: Vectors) -> Vectors:
        """`cotangent` of every class from blocks of psi `[K, ...]` and of mu, `[K, ...]` or `[k, K, ...]`, in the shapes of mu."""
        axis = mu[0].dim() - psi[0].dim()
        each = [self.cotangent(tuple(block.select(axis, c) for block in mu), tuple(block[c] for block in psi)) for c in range(len(psi[0]))]
        return tuple(torch.stack(blocks, dim=axis) for blocks in zip(*each, strict=True))

    def directional(self, mu: Vectors, psi: Vectors, along: Vectors) -> Vectors:
        """(dq/dmu) d, the change of `cotangent` when mu moves along directions d `[k, ...]`: blocks `[k, ...]`, detached."""
        centers, points = _leaves(mu), _leaves(psi)
        with torch.enable_grad():
            q = torch.autograd.grad(self.distance(centers, points), points, create_graph=True, materialize_grads=True)
        return JacobianProducts(q, centers)(along)

    def freeze_statistics(self, network: Network, images: Tensor) -> None:
        """Fix the statistics of batch norm at those of `images` `[B, C, H, W]`, so that samples are independent; else do nothing."""
        freeze_statistics(network, images)

    def _detached(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """`vector` of one micro-batch without its graph."""
        with torch.enable_grad():
            return tuple(block.detach() for block in self.vector(network, images.detach(), labels))

    def _gradient_at(self, mu: Vectors, psi: Vectors) -> Vectors:
        points = _leaves(psi)
        with torch.enable_grad():
            return torch.autograd.grad(self.distance(tuple(block.detach() for block in mu), points), points, materialize_grads=True)


def require_samples(images: Tensor, labels: Tensor) -> None:
    """Raises ConfigError if there are no images or not one label for each."""
    if len(images) == 0:
        raise ConfigError("there is no image to match: draw at least one sample of the class")
    if labels.shape != images.shape[:1]:
        raise ConfigError(f"{len(images)} images need as many labels, not labels of shape {tuple(labels.shape)}")


def shares_of(weights: Tensor, count: int) -> Tensor | None:
    """Weights `[count]` by their sum, float64; None if all are equal, so that nothing is weighed. Raises ConfigError for others."""
    if weights.shape != (count,) or not bool((weights >= 0).all()) or not bool(weights.sum() > 0) or not bool(weights.isfinite().all()):
        raise ConfigError(f"{count} images need as many weights that are not negative, some of them above 0")
    if bool((weights == weights[0]).all()):
        return None
    return weights.double() / weights.double().sum()


def _leaves(vectors: Vectors) -> Vectors:
    return tuple(block.detach().requires_grad_() for block in vectors)
