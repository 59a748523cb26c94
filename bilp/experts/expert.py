"""One expert: a plain training on real samples, with a look at the parameters after every epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from bilp.config import ExpertsConfig, NetworkConfig
from bilp.config.shapes import side_of
from bilp.data import Dataset
from bilp.errors import Diverged
from bilp.experts.curriculum import Samples
from bilp.images import augment
from bilp.nets import Network, build, initialize
from bilp.nets.arithmetic import place
from bilp.progress import Progress, silent
from bilp.scoring.short_training import training_batches
from bilp.seeds import generator
from bilp.training.classifier_step import ClassifierStep
from bilp.training.optimizers import sgd


def train_epochs(
    dataset: Dataset,
    ids: Tensor,
    config: ExpertsConfig,
    network: NetworkConfig,
    expert: int,
    device: str = "cpu",
    progress: Progress = silent,
    samples: Samples | None = None,
) -> Iterator[tuple[Network, float]]:
    """Yield the network before the first epoch and after every one, each with the epoch's mean loss (nan before any).

    The training of Cazenavette et al. 2022 (MTT, section 3.1): SGD on the real samples `ids` `[n]` of the train split
    under siamese augmentation, one family per mini-batch, fresh parameters per image. Initial weights, order and
    augmentation are streams of (seed, expert). The network yielded is one module; copy what is to stay. Progress counts
    batches. Raises Diverged at the first epoch whose loss is not finite.

    Args:
        dataset: the real images.
        ids: sample_ids `[n]` of the train split to learn.
        config: how experts are trained.
        network: their architecture.
        expert: number of the expert, from 0.
        device: where to train.
        progress: told after every mini-batch.
        samples: those of `ids` that an epoch learns; without it all.
    """
    samples = (lambda epoch: ids) if samples is None else samples
    module = build(network, dataset.shape, dataset.classes)
    initialize(module, generator(config.seed, "expert", expert, "network"))
    place(module, config.gpu, device)
    learning = _Learning(dataset, module, config, device)
    yield module, math.nan
    batches_done, total = 0, sum(math.ceil(len(samples(epoch)) / config.batch_size) for epoch in range(config.epochs))
    for epoch in range(config.epochs):
        module.train()
        own = samples(epoch)
        order = own[torch.randperm(len(own), generator=generator(config.seed, "expert", expert, "order", epoch))]
        stream = generator(config.seed, "expert", expert, "augment", epoch)
        summed, batches = torch.zeros((), device=device), training_batches(order, config.batch_size)
        for losses in learning.steps(order, batches, stream):
            summed += losses
            batches_done += 1
            progress(batches_done, total, f"expert {expert} epoch {epoch + 1}/{config.epochs}")
        loss = float(summed) / sum(len(batch) for batch in batches)
        if not math.isfinite(loss):
            raise Diverged(
                f"expert {expert} diverged in epoch {epoch + 1} (loss {loss}) with learning_rate {config.learning_rate:g}: "
                f"lower experts.learning_rate, for example to {config.learning_rate / 10:g}"
            )
        yield module, loss


class _Learning:
    """An expert's steps of SGD; what is drawn for an epoch reaches the device before its first step."""

    def __init__(self, dataset: Dataset, module: Network, config: ExpertsConfig, device: str) -> None:
        self._dataset, self._config, self._device = dataset, config, device
        self._labels, self._kept = dataset.train.labels.to(device), dataset.train.keep_on(device)
        optimizer = sgd(module.parameters(), config.learning_rate, config.momentum, config.weight_decay)
        self._step = ClassifierStep(module, optimizer, device)

    def steps(self, order: Tensor, batches: list[Tensor], stream: torch.Generator) -> Iterator[Tensor]:
        """One step on each mini-batch of sample_ids, of which `batches` are those of `order`; the sum of its losses, a detached scalar."""
        train, side = self._dataset.train, side_of(self._dataset.shape)
        drawn = [augment.draw(self._config.augment, side, stream, count=len(batch)) for batch in batches]
        (there,), sent = augment.send_with([order], drawn, side, self._device)
        size = self._config.batch_size
        chosen = training_batches(there, size) if self._kept else batches
        for batch, params, own in zip(chosen, sent, training_batches(self._labels[there], size), strict=True):
            yield self._step(augment.apply(train.batch(batch, self._device), params), own) * len(batch)
