"""Decoding against one loop per pixel and the library's interpolation, its counts, and its inverse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from bilp.config.decode import DecodeConfig
from bilp.images.multiformation import decode_class, decode_classes, decode_set, enlarge_parts, gray, mosaic
from bilp.seeds import generator

MEAN, STD = (0.5, 0.25, 0.4), (0.2, 0.3, 0.1)


def draw(count: int, height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, 3, height, width, generator=generator(81, count, height, width), dtype=torch.float64).to(dtype)


def by_pixels(image: Tensor, factor: int, filling: Tensor) -> list[Tensor]:
    """The parts of one image `[C, H, W]`, enlarged: every pixel on its own, by the definition of bilinear interpolation."""
    channels, height, width = image.shape
    h, w = -(-height // factor), -(-width // factor)

    def stored(c: int, y: int, x: int) -> float:
        return float(image[c, y, x]) if y < height and x < width else float(filling[c])

    def place(out: int, small: int, whole: int) -> tuple[int, int, float]:
        at = min(max((out + 0.5) * small / whole - 0.5, 0.0), small - 1)
        return int(at), min(int(at) + 1, small - 1), at - int(at)

    parts = []
    for top in range(factor):
        for left in range(factor):
            part = torch.empty_like(image)
            for c in range(channels):
                for y in range(height):
                    for x in range(width):
                        y0, y1, v = place(y, h, height)
                        x0, x1, u = place(x, w, width)
                        part[c, y, x] = sum(
                            weight * stored(c, top * h + row, left * w + column)
                            for row, column, weight in (
                                (y0, x0, (1 - v) * (1 - u)),
                                (y0, x1, (1 - v) * u),
                                (y1, x0, v * (1 - u)),
                                (y1, x1, v * u),
                            )
                        )
            parts.append(part)
    return parts


@pytest.mark.parametrize(("height", "width", "factor"), [(8, 8, 2), (7, 7, 2), (8, 5, 3), (4, 6, 4), (3, 3, 3), (2, 2, 3)])
def test_parts_equal_one_loop_per_pixel(height: int, width: int, factor: int) -> None:
    images, filling = draw(2, height, width), gray(MEAN, STD)
    wanted = torch.stack([part for image in images for part in by_pixels(image, factor, filling)])
    torch.testing.assert_close(enlarge_parts(images, factor, filling), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("side", "factor"), [(32, 2), (32, 3), (28, 3)])
def test_parts_equal_the_interpolation_of_the_library(side: int, factor: int) -> None:
    images, filling = draw(2, side, side), gray(MEAN, STD)
    short = -(-side // factor) * factor - side
    wide = torch.stack([functional.pad(images[:, c], (0, short, 0, short), value=float(filling[c])) for c in range(3)], dim=1)
    part = wide.shape[2] // factor
    crops = [wide[:, :, y * part : (y + 1) * part, x * part : (x + 1) * part] for y in range(factor) for x in range(factor)]
    wanted = torch.stack([functional.interpolate(crop, (side, side), mode="bilinear") for crop in crops], dim=1).flatten(0, 1)
    torch.testing.assert_close(enlarge_parts(images, factor, filling), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3])
def test_decoding_commutes_with_the_normalization(factor: int) -> None:
    """Normalized images may be decoded as they are: the same as decoding pixels with the filling 0.5, then normalizing."""
    pixels = torch.rand(2, 3, 8, 8, generator=generator(82), dtype=torch.float64)
    center, scale = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (MEAN, STD))
    first = (enlarge_parts(pixels, factor, torch.full((3,), 0.5)) - center) / scale
    torch.testing.assert_close(enlarge_parts((pixels - center) / scale, factor, gray(MEAN, STD)), first, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        DecodeConfig(factor=2),
        pytest.param(DecodeConfig(factor=3, kind="multi"), marks=pytest.mark.slow),
        DecodeConfig(factor=2, kind="bound", bound=9),
    ],
)
def test_derivatives_of_both_orders(config: DecodeConfig) -> None:
    images = draw(3, 5, 5, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: decode_class(x, config, gray(MEAN, STD)).square(), images)
    assert torch.autograd.gradgradcheck(lambda x: decode_class(x, config, gray(MEAN, STD)).square().sum(), images)


def test_kinds() -> None:
    images, filling = draw(3, 8, 8), gray(MEAN, STD)
    assert decode_class(images, DecodeConfig(), filling) is images
    quarters, ninths = enlarge_parts(images, 2, filling), enlarge_parts(images, 3, filling)
    assert torch.equal(decode_class(images, DecodeConfig(factor=3), filling), ninths)
    assert torch.equal(decode_class(images, DecodeConfig(factor=3, kind="multi"), filling), torch.cat([images, quarters, ninths]))
    # 15 images: one as 9, the next as 4, the last as itself
    bound = decode_class(images, DecodeConfig(factor=3, kind="bound", bound=15), filling)
    assert torch.equal(bound, torch.cat([ninths[:9], quarters[4:8], images[2:]]))


@given(stored=st.integers(1, 200), factor=st.integers(1, 6), bound=st.integers(1, 300))
def test_a_bound_is_kept_and_no_larger_factor_would_fit(stored: int, factor: int, bound: int) -> None:
    config = DecodeConfig(factor=factor, kind="bound", bound=bound)
    shares = config.shares(stored)
    assert sum(number for _, number in shares) == stored
    assert [f for f, _ in shares] == sorted({f for f, _ in shares}, reverse=True)
    total = sum(number * f**2 for f, number in shares)
    assert config.count(stored) == total <= max(bound, stored)
    largest = dict(shares).get(factor, 0)
    if largest < stored:
        assert (largest + 1) * factor**2 + stored - largest - 1 > bound


@pytest.mark.parametrize(
    ("factor", "stored", "shares"),
    [
        (2, 30, [(2, 24), (1, 6)]),
        (3, 20, [(3, 12), (2, 3), (1, 5)]),
        (3, 30, [(3, 10), (2, 4), (1, 16)]),
        (3, 5, [(3, 5)]),
        (2, 128, [(1, 128)]),
        (2, 130, [(1, 130)]),
    ],
)
def test_the_bound_as_the_program_of_idc_shares_it_out(factor: int, stored: int, shares: list[tuple[int, int]]) -> None:
    """What decode_zoom_bound (condense.py:136) gives: 102, 125 and 122 images where ours makes 120, 127 and 126 of the same."""
    config = DecodeConfig(factor=factor, kind="bound_idc")
    assert config.shares(stored) == shares
    assert config.count(stored) <= DecodeConfig(factor=factor, kind="bound").count(stored) <= max(128, stored)


@pytest.mark.parametrize("kind", ["single", "multi", "bound", "bound_idc"])
@pytest.mark.parametrize("ipc", [1, 3, 40])
def test_counts_are_those_of_the_decoded_images(kind: str, ipc: int) -> None:
    config = DecodeConfig.model_validate({"factor": 2, "kind": kind})
    assert len(decode_class(draw(ipc, 4, 4), config, gray(MEAN, STD))) == config.count(ipc)


def test_labels_are_repeated_class_by_class() -> None:
    config, filling = DecodeConfig(factor=2, kind="multi"), gray(MEAN, STD)
    images, labels = draw(5, 4, 4), torch.tensor([7, 2, 7, 2, 2])
    decoded, repeated = decode_set(images, labels, config, filling)
    assert repeated.tolist() == [2] * 15 + [7] * 10
    assert repeated.dtype == labels.dtype
    assert torch.equal(decoded[:15], decode_class(images[[1, 3, 4]], config, filling))
    assert torch.equal(decoded[15:], decode_class(images[[0, 2]], config, filling))
    same, given = decode_set(images, labels, DecodeConfig(), filling)
    assert same is images
    assert given is labels


@pytest.mark.parametrize(("side", "factor"), [((8, 8), 2), ((7, 5), 2), ((9, 8), 3)])
def test_a_mosaic_holds_shrunken_images_that_decoding_finds_again(side: tuple[int, int], factor: int) -> None:
    flat = torch.arange(2.0 * factor**2).view(-1, 1, 1, 1).expand(-1, 3, *side)  # every image of one value
    whole = mosaic(flat.contiguous(), factor)
    assert whole.shape == (2, 3, *side)
    found = enlarge_parts(whole, factor, torch.zeros(3))
    inner = tuple(length // factor * factor == length for length in side)
    if all(inner):
        torch.testing.assert_close(found, flat)
    torch.testing.assert_close(found[:, :, 0, 0], flat[:, :, 0, 0])
    images = draw(4, 6, 6)
    assert mosaic(images, 1) is images
    assert torch.equal(mosaic(images, 2)[0, :, :3, 3:], images[1, :, ::2, ::2])


def test_images_are_shrunk_into_the_parts_that_decoding_cuts() -> None:
    """32 pixels by 3 are parts of 11, 11 and 10 (IDC's init mix, condense.py:72): nothing of a picture is cut off."""
    images = draw(9, 32, 32)
    whole, last = mosaic(images, 3)[0], images[8]
    assert whole.shape == (3, 32, 32)
    places = [int(k * 32 / 10) for k in range(10)]
    assert torch.equal(whole[:, 22:, 22:], last[:, places][:, :, places])
    down = [int(k * 32 / 11) for k in range(11)]
    assert torch.equal(whole[:, :11, 22:], images[2][:, down][:, :, places])
    narrow = mosaic(draw(9, 4, 4), 3)  # parts of 2, 2 and none
    assert narrow.shape == (1, 3, 4, 4)


def test_the_mean_of_four_pixels_instead_of_one() -> None:
    """What IDM's program begins with (IDM_cifar10.py:142)."""
    images = draw(8, 6, 8)
    means = images.view(8, 3, 3, 2, 4, 2).mean(dim=(3, 5))
    whole = mosaic(images, 2, "bilinear")
    torch.testing.assert_close(whole[1, :, :3, :4], means[4])
    torch.testing.assert_close(whole[1, :, 3:, :4], means[6])
    assert not torch.allclose(whole, mosaic(images, 2), atol=1e-2)


@pytest.mark.parametrize("kind", ["single", "multi", "bound", "bound_idc"])
def test_classes_that_are_decoded_together_are_decoded_each_on_its_own(kind: str) -> None:
    config, filling = DecodeConfig.model_validate({"factor": 3, "kind": kind, "bound": 20}), gray(MEAN, STD)
    images = draw(12, 7, 8)
    wanted = torch.cat([decode_class(own, config, filling) for own in images.split(4)])
    assert len(wanted) == 3 * config.count(4)
    assert torch.equal(decode_classes(images, config, filling, 3), wanted)
