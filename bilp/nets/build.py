"""From a NetworkConfig and an image shape to a network, or to one sentence that says why not and what to change."""

from __future__ import annotations

import math

import torch

from bilp.config import NetworkConfig
from bilp.errors import ConfigError
from bilp.nets.alexnet import alexnet
from bilp.nets.convnet import convnet
from bilp.nets.densenet import densenet
from bilp.nets.layers import TooSmallError
from bilp.nets.lenet import lenet
from bilp.nets.mlp import mlp
from bilp.nets.network import Network
from bilp.nets.resnet import PLANS, resnet
from bilp.nets.vgg import vgg11

Shape = tuple[int, int, int]

SHAPING_FIELDS = ("width", "depth", "norm", "activation", "pooling")
EVERY_NORM = ("instance", "batch", "layer", "group", "none")
# Values of `norm` that exist; for networks without any, instance, the usual default, means "as in the papers".
NORMS = {
    **dict.fromkeys(("convnet", "vgg11", "densenet", *PLANS), EVERY_NORM),
    "alexnet": ("instance", "batch", "none"),
    "mlp": ("instance", "none"),
    "lenet": ("instance", "none"),
}
LARGEST_SIDE_TRIED = 512


def build(config: NetworkConfig, shape: Shape, classes: int) -> Network:
    """A network in train mode for images of shape `(C, H, W)`; its parameters are NaN until `initialise` draws them.

    Width, depth, activation and pooling shape the ConvNet only. The global random state is not touched. Raises
    ConfigError if the architecture does not exist with this normalisation, or if the images are too small for it.
    """
    if config.norm not in NORMS[config.name]:
        raise ConfigError(f"norm {config.norm!r} does not exist for {config.name}: use one of {', '.join(NORMS[config.name])}")
    if classes < 1 or min(shape) < 1:
        raise ConfigError(f"a network needs images and classes, not shape {shape} with {classes} classes")
    try:
        network = _assemble(config, shape, classes)
    except TooSmallError as error:
        raise ConfigError(_explain(config, shape, str(error))) from None
    network.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.fill_(math.nan if tensor.is_floating_point() else 0)
    return network


def label(config: NetworkConfig) -> str:
    """Short name of a network for tables: its architecture and what shapes it differently from the defaults."""
    default = NetworkConfig(name=config.name)
    fields = SHAPING_FIELDS if config.name == "convnet" else ("norm",)
    changed = [f"{field} {getattr(config, field)}" for field in fields if getattr(config, field) != getattr(default, field)]
    return " ".join([config.name, *changed])


def _assemble(config: NetworkConfig, shape: Shape, classes: int) -> Network:
    """The network without memory for its parameters."""
    with torch.device("meta"):
        match config.name:
            case "convnet":
                return convnet(config, shape, classes)
            case "mlp":
                return mlp(shape, classes)
            case "lenet":
                return lenet(shape, classes)
            case "alexnet":  # the papers' AlexNet has no normalisation, so their default means none here
                return alexnet("batch" if config.norm == "batch" else "none", shape, classes)
            case "vgg11":
                return vgg11(config.norm, shape, classes)
            case "densenet":
                return densenet(config.norm, shape, classes)
            case name:
                return resnet(PLANS[name], config.norm, shape, classes)


def _explain(config: NetworkConfig, shape: Shape, reason: str) -> str:
    """What is wrong, and the smallest changes that help."""
    channels, height, width = shape
    remedies = []
    if config.name == "convnet":
        depths = [depth for depth in range(1, config.depth) if _fits(config.model_copy(update={"depth": depth}), shape)]
        remedies += [f"set depth to {depths[-1]} or less"] if depths else []
    sides = range(min(height, width) + 1, LARGEST_SIDE_TRIED + 1)
    side = next((side for side in sides if _fits(config, (channels, side, side))), None)
    remedies += [f"set ingest.resolution to {side} or more"] if side else []
    remedies += ["choose a smaller network"] if not remedies else []
    return f"{label(config)} cannot take images of {channels}x{height}x{width}: {reason}; {' or '.join(remedies)}"


def _fits(config: NetworkConfig, shape: Shape) -> bool:
    try:
        _assemble(config, shape, 1)
    except TooSmallError:
        return False
    return True
