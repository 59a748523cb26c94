"""Bilinear sampling against PyTorch's own, and its derivatives of first and second order, one by one and batched."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bilp.images.resampling import sample_bilinearly
from bilp.seeds import generator


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(7, "resampling"), dtype=torch.float64)


def inputs() -> tuple[Tensor, Tensor]:
    """Images, and positions inside and outside of them."""
    return drawn(3, 2, 5, 6).requires_grad_(), drawn(3, 5, 6, 2)


def plain(images: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def test_values_and_gradients_are_those_of_grid_sample() -> None:
    images, grid = inputs()
    cotangent = drawn(3, 2, 5, 6)
    found, wanted = sample_bilinearly(images, grid), plain(images, grid)
    assert torch.equal(found, wanted)
    (gradient,) = torch.autograd.grad(found, images, cotangent)
    assert torch.equal(gradient, *torch.autograd.grad(wanted, images, cotangent))


def test_the_derivative_of_the_gradient_is_the_map_itself() -> None:
    images, grid = inputs()
    assert torch.autograd.gradgradcheck(lambda x: sample_bilinearly(x, grid), images)
    cotangent = drawn(3, 2, 5, 6).requires_grad_()
    (pulled,) = torch.autograd.grad(sample_bilinearly(images, grid), images, cotangent, create_graph=True)
    directions = drawn(4, 3, 2, 5, 6)
    (moved,) = torch.autograd.grad(pulled, cotangent, directions, is_grads_batched=True)
    torch.testing.assert_close(moved, torch.stack([plain(direction, grid) for direction in directions]))


def test_many_cotangents_at_once() -> None:
    images, grid = inputs()
    cotangents = drawn(4, 3, 2, 5, 6)
    values = sample_bilinearly(images, grid)
    (found,) = torch.autograd.grad(values, images, cotangents, retain_graph=True, is_grads_batched=True)
    wanted = [torch.autograd.grad(values, images, cotangent, retain_graph=True)[0] for cotangent in cotangents]
    torch.testing.assert_close(found, torch.stack(wanted))
