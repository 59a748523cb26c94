"""Statistics of what enters the batch norm of a trained network (SRe2L, Yin et al. 2023; of each class: LPLD, Xiao & He 2024).

Per layer and channel, an image, or a clip, has the mean m of its pixels and the mean q of their squares. A batch of equally large
images has the means of these over its images, so mean and variance of all its pixels are m and v = q - m^2: the variance within images
and that between them. (The mean over images of the variance within each, which the program of EDC keeps, leaves the second part out.)
So phi = (m, q) of all layers is a vector per sample, of which a batch or a class has the mean, and

    D = weight * sum over layers of w (|m_s - m| + |v_s - v|)

with plain norms over channels, w = first_layer for the first layer and 1 for the others. Removing a real sample changes the means of m
and q by closed formulas, and its causal effect has the exact form of every other method.

Pixels are counted from the running mean of their layer, which changes neither m_s - m nor v, so that v is no difference of large numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from bilp.config.methods.inversion import InversionConfig
from bilp.errors import ConfigError
from bilp.matching.base import Matching
from bilp.matching.features import ActivationMatching
from bilp.matching.jacobian import Pullback, Vectors
from bilp.nets import Network


class StatisticsMatching(ActivationMatching):
    """phi = m and q of each layer, blocks `[channels]`, m before q, layer by layer; D as in the module's documentation."""

    def __init__(self, name: str, config: InversionConfig) -> None:
        """`name` is that of the method; `config` has the weights."""
        self.name, self._config = name, config

    def check(self, network: Network, images: Tensor, labels: Tensor) -> None:
        """See Matching. Raises ConfigError for a network without batch norm, too."""
        layers_of(network)
        super().check(network, images, labels)

    def vector(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        return moments(network, images)[1]

    def values(self, network: Network) -> int:
        return 2 * sum(layer.num_features for layer in layers_of(network))

    def pullback(self, network: Network, images: Tensor, labels: Tensor, count: int, byte_budget: int, classes: int = 1) -> Pullback:
        return Matching.pullback(self, network, images, labels, count, byte_budget, classes)

    def pushforward(self, network: Network, images: Tensor, labels: Tensor, tangents: Tensor) -> Vectors:
        return Matching.pushforward(self, network, images, labels, tangents)

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        return self.distances_by_class(mu, psi)

    def distances_by_class(self, mu: Vectors, psi: Vectors) -> Tensor:
        parts = [weight * (_norm(apart) + _norm(wider)) for weight, apart, wider, _ in self._layers(mu, psi)]
        return torch.stack(parts).sum(dim=0)

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        """dD/dpsi in closed form, 0 where mean or variance is that wanted; leading axes as elsewhere."""
        blocks: list[Tensor] = []
        for weight, apart, wider, mean in self._layers(mu, psi):
            of_mean, of_variance = (weight * part / _norm(part).clamp(min=TINY).unsqueeze(-1) for part in (apart, wider))
            blocks += [of_mean - 2.0 * mean * of_variance, of_variance]
        return tuple(blocks)

    def cotangents_by_class(self, mu: Vectors, psi: Vectors) -> Vectors:
        return self.cotangent(mu, psi)

    def _layers(self, mu: Vectors, psi: Vectors) -> list[tuple[float, Tensor, Tensor, Tensor]]:
        """Of every layer its weight, m_s - m, v_s - v and m_s, each `[..., channels]`."""
        found = []
        for layer in range(0, len(psi), 2):
            (m, q), (m_s, q_s) = mu[layer : layer + 2], psi[layer : layer + 2]
            weight = self._config.weight * (self._config.first_layer if layer == 0 else 1.0)
            found.append((weight, m_s - m, (q_s - m_s.square()) - (q - m.square()), m_s))
        return found


TINY = 1e-30
"""Norms are divided by, or by this where they are 0."""


def layers_of(network: Network) -> list[_BatchNorm]:
    """The batch norms of a network in the order of its modules. Raises ConfigError if there is none that has statistics."""
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.running_mean is not None]
    if not layers:
        raise ConfigError("the teacher has no batch norm, so nothing is known of what enters its layers: set its norm to batch")
    return layers


def moments(network: Network, images: Tensor) -> tuple[Tensor, Vectors]:
    """Logits `[n, classes]` of images `[n, C, H, W]` or clips `[n, T, C, H, W]`, and m and q `[n, channels]` of every layer: one pass."""
    entering: dict[_BatchNorm, Tensor] = {}
    layers = layers_of(network)
    hooks = [layer.register_forward_pre_hook(lambda module, given: entering.__setitem__(module, given[0])) for layer in layers]
    try:
        logits = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    blocks: list[Tensor] = []
    for layer in layers:
        assert layer.running_mean is not None
        variance, mean = torch.var_mean(entering[layer].flatten(2), dim=2, correction=0)
        assert layer.running_mean is not None  # which teachers have
        centered = mean - layer.running_mean
        blocks += [_of_samples(centered, len(images)), _of_samples(variance + centered.square(), len(images))]
    return logits, tuple(blocks)


def _of_samples(means: Tensor, count: int) -> Tensor:
    """Means over the rows `[count * T, channels]` of each sample, of which a clip has one for each of its T frames."""
    return means if len(means) == count else means.unflatten(0, (count, -1)).mean(dim=1)


def running_moments(network: Network) -> Vectors:
    """What batch norm holds of the training of the network, as mean vector: blocks `[channels]`."""
    blocks: list[Tensor] = []
    for layer in layers_of(network):
        assert layer.running_var is not None
        blocks += [torch.zeros_like(layer.running_var), layer.running_var.clone()]
    return tuple(blocks)


def variances(vectors: Vectors) -> list[Tensor]:
    """v of every layer, `[..., channels]`, of mean vectors."""
    return [q - m.square() for m, q in zip(vectors[::2], vectors[1::2], strict=True)]


def _norm(values: Tensor) -> Tensor:
    """Plain norm over channels, whose derivative at 0 is 0."""
    found: Tensor = torch.linalg.vector_norm(values, dim=-1)
    return found
