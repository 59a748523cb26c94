"""ConvNet of the distillation papers (Zhao et al. 2021; Gidaris & Komodakis 2018), and what was made of it."""

from __future__ import annotations

from torch import nn

from bilp.config import NetworkConfig
from bilp.config.shapes import ClipShape, frame_of
from bilp.nets.clips import FrameMean
from bilp.nets.layers import Layers
from bilp.nets.network import Network


def convnet(config: NetworkConfig, shape: tuple[int, int, int], classes: int) -> Network:
    """`depth` blocks of 3x3 convolution, normalization, activation and pooling, then the classifier.

    The first convolution pads gray images by 3, so that 28x28 becomes 32x32 (and 8x8 becomes 12x12).
    """
    return _blocks(config, shape).network(classes)


def video_convnet_mean(config: NetworkConfig, shape: ClipShape, classes: int) -> Network:
    """The ConvNet's blocks on every frame, the mean of the features over time, one classifier; `shape` is (T, C, H, W)."""
    layers = _blocks(config, frame_of(shape))
    return Network(nn.Sequential(FrameMean(layers.sequential())), layers.features, classes)


def convnet_frepo(config: NetworkConfig, shape: tuple[int, int, int], classes: int) -> Network:
    """The ConvNet of FRePo (Zhou et al. 2022), whose maps double their channels: width, 2 width, 4 width, ...

    Blocks of 3x3 convolution, activation and pooling; from the second on the normalization comes before the convolution,
    so that it normalizes the pooled maps of the block before. Gray images are padded as in the ConvNet.
    """
    layers = Layers(shape)
    for block in range(config.depth):
        if block > 0:
            layers.norm(config.norm)
        layers.conv(config.width * 2**block, 3, _padding(block, shape)).activation(config.activation).pool(config.pooling)
    return layers.flatten().network(classes)


def _blocks(config: NetworkConfig, shape: tuple[int, int, int]) -> Layers:
    layers = Layers(shape)
    for block in range(config.depth):
        layers.conv(config.width, 3, _padding(block, shape)).norm(config.norm).activation(config.activation).pool(config.pooling)
    return layers.flatten()


def _padding(block: int, shape: tuple[int, int, int]) -> int:
    return 3 if block == 0 and shape[0] == 1 else 1
