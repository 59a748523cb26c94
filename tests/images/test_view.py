"""Views of a batch: against PyTorch's own crops, flips and rolls, how they are drawn, and their second derivative."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from bilp.images.view import View, draw_view, smallest_crop
from bilp.seeds import generator

SIDES = pytest.mark.parametrize("side", [(8, 8), (9, 14)])


@SIDES
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rolled", [(0, 0), (3, 1)])
def test_a_view_is_a_crop_that_is_enlarged_mirrored_and_rolled(side: tuple[int, int], mirrored: bool, rolled: tuple[int, int]) -> None:
    images = torch.randn(3, 2, *side, generator=generator(0, "images"))
    for box in ((0, 0, *side), (1, 2, 5, 4), (0, 3, side[0], 1)):
        top, left, height, width = box
        wanted = functional.interpolate(images[..., top : top + height, left : left + width], side, mode="bilinear")
        wanted = (wanted.flip(-1) if mirrored else wanted).roll(rolled, (-2, -1))
        torch.testing.assert_close(View(box, mirrored, rolled)(images), wanted, rtol=1e-5, atol=1e-6)


def test_a_view_that_changes_nothing_is_the_images() -> None:
    images = torch.randn(2, 1, 5, 6, generator=generator(0, "images"))
    assert View((0, 0, 5, 6))(images) is images


@SIDES
def test_views_are_drawn_as_they_are_described(side: tuple[int, int]) -> None:
    stream = generator(1, "views")
    views = [draw_view(side, 0.25, True, 3, stream) for _ in range(3000)]
    boxes = torch.tensor([view.box for view in views]).double()
    top, left, height, width = boxes.unbind(1)
    assert bool((height >= 1).all() and (width >= 1).all() and (top >= 0).all() and (left >= 0).all())
    assert (float((top + height).max()), float((left + width).max())) == side
    shares = height * width / (side[0] * side[1])
    assert float(shares.min()) == pytest.approx(0.25, abs=0.12), "rounded to whole pixels"
    assert 0.45 < sum(view.mirrored for view in views) / 3000 < 0.55
    for direction in (0, 1):
        counts = torch.tensor([view.rolled[direction] for view in views]).bincount(minlength=4)
        assert bool((counts > 600).all()) and len(counts) == 4
    whole = [draw_view(side, 1.0, False, 0, stream) for _ in range(20)]
    assert whole == [View((0, 0, *side))] * 20
    first, again = (draw_view(side, 0.3, True, 2, generator(2, "views")) for _ in range(2))
    assert first == again


def test_the_curriculum_goes_from_whole_images_to_the_smallest_crops() -> None:
    found = [smallest_crop(0.08, 0.5, t, 100) for t in range(100)]
    assert found[0] == 1.0
    assert found[25] == pytest.approx(0.08 + 0.92 * 0.5)
    assert found[10] == pytest.approx(0.08 + 0.92 * 0.5 * (1 + math.cos(math.pi * 0.2)))
    assert found == sorted(found, reverse=True)
    assert found[50:] == [0.08] * 50
    assert smallest_crop(0.08, 0.0, 0, 100) == 0.08


def test_derivatives_of_a_view_are_those_of_a_linear_map() -> None:
    images = torch.randn(2, 1, 4, 5, generator=generator(0, "images"), dtype=torch.float64, requires_grad=True)
    view = View((1, 0, 3, 2), True, (1, 2))
    assert torch.autograd.gradcheck(view, (images,))
    assert torch.autograd.gradgradcheck(lambda given: view(given).square(), (images,))
