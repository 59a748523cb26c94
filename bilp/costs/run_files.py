"""What the checkpoints of a run take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from bilp.artifacts.tensors import Form
from bilp.config import METHODS, DistillConfig
from bilp.config.arms import PlannedRun
from bilp.costs.speed import Speed
from bilp.costs.tensor_bytes import tensor_file_bytes
from bilp.distill.part import keeps_state, share_of_classes
from bilp.distill.step.round_bounds import bounds
from bilp.distill.step.state import METHOD, MOMENTUM, NO_MOMENTUM, PRUNER, REAL
from bilp.pruning.adaptive import AdaptivePruner
from bilp.registry import resolve

Carries = Callable[[DistillConfig, int, int, int, tuple[int, ...]], dict[str, Form]]
"""What a method carries (`Method.carries`): of the settings, the network's parameters, these and its statistics, iterations done, and the
shape of the synthetic images."""


@dataclass(frozen=True)
class StoredRun:
    """Bytes of what a run keeps."""

    checkpoints: int
    """All that stay, exactly."""
    largest: int
    """One state of the whole run, its momentum included."""


def stored_run(run: PlannedRun, speed: Speed) -> StoredRun:
    """What the checkpoints of a run take."""
    distill, classes = run.distill, speed.data.classes
    whole = _state_bytes(run, speed, range(classes))
    total = sum(size for number, size in whole.items() if keeps_state(distill, number))
    if distill.shards > 1 and distill.keep_rounds == "all":
        parts = [share_of_classes(classes, shard, distill.shards) for shard in range(distill.shards)]
        total += sum(size for part in parts for size in _state_bytes(run, speed, part).values())
    return StoredRun(total, max(whole.values()))


def _state_bytes(run: PlannedRun, speed: Speed, classes: range) -> dict[int, int]:
    """Bytes of the files of the state of these classes after each round."""
    distill = run.distill
    count = len(classes) * distill.ipc
    images: Form = (torch.float32, (count, *speed.data.shape))
    forms: dict[str, Form] = {
        "images": images,
        "labels": (torch.int64, (count,)),
        "iteration": (torch.int64, ()),
        "reference_loss": (torch.float64, ()),
    }
    if distill.has_real_part:
        forms[REAL] = (torch.int64, (count,))
    if run.reselect.active:
        labels = torch.from_numpy(np.repeat(np.arange(speed.data.classes), speed.data.train))
        pruner = AdaptivePruner(labels, speed.data.classes, run.reselect)
        forms |= {PRUNER + name: (value.dtype, value.shape) for name, value in pruner.state(classes).items()}
    carries, rounds = METHODS[distill.method].carries, range(1, distill.rounds + 1)
    momentum = tensor_file_bytes({MOMENTUM: images})
    if not METHODS[distill.method].optimizes:
        forms, momentum = forms | {MOMENTUM: (torch.float32, NO_MOMENTUM)}, 0
    if not carries:
        return dict.fromkeys(rounds, tensor_file_bytes(forms) + momentum)
    network, of = speed.network(distill.network), resolve(carries)
    found = {}
    for number in rounds:
        carried = of(distill, network.parameters, network.values, bounds(distill, number)[1], images[1])
        found[number] = tensor_file_bytes(forms | {METHOD + name: form for name, form in carried.items()}) + momentum
    return found
