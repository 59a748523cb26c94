"""Effects of linear gradient matching on features: closed forms against autograd, leaving out anew, and finite differences, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bilp.causal.head_effects import LeftOut, coefficients, effect_norms, leave_one_out_norms
from bilp.matching.head_gradient import HeadInputs, cosine_cotangent, cosine_distance

CLASSES, WIDTH, SAMPLES, MADE = 4, 6, 7, 8


def drawn(seed: int, count: int, labels: Tensor, weight: Tensor) -> HeadInputs:
    stream = torch.Generator().manual_seed(seed)
    return HeadInputs.of(torch.randn(count, WIDTH, generator=stream, dtype=torch.float64), labels, weight)


@pytest.fixture(params=[0.0, 0.01, 1.0], ids=["deterministic", "small", "large"])
def weight(request: pytest.FixtureRequest) -> Tensor:
    """Of a classifier, with several deviations."""
    deviation: float = request.param
    return deviation * torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.fixture
def real(weight: Tensor) -> HeadInputs:
    """Samples of class 1."""
    return drawn(1, SAMPLES, torch.full((SAMPLES,), 1), weight)


@pytest.fixture
def made(weight: Tensor) -> HeadInputs:
    """Synthetic features of all classes."""
    return drawn(2, MADE, torch.arange(MADE) % CLASSES, weight)


@pytest.fixture
def others() -> Tensor:
    """What the other classes add."""
    return 0.3 * torch.randn(CLASSES, WIDTH + 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def by_autograd(features: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Gradient of the mean cross-entropy with respect to weights and biases, differentiable."""
    leaves = [weight.clone().requires_grad_(), weight.new_zeros(CLASSES).requires_grad_()]
    loss = functional.cross_entropy(features @ leaves[0].T + leaves[1], labels)
    first, second = torch.autograd.grad(loss, leaves, create_graph=True)
    return torch.cat([first, second.unsqueeze(1)], dim=1)


def test_gradients_and_pullbacks_are_those_of_autograd(made: HeadInputs, weight: Tensor, others: Tensor) -> None:
    features = made.features.clone().requires_grad_()
    gradient = by_autograd(features, weight, torch.arange(MADE) % CLASSES)
    torch.testing.assert_close(made.mean_gradient(), gradient.detach(), rtol=1e-10, atol=1e-12)
    (wanted,) = torch.autograd.grad((gradient * others).sum(), features)
    torch.testing.assert_close(made.pull(others), wanted, rtol=1e-10, atol=1e-12)


def test_the_loss_falls_as_finite_differences_say(made: HeadInputs, weight: Tensor, others: Tensor) -> None:
    labels = torch.arange(MADE) % CLASSES
    direction = torch.randn(MADE, WIDTH, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    ahead, behind = (
        cosine_distance(others, HeadInputs.of(made.features + step * direction, labels, weight).mean_gradient()) for step in (1e-5, -1e-5)
    )
    slope = (made.pull(cosine_cotangent(others, made.mean_gradient())) * direction).sum()
    assert float(slope) == pytest.approx(float(ahead - behind) / 2e-5, rel=1e-6)


def test_cosines_without_a_sample_are_those_of_the_gradient_without_it(real: HeadInputs, made: HeadInputs, others: Tensor) -> None:
    """From the coefficients: q(G_r) - q(H_i) is that of matrices that are formed."""
    own, share = real.mean_gradient(), 0.25
    left_out = LeftOut(others + share * own, own, share / (SAMPLES - 1))
    gradient = made.mean_gradient()
    found = coefficients(real, left_out, gradient)
    for i in range(SAMPLES):
        rest = torch.full((SAMPLES,), 1.0 / (SAMPLES - 1), dtype=torch.float64).index_fill(0, torch.tensor(i), 0.0)
        wanted = cosine_cotangent(left_out.whole, gradient) - cosine_cotangent(others + share * real.mean_gradient(rest), gradient)
        single = torch.outer(real.residuals[i], real.extended[i])
        formed = found.whole[i] * left_out.whole + found.own[i] * (single - own) + found.synthetic[i] * gradient
        torch.testing.assert_close(formed, wanted, rtol=1e-9, atol=1e-12)


def test_norms_equal_their_definition(real: HeadInputs, made: HeadInputs, others: Tensor) -> None:
    own, share = real.mean_gradient(), 0.25
    found = effect_norms(real, LeftOut(others + share * own, own, share / (SAMPLES - 1)), made)
    torch.testing.assert_close(found, leave_one_out_norms(real, others, share, made), rtol=1e-8, atol=0.0)
    assert float(found.min()) > 0.0


def test_a_sample_that_equals_the_others_has_no_effect(made: HeadInputs, weight: Tensor, others: Tensor) -> None:
    features = drawn(1, 1, torch.tensor([1]), weight).features.repeat(5, 1)
    real = HeadInputs.of(features, torch.full((5,), 1), weight)
    own = real.mean_gradient()
    assert effect_norms(real, LeftOut(others + own, own, 0.25), made).tolist() == [0.0] * 5
