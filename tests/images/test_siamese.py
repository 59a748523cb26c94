"""Draws and augmentation of many classes at once, which are those of one class after the other, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bilp.errors import ConfigError
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.images.siamese import DIVIDED_VALUES, apply_by_family, draw_siamese
from bilp.seeds import generator, numbered_streams

FAMILIES = ("color", "crop", "cutout", "flip", "scale", "rotate", "resized_crop")
CLASSES = range(3, 120)


def drawn_alone(combined: bool, side: tuple[int, int]) -> list[AugParams | None]:
    draw = augment.draw_combined if combined else augment.draw
    return [draw(FAMILIES, side, generator(7, "augment", 2, c)) for c in CLASSES]


def drawn_together(combined: bool, side: tuple[int, int]) -> list[AugParams | None]:
    choices = augment.combined_choices(FAMILIES) if combined else [FAMILIES]
    return draw_siamese(choices, side, numbered_streams(7, "augment", 2), CLASSES)


def spelled(params: AugParams | None) -> list[tuple[str, dict[str, Tensor]]]:
    return [] if params is None else [(step.family, step.values) for step in params.steps()]


@pytest.mark.parametrize("combined", [False, True])
@pytest.mark.parametrize("side", [(8, 8), (10, 7)])
def test_classes_that_draw_together_draw_what_each_draws_alone(combined: bool, side: tuple[int, int]) -> None:
    for own, wanted in zip(drawn_together(combined, side), drawn_alone(combined, side), strict=True):
        assert [family for family, _ in spelled(own)] == [family for family, _ in spelled(wanted)]
        for (_, values), (_, expected) in zip(spelled(own), spelled(wanted), strict=True):
            assert values.keys() == expected.keys()
            assert all(torch.equal(values[name], expected[name]) and values[name].shape == (1,) for name in values)


def test_nothing_is_drawn_without_families_and_unknown_ones_are_refused() -> None:
    assert draw_siamese([(), ()], (8, 8), numbered_streams(0, "a"), range(3)) == [None] * 3
    with pytest.raises(ConfigError, match="unknown augmentation blur"):
        draw_siamese([("blur",)], (8, 8), numbered_streams(0, "a"), range(3))


@pytest.mark.parametrize("combined", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_all_classes_become_what_those_of_each_become(combined: bool, channels: int) -> None:
    params = drawn_alone(combined, (10, 7))
    params[4] = None
    sizes = [1 + place % 4 for place in range(len(params))]
    images = torch.randn(sum(sizes), channels, 10, 7, generator=generator(5, "images"))
    before = images.clone()
    wanted = torch.cat([augment.apply(part, own) for part, own in zip(images.split(sizes), params, strict=True)])
    assert torch.equal(apply_by_family(images, params, sizes), wanted)
    assert torch.equal(images, before)
    assert apply_by_family(images, [None] * len(params), sizes) is images


def test_large_images_that_come_alone_are_summed_as_they_are_alone() -> None:
    side = (112, 112)
    params = [augment.draw(("color",), side, generator(1, c)) for c in range(3)]
    images = torch.randn(4, 3, *side, generator=generator(5, "large"))
    assert images[0].numel() > DIVIDED_VALUES
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        sizes = [1, 2, 1]
        wanted = torch.cat([augment.apply(part, own) for part, own in zip(images.split(sizes), params, strict=True)])
        assert torch.equal(apply_by_family(images, params, sizes), wanted)
    finally:
        torch.set_num_threads(threads)


def test_a_numbered_stream_is_the_stream_of_that_name() -> None:
    stream = numbered_streams(3, "real", 5, 0)
    for c in (0, 7, 999, 7):
        assert stream(c).initial_seed() == generator(3, "real", 5, 0, c).initial_seed()
        assert torch.equal(torch.randn(5, generator=stream(c)), torch.randn(5, generator=generator(3, "real", 5, 0, c)))
    assert stream(1).initial_seed() != numbered_streams(3, "real", 5)(1).initial_seed()
