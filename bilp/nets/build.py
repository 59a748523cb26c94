"""From a NetworkConfig and the shape of a sample to a network, or to one sentence that says why not and what to change."""

from __future__ import annotations

import math

import torch

from bilp.config import NetworkConfig
from bilp.errors import ConfigError
from bilp.nets.alexnet import alexnet
from bilp.nets.convnet import convnet, convnet_frepo, video_convnet_mean
from bilp.nets.convnet3d import convnet3d
from bilp.nets.densenet import densenet
from bilp.nets.layers import TooSmallError
from bilp.nets.lenet import lenet
from bilp.nets.mlp import mlp
from bilp.nets.network import Network
from bilp.nets.resnet import PLANS, resnet
from bilp.nets.vgg import vgg11

ImageShape = tuple[int, int, int]
VideoShape = tuple[int, int, int, int]
Shape = ImageShape | VideoShape

SHAPED = ("convnet", "convnet_frepo", "video_convnet_mean")
SHAPING_FIELDS = ("width", "depth", "norm", "activation", "pooling")
VIDEO = ("video_convnet_mean", "convnet3d")
EVERY_NORM = ("instance", "batch", "layer", "group", "none")
# Values of `norm` that exist; for networks without any, instance, the usual default, means "as in the papers".
NORMS = {
    **dict.fromkeys((*SHAPED, "vgg11", "densenet", *PLANS), EVERY_NORM),
    "alexnet": ("instance", "batch", "none"),
    "mlp": ("instance", "none"),
    "lenet": ("instance", "none"),
    "convnet3d": ("instance", "none"),
}
LARGEST_SIDE_TRIED = 512
MOST_FRAMES_TRIED = 64


def build(config: NetworkConfig, shape: Shape, classes: int) -> Network:
    """A network in train mode for images of shape `(C, H, W)` or videos of shape `(T, C, H, W)`, T frames each.

    Its parameters are NaN until `initialize` draws them. Width, depth, activation and pooling shape the ConvNets only. The
    global random state is not touched. Raises ConfigError if the architecture does not exist with this normalization, if
    it takes videos and the shape is that of an image or the other way round, or if the samples are too small for it.
    """
    if config.norm not in NORMS[config.name]:
        raise ConfigError(f"norm {config.norm!r} does not exist for {config.name}: use one of {', '.join(NORMS[config.name])}")
    if classes < 1 or min(shape) < 1:
        raise ConfigError(f"a network needs images and classes, not shape {shape} with {classes} classes")
    _check_kind(config, shape)
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
    fields = SHAPING_FIELDS if config.name in SHAPED else ("norm",)
    changed = [f"{field} {getattr(config, field)}" for field in fields if getattr(config, field) != getattr(default, field)]
    return " ".join([config.name, *changed])


def _check_kind(config: NetworkConfig, shape: Shape) -> None:
    """Raise ConfigError for an image network and videos, or a network of videos and images."""
    size = "x".join(map(str, shape))
    if config.name in VIDEO and len(shape) != 4:
        raise ConfigError(f"{config.name} takes videos (frames, channels, height, width), not images of {size}: choose an image network")
    if config.name not in VIDEO and len(shape) != 3:
        raise ConfigError(f"{config.name} takes images (channels, height, width), not videos of {size}: choose {' or '.join(VIDEO)}")


def _assemble(config: NetworkConfig, shape: Shape, classes: int) -> Network:
    """The network without memory for its parameters."""
    with torch.device("meta"):
        if len(shape) == 4:
            return convnet3d(shape, classes) if config.name == "convnet3d" else video_convnet_mean(config, shape, classes)
        match config.name:
            case "convnet":
                return convnet(config, shape, classes)
            case "convnet_frepo":
                return convnet_frepo(config, shape, classes)
            case "mlp":
                return mlp(shape, classes)
            case "lenet":
                return lenet(shape, classes)
            case "alexnet":  # the papers' AlexNet has no normalization, so their default means none here
                return alexnet("batch" if config.norm == "batch" else "none", shape, classes)
            case "vgg11":
                return vgg11(config.norm, shape, classes)
            case "densenet":
                return densenet(config.norm, shape, classes)
            case name:
                return resnet(PLANS[name], config.norm, shape, classes)


def _explain(config: NetworkConfig, shape: Shape, reason: str) -> str:
    """What is wrong, and the smallest changes that help."""
    height, width = shape[-2:]
    remedies = []
    if config.name in SHAPED:
        depths = [depth for depth in range(1, config.depth) if _fits(config.model_copy(update={"depth": depth}), shape)]
        remedies += [f"set depth to {depths[-1]} or less"] if depths else []
    sides = range(min(height, width) + 1, LARGEST_SIDE_TRIED + 1)
    side = next((side for side in sides if _fits(config, _with_side(shape, side))), None)
    remedies += [f"set ingest.resolution to {side} or more"] if side else []
    if len(shape) == 4:
        counts = range(shape[0] + 1, MOST_FRAMES_TRIED + 1)
        frames = next((count for count in counts if _fits(config, (count, *shape[1:]))), None)
        remedies += [f"take {frames} frames or more of each video"] if frames else []
    remedies += ["choose a smaller network"] if not remedies else []
    samples = "videos" if len(shape) == 4 else "images"
    return f"{label(config)} cannot take {samples} of {'x'.join(map(str, shape))}: {reason}; {' or '.join(remedies)}"


def _with_side(shape: Shape, side: int) -> Shape:
    return (shape[0], shape[1], side, side) if len(shape) == 4 else (shape[0], side, side)


def _fits(config: NetworkConfig, shape: Shape) -> bool:
    try:
        _assemble(config, shape, 1)
    except TooSmallError:
        return False
    return True
