"""How many synthetic images of a class enter the network in one image step."""

from __future__ import annotations

from bilp.config.distill import DistillConfig
from bilp.config.methods import METHODS


def entering_images(config: DistillConfig) -> int:
    """All that are decoded of a class, or a random choice of `decode.bound` of them where the method bounds them."""
    decoded = config.decode.count(config.ipc)
    return min(decoded, config.decode.bound) if METHODS[config.method].bounds_decoded else decoded
