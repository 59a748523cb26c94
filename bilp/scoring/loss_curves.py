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
from bilp.scoring.epoch_values import EpochValues
from bilp.scoring.prediction_record import prediction_record
from bilp.scoring.sample_stats import GradientNorm, SampleEvaluation, SampleStats
from bilp.scoring.short_training import batches, finite, train_epochs

TELL_EVERY = 16  # batches of a recording pass between two reports of progress


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
    parts = batches(everything.to(device) if dataset.train.keep_on(device) else everything, config.batch_size)
    labels = dataset.train.labels.to(device)
    record = empty_record(config, samples)
    statistics, recorded = Statistics(record), 0
    evaluations: dict[GradientNorm, SampleEvaluation] = {}

    def training(done: int, total: int, note: str = "") -> None:
        progress(done + recorded, 2 * total, note)

    total = 2 * len(parts) * config.epochs
    with prediction_record(config.epochs, dataset.train.labels, dataset.classes) as predictions:
        for epoch, network in enumerate(train_epochs(dataset, everything, config, trial, device=device, progress=training)):
            early = config.early_from <= epoch + 1 <= config.early_to
            kind: GradientNorm = config.gradient_norm if early else "off"
            evaluation = evaluations.setdefault(kind, SampleEvaluation(network, kind, device))
            for step, batch in enumerate(parts):
                rows = slice(step * config.batch_size, step * config.batch_size + len(batch))
                seen = evaluation(dataset.train.batch(batch, device), labels[rows])
                statistics.add(seen)
                predictions.add(seen.logits)
                if step % TELL_EVERY == 0:
                    note = f"trial {trial} epoch {epoch + 1}/{config.epochs} recording"
                    progress(len(parts) * (epoch + 1) + recorded + step + 1, total, note)
            statistics.end(epoch)
            predictions.end(epoch)
            recorded += len(parts)
            if after_epoch is not None:
                after_epoch(epoch + 1, network)
            finite(float(record.losses[epoch].sum(dtype=np.float64)), trial, epoch, config.learning_rate)
        record = replace(record, predictions=predictions.finish())
    progress(total, total, f"trial {trial} accuracy {record.correct[-1].mean():.3f}")
    return record


class Statistics:
    """Writes what one pass over all samples after each epoch finds into a record."""

    def __init__(self, record: Trajectory) -> None:
        """The arrays of `record` are written into; those of gradient norms keep what they hold where none are measured."""
        self._record = record
        self._values = EpochValues()

    def add(self, seen: SampleStats) -> None:
        """Statistics of the next samples, in index order."""
        rows = (seen.losses, seen.correct, seen.el2n, seen.margins, seen.gradient_norms)
        self._values.add(*(row for row in rows if row is not None))

    def end(self, epoch: int) -> None:
        """All samples, if there are any, have been added after an epoch, which counts from 0 here."""
        if self._record.samples == 0:
            return
        losses, correct, el2n, margins, *norms = self._values.fetch()
        record = self._record
        record.losses[epoch], record.correct[epoch], record.el2n[epoch], record.margins[epoch] = losses, correct != 0, el2n, margins
        if record.gradient_norms is not None and norms:
            record.gradient_norms[epoch] = norms[0]


def empty_record(config: ScoreConfig, samples: int) -> Trajectory:
    """A record whose arrays are to be filled in."""
    shape = (config.epochs, samples)
    losses, el2n, margins = (np.empty(shape, dtype=np.float32) for _ in range(3))
    norms = None if config.gradient_norm == "off" else np.full(shape, np.nan, dtype=np.float32)
    return Trajectory(losses, np.empty(shape, dtype=np.bool_), el2n, margins, norms)
