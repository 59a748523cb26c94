"""The operations of DC's own program, each against what it must do to single pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bilp.config.augmentations import OPERATIONS, ImageOperation
from bilp.images.dc_augment import Operations, draw_operations, operate
from bilp.seeds import generator

ALL: tuple[ImageOperation, ...] = tuple(OPERATIONS)


def some(count: int, *shape: int) -> Tensor:
    return torch.randn(count, *shape, generator=generator(0, "images", count))


def done(images: Tensor, name: ImageOperation, first: float, second: float = 0.0, seed: int = 0) -> Tensor:
    """The same operation on every image."""
    return operate(images, Operations((name,) * len(images), torch.tensor([[first, second]]).repeat(len(images), 1), (seed,) * len(images)))


def test_a_crop_is_a_window_of_the_image_in_a_frame_of_its_batchs_mean_color() -> None:
    images = some(3, 2, 6, 7)
    frame = images.mean((0, 2, 3))
    for top in range(8):
        for left in (0, 5, 7):
            found = done(images, "crop", (top + 0.5) / 8, (left + 0.999) / 8)
            for k in range(3):
                for i in range(6):
                    for j in range(7):
                        y, x = i + top - 4, j + left - 4
                        inside = 0 <= y < 6 and 0 <= x < 7
                        assert torch.equal(found[k, :, i, j], images[k, :, y, x] if inside else frame)


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.0), (0.999, 0.999), (0.0, 0.999), (0.6, 0.3)])
def test_scaling_takes_the_nearest_pixel_and_stays_in_the_middle(first: float, second: float) -> None:
    images, side = some(2, 1, 10, 10), 10
    height, width = (int((0.8 + 0.4 * part) * side) for part in (first, second))
    longest = max(height, width, side)
    found = done(images, "scale", first, second)
    cut, top, left = (longest - side) // 2, (longest - height) // 2, (longest - width) // 2
    for i in range(side):
        for j in range(side):
            y, x = i + cut - top, j + cut - left
            if 0 <= y < height and 0 <= x < width:
                wanted = images[:, :, int(y * side / height), int(x * side / width)]
            else:
                wanted = torch.zeros(2, 1)
            assert torch.equal(found[:, :, i, j], wanted)


@pytest.mark.parametrize("angle", [-45, -20, 0, 17, 44])
def test_a_rotation_carries_a_spot_to_where_it_belongs(angle: int) -> None:
    row, column = torch.meshgrid(torch.arange(29.0), torch.arange(29.0), indexing="ij")
    spot = torch.exp(-((row - 8) ** 2 + (column - 17) ** 2) / 8)[None, None]
    found = done(spot - spot.mean(), "rotate", (angle + 45 + 0.5) / 90)[0, 0]
    weight = (found - found.min()).clamp(min=0.3) - 0.3  # the spot without its surroundings
    turn = math.radians(angle)  # counter-clockwise as one looks at the picture, around its middle
    y, x = 8.0 - 14, 17.0 - 14
    wanted = (14 + y * math.cos(turn) - x * math.sin(turn), 14 + x * math.cos(turn) + y * math.sin(turn))
    center = tuple(float((weight * axis).sum() / weight.sum()) for axis in (row, column))
    assert center == pytest.approx(wanted, abs=0.6)
    if angle == 0:
        torch.testing.assert_close(found, (spot - spot.mean())[0, 0], rtol=1e-4, atol=1e-4)


def test_noise_is_small_and_of_its_own() -> None:
    images = some(1, 1, 50, 50)
    one, same, other = (done(images, "noise", 0.0, seed=seed) - images for seed in (1, 1, 2))
    assert float(one.std()) == pytest.approx(0.001, rel=0.1)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_every_image_has_an_operation_of_its_own() -> None:
    drawn = draw_operations(ALL, 400, generator(1))
    assert drawn is not None
    counts = [drawn.names.count(name) for name in ALL]
    assert min(counts) > 70
    assert len(set(drawn.seeds)) > 390
    images = some(400, 1, 8, 8)
    augmented = operate(images, drawn)
    assert (augmented.shape, augmented.dtype) == (images.shape, images.dtype)
    assert (augmented - images).flatten(1).norm(dim=1).count_nonzero() > 380
    again = draw_operations(ALL, 400, generator(1))
    assert torch.equal(operate(images, again), augmented)
    state = generator(1).get_state()
    stream = generator(1)
    assert draw_operations((), 5, stream) is None
    assert operate(images, None) is images
    assert torch.equal(stream.get_state(), state), "nothing is drawn where nothing is done"


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 5, 31), (2, 31, 5), (1, 1, 1)])
@pytest.mark.parametrize("name", ALL)
def test_any_shape(name: ImageOperation, shape: tuple[int, int, int]) -> None:
    images = some(3, *shape)
    for first, second in ((0.0, 0.99), (0.99, 0.0), (0.5, 0.5)):
        found = done(images, name, first, second)
        assert found.shape == images.shape
        assert found.isfinite().all()
