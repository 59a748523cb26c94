"""What stops a distillation, and what does not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bilp.distill.step.divergence import Guard
from bilp.errors import Diverged

NAMES = ("ant", "bee", "cow")


def _guard(reference: float = math.nan) -> Guard:
    return Guard(0.5, NAMES, reference, "The last good state is s3://b/c (iteration 40).")


def _step(
    losses: list[float] | None = None, gradient: Tensor | None = None, images: Tensor | None = None, reference: float = math.nan
) -> list[float]:
    zeros = torch.zeros(6, 1, 2, 2)
    values = torch.tensor([1.0, 2.0, 3.0] if losses is None else losses)
    return _guard(reference).check_step(7, values, zeros if gradient is None else gradient, zeros if images is None else images)


def test_healthy_steps_pass_and_give_their_losses() -> None:
    assert _step() == [1.0, 2.0, 3.0]
    assert _step(images=torch.full((6, 1, 2, 2), 999.0)) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_names_everything_needed(value: float) -> None:
    with pytest.raises(Diverged) as error:
        _step(losses=[1.0, value, 2.0])
    message = str(error.value)
    for part in ("iteration 7", "loss of class 1 (bee)", "0.5", "try 0.05", "s3://b/c (iteration 40)"):
        assert part in message


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_names_its_class(value: float) -> None:
    gradient = torch.zeros(6, 1, 2, 2)
    gradient[4, 0, 1, 1] = value
    with pytest.raises(Diverged, match=r"gradient of class 2 \(cow\)"):
        _step(gradient=gradient)


@pytest.mark.parametrize("value", [1001.0, -1001.0, math.inf, math.nan])
def test_pixels_that_explode_name_their_class(value: float) -> None:
    images = torch.full((6, 1, 2, 2), 900.0)
    images[1, 0, 0, 0] = value
    with pytest.raises(Diverged, match=r"pixel of class 0 \(ant\)"):
        _step(images=images)


def test_effects_that_are_not_finite_are_counted() -> None:
    _guard().check_effects(3, 1, torch.tensor([0.0, 1.0]))
    with pytest.raises(Diverged, match=r"iteration 3: the causal effect of 2 of 3 samples of class 1 \(bee\)"):
        _guard().check_effects(3, 1, torch.tensor([math.nan, 1.0, math.inf]))


def _losses(guard: Guard, values: list[float]) -> int:
    """How many of the values, one per iteration, went through; raises Diverged at the one that does not."""
    for iteration, value in enumerate(values):
        guard.check_loss(iteration, value, [0.0, value, 0.0])
    return len(values)


def test_a_loss_far_above_the_beginning_and_rising_stops() -> None:
    with pytest.raises(Diverged, match=r"iteration 5: the loss is 2.5e\+03 and rising.*worst class is 1 \(bee\)"):
        _losses(_guard(2.0), [1.0, 2100.0, 2200.0, 2300.0, 2400.0, 2500.0])


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 9000.0, 1.0, 9000.0, 1.0, 9000.0, 1.0],  # outliers, one network each
        [9000.0, 8000.0, 7000.0, 6000.0, 5000.0, 4000.0],  # high but falling
        [1999.0] * 3 + [1999.5] * 5,  # below the limit
    ],
)
def test_a_loss_that_is_high_for_a_moment_or_falling_passes(values: list[float]) -> None:
    assert _losses(_guard(2.0), values) == len(values)


def test_without_a_reference_no_loss_is_too_high() -> None:
    assert _losses(_guard(), [10.0**k for k in range(20)]) == 20


def test_rounding_noise_on_a_perfect_match_is_no_divergence() -> None:
    assert _losses(_guard(0.0), [1e-9 * k for k in range(1, 20)]) == 19


def test_of_some_classes_it_names_the_right_one() -> None:
    guard = Guard(0.5, NAMES, 1e-3, "", range(1, 3))
    zeros = torch.zeros(4, 1, 2, 2)
    assert guard.check_step(7, torch.tensor([1.0, 2.0]), zeros, zeros) == [1.0, 2.0]
    bad = zeros.clone()
    bad[3, 0, 1, 1] = math.nan
    for losses, gradient, images in (
        (torch.tensor([1.0, math.nan]), zeros, zeros),
        (torch.ones(2), bad, zeros),
        (torch.ones(2), zeros, bad),
    ):
        with pytest.raises(Diverged, match=r"class 2 \(cow\)"):
            guard.check_step(7, losses, gradient, images)
    with pytest.raises(Diverged, match=r"the worst class is 1 \(bee\)"):
        for iteration in range(5):
            guard.check_loss(iteration, 10.0 + iteration, [20.0, 1.0])
