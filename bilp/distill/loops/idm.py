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

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from bilp.distill.loops.class_steps import ClassIterations
from bilp.distill.loops.iterations import Step
from bilp.distill.step.network_pool import NetworkPool
from bilp.distill.step.real_training import RealTraining
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.seeds import generator


class PoolIterations(ClassIterations):
    """One image step per class on a network of the pool, which lives in `state.method`, then training of some of its networks."""

    def prepare(self) -> None:
        """The pool, with its first networks."""
        super().prepare()
        self._pool = NetworkPool(self.setting.config, self.setting.network, self.state.method)

    def iteration(self, number: int) -> Iterator[Step]:
        """The image step, then the training."""
        setting, pool = self.setting, self._pool
        pool.renew(number)
        which = _ready_network(setting, pool, "pool_choice", number)
        weight = (setting.config.idm.classification * pool.accuracy(which)).to(self.leaf.images.dtype)

        def classification(entering: Tensor, labels: Tensor, classes: int) -> Tensor:
            logits = setting.network(entering)
            if classes == 1:
                return weight * functional.cross_entropy(logits, labels).unsqueeze(0)
            each = functional.cross_entropy(logits, labels, reduction="none")
            return weight * each.view(classes, -1).mean(dim=1)

        judged = setting.config.idm.classification > 0 and pool.trained(which)
        yield self.class_steps(number, 0, self.targets(number, 0, by_class=True), classification if judged else None)
        _train(setting, pool, number)


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


distill = PoolIterations.distill
