"""Linear gradient matching (LGM; Cazenavette et al. 2025): gradients of a linear classifier on features, in closed form.

With z a feature vector to which 1 is appended, p = softmax(W z) and r = p - y, the gradient of the cross-entropy with respect to
weights and bias is the matrix g = r z^T. The loss is 1 - cos(G_r, G_s) of the mean gradients over real and over synthetic
samples of all classes, all values of a gradient as one vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bilp.matching.base import Matching
from bilp.matching.jacobian import Vectors
from bilp.nets import Network


@dataclass(frozen=True)
class HeadInputs:
    """What a linear classifier sees of some samples, and by how much it errs."""

    features: Tensor
    """`[n, F]`."""
    probabilities: Tensor
    """p `[n, C]`."""
    residuals: Tensor
    """r = p - y `[n, C]`."""
    weight: Tensor
    """W of the features alone `[C, F]`; the bias is 0."""

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, weight: Tensor) -> HeadInputs:
        """Features `[n, F]` with labels int64 `[n]` under weights `[C, F]`."""
        probabilities = (features @ weight.T).softmax(dim=1)
        return cls(features, probabilities, probabilities - functional.one_hot(labels, len(weight)), weight)

    def double(self) -> HeadInputs:
        """The same in float64."""
        return HeadInputs(self.features.double(), self.probabilities.double(), self.residuals.double(), self.weight.double())

    @property
    def extended(self) -> Tensor:
        """z `[n, F + 1]`."""
        return functional.pad(self.features, (0, 1), value=1.0)

    def mean_gradient(self, shares: Tensor | None = None) -> Tensor:
        """G `[C, F + 1]`: the mean of r z^T, or their sum with `shares` `[n]`, which sum to 1."""
        if shares is None:
            return self.residuals.T @ self.extended / len(self.features)
        return (self.residuals * shares.to(self.residuals).unsqueeze(1)).T @ self.extended

    def pull(self, cotangent: Tensor) -> Tensor:
        """d<M, G>/d(features) `[n, F]` of a matrix M `[C, F + 1]`, without a backward pass:

        [ M_F^T r_j + W^T (diag p_j - p_j p_j^T) M z_j ] / n, where M_F is M without the column of the bias.
        """
        return (self.residuals @ cotangent[:, :-1] + self.bent(self.extended @ cotangent.T) @ self.weight) / len(self.features)

    def bent(self, values: Tensor) -> Tensor:
        """(diag p_j - p_j p_j^T) v_j for values v `[n, C]`."""
        return self.probabilities * (values - (self.probabilities * values).sum(dim=1, keepdim=True))


def cosine_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """1 - cos of two gradients, all values of each as one vector; a scalar. A gradient of zeros counts 1."""
    return 1.0 - (real * synthetic).sum() / _length(real) / _length(synthetic)


def cosine_cotangent(real: Tensor, synthetic: Tensor) -> Tensor:
    """dD/dG_s of `cosine_distance`: -[ G_r / |G_r| - cos G_s / |G_s| ] / |G_s|, in the shape of G_s."""
    one, other = real / _length(real), synthetic / _length(synthetic)
    return ((one * other).sum() * other - one) / _length(synthetic)


def _length(values: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(values)
    return length.clamp_min(torch.finfo(values.dtype).tiny)


class HeadMatching(Matching):
    """phi = gradient of the network's linear classifier, one block `[C, F + 1]`; D = 1 - cosine of all values.

    The loss of the method is that of all classes together (`bilp.distill.loops.lgm`), of which this is the form for one class.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def vector(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        inputs = HeadInputs.of(network.embed(images), labels, network.classifier.weight)
        return (inputs.residuals.unsqueeze(2) * inputs.extended.unsqueeze(1),)

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        return cosine_distance(*mu, *psi)

    def values(self, network: Network) -> int:
        return network.classifier.out_features * (network.classifier.in_features + 1)
