"""The loop of DC, DSA and DM: what is matched and what trains the network are passed in.

For every iteration a new random network; for every outer loop one SGD step on all synthetic images at once, on the
sum over classes of distance(mean real vector, synthetic vector); between outer loops the network is trained on them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.distill.step.divergence import Guard
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.real import Target, decided_targets, deciding_step, draw_batches, targets
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.distill.step.synthetic import class_losses, classes_per_pass, grouped
from bilp.progress import Progress, silent
from bilp.pruning.adaptive import AdaptivePruner


@dataclass(frozen=True)
class _Step:
    losses: list[float]
    real_used: int
    withheld: float


def distill(
    setting: Setting,
    state: DistillState,
    stop: int,
    pruner: AdaptivePruner | None,
    guard: Guard,
    progress: Progress = silent,
) -> list[Record]:
    """Advance `state` in place from `state.iteration` to `stop`, and `pruner` with it; nothing is read or written.

    The result depends on `setting`, `state` and `pruner` alone: cut anywhere between iterations and continued, the
    loop arrives at the same bytes. Raises Diverged.
    """
    leaf = state.images.detach().requires_grad_()
    optimiser = torch.optim.SGD([leaf], lr=setting.config.learning_rate, momentum=setting.config.momentum)
    optimiser.state[leaf]["momentum_buffer"] = state.momentum
    first, records = state.iteration, []
    for iteration in range(first, stop):
        steps = list(_image_steps(setting, leaf, state.labels, optimiser, pruner, guard, iteration))
        by_class = [statistics.fmean(values) for values in zip(*(step.losses for step in steps), strict=True)]
        loss = statistics.fmean(by_class)
        guard.check_loss(iteration, loss, by_class)
        used = sum(step.real_used for step in steps)
        records.append(Record(iteration, loss, used, statistics.fmean(step.withheld for step in steps)))
        state.iteration = iteration + 1
        progress(state.iteration - first, stop - first, f"loss {loss:.4g}")
    state.images = leaf.detach()
    return records


def _image_steps(
    setting: Setting,
    leaf: Tensor,
    labels: Tensor,
    optimiser: torch.optim.SGD,
    pruner: AdaptivePruner | None,
    guard: Guard,
    iteration: int,
) -> Iterator[_Step]:
    """The outer loops of one iteration."""
    setting.draw_network("network", iteration)
    deciding = deciding_step(setting, iteration) if pruner is not None else None
    for outer in range(setting.schedule.outer_loops):
        if outer > 0:
            setting.train_network(leaf, labels, iteration, outer - 1)
        setting.freeze_statistics(iteration, outer)
        if pruner is not None and outer == deciding:
            found: Iterable[Target] = decided_targets(setting, leaf, pruner, guard, iteration, outer)
        else:
            found = targets(setting, draw_batches(setting, pruner, iteration, outer))
        yield _image_step(setting, leaf, labels, optimiser, guard, iteration, found)


def _image_step(
    setting: Setting,
    leaf: Tensor,
    labels: Tensor,
    optimiser: torch.optim.SGD,
    guard: Guard,
    iteration: int,
    found: Iterable[Target],
) -> _Step:
    """One SGD step on the gradient summed over classes; the loss of a class touches its own rows only."""
    gradient = torch.zeros_like(leaf)
    losses, used, withheld = [], 0, []
    for together in grouped(found, classes_per_pass(setting)):
        rows = torch.cat([setting.row_numbers(target.batch.class_index) for target in together])
        distances, gradient[rows] = class_losses(setting, leaf.detach()[rows], labels[rows], together)
        losses.append(distances)
        used += sum(len(target.batch.ids) for target in together)
        withheld += [target.batch.withheld for target in together]
    leaf.grad = gradient
    optimiser.step()
    return _Step(guard.check_step(iteration, torch.cat(losses), gradient, leaf), used, statistics.fmean(withheld))
