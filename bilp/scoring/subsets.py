"""Measure monte_carlo: how well a class is recognized by networks that were trained on random subsets with a sample in it.

BiLP's preview code ships such scores, measured on the test split. Here the test split stays out of every choice: each
subset is measured on samples of the train split that were held out from it.

Subsets come in rounds that share out all samples, so that in a round every sample is in exactly one subset; each subset
on its own is a uniformly drawn one, balanced over the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bilp.config import ScoreConfig
from bilp.data import Dataset
from bilp.errors import DataError, Diverged
from bilp.nets import Network
from bilp.progress import Progress, silent
from bilp.scoring.short_training import batches, train_epochs
from bilp.seeds import generator


@dataclass(frozen=True)
class Subset:
    """Sample ids, int64 `[n]` and `[m]`, ascending: those to train on, and those to measure on, which have no sample in common."""

    included: Tensor
    held_out: Tensor


def draw_subset(members: Sequence[Tensor], config: ScoreConfig, trial: int) -> Subset:
    """Subset number `trial` of a split with these sample ids per class.

    Raises DataError for a class with a single sample, which cannot be trained on and measured at once.
    """
    parts = config.subsets_per_round
    turn, number = divmod(trial, parts)
    included, held_out = [], []
    for label, ids in enumerate(members):
        if len(ids) < 2:
            raise DataError(f"criterion monte_carlo needs 2 samples in each class, but class {label} has {len(ids)}: add data or drop it")
        order = torch.randperm(len(ids), generator=generator(config.seed, "monte_carlo", "round", turn, label))
        # Part p holds places p, p + parts, ...; shifted by the class, so that tiny classes are not all in the same subset.
        inside = (torch.arange(len(ids)) + label) % parts == number
        included.append(ids[order[inside]])
        others = ids[order[~inside]]
        wanted = min(len(others), max(1, round(config.held_out * len(ids))))
        stream = generator(config.seed, "monte_carlo", trial, "held out", label)
        held_out.append(others[torch.randperm(len(others), generator=stream)[:wanted]])
    return Subset(*(torch.cat(parts_of).sort().values for parts_of in (included, held_out)))


def class_accuracies(network: Network, dataset: Dataset, indices: Tensor, batch_size: int, device: str = "cpu") -> NDArray[np.float64]:
    """Share `[classes]` of some train samples that a network recognizes, class by class; NaN for none.

    Args:
        network: in eval mode, on `device`.
        dataset: whose train split the samples are of.
        indices: their sample ids, int64 `[n]`.
        batch_size: how many pass the network at once.
        device: where it computes.

    Raises Diverged for logits that are not finite.
    """
    labels = dataset.train.labels[indices]
    with torch.no_grad():
        logits = torch.cat([network(dataset.train.batch(batch, device)) for batch in batches(indices, batch_size)]).cpu()
    if not logits.isfinite().all():
        raise Diverged("scoring: a network trained on a subset has diverged: lower score.learning_rate")
    right = torch.bincount(labels[logits.argmax(1) == labels], minlength=dataset.classes)
    ratio: NDArray[np.float64] = (right / torch.bincount(labels, minlength=dataset.classes)).double().numpy()
    return ratio


def subset_scores(
    dataset: Dataset, config: ScoreConfig, trial: int, device: str = "cpu", progress: Progress = silent
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ids `[n]` of the samples in a random subset, ascending, and for each the held-out accuracy `[n]` of its class.

    Args:
        dataset: whose train split is divided.
        config: sizes of the subsets, and how a network is trained on one.
        trial: number of the subset.
        device: where the network is trained.
        progress: told the batches of the training.

    Raises Diverged if the training leaves the finite numbers.
    """
    subset = draw_subset(dataset.train.by_class(), config, trial)
    included = subset.included.numpy()
    *_, network = train_epochs(dataset, subset.included, config, trial, stage="monte_carlo", device=device, progress=progress)
    accuracies = class_accuracies(network, dataset, subset.held_out, config.batch_size, device)
    return included, accuracies[dataset.train.labels.numpy()[included]]
