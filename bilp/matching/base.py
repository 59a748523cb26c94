"""What a distillation method compares, as an interface.

A separable method sees the real data only through the mean of a per-sample vector phi, so its loss is
D(mean_i phi(x_i), psi(S)). Real images, labels and networks go in, vectors and distances come out; who draws the
samples and who steps the synthetic images is not the matching's business. Images `[B, C, H, W]` may also be videos
`[B, T, C, H, W]` for a network that takes these.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from bilp.errors import ConfigError
from bilp.nets import Network

Vectors = tuple[Tensor, ...]
"""Blocks of one vector. Features: one block `[F]`. Gradients: one block `[rows, columns]` per weight matrix or kernel.
With a leading axis B: one vector per sample."""


class Pullback(Protocol):
    """J^T of the Jacobian J = dpsi/dS of each of K classes, where S are the images that enter the network."""

    lanes: int
    """Most cotangents of each class that one call may take."""
    lane_bytes: int
    """Bytes that are kept for one cotangent of every class."""

    def __call__(self, cotangents: Vectors) -> Tensor:
        """Cotangents of every psi with leading axes k <= lanes and K, to gradients by the images `[k, K, M, C, H, W]`."""


class Matching(Protocol):
    """What DC, DSA or DM compare. Vectors of real samples are detached, that of the synthetic ones is differentiable.

    The order of values inside a block is private to a matching, equal in all of its methods.
    """

    name: str

    def real(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Per-sample vectors phi_i of `[B, C, H, W]`, with leading axis B. Memory: B times the size of psi."""

    def real_mean(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """The mean of `real` in one ordinary pass that holds one vector at a time, without leading axis."""

    def synthetic(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """psi(S) of `[M, C, H, W]`, differentiable with respect to `images`.

        Differentiate it with torch.autograd.grad for the images; `backward` would also fill the parameters' gradients.
        """

    def pullback(self, network: Network, images: Tensor, labels: Tensor, count: int, byte_budget: int, classes: int = 1) -> Pullback:
        """Products with the transposed Jacobian of `synthetic` at `images`, prepared for `count` cotangents of every class.

        `images` `[K * M, C, H, W]` hold M images of each of `classes` classes, class by class. What is kept between calls
        stays near `byte_budget` bytes, or that of a single cotangent of every class if it is larger.
        """

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        """D(mu, psi), a scalar."""

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        """q = dD/dpsi in closed form, without autograd. A leading axis B on mu gives one on q."""

    def freeze_statistics(self, network: Network, images: Tensor) -> None:
        """Fix the statistics of batch norm at those of `images`, so that samples are independent; else do nothing."""


def require_samples(images: Tensor, labels: Tensor) -> None:
    """Raises ConfigError if there are no images or not one label for each."""
    if len(images) == 0:
        raise ConfigError("there is no image to match: draw at least one sample of the class")
    if labels.shape != images.shape[:1]:
        raise ConfigError(f"{len(images)} images need as many labels, not labels of shape {tuple(labels.shape)}")
