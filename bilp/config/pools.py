"""Pools of networks by which the distillation papers test across architectures (the eval modes of DC's program)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Pool = Literal["S", "SS", "M", "B", "W", "D", "A", "P", "N"]

# One setting of the ConvNet varies; the others stay as they are.
VARIED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "W": ("width", (32, 64, 128, 256)),
    "D": ("depth", (1, 2, 3, 4)),
    "A": ("activation", ("sigmoid", "relu", "leaky_relu", "swish")),
    "P": ("pooling", ("none", "max", "avg")),
    "N": ("norm", ("none", "batch", "layer", "instance", "group")),
}
CONVNETS = ("convnet", "video_convnet_mean")
POOLS = ("S", "SS", "M", "B", *VARIED)


def pool_networks(pool: str, own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Settings of the networks in a pool; `own` are those of the network that distills. Raises KeyError for an unknown pool.

    S is the network itself without batch norm, SS the network as it is, M six architectures, B five with batch norm;
    W, D, A, P and N vary the width, depth, activation, pooling or norm of the ConvNet. ConvNets are shaped like the
    distilling network if that is one, so that they fit its images; where it is the ConvNet on the frames of videos, it takes
    the ConvNet's place.
    """
    if pool == "SS":
        return [dict(own)]
    if pool == "S":
        return [{**own, "norm": "instance"} if own.get("norm") == "batch" else dict(own)]
    convnet = dict(own) if own.get("name", "convnet") in CONVNETS else {"name": "convnet"}
    if pool == "M":
        return [{"name": "mlp"}, convnet, *({"name": name} for name in ("lenet", "alexnet", "vgg11", "resnet18"))]
    if pool == "B":
        with_norm = {**convnet, "norm": "batch"}
        return [with_norm, {**with_norm, "activation": "swish"}, *({"name": n, "norm": "batch"} for n in ("alexnet", "vgg11", "resnet18"))]
    setting, values = VARIED[pool]
    return [{**convnet, setting: value} for value in values]
