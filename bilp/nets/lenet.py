"""LeNet (LeCun et al. 1998) with ReLU and max pooling, as in the distillation papers."""

from __future__ import annotations

from bilp.config import NetworkConfig
from bilp.nets.layers import Layers
from bilp.nets.network import Network


def lenet(config: NetworkConfig, shape: tuple[int, int, int], classes: int) -> Network:
    """6 and 16 maps of 5x5 convolutions, then 120, 84 and the classifier. Gray images are padded by 2."""
    layers = Layers(shape)
    layers.conv(6, 5, padding=2 if shape[0] == 1 else 0).activation().pool("max")
    layers.conv(16, 5, padding=0).activation().pool("max")
    return layers.flatten().linear(120).activation().linear(84).activation().network(classes)
