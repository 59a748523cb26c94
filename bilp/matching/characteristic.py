"""Characteristic functions (NCFM; Wang et al. 2025): how the features of a class are distributed, at random frequencies.

The characteristic function of a class is Phi(t) = mean over its samples of exp(i <t, f>), where f are features of length one and t
is drawn from a standard normal distribution. Phi is a mean of a vector per sample, (cos <t_j, f>, sin <t_j, f>) over the
frequencies t_j, so the causal effect of a sample has the exact form of every other method.

Amplitude and phase of Phi of real samples r and synthetic ones s are compared by

    sqrt(a (|r| - |s|)^2 + b 2 (|r| |s| - Re r conj s)) = sqrt(b |r - s|^2 + (a - b) (|r| - |s|)^2)

and D is `scale` times its mean over frequencies. The right side is computed: it subtracts no nearly equal numbers where a = b, and
needs no lower bound for rounding. With a = b, as in the published settings, D is the mean distance |r - s| itself, times a constant. Its
derivative with respect to s then has the same length at every frequency, however far r and s are apart, and turns where they meet: the
first order in a sample misses the effects that matter most, the exact form does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bilp.config.methods.ncfm import CharacteristicConfig
from bilp.matching.base import Matching
from bilp.matching.features import ActivationMatching
from bilp.matching.jacobian import Pullback, Vectors
from bilp.matching.per_sample import micro_batches
from bilp.matching.pullback import feature_pullback
from bilp.matching.pushforward import feature_pushforward
from bilp.nets import Network
from bilp.seeds import generator

SHORTEST = 1e-12
"""Features are divided by their length, or by this if they are shorter."""


class CharacteristicMatching(ActivationMatching):
    """phi = cosines and sines of the features at the frequencies, two blocks `[frequencies]`; D as in the module's documentation.

    Until `draw` is called, frequencies are those of seed 0.
    """

    name = "characteristic functions"

    def __init__(self, config: CharacteristicConfig) -> None:
        """`config` holds the weights of amplitude and phase, and how many frequencies there are."""
        self._config = config
        self._drawn: Tensor | None = None
        self.draw(0, "frequencies")

    def draw(self, seed: int, *path: str | int) -> None:
        self._stream, self._drawn = (seed, *path), None

    def frequencies(self, like: Tensor) -> Tensor:
        """t_j, `[frequencies, F]`, for features `[..., F]`, of their type and on their device: the same numbers for all."""
        known = self._drawn
        if known is None or (known.shape[1], known.dtype, known.device) != (like.shape[-1], like.dtype, like.device):
            seed, *path = self._stream
            drawn = torch.randn(self._config.frequencies, like.shape[-1], generator=generator(int(seed), *path))
            known = self._drawn = drawn.to(like)
        return known

    def vector(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        angles = self._angles(functional.normalize(network.embed(images), dim=-1, eps=SHORTEST))
        return angles.cos(), angles.sin()

    def values(self, network: Network) -> int:
        return 2 * self._config.frequencies

    @torch.no_grad()
    def real_mean(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        self.check(network, images, labels)
        features = torch.cat([network.embed(images[rows]) for rows in micro_batches(images)])
        return self.mean_of_features(features)

    @torch.no_grad()
    def mean_of_features(self, features: Tensor, shares: Tensor | None = None) -> Vectors:
        """mu of samples whose features `[n, F]` are known, as the network gives them; `shares` `[n]` sum to 1 and weigh them."""
        sums: list[Tensor] = []
        weights = features.new_full((len(features),), 1.0 / len(features)) if shares is None else shares.to(features)
        for some, own in zip(features.split(SAMPLES_AT_ONCE), weights.split(SAMPLES_AT_ONCE), strict=True):
            angles = self._angles(functional.normalize(some, dim=-1, eps=SHORTEST))
            parts = [own @ angles.cos(), own @ angles.sin()]
            sums = parts if not sums else [total.add_(part) for total, part in zip(sums, parts, strict=True)]
        return tuple(sums)

    def distances_and_gradient(self, network: Network, images: Tensor, labels: Tensor, means: Sequence[Vectors]) -> tuple[Tensor, Tensor]:
        self.check(network, images, labels)
        points = images.detach().requires_grad_()
        with torch.enable_grad():
            psi = tuple(block.unflatten(0, (len(means), -1)).mean(dim=1) for block in self.vector(network, points, labels))
            distances = self.distances_by_class(tuple(torch.stack(blocks) for blocks in zip(*means, strict=True)), psi)
        (gradient,) = torch.autograd.grad(distances.sum(), points, materialize_grads=True)
        return distances.detach(), gradient

    def pullback(self, network: Network, images: Tensor, labels: Tensor, count: int, byte_budget: int, classes: int = 1) -> Pullback:
        self.check(network, images, labels)
        with torch.no_grad():
            features = network.embed(images)
        at = _At(features, self.frequencies(features), len(images) // classes)
        return feature_pullback(network, images, classes, count, byte_budget, at.pulled)

    def pushforward(self, network: Network, images: Tensor, labels: Tensor, tangents: Tensor) -> Vectors:
        self.check(network, images, labels)
        with torch.no_grad():
            features = network.embed(images)
        (moved,) = feature_pushforward(network, images, tangents)  # which has divided by the number of images
        return _At(features, self.frequencies(features), 1).pushed(moved)

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        return self.distances_by_class(mu, psi)

    def distances_by_class(self, mu: Vectors, psi: Vectors) -> Tensor:
        config, (a, b), (x, y) = self._config, mu, psi
        apart = _length(a - x, b - y)
        roots: Tensor
        if config.amplitude == config.phase:
            roots = config.phase**0.5 * apart
        else:
            squares = config.phase * apart.square() + (config.amplitude - config.phase) * (_length(a, b) - _length(x, y)).square()
            roots = torch.where(squares > 0, squares, torch.ones_like(squares)).sqrt() * (squares > 0)
        return config.scale * roots.mean(dim=-1)

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        """dD/dpsi in closed form, 0 at frequencies where mu and psi are equal; leading axes of mu and of both as elsewhere."""
        config, (a, b), (x, y) = self._config, mu, psi
        dx, dy = x - a, y - b
        each = config.scale / x.shape[-1]
        if config.amplitude == config.phase:
            factor = each * config.phase**0.5 * _inverse(torch.hypot(dx, dy))
            return dx.mul_(factor), dy.mul_(factor)
        amplitude = torch.hypot(x, y)
        gap = torch.hypot(a, b).sub_(amplitude)
        along = gap * _inverse(amplitude) * (config.amplitude - config.phase)
        squares = config.phase * (dx.square() + dy.square()) + (config.amplitude - config.phase) * gap.square_()
        factor = each * _inverse(squares.clamp_(min=0.0).sqrt_())
        return (config.phase * dx - along * x).mul_(factor), (config.phase * dy - along * y).mul_(factor)

    def cotangents_by_class(self, mu: Vectors, psi: Vectors) -> Vectors:
        return self.cotangent(mu, psi)

    def directional(self, mu: Vectors, psi: Vectors, along: Vectors) -> Vectors:
        config = self._config
        if config.amplitude != config.phase:
            return Matching.directional(self, mu, psi, along)
        (a, b), (x, y), (p, q) = mu, psi, along
        dx, dy = x - a, y - b
        inverse = _inverse(torch.hypot(dx, dy))
        ux, uy = dx * inverse, dy * inverse
        radial = p * ux + q * uy
        factor = -config.scale / x.shape[-1] * config.phase**0.5 * inverse
        return (p - radial * ux) * factor, (q - radial * uy) * factor

    def _angles(self, directions: Tensor) -> Tensor:
        """<t_j, f> of features of length one `[..., F]`: `[..., frequencies]`."""
        return directions @ self.frequencies(directions).T


SAMPLES_AT_ONCE = 512
"""Samples whose cosines and sines are held at once."""


class _At:
    """The derivative of the cosines and sines of every image with respect to its features, at those of a network."""

    def __init__(self, features: Tensor, frequencies: Tensor, each: int) -> None:
        """`features` `[K * M, F]` are those of M = `each` images of each of K classes, over which psi is the mean."""
        self._lengths = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
        self._directions = functional.normalize(features, dim=-1, eps=SHORTEST)
        self._frequencies, self._each = frequencies, each
        angles = self._directions @ frequencies.T
        self._cos, self._sin = angles.cos(), angles.sin()

    def pulled(self, cotangents: Vectors) -> Tensor:
        """Cotangents of psi `[k, K, frequencies]` to those of the features `[k, K * M, F]`."""
        real, imaginary = (block.repeat_interleave(self._each, dim=1) for block in cotangents)
        return self._scaled((imaginary * self._cos - real * self._sin) @ self._frequencies / self._each)

    def pushed(self, moved: Tensor) -> Vectors:
        """How cosines and sines change when features move by `[k, M, F]`: blocks `[k, M, frequencies]`."""
        angles = self._scaled(moved) @ self._frequencies.T
        return -self._sin * angles, self._cos * angles

    def _scaled(self, rows: Tensor) -> Tensor:
        """The derivative of scaling to length one, which is its own transpose, applied to `[k, K * M, F]`."""
        radial = (rows * self._directions).sum(dim=-1, keepdim=True)
        across = rows - radial * self._directions
        return torch.where(self._lengths > SHORTEST, across / self._lengths.clamp(min=SHORTEST), rows / SHORTEST)


def _length(x: Tensor, y: Tensor) -> Tensor:
    """sqrt(x^2 + y^2), whose derivative at 0 is taken as 0."""
    length: Tensor = torch.linalg.vector_norm(torch.stack((x, y), dim=-1), dim=-1)
    return length


def _inverse(lengths: Tensor) -> Tensor:
    """1 / lengths, and 0 where they are 0."""
    return torch.where(lengths > 0, lengths, torch.full_like(lengths, torch.inf)).reciprocal_()
