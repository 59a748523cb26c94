"""Measures herding and k_center: the place of each sample in the order in which its class is covered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bilp.config import ScoreConfig
from bilp.data import Dataset, Split
from bilp.nets import Network
from bilp.progress import Progress, silent
from bilp.scoring.coverage import herding, k_center
from bilp.scoring.short_training import batches, train_epochs
from bilp.seeds import generator

Scores = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Ids of samples, ascending, and their scores."""


@torch.no_grad()
def embed_samples(network: Network, split: Split, indices: Tensor, batch_size: int, device: str = "cpu") -> Tensor:
    """Features `[n, F]` on `device` of the samples at `indices` `[n]`, under a network in eval mode."""
    return torch.cat([network.embed(split.batch(batch, device)) for batch in batches(indices, batch_size)])


def herding_places(dataset: Dataset, config: ScoreConfig, trial: int, device: str = "cpu", progress: Progress = silent) -> Scores:
    """Every sample id `[N]`, and its place `[N]` in the order in which herding picks its class; as `_places`."""
    return _places(lambda features, label: herding(features), dataset, config, trial, device, progress)


def k_center_places(dataset: Dataset, config: ScoreConfig, trial: int, device: str = "cpu", progress: Progress = silent) -> Scores:
    """As `herding_places` for k-center, which starts from a sample of each class drawn by the trial's seed."""

    def order(features: Tensor, label: int) -> Tensor:
        stream = generator(config.seed, "score", trial, "first center", label)
        return k_center(features, first=int(torch.randint(len(features), (), generator=stream)))

    return _places(order, dataset, config, trial, device, progress)


def _places(
    order: Callable[[Tensor, int], Tensor], dataset: Dataset, config: ScoreConfig, trial: int, device: str, progress: Progress
) -> Scores:
    """Ids and places `[N]`, from 0 in each class, on features of a network trained as in trial `trial`.

    Memory: the features of one class.

    Args:
        order: the order `[n]` in which a class is picked, given the features `[n, F]` of its samples and its label.
        dataset: whose train split, of N samples, is ranked.
        config: how the network is trained.
        trial: which network.
        device: where it is trained.
        progress: told the batches of its training.
    """
    count = len(dataset.train)
    *_, network = train_epochs(dataset, torch.arange(count), config, trial, device=device, progress=progress)
    places = np.empty(count, dtype=np.float64)
    for label, members in enumerate(dataset.train.by_class()):
        if len(members):
            picked = order(embed_samples(network, dataset.train, members, config.batch_size, device), label)
            places[members[picked].numpy()] = np.arange(len(members))
    return np.arange(count), places
