"""Causal effects on every family of networks: the fast path covers it, and it equals leaving samples out one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bilp.causal import ClassBatch, EffectSettings, ite
from bilp.config import NetworkConfig
from bilp.config.network import NETWORKS
from bilp.matching import FeatureMatching, GradientMatching, Matching
from bilp.matching.recording import record
from bilp.nets import Network, build, initialize
from bilp.nets.resnet import resnet
from bilp.registry import resolve
from bilp.seeds import generator

pytestmark = pytest.mark.slow

CLASSES = 3
CONFIGS: dict[str, dict[str, object]] = {
    "convnet_batch": {"width": 8, "depth": 2, "norm": "batch"},
    "convnet_layer_sigmoid": {"width": 8, "depth": 2, "norm": "layer", "activation": "sigmoid"},
    "convnet_group_leaky": {"width": 8, "depth": 2, "norm": "group", "activation": "leaky_relu"},
    "convnet_none_swish_max": {"width": 8, "depth": 2, "norm": "none", "activation": "swish", "pooling": "max"},
    "convnet_batch_swish_unpooled": {"width": 8, "depth": 2, "norm": "batch", "activation": "swish", "pooling": "none"},
    "mlp": {"name": "mlp"},
    "lenet": {"name": "lenet"},
    "alexnet_batch": {"name": "alexnet", "norm": "batch"},
    "densenet": {"name": "densenet"},
    "densenet_instance": {"name": "densenet", "norm": "instance"},
    "convnet_frepo": {"name": "convnet_frepo", "width": 4},
}
SIDES = {"lenet": 16, "densenet_instance": 16}
# One of each kind: stride, bottleneck, average pooling, both stems. Narrow, as their parameters' number is tested elsewhere.
NARROW = ("resnet18", "resnet50", "resnet18_ap", "resnet6_imagenet", "resnet10_ap")


def network_of(name: str) -> tuple[Network, int]:
    """A network in float64, with frozen batch norm left to the caller, and the side of its images."""
    if name in NARROW:
        side = 40 if name == "resnet6_imagenet" else 16
        network = resnet(replace(resolve(NETWORKS[name].builder), widths=(4, 4, 8, 8)), "batch", (3, side, side), CLASSES)
    else:
        side = SIDES.get(name, 8)
        network = build(NetworkConfig.model_validate(CONFIGS[name]), (3, side, side), CLASSES)
    initialize(network, generator(61, name))
    return network.double(), side


@pytest.mark.parametrize("matching", [FeatureMatching(), GradientMatching("dc")], ids=["dm", "dc"])
@pytest.mark.parametrize("name", [*CONFIGS, *NARROW])
def test_exact_effects_equal_leaving_samples_out(name: str, matching: Matching) -> None:
    network, side = network_of(name)
    images = torch.randn(6, 3, side, side, generator=generator(61, "images"), dtype=torch.float64)
    labels = torch.ones(4, dtype=torch.int64)
    matching.freeze_statistics(network, images)
    record(network, images.clone().requires_grad_(), torch.ones(6, dtype=torch.int64), twice=False)  # raises NoRule on the slow path
    real, synthetic = (images[:4], labels), (images[4:], labels[:2])
    fast = ite(matching, network, ClassBatch(real, synthetic))
    assert fast.shape == (4,) and (fast > 0).all()
    torch.testing.assert_close(
        fast, ite(matching, network, ClassBatch(real, synthetic), EffectSettings("oracle")), rtol=1e-5, atol=1e-7 * float(fast.max())
    )
