"""The short training without augmentation that every scoring rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from bilp.config import ScoreConfig
from bilp.data import Dataset
from bilp.errors import Diverged
from bilp.nets import Network, build, initialize
from bilp.nets.arithmetic import place
from bilp.progress import Progress, silent
from bilp.seeds import generator
from bilp.training.classifier_step import ClassifierStep
from bilp.training.optimizers import sgd

# Batches between two looks at the loss, because each look waits for the device; on a GPU everything that is queued has to end first.
CHECK_EVERY = {"cpu": 16, "cuda": 128}


def train_epochs(
    dataset: Dataset,
    indices: Tensor,
    config: ScoreConfig,
    trial: int,
    *,
    stage: str = "score",
    device: str = "cpu",
    progress: Progress = silent,
) -> Iterator[Network]:
    """Train a fresh network on the train samples at `indices` and hand it out, in eval mode, after each epoch.

    Trials are independent of each other. Batches are normalized as they are read; the split itself stays in its store.

    Args:
        dataset: whose train split is learned.
        indices: sample ids to train on, int64 `[n]`.
        config: network and training.
        trial: initial weights and the order of each epoch are streams of (seed, `stage`, trial).
        stage: likewise.
        device: where the network is trained.
        progress: told the training batches.

    Raises Diverged as soon as a loss is seen that is not finite.
    """
    network = build(config.network, dataset.shape, dataset.classes)
    initialize(network, generator(config.seed, stage, trial, "network"))
    place(network, config.gpu, device)
    optimizer = sgd(network.parameters(), config.learning_rate, config.momentum, config.weight_decay)
    step = ClassifierStep(network, optimizer, device)
    labels, kept = dataset.train.labels.to(device), dataset.train.keep_on(device)
    check_every = CHECK_EVERY.get(torch.device(device).type, CHECK_EVERY["cpu"])
    steps = math.ceil(len(indices) / config.batch_size)
    total = steps * config.epochs
    for epoch in range(config.epochs):
        order = indices[torch.randperm(len(indices), generator=generator(config.seed, stage, trial, "order", epoch))]
        there = order.to(device, non_blocking=True)
        own = training_batches(labels[there], config.batch_size)
        network.train()
        for number, batch in enumerate(training_batches(there if kept else order, config.batch_size)):
            loss = step(dataset.train.batch(batch, device), own[number])
            if number % check_every == 0:
                value = finite(float(loss), trial, epoch, config.learning_rate)
                progress(steps * epoch + number + 1, total, f"trial {trial} epoch {epoch + 1}/{config.epochs} loss {value:.3f}")
        network.eval()
        yield network


def training_batches(order: Tensor, size: int) -> list[Tensor]:
    """An epoch's mini-batches of indices [N]; a single left-over sample sits it out, as batch norm cannot be trained on one."""
    found = batches(order, size)
    return found[:-1] if len(found) > 1 and len(found[-1]) < min(2, size) else found


def batches(indices: Tensor, size: int) -> list[Tensor]:
    """Indices [N] in their order, `size` at a time."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def finite(loss: float, trial: int, epoch: int, learning_rate: float) -> float:
    """The loss. Raises Diverged if it is not finite."""
    if not math.isfinite(loss):
        raise Diverged(
            f"scoring: trial {trial} diverged in epoch {epoch + 1} (loss {loss}) with learning_rate {learning_rate:g}: "
            f"lower score.learning_rate, for example to {learning_rate / 10:g}"
        )
    return loss
