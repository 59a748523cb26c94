"""What a forward pass of a sample through a network costs, from the network's shapes on torch's meta device: nothing is computed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bilp.config import NetworkConfig
from bilp.config.arithmetics import ARITHMETICS
from bilp.config.shapes import Shape
from bilp.costs.gpu_profiles import GpuProfile
from bilp.nets.build import build
from bilp.nets.flat_values import values_of
from bilp.nets.network import Network, parameter_count
from bilp.nets.supplied_encoder import encoder_without_weights, takes_images

TRAFFIC = 7.25
"""Bytes that a forward pass moves over those of the outputs of its convolutions: these are written once, read twice by the norm and
written once, read and written by the ReLU, read by pooling, and what was pooled is written and read by the next convolution."""
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class NetworkCost:
    """Of one sample in a forward pass."""

    parameters: int
    flops: int
    """Floating point operations; a product and its addition are two."""
    convolved: int
    """Values that convolutions give."""
    maps: int
    """Values of all maps: what a backward pass needs."""
    features: int
    """Values before the classifier."""
    values: int
    """Parameters, and the running statistics of batch norm."""

    def seconds(self, profile: GpuProfile, arithmetic: str) -> float:
        """Of a forward pass: operations and traffic, one after the other. A training pass takes three times as long."""
        rate = profile.tensor_float32 if ARITHMETICS.known(arithmetic).convolutions else profile.float32
        return self.flops / rate + TRAFFIC * 4 * self.convolved / profile.bandwidth


def network_cost(config: NetworkConfig, shape: Shape, classes: int) -> NetworkCost:
    """Of a network for samples of a shape. Raises ConfigError as `build` does."""
    return _cost(config.model_dump_json(), tuple(shape), classes)


@cache
def encoder_cost(name: str, side: int, shape: Shape, classes: int) -> NetworkCost:
    """Of a supplied encoder (`bilp.nets.supplied_encoder`), whose weights nobody needs for that.

    Raises ConfigError as building it does, and for samples of a side that it does not take.

    Args:
        name: Of a network of torchvision.
        side: To which images are resized in front of it; 0 leaves them as they are.
        shape: Of a sample.
        classes: Of the data set.
    """
    setting = "distill.linear.encoder"
    with torch.device("meta"):
        encoder = encoder_without_weights(name, shape, classes, side, setting)
    with takes_images(name, shape, side, setting):
        return _measured(encoder, shape)


@cache
def _cost(config: str, shape: Shape, classes: int) -> NetworkCost:
    return _measured(build(NetworkConfig.model_validate_json(config), shape, classes), shape)


def _measured(network: Network, shape: Shape) -> NetworkCost:
    parameters = parameter_count(network)
    convolved: list[int] = []
    maps: list[int] = []

    def count(module: nn.Module, _inputs: object, output: Tensor) -> None:
        maps.append(output.numel())
        if isinstance(module, CONVOLUTIONS):
            convolved.append(output.numel())

    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.to("meta").eval()(torch.empty(1, *shape, device="meta"))
    values = sum(tensor.numel() for tensor in values_of(network))
    features = network.classifier.in_features
    return NetworkCost(parameters, counter.get_total_flops(), sum(convolved), sum(maps), features, values)
