"""Kernel matching (IDC; Kim et al. 2022, and DREAM; Liu et al. 2023): a class's gradient by the convolution kernels alone."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.config.methods.idc import KernelMetric
from bilp.errors import ConfigError
from bilp.matching import distance
from bilp.matching.base import Pullback, Vectors, require_samples
from bilp.matching.batch_norm import freeze_statistics, require_independent_samples
from bilp.matching.per_sample import blocks_of, micro_batches, per_sample_gradients
from bilp.matching.pullback import generic_pullback, gradient_pullback
from bilp.matching.pushforward import generic_pushforward, gradient_pushforward
from bilp.matching.recording import matched_parameters
from bilp.nets import Network

LEAST_DIMENSIONS = 4
"""Of a kernel: output and input channels, height and width, in space also depth or time."""


class KernelMatching:
    """phi = gradient of the cross-entropy by every convolution kernel, blocks `[rows, columns]` with one row per output channel.

    D = sum of squared (mse) or of absolute (l1) differences over all values of all blocks, not their mean. Biases, norm
    scales and linear layers take no part.
    """

    def __init__(self, name: str, metric: KernelMetric) -> None:
        """`name` is idc or dream; they differ in which real samples are matched."""
        self.name = name
        self._metric = metric

    def real(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Blocks `[B, rows, columns]`, detached. Raises ConfigError if batch norm would mix the samples."""
        _check(network, images, labels)
        return kernels_of(per_sample_gradients(network, images, labels), network)

    def real_mean(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Gradient of the mean cross-entropy, blocks `[rows, columns]`, detached, in micro-batches of exact weight."""
        kernels = _check(network, images, labels)
        sums: list[Tensor] = []
        for rows in micro_batches(images):
            with torch.enable_grad():
                loss = functional.cross_entropy(network(images[rows].detach()), labels[rows], reduction="sum") / len(images)
            found = torch.autograd.grad(loss, kernels, materialize_grads=True)
            sums = list(found) if not sums else [total.add_(part) for total, part in zip(sums, found, strict=True)]
        return blocks_of(sums)

    def synthetic(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Gradient of the mean cross-entropy, blocks `[rows, columns]`, differentiable with respect to the images."""
        kernels = _check(network, images, labels)
        with torch.enable_grad():
            loss = functional.cross_entropy(network(images), labels)
            return blocks_of(torch.autograd.grad(loss, kernels, create_graph=True, materialize_grads=True))

    def pullback(self, network: Network, images: Tensor, labels: Tensor, count: int, byte_budget: int, classes: int = 1) -> Pullback:
        """See Matching."""
        _check(network, images, labels)
        fast = gradient_pullback(network, images, labels, classes, count, byte_budget)
        if fast is not None:
            return _KernelPullback(fast, matched_parameters(network))
        return generic_pullback(partial(self.synthetic, network), images, labels, classes, count, byte_budget)

    def pushforward(self, network: Network, images: Tensor, labels: Tensor, tangents: Tensor) -> Vectors:
        """See bilp.matching.pushforward."""
        _check(network, images, labels)
        fast = gradient_pushforward(network, images, labels, tangents)
        if fast is not None:
            return kernels_of(fast, network)
        return generic_pushforward(lambda points: self.synthetic(network, points, labels), images, tangents)

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        """Sum of squared or absolute differences, a scalar."""
        return distance.squared(mu, psi) if self._metric == "mse" else absolute(mu, psi)

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        """dD/dpsi, blocks `[rows, columns]` or `[B, rows, columns]`."""
        return distance.squared_cotangent(mu, psi) if self._metric == "mse" else absolute_cotangent(mu, psi)

    def freeze_statistics(self, network: Network, images: Tensor) -> None:
        """See Matching."""
        freeze_statistics(network, images)


def absolute(mu: Vectors, psi: Vectors) -> Tensor:
    """Sum over all values of |mu - psi| (Kim et al. 2022, appendix: the metric of MNIST, FashionMNIST and ImageNet)."""
    return torch.stack([(a - b).abs().sum() for a, b in zip(mu, psi, strict=True)]).sum()


def absolute_cotangent(mu: Vectors, psi: Vectors) -> Vectors:
    """dD/dpsi of `absolute`: sign(psi - mu), 0 where they are equal. A leading axis of mu gives one of the result.

    It is constant but for jumps, so a sample has an effect exactly through the values whose sign it decides; a first
    order expansion in the sample would find none at all.
    """
    return tuple((b - a).sign_() for a, b in zip(mu, psi, strict=True))


def is_kernel(parameter: Tensor) -> bool:
    """Whether a parameter is the kernel of a convolution."""
    return parameter.dim() >= LEAST_DIMENSIONS


def kernels_of(blocks: Vectors, network: nn.Module) -> Vectors:
    """Those blocks of all matched parameters that belong to kernels."""
    return tuple(block for block, parameter in zip(blocks, matched_parameters(network), strict=True) if is_kernel(parameter))


class _KernelPullback:
    """The pullback of the gradient by all weight matrices, of which only the kernels get a cotangent."""

    def __init__(self, whole: Pullback, parameters: list[nn.Parameter]) -> None:
        self.lanes, self.lane_bytes = whole.lanes, whole.lane_bytes
        self._whole = whole
        self._parameters = parameters

    def __call__(self, cotangents: Vectors) -> Tensor:
        given = iter(cotangents)
        leading = cotangents[0].shape[:2]
        return self._whole(tuple(next(given) if is_kernel(p) else p.new_zeros(*leading, len(p), p[0].numel()) for p in self._parameters))


def _check(network: nn.Module, images: Tensor, labels: Tensor) -> list[nn.Parameter]:
    """The kernels, if the network has any and the batch can be matched."""
    require_samples(images, labels)
    require_independent_samples(network)
    kernels = [parameter for parameter in network.parameters() if is_kernel(parameter)]
    if not kernels:
        raise ConfigError("idc and dream match the gradients of convolutions, but this network has none: use method dc or another network")
    frozen = [name for name, parameter in network.named_parameters() if parameter.dim() > 1 and not parameter.requires_grad]
    if frozen:
        raise ConfigError(f"kernel matching differentiates by {frozen[0]!r}, which is frozen: call network.requires_grad_(True)")
    return kernels
