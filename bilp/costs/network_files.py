"""Bytes of the networks that a run stores: trajectories of experts, and networks that iterations start from."""

from __future__ import annotations

import torch
from torch import nn

from bilp.artifacts.tensors import Form
from bilp.config import NetworkConfig, PipelineConfig
from bilp.config.arms import needs_experts, planned_runs
from bilp.costs.speed import Speed
from bilp.costs.tensor_bytes import tensor_file_bytes
from bilp.nets.build import build

EXPERTS = "experts"
"""What the parameters of experts after every epoch are called among what is stored."""


def stored_networks(config: PipelineConfig, speed: Speed) -> dict[str, int]:
    """Bytes by what they are, exactly; nothing where no such networks are trained."""
    distill, runs, found = config.distill, planned_runs(config), dict[str, int]()
    if needs_experts(config):
        network = _built(distill.network, speed)
        each = tensor_file_bytes({name: _form(value) for name, value in network.named_parameters()})
        experts = config.experts
        found[EXPERTS] = each * (experts.epochs + 1) * experts.count * len({run.chosen for run in runs})
    if pretrained := distill.pretrained.networks:
        each = tensor_file_bytes({name: _form(value) for name, value in _built(distill.network, speed).state_dict().items()})
        found["pretrained networks"] = each * pretrained * len({(run.chosen, run.distill.seed) for run in runs})
    return found


def _built(config: NetworkConfig, speed: Speed) -> nn.Module:
    with torch.device("meta"):
        return build(config, speed.data.shape, speed.data.classes)


def _form(value: torch.Tensor) -> Form:
    return value.dtype, value.shape
