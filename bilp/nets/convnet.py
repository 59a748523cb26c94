"""ConvNet of the distillation papers (Zhao et al. 2021; Gidaris & Komodakis 2018)."""

from __future__ import annotations

from bilp.config import NetworkConfig
from bilp.nets.layers import Layers
from bilp.nets.network import Network


def convnet(config: NetworkConfig, shape: tuple[int, int, int], classes: int) -> Network:
    """`depth` blocks of 3x3 convolution, normalisation, activation and pooling, then the classifier.

    The first convolution pads grey images by 3, so that 28x28 becomes 32x32 (and 8x8 becomes 12x12).
    """
    layers = Layers(shape)
    for block in range(config.depth):
        padding = 3 if block == 0 and shape[0] == 1 else 1
        layers.conv(config.width, 3, padding).norm(config.norm).activation(config.activation).pool(config.pooling)
    return layers.flatten().network(classes)
