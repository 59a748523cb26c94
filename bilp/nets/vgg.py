"""VGG11 (Simonyan & Zisserman 2015) with one linear layer, as in the distillation papers."""

from __future__ import annotations

from bilp.config import NetworkConfig
from bilp.nets.layers import Layers
from bilp.nets.network import Network

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))


def vgg11(config: NetworkConfig, shape: tuple[int, int, int], classes: int) -> Network:
    """Five stages of 3x3 convolution, normalization and ReLU, each ended by max pooling. Gray images are padded by 3."""
    layers = Layers(shape)
    padding = 3 if shape[0] == 1 else 1
    for stage in STAGES:
        for channels in stage:
            layers.conv(channels, 3, padding).norm(config.norm).activation()
            padding = 1
        layers.pool("max")
    return layers.flatten().network(classes)
