"""The causal effects of the real samples of a class: the exact form, and what `auto` chooses."""

from __future__ import annotations

from typing import Any, cast

import torch

from benchmarks.gpu.device import Machine, rows
from benchmarks.gpu.forward import network
from benchmarks.gpu.iterations import SHAPE
from bilp.causal import ClassBatch, EffectSettings, measure
from bilp.matching import matching_for


def effects(machine: Machine) -> dict[str, Any]:
    """Milliseconds per class of 256 samples."""
    number, device = machine.pick(8, 256), machine.device
    real = torch.randn(number, *SHAPE, device=device), torch.zeros(number, dtype=torch.int64, device=device)

    def one(name: str) -> dict[str, Any]:
        method, ipc = name.split(" ipc ")
        matching = matching_for(cast(Any, method))
        net = network(machine).requires_grad_(method == "dc")
        synthetic = torch.randn(int(ipc), *SHAPE, device=device), torch.zeros(int(ipc), dtype=torch.int64, device=device)
        batch, row = ClassBatch(real, synthetic), {}
        for estimator in ("cotangent", "auto"):
            asked = matching, net, batch, EffectSettings(estimator)
            row[estimator] = machine.milliseconds(lambda asked=asked: measure(*asked).norms.cpu(), 3, 1)
        return row

    return rows(machine, [f"{method} ipc {ipc}" for method in ("dc", "dm") for ipc in (1, 10)], one)
