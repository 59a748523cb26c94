"""The loop of IDM (improved distribution matching; Zhao et al. 2023).

For every iteration one network of a pool: per class, one step towards the mean embedding of real samples, and towards
images that this network classifies right, the more the better it was in training. Then some networks of the pool are
trained on real images, each with the momentum that its last training left.

By default the accuracy of a network is that of all of its training. IDM's program counts anew whenever it evaluates, by a line
among those that log (IDM_cifar10.py:228), so that the classification term was off in 40 % of its steps at ipc 10; the paper
does not say so, and `idm.accuracy_window` does it on demand. Batches of real images are drawn each on its own; there they are
drawn through a shuffled class, which is the same for a single batch and keeps a generator's state between iterations.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from bilp.distill.loops.class_steps import class_steps, shared_leaf, summed_up
from bilp.distill.step.divergence import Guard
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.network_pool import NetworkPool
from bilp.distill.step.real import Target, decided_targets, deciding_step, draw_batches, targets
from bilp.distill.step.real_training import RealTraining
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.progress import Progress, silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator


def distill(
    setting: Setting,
    state: DistillState,
    stop: int,
    pruner: AdaptivePruner | None,
    guard: Guard,
    progress: Progress = silent,
) -> list[Record]:
    """Advance `state` in place from `state.iteration` to `stop`, and `pruner` with it (see bilp.distill.loops.registry.Advance).

    The pool of networks lives in `state.method`. Raises Diverged.
    """
    pool = NetworkPool(setting.config, setting.network, state.method)
    leaf = shared_leaf(setting, state)
    first, records = state.iteration, []
    for iteration in range(first, stop):
        pool.renew(iteration)
        which = _ready_network(setting, pool, "pool_choice", iteration)
        if pruner is not None and deciding_step(setting, iteration) is not None:
            found: Iterable[Target] = decided_targets(setting, leaf.images, pruner, guard, iteration, 0, by_class=True)
        else:
            found = targets(setting, draw_batches(setting, pruner, iteration, 0))
        weight = setting.config.idm.classification * pool.accuracy(which)

        def classification(entering: Tensor, labels: Tensor, weight: float = weight) -> Tensor:
            return weight * functional.cross_entropy(setting.network(entering), labels)

        step = class_steps(setting, leaf, found, guard, (iteration, 0), classification if weight > 0 else None)
        records.append(summed_up(iteration, [step], guard))
        _train(setting, pool, iteration)
        state.iteration = iteration + 1
        progress(state.iteration - first, stop - first, f"loss {records[-1].loss:.4g}")
    return records


def draw_trained_network(setting: Setting, state: DistillState, round_number: int, which: int) -> None:
    """A network as the image steps of IDM meet them, for a reselection: one of the pool."""
    pool = NetworkPool(setting.config, setting.network, dict(state.method))
    _ready_network(setting, pool, "reselect_network", round_number, which)


def _ready_network(setting: Setting, pool: NetworkPool, *path: str | int) -> int:
    """Load a network of the pool, drawn from the stream called `path`, as image steps need it; its place in the pool."""
    which = int(torch.randint(len(pool), (1,), generator=generator(setting.config.seed, *path)))
    pool.load(which)
    setting.network.eval().requires_grad_(False)
    return which


def _train(setting: Setting, pool: NetworkPool, iteration: int) -> None:
    """Train some networks of the pool, drawn without replacement, on real images as they are."""
    config = setting.config
    real = RealTraining(setting.pool, config.batch_train, (), 0.0, config.seed, setting.device)
    stream = generator(config.seed, "pool_training", iteration)
    setting.network.requires_grad_(True)
    for which in torch.randperm(len(pool), generator=stream)[: config.idm.trained].tolist():
        pool.load(which)
        optimizer, place = pool.optimizer(which), ("pool", iteration, which)
        pool.store(which, optimizer, *real.run(setting.network, optimizer, real.steps(config.idm.train_steps, *place), *place))
