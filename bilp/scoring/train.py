"""One trial: a short training without augmentation, with a look at every sample after every epoch."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bilp.config import ScoreConfig
from bilp.data import Dataset
from bilp.errors import Diverged
from bilp.nets import build, initialise
from bilp.progress import Progress, silent
from bilp.scoring.criteria import Trajectory
from bilp.seeds import generator

CHECK_EVERY = 16  # batches between two looks at the loss, because each look waits for the device


def train_trial(dataset: Dataset, config: ScoreConfig, trial: int, device: str = "cpu", progress: Progress = silent) -> Trajectory:
    """Train one network on the train split and record loss and correctness of its N samples after each epoch.

    Initial weights and the order of each epoch are streams of (seed, trial), so trials are independent of each other.
    Batches are normalised as they are read; the split itself stays in its store. Progress counts batches, those of the
    recording passes included.

    Raises Diverged as soon as a loss is seen that is not finite.
    """
    network = build(config.network, dataset.shape, dataset.classes)
    initialise(network, generator(config.seed, "score", trial, "network"))
    network.to(device)
    optimiser = torch.optim.SGD(network.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)
    labels = dataset.train.labels.to(device)
    samples = len(dataset.train)
    losses = np.empty((config.epochs, samples), dtype=np.float32)
    correct = np.empty((config.epochs, samples), dtype=np.bool_)
    steps = math.ceil(samples / config.batch_size)
    total = 2 * steps * config.epochs

    for epoch in range(config.epochs):
        done = 2 * steps * epoch
        order = torch.randperm(samples, generator=generator(config.seed, "score", trial, "order", epoch))
        network.train()
        for step, batch in enumerate(training_batches(order, config.batch_size)):
            optimiser.zero_grad(set_to_none=True)
            loss = cross_entropy(network(dataset.train.batch(batch, device)), labels[batch.to(device)])
            loss.backward()
            optimiser.step()
            if step % CHECK_EVERY == 0:
                value = _finite(float(loss.detach()), trial, epoch, config.learning_rate)
                progress(done + step + 1, total, f"trial {trial} epoch {epoch + 1}/{config.epochs} loss {value:.3f}")
        done += steps
        network.eval()
        for step, batch in enumerate(_batches(torch.arange(samples), config.batch_size)):
            rows = slice(step * config.batch_size, step * config.batch_size + len(batch))
            losses[epoch, rows], correct[epoch, rows] = _look(network, dataset.train.batch(batch, device), labels[rows])
            if step % CHECK_EVERY == 0:
                progress(done + step + 1, total, f"trial {trial} epoch {epoch + 1}/{config.epochs} recording")
        _finite(float(losses[epoch].sum(dtype=np.float64)), trial, epoch, config.learning_rate)
    progress(total, total, f"trial {trial} accuracy {correct[-1].mean():.3f}")
    return Trajectory(losses, correct)


def training_batches(order: Tensor, size: int) -> list[Tensor]:
    """An epoch's mini-batches of indices [N]; a single left-over sample sits it out, as batch norm cannot be trained on one."""
    batches = _batches(order, size)
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) < min(2, size) else batches


def _batches(indices: Tensor, size: int) -> list[Tensor]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _look(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Loss and correctness, both [B], of images [B, C, H, W] under the network as it is."""
    with torch.no_grad():
        logits = network(images)
        losses = cross_entropy(logits, labels, reduction="none")
        return losses.float().cpu().numpy(), (logits.argmax(1) == labels).cpu().numpy()


def _finite(loss: float, trial: int, epoch: int, learning_rate: float) -> float:
    if not math.isfinite(loss):
        raise Diverged(
            f"scoring: trial {trial} diverged in epoch {epoch + 1} (loss {loss}) with learning_rate {learning_rate:g}: "
            f"lower score.learning_rate, for example to {learning_rate / 10:g}"
        )
    return loss
