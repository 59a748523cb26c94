"""Features of real samples, by the network of a scoring's first trial, for rules that choose by coverage."""

from __future__ import annotations

import numpy as np
import torch

from bilp.config import ScoreConfig
from bilp.data import Dataset
from bilp.nets import Network
from bilp.nets.arithmetic import arithmetic
from bilp.progress import Progress, silent
from bilp.pruning.choice import Features
from bilp.pruning.static import Integers
from bilp.scoring.picking import embed_samples
from bilp.scoring.short_training import train_epochs


def features_of(dataset: Dataset, config: ScoreConfig, device: str = "cpu", progress: Progress = silent) -> Features:
    """A function that gives features of samples of the train split; the network is trained when it is first called.

    It is trained on the whole split as the first trial was, from the same random streams, so that nothing has to be kept.

    Args:
        dataset: whose train split it learns.
        config: of the scoring.
        device: where the network is.
        progress: told the batches of its training.
    """
    trained: list[Network] = []

    def embed(indices: Integers) -> torch.Tensor:
        with arithmetic(config.gpu, device):
            if not trained:
                *_, network = train_epochs(dataset, torch.arange(len(dataset.train)), config, 0, device=device, progress=progress)
                trained.append(network)
            return embed_samples(trained[0], dataset.train, torch.from_numpy(np.ascontiguousarray(indices)), config.batch_size, device)

    return embed
