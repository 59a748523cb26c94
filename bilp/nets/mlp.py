"""Multi-layer perceptron of the distillation papers: two hidden layers of 128."""

from __future__ import annotations

from bilp.config import NetworkConfig
from bilp.nets.layers import Layers
from bilp.nets.network import Network


def mlp(config: NetworkConfig, shape: tuple[int, int, int], classes: int) -> Network:
    """Flatten, 128, ReLU, 128, ReLU, classifier. Any image fits."""
    return Layers(shape).flatten().linear(128).activation().linear(128).activation().network(classes)
