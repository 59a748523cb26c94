"""DenseNet for small images (Huang et al. 2017), as IDC uses it across architectures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bilp.config import NetworkConfig
from bilp.nets.layers import Layers
from bilp.nets.network import Network

BLOCKS = (6, 12, 24, 16)
GROWTH = 12
BOTTLENECK = 4  # widths of a layer's first convolution, in units of its growth


class Concatenated(nn.Module):
    """New maps beside those they were computed from."""

    def __init__(self, main: nn.Module) -> None:
        super().__init__()
        self.main = main

    def forward(self, maps: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, growth + C, H, W]`, the new maps first."""
        return torch.cat([self.main(maps), maps], dim=1)


def densenet(config: NetworkConfig, shape: tuple[int, int, int], classes: int) -> Network:
    """3x3 convolution to 24 maps, dense blocks of 6, 12, 24 and 16 layers with growth 12, transitions that halve maps and sides.

    Each layer: norm, ReLU, 1x1, norm, ReLU, 3x3; convolutions have no bias. At the end norm, ReLU, pooling of the whole map.
    """
    layers = Layers(shape).conv(2 * GROWTH, 3, padding=1, bias=False)
    for number, count in enumerate(BLOCKS):
        for _ in range(count):
            _add_layer(layers, config.norm)
        layers.norm(config.norm).activation()
        if number < len(BLOCKS) - 1:
            layers.conv(layers.channels // 2, 1, padding=0, bias=False).pool("avg")
    return layers.block(nn.AdaptiveAvgPool2d(1), layers.channels, 1, 1).flatten().network(classes)


def _add_layer(layers: Layers, norm: str) -> None:
    main = Layers((layers.channels, layers.height, layers.width)).norm(norm).activation()
    main.conv(BOTTLENECK * GROWTH, 1, padding=0, bias=False).norm(norm).activation().conv(GROWTH, 3, padding=1, bias=False)
    layers.block(Concatenated(main.sequential()), layers.channels + GROWTH, layers.height, layers.width)
