"""The normalizations of the distillation papers (methods: none, batch, layer, instance, group)."""

from __future__ import annotations

from torch import nn

from bilp.errors import ConfigError

GROUPS = 4


def normalization(kind: str, channels: int, height: int, width: int) -> nn.Module | None:
    """The layer that normalizes maps `[B, channels, height, width]`; None for kind "none".

    "instance" is a group norm with one group per channel: scale and bias are learned and there are no running
    statistics, so samples do not influence each other. "layer" learns a scale and a bias per value of the map,
    "group" uses 4 groups. Raises ConfigError if the channels cannot be cut into 4 groups.
    """
    if kind == "none":
        return None
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "layer":
        return nn.LayerNorm([channels, height, width])
    if kind == "instance":
        return nn.GroupNorm(channels, channels)
    if kind == "group":
        if channels % GROUPS:
            raise ConfigError(f"group norm cuts the channels into {GROUPS} groups: width = {channels} must be a multiple of {GROUPS}")
        return nn.GroupNorm(GROUPS, channels)
    raise ConfigError(f"unknown norm {kind!r}: use instance, batch, layer, group or none")
