"""Crops and tiles against PyTorch's own resampling and plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bilp.images.tiles import cut_out, draw_boxes, framed, stitch, tile_side
from bilp.seeds import generator

SIDES = pytest.mark.parametrize("side", [(8, 8), (32, 32), (9, 14)])


def cropped(image: Tensor, box: list[int], side: tuple[int, int]) -> Tensor:
    top, left, height, width = box
    part = image[..., top : top + height, left : left + width]
    return functional.interpolate(part, side, mode="bilinear", antialias=True)


@SIDES
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_crops_are_those_of_the_library(side: tuple[int, int], factor: int) -> None:
    images, boxes = torch.randn(6, 3, *side, generator=generator(0, "images")), draw_boxes(6, side, 0.08, generator(0, "boxes"))
    boxes[0] = torch.tensor([0, 0, *side])
    expected = torch.cat([cropped(images[k : k + 1], boxes[k].tolist(), tile_side(side, factor)) for k in range(6)])
    assert torch.allclose(cut_out(images, boxes, tile_side(side, factor)), expected, atol=1e-5)


def test_a_whole_image_is_itself_to_the_bit() -> None:
    images = torch.randn(2, 3, 9, 14, generator=generator(0, "images"))
    assert torch.equal(cut_out(images, torch.tensor([[0, 0, 9, 14]] * 2), (9, 14)), images)
    assert torch.equal(stitch(images, 1, (9, 14)), images)


def test_every_frame_of_a_clip_is_cut_alike() -> None:
    clips, boxes = torch.randn(3, 4, 3, 10, 12, generator=generator(0, "clips")), draw_boxes(3, (10, 12), 0.3, generator(0, "boxes"))
    tiles = cut_out(clips, boxes, (5, 6))
    frames = [cut_out(clips[:, t], boxes, (5, 6)) for t in range(4)]
    assert torch.allclose(tiles, torch.stack(frames, dim=1), atol=1e-6)
    several = tiles.repeat(4, 1, 1, 1, 1)
    assert stitch(several, 2, (10, 12)).shape == (3, 4, 3, 10, 12)
    assert torch.equal(stitch(several, 2, (10, 12))[:, 2], stitch(several[:, 2], 2, (10, 12)))


@SIDES
def test_boxes_lie_in_the_image_and_keep_their_share(side: tuple[int, int]) -> None:
    boxes = draw_boxes(2000, side, 0.25, generator(1, "boxes"))
    top, left, height, width = boxes.unbind(1)
    assert int(top.min()) == 0
    assert int(left.min()) == 0
    assert int((top + height).max()) == side[0]
    assert int((left + width).max()) == side[1]
    # rounded to whole pixels: half a pixel of each side
    shares = height * width / (side[0] * side[1])
    assert float(shares.min()) == pytest.approx(0.25, abs=0.5 * sum(1 / length for length in side))
    assert float(shares.double().mean()) == pytest.approx(0.625, abs=0.03)
    whole = draw_boxes(5, side, 1.0, generator(1, "boxes"))
    assert whole.tolist() == [[0, 0, *side]] * 5


def test_every_place_of_a_box_is_as_likely() -> None:
    boxes = draw_boxes(6000, (4, 4), 0.5, generator(2, "boxes"))
    small = boxes[boxes[:, 2] == 3]
    counts = torch.bincount(small[:, 0] * 2 + small[:, 1], minlength=4)
    assert float(counts.min() / counts.max()) > 0.85


def test_tiles_are_put_where_their_rank_says() -> None:
    tiles = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 2, 3)
    images = stitch(tiles, 2, (4, 6))
    assert images[0, 0, ::2, ::3].tolist() == [[0, 2], [4, 6]]
    assert images[1, 0, ::2, ::3].tolist() == [[1, 3], [5, 7]]
    assert images[:, :, :2, :3].unique().tolist() == [0, 1], "the best tiles come first"


def test_what_a_factor_leaves_over_goes_to_the_first_tiles() -> None:
    tiles = torch.arange(9.0).view(9, 1, 1, 1).expand(9, 1, 2, 3)
    (image,) = stitch(tiles, 3, (8, 11))
    rows, columns = [3, 3, 2], [4, 4, 3]
    expected = torch.arange(9.0).view(3, 3).repeat_interleave(torch.tensor(rows), 0).repeat_interleave(torch.tensor(columns), 1)
    assert torch.equal(image[0], expected)


def test_a_tile_is_shown_in_the_middle() -> None:
    shown = framed(torch.ones(1, 2, 3, 2), (6, 5))
    assert shown.sum() == 12
    assert shown[0, :, 1:4, 1:3].sum() == 12
