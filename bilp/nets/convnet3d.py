"""ConvNet3D: kernels that slide along time too, as the papers on distilled videos use it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from bilp.config import NetworkConfig
from bilp.config.shapes import ClipShape, channels_of, frames_in, side_of
from bilp.nets.dropout import Dropout
from bilp.nets.layers import TooSmallError
from bilp.nets.network import Network

KERNEL, STRIDE, PADDING = (3, 7, 7), (1, 2, 2), (1, 3, 3)
# Channels of a block, and how many frames its pooling takes together.
BLOCKS = ((64, 1), (128, 2), (128, 2))
DROPOUT = 0.5


class ChannelsFirst(nn.Module):
    """From the order of samples to that of three-dimensional convolutions."""

    def forward(self, videos: Tensor) -> Tensor:
        """`[B, T, C, H, W]` to `[B, C, T, H, W]`."""
        return videos.transpose(1, 2)


class WholeMean(nn.Module):
    """Mean of a map over time and space."""

    def forward(self, maps: Tensor) -> Tensor:
        """`[B, C, T, H, W]` to `[B, C]`."""
        return maps.mean(dim=(2, 3, 4))


def convnet3d(config: NetworkConfig, shape: ClipShape, classes: int, blocks: Sequence[tuple[int, int]] = BLOCKS) -> Network:
    """Three blocks of 3x7x7 convolution (64, 128, 128 channels), ReLU and max pooling; mean; dropout; classifier. No normalization.

    Convolutions have stride 2 in space and 1 in time and keep the number of frames; poolings are 1x2x2, 2x2x2 and 2x2x2.
    Eight frames of 64x64 end as maps of 2x1x1, whose mean is 128 features. It is the layout of the program of Wang et al.
    2024 ("Dancing with Still Images"), with two differences: longer videos are averaged over all that is left of time,
    where it takes means of two and the largest logit; and the features that methods compare are those of the classifier,
    not the maps before the mean (`convnet3d_maps` has these). Dropout acts as `bilp.nets.dropout` says. `shape` is (T, C, H, W).
    Raises TooSmallError.
    """
    modules, (channels, *_) = _maps(shape, blocks)
    return Network(nn.Sequential(*modules, WholeMean()), channels, classes, Dropout(DROPOUT))


def convnet3d_maps(config: NetworkConfig, shape: ClipShape, classes: int, blocks: Sequence[tuple[int, int]] = BLOCKS) -> Network:
    """ConvNet3D whose features are the flat last maps, which the program of Wang et al. 2024 compares: 256 of eight frames of 64x64.

    The classifier reads them all, where that program has one for each time step and takes the largest logit. Raises TooSmallError.
    """
    modules, maps = _maps(shape, blocks)
    return Network(nn.Sequential(*modules, nn.Flatten()), math.prod(maps), classes, Dropout(DROPOUT))


def _maps(shape: ClipShape, blocks: Sequence[tuple[int, int]]) -> tuple[list[nn.Module], ClipShape]:
    """The blocks, and the shape (channels, frames, height, width) of the maps that they end in."""
    channels, (height, width), frames = channels_of(shape), side_of(shape), frames_in(shape)
    modules: list[nn.Module] = [ChannelsFirst()]
    for wide, together in blocks:
        modules.append(nn.Conv3d(channels, wide, KERNEL, STRIDE, PADDING))
        height, width = ((length + 2 * PADDING[1] - KERNEL[1]) // STRIDE[1] + 1 for length in (height, width))
        if min(height, width) < 2 or frames < together:
            raise TooSmallError(f"{together}x2x2 pooling does not fit a map of {frames}x{height}x{width}")
        modules += [nn.ReLU(), nn.MaxPool3d((together, 2, 2))]
        channels, frames, height, width = wide, frames // together, height // 2, width // 2
    return modules, (channels, frames, height, width)
