"""Measures herding and k_center: the place of each sample in the order in which its class is covered."""

from __future__ import annotations

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


@torch.no_grad()
def embed_samples(network: Network, split: Split, indices: Tensor, batch_size: int, device: str = "cpu") -> Tensor:
    """Features `[n, F]` on `device` of the samples at `indices` `[n]`, under a network in eval mode."""
    return torch.cat([network.embed(split.batch(batch, device)) for batch in batches(indices, batch_size)])


def pick_places(dataset: Dataset, config: ScoreConfig, trial: int, device: str = "cpu", progress: Progress = silent) -> NDArray[np.int64]:
    """Places [N], from 0 in each class, in the order of `config.measure` on features of a network trained as in trial `trial`.

    k-center starts from a sample drawn by the trial's seed. Memory: the features of one class.
    """
    *_, network = train_epochs(dataset, torch.arange(len(dataset.train)), config, trial, device=device, progress=progress)
    places = np.empty(len(dataset.train), dtype=np.int64)
    for label, members in enumerate(dataset.train.by_class()):
        if not len(members):
            continue
        features = embed_samples(network, dataset.train, members, config.batch_size, device)
        if config.measure == "herding":
            order = herding(features)
        else:
            stream = generator(config.seed, "score", trial, "first center", label)
            order = k_center(features, first=int(torch.randint(len(members), (), generator=stream)))
        places[members[order].numpy()] = np.arange(len(members))
    return places
