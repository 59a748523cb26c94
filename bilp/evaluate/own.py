"""Settings of an evaluation as they hold for one of its networks."""

from __future__ import annotations

from typing import Any

from bilp.config import EvaluateConfig, NetworkConfig
from bilp.config.protocols import is_convnet_bn


def own_settings(config: EvaluateConfig, network: NetworkConfig) -> EvaluateConfig:
    """`config` with what it says about the ConvNet with batch norm carried out: that network's augment_each and epochs, or everybody's."""
    changed: dict[str, Any] = {"batch_norm_augment_each": (), "batch_norm_epochs": None}
    if is_convnet_bn(network.model_dump()):
        if config.batch_norm_augment_each:
            changed["augment_each"] = config.batch_norm_augment_each
        if config.batch_norm_epochs is not None:
            changed["epochs"] = config.batch_norm_epochs
    return config.model_copy(update=changed)
