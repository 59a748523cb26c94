"""Measure trajectory: one trial that records the statistics of every sample, in index order, after every epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from bilp.config import ScoreConfig
from bilp.data import Dataset
from bilp.nets import Network
from bilp.progress import Progress, silent
from bilp.scoring.criteria import Trajectory
from bilp.scoring.prediction_record import prediction_record
from bilp.scoring.sample_stats import GradientNorm, SampleStats, evaluate_samples
from bilp.scoring.short_training import CHECK_EVERY, batches, finite, train_epochs


def train_trial(
    dataset: Dataset,
    config: ScoreConfig,
    trial: int,
    device: str = "cpu",
    progress: Progress = silent,
    after_epoch: Callable[[int, Network], None] | None = None,
) -> Trajectory:
    """Train one network on the train split and record all of its N samples after each epoch: arrays `[epochs, N]`, and predictions.

    Gradient norms, if asked for, are recorded from epoch early_from to early_to and NaN elsewhere.

    Args:
        dataset: whose train split is learned and recorded.
        config: how the network is trained, and what is recorded.
        trial: names the streams of initial weights and order.
        device: where the network is trained.
        progress: told the batches, those of the recording passes included.
        after_epoch: is handed the number of each epoch, from 1, and the network as it is then.

    Raises Diverged as soon as a loss is seen that is not finite.
    """
    samples = len(dataset.train)
    everything = torch.arange(samples)
    parts = batches(everything, config.batch_size)
    labels = dataset.train.labels.to(device)
    record = empty_record(config, samples)
    recorded = 0

    def training(done: int, total: int, note: str = "") -> None:
        progress(done + recorded, 2 * total, note)

    total = 2 * len(parts) * config.epochs
    with prediction_record(config.epochs, dataset.train.labels, dataset.classes) as predictions:
        for epoch, network in enumerate(train_epochs(dataset, everything, config, trial, device=device, progress=training)):
            early = config.early_from <= epoch + 1 <= config.early_to
            kind: GradientNorm = config.gradient_norm if early else "off"
            for step, batch in enumerate(parts):
                rows = slice(step * config.batch_size, step * config.batch_size + len(batch))
                seen = evaluate_samples(network, dataset.train.batch(batch, device), labels[rows], kind)
                put(record, epoch, rows, seen)
                predictions.add(epoch, rows, seen.logits)
                if step % CHECK_EVERY == 0:
                    note = f"trial {trial} epoch {epoch + 1}/{config.epochs} recording"
                    progress(len(parts) * (epoch + 1) + recorded + step + 1, total, note)
            recorded += len(parts)
            if after_epoch is not None:
                after_epoch(epoch + 1, network)
            finite(float(record.losses[epoch].sum(dtype=np.float64)), trial, epoch, config.learning_rate)
        record = replace(record, predictions=predictions.finish())
    progress(total, total, f"trial {trial} accuracy {record.correct[-1].mean():.3f}")
    return record


def put(record: Trajectory, epoch: int, rows: slice, seen: SampleStats) -> None:
    """Write the statistics of some samples after an epoch, which counts from 0 here, into a record."""
    for name, values in vars(record).items():
        found = getattr(seen, name, None)
        if values is not None and found is not None:
            values[epoch, rows] = found.cpu().numpy()


def empty_record(config: ScoreConfig, samples: int) -> Trajectory:
    """A record whose arrays are to be filled in."""
    shape = (config.epochs, samples)
    losses, el2n, margins = (np.empty(shape, dtype=np.float32) for _ in range(3))
    norms = None if config.gradient_norm == "off" else np.full(shape, np.nan, dtype=np.float32)
    return Trajectory(losses, np.empty(shape, dtype=np.bool_), el2n, margins, norms)
