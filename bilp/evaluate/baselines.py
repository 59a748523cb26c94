"""The random baseline: as many real images as the synthetic set has, a new choice for every seed."""

from __future__ import annotations

import torch
from torch import Tensor

from bilp.data import Dataset, Split
from bilp.errors import ConfigError
from bilp.seeds import generator


def check_subset(dataset: Dataset, ipc: int) -> None:
    """Raise ConfigError if a class has fewer than `ipc` training images."""
    if ipc < 1:
        raise ConfigError(f"baseline random needs at least one image per class, not ipc = {ipc}")
    short = {name: len(indices) for name, indices in zip(dataset.class_names, dataset.train.by_class(), strict=True) if len(indices) < ipc}
    if short:
        found = ", ".join(f"{name} has {count}" for name, count in short.items())
        raise ConfigError(f"baseline random needs ipc = {ipc} training images per class, but {found}: lower ipc or leave the baseline out")


def random_subset(train: Split, ipc: int, seed: int, number: int) -> Tensor:
    """Sample ids `[classes * ipc]` in order of their class, `ipc` drawn without replacement from each."""
    stream = generator(seed, "evaluate", "subset", number)
    return torch.cat([indices[torch.randperm(len(indices), generator=stream)[:ipc]] for indices in train.by_class()])
