"""The short training without augmentation that every scoring rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bilp.config import ScoreConfig
from bilp.data import Dataset
from bilp.errors import Diverged
from bilp.nets import Network, build, initialize
from bilp.nets.arithmetic import place
from bilp.progress import Progress, silent
from bilp.seeds import generator

CHECK_EVERY = 16  # batches between two looks at the loss, because each look waits for the device


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
    optimizer = torch.optim.SGD(network.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)
    labels = dataset.train.labels.to(device)
    steps = math.ceil(len(indices) / config.batch_size)
    total = steps * config.epochs
    for epoch in range(config.epochs):
        order = indices[torch.randperm(len(indices), generator=generator(config.seed, stage, trial, "order", epoch))]
        network.train()
        for step, batch in enumerate(training_batches(order, config.batch_size)):
            optimizer.zero_grad(set_to_none=True)
            loss = cross_entropy(network(dataset.train.batch(batch, device)), labels[batch.to(device)])
            loss.backward()
            optimizer.step()
            if step % CHECK_EVERY == 0:
                value = finite(float(loss.detach()), trial, epoch, config.learning_rate)
                progress(steps * epoch + step + 1, total, f"trial {trial} epoch {epoch + 1}/{config.epochs} loss {value:.3f}")
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
