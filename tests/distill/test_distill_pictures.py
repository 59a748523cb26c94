"""Grids of synthetic images: the right pixels at the right place, the same bytes every time."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from bilp.distill import pictures
from bilp.distill.pictures import displayable, grid_png
from bilp.seeds import generator


def _opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator(0, "picture", *shape))


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_lie_in_rows_of_classes_and_columns_of_images(channels: int) -> None:
    mean, std = (0.5,) * channels, (0.2,) * channels
    images = _noise(6, channels, 8, 8)  # 2 classes, 3 images each
    picture = _opened(grid_png(images, 3, mean, std))
    assert picture.shape[:2] == ((2 * 9 + 1) * 4, (3 * 9 + 1) * 4)
    small = picture[::4, ::4]
    expected = displayable(images, mean, std).numpy()
    for row in range(2):
        for column in range(3):
            tile = small[1 + 9 * row : 9 + 9 * row, 1 + 9 * column : 9 + 9 * column]
            wanted = expected[3 * row + column]
            assert (tile == (wanted[0] if channels == 1 else wanted.transpose(1, 2, 0))).all()
    assert (small[0] == 255).all()
    assert (small[:, 9] == 255).all()
    assert (np.repeat(np.repeat(small, 4, 0), 4, 1) == picture).all()


def test_values_are_denormalized_and_clipped() -> None:
    images = torch.tensor([-100.0, -2.5, 0.0, 2.5, 100.0]).reshape(1, 1, 1, 5)
    assert displayable(images, (0.5,), (0.2,)).flatten().tolist() == [0, 0, 128, 255, 255]


def test_same_images_same_bytes_and_no_timestamp() -> None:
    images = _noise(4, 3, 16, 16)
    one, again = (grid_png(images.clone(), 2, (0.5,) * 3, (0.2,) * 3) for _ in range(2))
    assert one == again
    assert b"tIME" not in one
    assert b"tEXt" not in one
    assert grid_png(images + 0.1, 2, (0.5,) * 3, (0.2,) * 3) != one


def test_large_images_are_not_enlarged() -> None:
    assert _opened(grid_png(_noise(1, 3, 40, 48), 1, (0.5,) * 3, (0.2,) * 3)).shape == (42, 50, 3)


def test_a_grid_shows_at_most_a_hundred_rows_and_columns() -> None:
    images = _noise(101 * 102, 1, 2, 2)
    picture = _opened(grid_png(images, 102, (0.5,), (0.2,)))
    assert picture.shape == ((100 * 3 + 1) * 16, (100 * 3 + 1) * 16)
    last = displayable(images, (0.5,), (0.2,))[99 * 102 + 99, 0].numpy()
    assert (picture[::16, ::16][-3:-1, -3:-1] == last).all()


def test_images_that_are_not_shown_are_not_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[int] = []

    def counting(images: torch.Tensor, *arguments: object) -> torch.Tensor:
        converted.append(images.numel() * images.element_size())
        return displayable(images, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pictures, "displayable", counting)
    many = torch.zeros(1, 1, 2, 2).expand(1000 * 50, 1, 2, 2)
    assert _opened(grid_png(many, 50, (0.5,), (0.2,))).shape == ((100 * 3 + 1) * 16, (50 * 3 + 1) * 16)
    assert converted == [100 * 50 * 4 * 4]
