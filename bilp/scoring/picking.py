"""Measures herding, k_center and center_distance: where each sample lies in its class, in the features of a trained network."""

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
    """Features `[n, F]` of some samples.

    Args:
        network: in eval mode, on `device`.
        split: where the samples are.
        indices: their sample ids, int64 `[n]`.
        batch_size: how many pass the network at once.
        device: where the features lie.
    """
    return torch.cat([network.embed(split.batch(batch, device)) for batch in batches(indices, batch_size)])


def herding_places(dataset: Dataset, config: ScoreConfig, trial: int, device: str = "cpu", progress: Progress = silent) -> Scores:
    """Every sample id `[N]`, and its place `[N]`, from 0, in the order in which herding picks its class.

    Args:
        dataset: whose train split, of N samples, is ranked.
        config: how the network is trained that the features are of.
        trial: names the streams of the training.
        device: where the network is trained.
        progress: told the batches of the training.
    """
    return _places(lambda features, label: herding(features), dataset, config, trial, device, progress)


def k_center_places(dataset: Dataset, config: ScoreConfig, trial: int, device: str = "cpu", progress: Progress = silent) -> Scores:
    """Every sample id `[N]`, and its place `[N]`, from 0, in the order of k-center, from a sample of its class drawn by the trial's seed.

    Args:
        dataset: whose train split, of N samples, is ranked.
        config: how the network is trained that the features are of.
        trial: names the streams of the training and of the first samples.
        device: where the network is trained.
        progress: told the batches of the training.
    """

    def order(features: Tensor, label: int) -> Tensor:
        stream = generator(config.seed, "score", trial, "first center", label)
        return k_center(features, first=int(torch.randint(len(features), (), generator=stream)))

    return _places(order, dataset, config, trial, device, progress)


def center_distances(dataset: Dataset, config: ScoreConfig, trial: int, device: str = "cpu", progress: Progress = silent) -> Scores:
    """Every sample id `[N]`, and the Euclidean distance `[N]` of its features from the center of its class (Xia et al. 2023, Moderate).

    The center is the median of each feature, as in the authors' program; their paper writes the mean.

    Args:
        dataset: whose train split, of N samples, is ranked.
        config: how the network is trained that the features are of.
        trial: names the streams of the training.
        device: where the network is trained.
        progress: told the batches of the training.
    """

    def distances(features: Tensor, label: int) -> Tensor:
        found: Tensor = torch.linalg.vector_norm(features - class_center(features), dim=1)
        return found

    return _of_classes(distances, dataset, config, trial, device, progress)


def class_center(features: Tensor) -> Tensor:
    """The median `[F]` of each feature of `[n, F]`: of an even number of values the mean of the two in the middle."""
    ascending = features.sort(dim=0).values
    return (ascending[(len(features) - 1) // 2] + ascending[len(features) // 2]) / 2


def _places(
    order: Callable[[Tensor, int], Tensor], dataset: Dataset, config: ScoreConfig, trial: int, device: str, progress: Progress
) -> Scores:
    """Ids and places `[N]`, from 0 in each class, on features of a network trained as in trial `trial`.

    Args:
        order: the order `[n]` in which a class is picked, given the features `[n, F]` of its samples and its label.
        dataset: whose train split, of N samples, is ranked.
        config: how the network is trained.
        trial: which network.
        device: where it is trained.
        progress: told the batches of its training.
    """

    def places(features: Tensor, label: int) -> Tensor:
        picked = order(features, label)
        return torch.empty(len(picked), dtype=torch.float64).scatter_(0, picked.cpu(), torch.arange(len(picked), dtype=torch.float64))

    return _of_classes(places, dataset, config, trial, device, progress)


def _of_classes(
    scores: Callable[[Tensor, int], Tensor], dataset: Dataset, config: ScoreConfig, trial: int, device: str, progress: Progress
) -> Scores:
    """Ids `[N]`, and a score `[N]` of each sample by the features of its class, of a network trained as in trial `trial`.

    Memory: the features of one class.

    Args:
        scores: of the samples of a class `[n]`, given their features `[n, F]` and its label.
        dataset: whose train split, of N samples, is ranked.
        config: how the network is trained.
        trial: which network.
        device: where it is trained.
        progress: told the batches of its training.
    """
    count = len(dataset.train)
    *_, network = train_epochs(dataset, torch.arange(count), config, trial, device=device, progress=progress)
    found = np.empty(count, dtype=np.float64)
    for label, members in enumerate(dataset.train.by_class()):
        if len(members):
            features = embed_samples(network, dataset.train, members, config.batch_size, device)
            found[members.numpy()] = scores(features, label).double().cpu().numpy()
    return np.arange(count), found
