"""Batch normalization couples the samples of a batch; matching needs vectors that belong to one sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bilp.errors import ConfigError


@torch.no_grad()
def freeze_statistics(network: nn.Module, images: Tensor) -> None:
    """Set every batch norm to the statistics of `images` `[B, C, H, W]` and to eval mode; nothing without batch norm.

    As in DC (Zhao et al. 2021, appendix), one forward pass in training mode precedes the freeze. The statistics are
    exactly those of this pass, not a running mean with earlier ones, so they do not depend on what the module did before.

    The programs do otherwise, which matters for their tables of ConvNetBN alone: DC goes a tenth of the way from (0, 1) to the
    statistics of the batch in every outer loop (main.py:163), an artifact of PyTorch's running mean, not of the paper; DM has
    real and synthetic images normalized by the statistics of their own batch of all classes (main_DM.py:149), under which
    no sample has a vector of its own, and so no causal effect.
    """
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        return
    modes = {module: module.training for module in network.modules()}
    momenta = [layer.momentum for layer in layers]
    try:
        network.train()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # cumulative mean: after one pass it is the pass's own
        network(images)
    finally:
        for module, mode in modes.items():
            module.training = mode
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()


def require_independent_samples(network: nn.Module) -> None:
    """Raises ConfigError if a batch norm would mix the samples of a batch."""
    for name, module in network.named_modules():
        if not isinstance(module, _BatchNorm):
            continue
        if module.running_mean is None:
            raise ConfigError(
                f"batch norm {name!r} has no running statistics, so samples of a batch always influence each other: "
                "build it with track_running_stats, or use norm = instance"
            )
        if module.training:
            raise ConfigError(
                f"batch norm {name!r} is in training mode, where samples of a batch influence each other: "
                "call the matching's freeze_statistics(network, images) first, or use norm = instance"
            )
