"""Residual networks (He et al. 2016) in the forms that the distillation papers use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from bilp.config import NetworkConfig
from bilp.nets.layers import Layers
from bilp.nets.network import Network

Shape = tuple[int, int, int]
STRIDES = (1, 2, 2, 2)
FINAL_POOL = 4
EXPANSION = 4  # of a bottleneck's last convolution
# IDC's stem by the shorter side of the image: 3x3 up to 64, 3x3 and pooling up to 128, 7x7 and pooling beyond.
SMALL_SIDE, MIDDLE_SIDE = 64, 128


@dataclass(frozen=True)
class Plan:
    """What tells residual networks apart.

    blocks and widths are per stage. A bottleneck has convolutions of 1x1, 3x3 and 1x1 instead of two of 3x3. stem: 3x3
    ("small"), 7x7 with stride 2 and max pooling ("imagenet"), or by the size of the image, with average pooling ("idc").
    halving: by convolutions with stride 2, or by average pooling after convolutions with stride 1. final: pooling of 4x4
    as in DC's program, of the whole map, or none. weights: what those of convolutions start from (see `Network`).
    """

    blocks: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    bottleneck: bool = False
    stem: Literal["small", "imagenet", "idc"] = "small"
    halving: Literal["stride", "average"] = "stride"
    final: Literal["4x4", "whole", "none"] = "4x4"
    weights: Literal["uniform", "fan_out"] = "uniform"

    def __call__(self, config: NetworkConfig, shape: Shape, classes: int) -> Network:
        """The residual network of this plan for images of `shape` = (C, H, W); of the settings only norm counts."""
        return resnet(self, config.norm, shape, classes)


RESNET18 = Plan((2, 2, 2, 2))
RESNET34 = Plan((3, 4, 6, 3))
RESNET50 = Plan((3, 4, 6, 3), bottleneck=True)
RESNET101 = Plan((3, 4, 23, 3), bottleneck=True)
RESNET152 = Plan((3, 8, 36, 3), bottleneck=True)
RESNET18_AP = Plan((2, 2, 2, 2), halving="average", final="none")
RESNET18_IMAGENET = Plan((2, 2, 2, 2), stem="imagenet", final="whole")
RESNET6_IMAGENET = Plan((1, 1, 1, 1), stem="imagenet", final="whole")
# IDC's own two start from other weights than all the others (its models/resnet.py:189 and resnet_ap.py:220).
RESNET10 = Plan((1, 1, 1, 1), widths=(32, 64, 128, 256), final="whole", weights="fan_out")
RESNET10_AP = Plan((1, 1, 1, 1), stem="idc", halving="average", final="whole", weights="fan_out")


class Block(nn.Module):
    """Convolutions beside a shortcut; ReLU after their sum."""

    def __init__(self, main: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut

    def forward(self, maps: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C', H', W']`."""
        return functional.relu(self.main(maps) + self.shortcut(maps))


def resnet(plan: Plan, norm: str, shape: Shape, classes: int) -> Network:
    """Stem, four stages of residual blocks, average pooling, classifier; convolutions have no bias.

    Where images are so small that there are no 4x4 maps left to pool, the whole maps are pooled.
    """
    layers = _stem(plan, norm, shape)
    for width, count, stride in zip(plan.widths, plan.blocks, STRIDES, strict=True):
        for block in range(count):
            _add_block(layers, plan, width, stride if block == 0 else 1, norm)
    if plan.final == "4x4":
        layers.pool("avg", min(FINAL_POOL, layers.height, layers.width))
    elif plan.final == "whole":
        layers.block(nn.AdaptiveAvgPool2d(1), layers.channels, 1, 1)
    network = layers.flatten().network(classes)
    network.initial_weights = plan.weights
    return network


def _stem(plan: Plan, norm: str, shape: Shape) -> Layers:
    layers, width, side = Layers(shape), plan.widths[0], min(shape[1:])
    if plan.stem == "imagenet":
        layers.conv(width, 7, padding=3, stride=2, bias=False).norm(norm).activation()
        return layers.block(nn.MaxPool2d(3, 2, 1), width, (layers.height + 1) // 2, (layers.width + 1) // 2)
    large = plan.stem == "idc" and side > MIDDLE_SIDE
    layers.conv(width, 7 if large else 3, padding=3 if large else 1, bias=False).norm(norm).activation()
    if plan.stem == "idc" and side > SMALL_SIDE:
        layers.pool("avg", 4 if large else 2)
    return layers


def _add_block(layers: Layers, plan: Plan, width: int, stride: int, norm: str) -> None:
    before = (layers.channels, layers.height, layers.width)
    averaged = stride != 1 and plan.halving == "average"
    step = 1 if averaged else stride
    main = Layers(before)
    if plan.bottleneck:
        main.conv(width, 1, padding=0, bias=False).norm(norm).activation()
    main.conv(width, 3, padding=1, stride=step, bias=False).norm(norm).activation()
    if averaged:
        main.pool("avg", stride)
    channels = EXPANSION * width if plan.bottleneck else width
    if plan.bottleneck:
        main.conv(channels, 1, padding=0, bias=False).norm(norm)
    else:
        main.conv(channels, 3, padding=1, bias=False).norm(norm)
    shortcut = Layers(before)
    if stride != 1 or before[0] != channels:
        shortcut.conv(channels, 1, padding=0, stride=step, bias=False)
        if averaged:
            shortcut.pool("avg", stride)
        shortcut.norm(norm)
    layers.block(Block(main.sequential(), shortcut.sequential()), channels, main.height, main.width)
