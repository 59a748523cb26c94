"""Siamese augmentation against a slow reference that handles one pixel of one image at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bilp.config.augmentations import ALL_FAMILIES
from bilp.errors import ConfigError
from bilp.images.augment import AugParams, apply, draw
from bilp.seeds import generator

ALL = ALL_FAMILIES
SHAPES = [(1, 8, 8), (3, 32, 32), (3, 15, 15), (2, 9, 14)]


def at(image: Tensor, channel: int, row: int, column: int) -> float:
    _, height, width = image.shape
    return float(image[channel, row, column]) if 0 <= row < height and 0 <= column < width else 0.0


def bilinear(image: Tensor, channel: int, y: float, x: float) -> float:
    row, column = math.floor(y), math.floor(x)
    down, right = y - row, x - column
    upper = (1 - right) * at(image, channel, row, column) + right * at(image, channel, row, column + 1)
    lower = (1 - right) * at(image, channel, row + 1, column) + right * at(image, channel, row + 1, column + 1)
    return (1 - down) * upper + down * lower


def every_pixel(image: Tensor, rule: Callable[[int, int, int], float]) -> Tensor:
    result = torch.empty_like(image)
    for channel in range(image.shape[0]):
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                result[channel, row, column] = rule(channel, row, column)
    return result


def reference(image: Tensor, family: str, value: dict[str, float]) -> Tensor:
    """The family's definition for one image `[C, H, W]` and scalar parameters."""
    _, height, width = image.shape
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    if family == "color":
        image = image + value["brightness"]
        gray = sum(image) / len(image)
        image = (image - gray) * value["saturation"] + gray
        return (image - image.mean()) * value["contrast"] + image.mean()
    if family == "crop":
        down, right = int(value["down"]), int(value["right"])
        return every_pixel(image, lambda c, i, j: at(image, c, i + down, j + right))
    if family == "cutout":
        rows, columns = (
            {min(max(int(offset) - size // 2 + step, 0), side - 1) for step in range(size)}
            for side, offset in ((height, value["row"]), (width, value["column"]))
            for size in [int(0.5 * side + 0.5)]
        )
        return every_pixel(image, lambda c, i, j: 0.0 if i in rows and j in columns else float(image[c, i, j]))
    if family == "flip":
        return every_pixel(image, lambda c, i, j: float(image[c, i, width - 1 - j if value["mirrored"] else j]))
    if family == "scale":
        sy, sx = value["vertical"], value["horizontal"]
        return every_pixel(image, lambda c, i, j: bilinear(image, c, (i - middle_y) * sy + middle_y, (j - middle_x) * sx + middle_x))
    cos, sin = math.cos(math.radians(value["degrees"])), math.sin(math.radians(value["degrees"]))

    def turned(channel: int, row: int, column: int) -> float:
        y, x = row - middle_y, column - middle_x
        return bilinear(image, channel, sin * x + cos * y + middle_y, cos * x - sin * y + middle_x)

    return every_pixel(image, turned)


def images(shape: tuple[int, int, int], count: int, *path: str | int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, *shape, generator=generator(0, "images", *path)).to(dtype)


def drawn(family: str, shape: tuple[int, int, int], count: int, *path: str | int) -> AugParams:
    params = draw([family], shape[1:], generator(0, "draw", family, *path), count)
    assert params is not None
    return params


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", ALL)
def test_agrees_with_the_reference_image_by_image(family: str, shape: tuple[int, int, int]) -> None:
    for round_, count in ((0, 3), (1, 1)):
        batch = images(shape, 3, round_, dtype=torch.float64)
        params = drawn(family, shape, count, round_)
        result = apply(batch, params)
        for index in range(3):
            scalars = {name: float(value[index if count == 3 else 0]) for name, value in params.values.items()}
            torch.testing.assert_close(result[index], reference(batch[index], family, scalars), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", ALL)
def test_shared_parameters_treat_an_image_alike_in_any_batch(family: str) -> None:
    batch, params = images((3, 16, 16), 7), drawn(family, (3, 16, 16), 1)
    torch.testing.assert_close(apply(batch, params)[2:4], apply(batch[2:4], params), rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", ALL)
def test_gradients_are_those_of_finite_differences(family: str) -> None:
    for count in (1, 2):
        params = drawn(family, (2, 6, 6), count, "gradcheck")
        batch = images((2, 6, 6), 2, "gradcheck", dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, params=params: apply(x, params), (batch,))


@pytest.mark.parametrize("family", ALL)
def test_vmap_over_images_and_over_their_gradients(family: str) -> None:
    batch, params = images((3, 12, 12), 5), drawn(family, (3, 12, 12), 1)

    def one(image: Tensor) -> Tensor:
        return apply(image[None], params)[0]

    def energy(image: Tensor) -> Tensor:
        return one(image).square().sum()

    torch.testing.assert_close(torch.func.vmap(one)(batch), apply(batch, params))
    leaf = batch.clone().requires_grad_()
    (expected,) = torch.autograd.grad(apply(leaf, params).square().sum(), leaf)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(energy))(batch), expected)


@pytest.mark.parametrize("family", ALL)
def test_vmap_over_batches_with_parameters_per_image(family: str) -> None:
    stack, params = images((3, 12, 12), 6).view(2, 3, 3, 12, 12), drawn(family, (3, 12, 12), 3)
    together = torch.func.vmap(lambda batch: apply(batch, params))(stack)
    torch.testing.assert_close(together, torch.stack([apply(batch, params) for batch in stack]))


@pytest.mark.parametrize("family", ALL)
def test_the_same_stream_draws_the_same_parameters_and_images_differ(family: str) -> None:
    first, second = drawn(family, (3, 32, 32), 64), drawn(family, (3, 32, 32), 64)
    for name, value in first.values.items():
        assert torch.equal(value, second.values[name])
        assert value.shape == (64,)
        assert len(value.unique()) > 1


def test_ranges_of_the_parameters() -> None:
    color = drawn("color", (3, 32, 32), 4000).values
    for name, low, high in (("brightness", -0.5, 0.5), ("saturation", 0.0, 2.0), ("contrast", 0.5, 1.5)):
        assert low <= color[name].min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < color[name].max() <= high
        assert color[name].mean().item() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))
    crop = drawn("crop", (3, 32, 32), 4000).values
    assert sorted(set(crop["down"].tolist())) == sorted(set(crop["right"].tolist())) == list(range(-4, 5))
    even, odd = drawn("cutout", (3, 32, 32), 4000).values, drawn("cutout", (3, 30, 30), 4000).values
    assert sorted(set(even["row"].tolist())) == list(range(33))  # the square's side 16 is even: 0 to 32
    assert sorted(set(odd["column"].tolist())) == list(range(30))  # 15 is odd: 0 to 29
    scale = drawn("scale", (3, 32, 32), 4000).values
    assert all(1 / 1.2 <= value.min() < 0.84 and 1.19 < value.max() <= 1.2 for value in scale.values())
    assert not torch.equal(scale["vertical"], scale["horizontal"])
    degrees = drawn("rotate", (3, 32, 32), 4000).values["degrees"]
    assert -15 <= degrees.min() < -14.9
    assert 14.9 < degrees.max() <= 15
    assert drawn("flip", (3, 32, 32), 4000).values["mirrored"].float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_each_call_draws_one_family_uniformly() -> None:
    stream = generator(3, "families")
    counts = Counter(params.family for params in (draw(ALL, (8, 8), stream) for _ in range(3000)) if params)
    assert set(counts) == set(ALL)
    assert all(420 < count < 580 for count in counts.values())


def test_no_families_is_no_augmentation() -> None:
    batch = images((1, 8, 8), 2)
    assert draw((), (8, 8), generator(0)) is None
    assert apply(batch, None) is batch


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown augmentation mirror: use color, crop"):
        draw(("flip", "mirror"), (8, 8), generator(0))
    with pytest.raises(ValueError, match="drawn for 3 images, not for 1 or 2"):
        apply(images((1, 8, 8), 2), drawn("crop", (1, 8, 8), 3))


def test_drawing_leaves_the_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    for family in ALL:
        drawn(family, (3, 32, 32), 8)
    assert torch.equal(before, torch.random.get_rng_state())
