"""Pools of the cross-architecture protocols: what they hold, and how settings name them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bilp.config import EvaluateConfig, NetworkConfig, PipelineConfig
from bilp.config.explain import explain
from bilp.config.network import POOLS
from bilp.nets import build, label


def labels(pool: str, **own: Any) -> list[str]:
    return [label(NetworkConfig.model_validate(settings)) for settings in POOLS[pool].networks(own)]


def test_pools_hold_the_networks_of_the_papers() -> None:
    assert labels("S", norm="batch") == ["convnet"] and labels("SS", norm="batch") == ["convnet norm batch"]
    assert labels("S", name="resnet18", norm="batch") == ["resnet18"]
    assert labels("M") == ["mlp", "convnet", "lenet", "alexnet", "vgg11", "resnet18"]
    assert labels("B") == [
        "convnet norm batch",
        "convnet norm batch activation swish",
        "alexnet norm batch",
        "vgg11 norm batch",
        "resnet18 norm batch",
    ]
    assert labels("W") == ["convnet width 32", "convnet width 64", "convnet", "convnet width 256"]
    assert labels("D") == ["convnet depth 1", "convnet depth 2", "convnet", "convnet depth 4"]
    assert labels("A") == ["convnet activation sigmoid", "convnet", "convnet activation leaky_relu", "convnet activation swish"]
    assert labels("P") == ["convnet pooling none", "convnet pooling max", "convnet"]
    assert labels("N") == ["convnet norm none", "convnet norm batch", "convnet norm layer", "convnet", "convnet norm group"]


def test_convnets_keep_the_shape_of_the_distilling_network() -> None:
    assert labels("M", width=64, depth=4)[1] == "convnet width 64 depth 4"
    assert labels("M", name="resnet18", norm="batch")[1] == "convnet"
    assert labels("A", depth=4)[1] == "convnet depth 4"
    assert labels("D", name="video_convnet_mean", width=64)[:2] == [f"video_convnet_mean width 64 depth {depth}" for depth in (1, 2)]
    assert labels("W", name="convnet_frepo")[0] == "convnet width 32"


@pytest.mark.parametrize("pool", POOLS)
def test_every_network_of_a_pool_takes_cifar(pool: str) -> None:
    for network in EvaluateConfig.model_validate({"pool": pool}).networks:
        assert build(network, (3, 32, 32), 10).classifier.out_features == 10


def test_a_pool_is_spelled_out_with_its_origin() -> None:
    values: dict[str, Any] = {"dataset": "cifar10", "evaluate": {"pool": "W"}, "distill": {"network": {"depth": 2}}}
    config = PipelineConfig.model_validate(values)
    assert [(network.width, network.depth) for network in config.evaluate.networks] == [(32, 2), (64, 2), (128, 2), (256, 2)]
    shown = {setting.path: setting for setting in explain(values)}
    assert shown["evaluate.networks"].origin == "evaluate.pool W"
    assert [network["width"] for network in shown["evaluate.networks"].value] == [32, 64, 128, 256]
    assert PipelineConfig.model_validate(config.model_dump()) == config
    assert [label(network) for network in EvaluateConfig(pool="P").networks] == labels("P")
    assert EvaluateConfig().networks == (NetworkConfig(),)


def test_a_pool_replaces_what_the_data_set_suggests_but_not_what_was_given() -> None:
    assert len(PipelineConfig.model_validate({"evaluate": {"pool": "A"}}).evaluate.networks) == 4
    for networks in ([{"name": "mlp"}], [{"width": 64}]):
        with pytest.raises(ValidationError, match="evaluate.pool = 'M' contradicts evaluate.networks: set only one of them"):
            PipelineConfig.model_validate({"evaluate": {"pool": "M", "networks": networks}})
