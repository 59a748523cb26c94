"""Kernel ridge regression from synthetic to real samples, with its derivatives in closed form.

With features f of synthetic samples as the rows of F `[m, d]`, of real ones as those of R `[n, d]` and labels Y `[m, C]`:

    k(x, z) = s <f(x), f(z)> + c,   A = K_ss + (ridge tr(K_ss) / m) I,   B = A^-1 Y,   predictions P = K_rs B

One Cholesky factor of A serves the prediction and every derivative. With E = dL/dP `[n, C]`, H = s F R^T E + c 1 1^T E and U = A^-1 H:

    dL/dY = U,   dL/dF = s [ B E^T R - (U B^T + B U^T) F - (2 ridge / m) <U, B> F ]

so K_rs `[n, m]` is never formed. L is a mean of losses of single samples, and E may have a single row: this gives the gradient of each
sample's own loss. The solve is float64, whatever the features are: with a ridge of a millionth, B is a difference of large numbers.

Sources: neural feature regression (FRePo; Zhou et al. 2022, equation 5) and random features of a Gaussian process (RFAD; Loo et al. 2022,
section 3), which differ in s, c, ridge, features and loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

Blocks = tuple[Tensor, ...]
"""Features, a block `[n, d_k]` of each of several networks; they count as one row of all values."""
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From predictions float64 `[n, C]` and labels int64 `[n]` to each sample's loss `[n]` and its derivative `[n, C]`."""


@dataclass(frozen=True)
class Kernel:
    """k(x, z) = scale <f(x), f(z)> + constant."""

    ridge: float
    """What is added to the diagonal, in units of its mean."""
    scale: float = 1.0
    constant: float = 0.0

    def matrix(self, synthetic: Blocks) -> Tensor:
        """A `[m, m]` of synthetic features, differentiable."""
        gram: Tensor = self.scale * sum((block @ block.T for block in synthetic), start=synthetic[0].new_zeros(())) + self.constant
        count = len(synthetic[0])
        lift: Tensor = self.ridge * gram.diagonal().sum() / count
        result: Tensor = gram + lift * torch.eye(count, dtype=gram.dtype, device=gram.device)
        return result

    def across(self, real: Blocks, synthetic: Blocks) -> Tensor:
        """K_rs `[n, m]`, differentiable."""
        products = (one @ other.T for one, other in zip(real, synthetic, strict=True))
        found: Tensor = self.scale * sum(products, start=synthetic[0].new_zeros(())) + self.constant
        return found


def predictions_by_definition(kernel: Kernel, real: Blocks, synthetic: Blocks, labels: Tensor) -> Tensor:
    """P `[n, C]` as it is written down, differentiable by features and labels: the slow form."""
    weights: Tensor = torch.linalg.solve(kernel.matrix(synthetic), labels)
    return kernel.across(real, synthetic) @ weights


@dataclass(frozen=True)
class Regression:
    """The solution on synthetic features; products with real ones, float64 as all it returns."""

    kernel: Kernel
    synthetic: Blocks
    """F, float64."""
    labels: Tensor
    """Y, float64 `[m, C]`."""
    factor: Tensor
    """The lower Cholesky factor of A; NaN where A is not positive."""

    @classmethod
    def solved(cls, kernel: Kernel, synthetic: Sequence[Tensor], labels: Tensor) -> Regression:
        """That of features `[m, d_k]` and labels `[m, C]`."""
        blocks = tuple(block.double() for block in synthetic)
        factor, failed = torch.linalg.cholesky_ex(kernel.matrix(blocks))
        return cls(kernel, blocks, labels.double(), torch.where(failed > 0, torch.nan, factor))

    @cached_property
    def coefficients(self) -> Tensor:
        """B `[m, C]`."""
        return self._solve(self.labels)

    @cached_property
    def _weights(self) -> Blocks:
        """F^T B of each block `[d_k, C]`: the last layer of the networks that the regression stands for, but for s."""
        return tuple(block.T @ self.coefficients for block in self.synthetic)

    def predictions(self, real: Blocks) -> Tensor:
        """P `[n, C]` of real features."""
        return self._across(real, self._weights, self.coefficients)

    def gradient(self, real: Blocks, residuals: Tensor) -> tuple[Blocks, Tensor]:
        """dL/dF, a block `[m, d_k]` of each network, and dL/dY `[m, C]`, where dL/dP is `residuals` `[n, C]`."""
        kernel, coefficients = self.kernel, self.coefficients
        towards = tuple(residuals.T @ block.double() for block in real)  # E^T R
        reached = sum((own @ toward.T for own, toward in zip(self.synthetic, towards, strict=True)), start=residuals.new_zeros(()))
        solved = self._solve(kernel.scale * reached + kernel.constant * residuals.sum(dim=0))
        both = solved @ coefficients.T
        both = both + both.T
        lift = kernel.ridge * both.diagonal().sum() / len(both)  # 2 ridge <U, B> / m
        blocks = tuple(
            kernel.scale * (coefficients @ toward - both @ own - lift * own) for own, toward in zip(self.synthetic, towards, strict=True)
        )
        return blocks, solved

    def each(self, real: Blocks, residuals: Tensor) -> tuple[Blocks, Tensor]:
        """The gradient of each sample's own loss: blocks `[n, m, d_k]` with respect to F, and `[n, m, C]` with respect to Y.

        U_i = q_i e_i^T with q_i = A^-1 (s F r_i + c 1), so that all follows from q_i and b_i = B e_i.
        """
        kernel, count = self.kernel, len(self.labels)
        q, b = self.solved_for(real), residuals @ self.coefficients.T
        lift = 2.0 * kernel.ridge / count * (q * b).sum(dim=1)
        blocks = []
        for own, block in zip(self.synthetic, real, strict=True):
            towards = block.double() - q @ own  # r_i - F^T q_i
            outer = b.unsqueeze(2) * towards.unsqueeze(1) - q.unsqueeze(2) * (b @ own).unsqueeze(1)
            blocks.append(kernel.scale * (outer - lift.view(-1, 1, 1) * own))
        return tuple(blocks), q.unsqueeze(2) * residuals.unsqueeze(1)

    def along(self, real: Blocks, residuals: Tensor, features: Blocks, labels: Tensor | None = None) -> Tensor:
        """The derivative of each sample's own loss in k directions, `[k, n]`: one solve for each direction, whatever n is.

        Args:
            real: R, blocks `[n, d_k]`.
            residuals: dl_i/dp_i `[n, C]`.
            features: directions of F, blocks `[k, m, d_k]`.
            labels: those of Y, `[k, m, C]`; None for none.
        """
        kernel, coefficients, found = self.kernel, self.coefficients, []
        for number, parts in enumerate(zip(*features, strict=True)):
            moved = tuple(part.double() for part in parts)
            crossed = sum((own @ part.T for own, part in zip(self.synthetic, moved, strict=True)), start=coefficients.new_zeros(()))
            change = kernel.scale * (crossed + crossed.T) @ coefficients
            change = change + 2.0 * kernel.ridge * kernel.scale * crossed.diagonal().sum() / len(crossed) * coefficients
            turned = self._solve((0.0 if labels is None else labels[number].double()) - change)  # dB
            weights = tuple(part.T @ coefficients + own.T @ turned for own, part in zip(self.synthetic, moved, strict=True))
            found.append((residuals * self._across(real, weights, turned)).sum(dim=1))
        return torch.stack(found)

    def solved_for(self, real: Blocks) -> Tensor:
        """q_i = A^-1 k(S, x_i) `[n, m]`."""
        return self._solve(self.kernel.across(tuple(block.double() for block in real), self.synthetic).T).T

    def _across(self, real: Blocks, weights: Blocks, coefficients: Tensor) -> Tensor:
        """s R W + c 1 1^T B."""
        products = (block.double() @ own for block, own in zip(real, weights, strict=True))
        whole = sum(products, start=coefficients.new_zeros(()))
        return self.kernel.scale * whole + self.kernel.constant * coefficients.sum(dim=0)

    def _solve(self, values: Tensor) -> Tensor:
        return torch.cholesky_solve(values, self.factor)


def centered(labels: Tensor, classes: int) -> Tensor:
    """One-hot labels less their mean, float64 `[n, C]` of int64 `[n]`."""
    return functional.one_hot(labels, classes).double() - 1.0 / classes


def squared_error(predictions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Half the sum over outputs of squared differences from centered labels (FRePo's program). See Loss."""
    apart = predictions - centered(labels, predictions.shape[1])
    return 0.5 * apart.square().sum(dim=1), apart


def mean_squared_error(predictions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Half their mean over outputs (RFAD's program). See Loss."""
    losses, apart = squared_error(predictions, labels)
    return losses / predictions.shape[1], apart / predictions.shape[1]


def platt(predictions: Tensor, labels: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of exp(`log_scale`) p (Platt 1999; Loo et al. 2022, section 3.3). See Loss.

    The derivative of a sample's loss with respect to `log_scale` is <dl/dp, p>.
    """
    scale = log_scale.double().exp()
    logits = scale * predictions
    residuals = logits.softmax(dim=1) - functional.one_hot(labels, logits.shape[1])
    return functional.cross_entropy(logits, labels, reduction="none"), scale * residuals
