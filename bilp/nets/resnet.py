"""ResNet18 for small images (He et al. 2016): 3x3 stem without pooling, as in the distillation papers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from bilp.nets.layers import Layers
from bilp.nets.network import Network

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
BLOCKS_PER_STAGE = 2
FINAL_POOL = 4


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; ReLU after their sum."""

    def __init__(self, main: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut

    def forward(self, maps: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C', H', W']`."""
        return functional.relu(self.main(maps) + self.shortcut(maps))


def resnet18(norm: str, shape: tuple[int, int, int], classes: int) -> Network:
    """Stages of 64, 128, 256 and 512 maps with two basic blocks each, average pooling, classifier.

    The final pooling is 4x4 as in the papers, or the whole map where images are so small that it has no 4x4 left.
    """
    layers = Layers(shape).conv(64, 3, padding=1, bias=False).norm(norm).activation()
    for channels, stride in STAGES:
        for block in range(BLOCKS_PER_STAGE):
            _add_block(layers, channels, stride if block == 0 else 1, norm)
    return layers.pool("avg", min(FINAL_POOL, layers.height, layers.width)).flatten().network(classes)


def _add_block(layers: Layers, channels: int, stride: int, norm: str) -> None:
    before = (layers.channels, layers.height, layers.width)
    main = Layers(before).conv(channels, 3, padding=1, stride=stride, bias=False).norm(norm).activation()
    main.conv(channels, 3, padding=1, bias=False).norm(norm)
    shortcut = Layers(before)
    if stride != 1 or before[0] != channels:
        shortcut.conv(channels, 1, padding=0, stride=stride, bias=False).norm(norm)
    layers.block(BasicBlock(main.sequential(), shortcut.sequential()), channels, main.height, main.width)
