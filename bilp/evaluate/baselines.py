"""Baselines of the synthetic set's size: as many real images, drawn at random, or chosen by herding or k-center."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from bilp.config import Baseline
from bilp.data import Dataset, Split
from bilp.errors import ConfigError
from bilp.evaluate.teacher import features
from bilp.nets import Network
from bilp.scoring.coverage import herding, k_center
from bilp.seeds import generator


def check_subset(dataset: Dataset, ipc: int, baseline: str = "random") -> None:
    """Raise ConfigError if a class has fewer than `ipc` training images."""
    if ipc < 1:
        raise ConfigError(f"baseline {baseline} needs at least one image per class, not ipc = {ipc}")
    short = {name: len(indices) for name, indices in zip(dataset.class_names, dataset.train.by_class(), strict=True) if len(indices) < ipc}
    if short:
        found = ", ".join(f"{name} has {count}" for name, count in short.items())
        needed = f"baseline {baseline} needs ipc = {ipc} training images per class"
        raise ConfigError(f"{needed}, but {found}: lower ipc or leave the baseline out")


def random_subset(train: Split, ipc: int, seed: int, number: int) -> Tensor:
    """Sample ids `[classes * ipc]` in order of their class, `ipc` drawn without replacement from each."""
    stream = generator(seed, "evaluate", "subset", number)
    return torch.cat([indices[torch.randperm(len(indices), generator=stream)[:ipc]] for indices in train.by_class()])


def covering_subset(
    baseline: Baseline, dataset: Dataset, ipc: int, seed: int, teacher: Network, device: str = "cpu"
) -> Callable[[int], Tensor]:
    """A function from the number of a training to its sample ids `[classes * ipc]`, in order of their class.

    Herding (Welling 2009) has one choice; k-center (Sener & Savarese 2018) starts, in each training and class, from
    another image drawn at random. Features are the teacher's.
    """

    @cache
    def features_of(label: int) -> Tensor:
        return features(teacher, dataset, members[label], device)

    def herded(number: int) -> Tensor:
        return same

    def centers(number: int) -> Tensor:
        chosen = []
        for label, indices in enumerate(members):
            first = int(torch.randint(len(indices), (1,), generator=generator(seed, "evaluate", "k_center", number, label)))
            chosen.append(indices[k_center(features_of(label), ipc, first)])
        return torch.cat(chosen)

    members = dataset.train.by_class()
    if baseline == "k_center":
        return cache(centers)
    same = torch.cat([indices[herding(features_of(label), ipc)] for label, indices in enumerate(members)])
    return herded
