"""From a NetworkConfig and the shape of a sample to a network, or to one sentence that says why not and what to change."""

from __future__ import annotations

import math

import torch

from bilp.config import NetworkConfig
from bilp.config.network import OWN
from bilp.config.shapes import Shape, frames_in, is_clip, side_of, with_frames, with_side
from bilp.errors import ConfigError
from bilp.nets.layers import TooSmallError
from bilp.nets.network import Network
from bilp.registry import resolve

LARGEST_SIDE_TRIED = 512
MOST_FRAMES_TRIED = 64


def build(config: NetworkConfig, shape: Shape, classes: int) -> Network:
    """A network in train mode for images of shape `(C, H, W)` or videos of shape `(T, C, H, W)`, T frames each.

    Its parameters are NaN until `initialize` draws them. Settings that it does not read do not shape
    it. The global random state is not touched. Raises ConfigError if the architecture does not exist with this normalization, if
    it takes videos and the shape is that of an image or the other way round, or if the samples are too small for it.
    """
    norms = config.entry.norms
    if config.norm not in norms:
        raise ConfigError(f"norm {config.norm!r} does not exist for {config.name}: use one of {', '.join(norms)}")
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
    changed = [f"{field} {getattr(config, field)}" for field in config.entry.reads if getattr(config, field) != getattr(default, field)]
    return " ".join([config.name, *changed])


def _check_kind(config: NetworkConfig, shape: Shape) -> None:
    """Raise ConfigError for an image network and videos, or a network of videos and images."""
    size = "x".join(map(str, shape))
    if config.entry.video and not is_clip(shape):
        raise ConfigError(f"{config.name} takes videos (frames, channels, height, width), not images of {size}: choose an image network")
    if not config.entry.video and is_clip(shape):
        others = " or ".join(entry.name for entry in OWN if entry.video)
        raise ConfigError(f"{config.name} takes images (channels, height, width), not videos of {size}: choose {others}")


def _assemble(config: NetworkConfig, shape: Shape, classes: int) -> Network:
    """The network without memory for its parameters."""
    with torch.device("meta"):
        network: Network = resolve(config.entry.builder)(config, shape, classes)
    return network


def _explain(config: NetworkConfig, shape: Shape, reason: str) -> str:
    """What is wrong, and the smallest changes that help."""
    height, width = side_of(shape)
    remedies = []
    if "depth" in config.entry.reads:
        depths = [depth for depth in range(1, config.depth) if _fits(config.model_copy(update={"depth": depth}), shape)]
        remedies += [f"set depth to {depths[-1]} or less"] if depths else []
    sides = range(min(height, width) + 1, LARGEST_SIDE_TRIED + 1)
    side = next((side for side in sides if _fits(config, with_side(shape, side, side))), None)
    remedies += [f"set ingest.resolution to {side} or more"] if side else []
    if is_clip(shape):
        counts = range(frames_in(shape) + 1, MOST_FRAMES_TRIED + 1)
        frames = next((count for count in counts if _fits(config, with_frames(shape, count))), None)
        remedies += [f"take {frames} frames or more of each video"] if frames else []
    remedies += ["choose a smaller network"] if not remedies else []
    samples = "videos" if is_clip(shape) else "images"
    return f"{label(config)} cannot take {samples} of {'x'.join(map(str, shape))}: {reason}; {' or '.join(remedies)}"


def _fits(config: NetworkConfig, shape: Shape) -> bool:
    try:
        _assemble(config, shape, 1)
    except TooSmallError:
        return False
    return True
