"""Stored images that stand for several ones, taken apart and put together again without a change of a pixel."""

from __future__ import annotations

from torch import Tensor

from bilp.config.decode import DecodeConfig
from bilp.config.shapes import Shape, side_of
from bilp.errors import ConfigError


def check_parts(decode: DecodeConfig, shape: Shape, where: str) -> None:
    """Raise ConfigError unless stored images of a shape consist of equal parts, each of which is decoded to an image of its own."""
    if decode.factor > 1 and decode.kind != "single":
        raise ConfigError(
            f"{where} is decoded in several ways at once (kind {decode.kind}), so that its parts cannot be moved: "
            "distill with a smaller ipc"
        )
    if any(length % decode.factor for length in side_of(shape)):
        raise ConfigError(
            f"the sides of {where}, {list(side_of(shape))} pixels, are no multiples of {decode.factor}, so that its parts cannot be moved: "
            "distill with a smaller ipc"
        )


def taken_apart(images: Tensor, factor: int) -> Tensor:
    """The factor x factor parts of images or clips: `[M, ..., H, W]` to `[M * factor^2, ..., H / factor, W / factor]`.

    The parts of one image follow each other, row by row, as in `bilp.images.multiformation.enlarge_parts`.
    """
    count, *lead, height, width = images.shape
    cut = images.reshape(count, *lead, factor, height // factor, factor, width // factor)
    return cut.movedim((-4, -2), (1, 2)).reshape(count * factor**2, *lead, height // factor, width // factor)


def put_together(parts: Tensor, factor: int) -> Tensor:
    """The inverse of `taken_apart`."""
    count, *lead, height, width = parts.shape
    split = parts.reshape(count // factor**2, factor, factor, *lead, height, width)
    return split.movedim((1, 2), (-4, -2)).reshape(count // factor**2, *lead, factor * height, factor * width)
