"""AlexNet for small images (Krizhevsky et al. 2012), as in the distillation papers."""

from __future__ import annotations

from bilp.config import NetworkConfig
from bilp.nets.layers import Layers
from bilp.nets.network import Network


def alexnet(config: NetworkConfig, shape: tuple[int, int, int], classes: int) -> Network:
    """128 and 192 maps of 5x5, then 256, 192, 192 of 3x3; max pooling after the 1st, 2nd and 5th. Gray is padded by 4.

    A batch norm follows each convolution if the settings ask for it (AlexNetBN). The papers' AlexNet has no normalization, so that
    norm instance, their default, means none here.
    """
    norm = config.norm if config.norm == "batch" else "none"
    layers = Layers(shape)
    layers.conv(128, 5, padding=4 if shape[0] == 1 else 2).norm(norm).activation().pool("max")
    layers.conv(192, 5, padding=2).norm(norm).activation().pool("max")
    for channels in (256, 192, 192):
        layers.conv(channels, 3, padding=1).norm(norm).activation()
    return layers.pool("max").flatten().network(classes)
