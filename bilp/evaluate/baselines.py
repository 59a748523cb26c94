"""Baselines of the synthetic set's size: as many real images, drawn at random, or chosen by herding or k-center."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

import torch
from torch import Tensor

from bilp.config.arithmetics import FLOAT32
from bilp.config.base import GpuArithmetic
from bilp.data import Dataset
from bilp.data.pool import RealPool
from bilp.errors import ConfigError
from bilp.evaluate.teacher import features
from bilp.nets import Network
from bilp.nets.arithmetic import arithmetic
from bilp.scoring.coverage import herding, k_center
from bilp.seeds import generator
from bilp.text.sample_words import spoken


def random_subset(members: Sequence[Tensor], ipc: int, seed: int, number: int) -> Tensor:
    """Sample ids `[classes * ipc]` in order of their class, `ipc` drawn without replacement from each class's `members`."""
    stream = generator(seed, "evaluate", "subset", number)
    return torch.cat([indices[torch.randperm(len(indices), generator=stream)[:ipc]] for indices in members])


@dataclass(frozen=True)
class Choice:
    """What images are chosen of, and by: `ipc` of each class; `teacher` gives features where they are asked for."""

    dataset: Dataset
    ipc: int
    seed: int
    teacher: Network | None = None
    device: str = "cpu"
    selected: Tensor | None = None
    """The sample ids that may be chosen; None for all training images."""
    gpu: GpuArithmetic = FLOAT32
    """Arithmetic of the features on a GPU."""

    @cached_property
    def members(self) -> tuple[Tensor, ...]:
        """By class, the sample ids that may be chosen, ascending."""
        return RealPool(self.dataset, self.selected).by_class

    def features(self, label: int) -> Tensor:
        """The teacher's features `[n, F]` of the images of a class that may be chosen. Raises ConfigError without a teacher."""
        if self.teacher is None:
            raise ConfigError("a choice that covers a class needs a teacher, whose features it covers")
        with arithmetic(self.gpu, self.device):
            return features(self.teacher, self.dataset, self.members[label], self.device)


def check_subset(of: Choice, baseline: str) -> None:
    """Raise ConfigError if a class has fewer images to choose from than are chosen."""
    ipc, dataset = of.ipc, of.dataset
    if ipc < 1:
        raise ConfigError(f"baseline {baseline} needs at least one {spoken('image')} per class, not ipc = {ipc}")
    short = {name: len(indices) for name, indices in zip(dataset.class_names, of.members, strict=True) if len(indices) < ipc}
    if short:
        found = ", ".join(f"{name} has {count}" for name, count in short.items())
        needed = f"baseline {baseline} needs ipc = {ipc} {spoken('training images')} per class"
        raise ConfigError(f"{needed}, but {found}: lower ipc or leave the baseline out")


Chooser = Callable[[Choice], Callable[[int], Tensor]]
"""From what is chosen of to a function from a training's number to its sample ids `[classes * ipc]`, in order of their class."""


def random_choice(of: Choice) -> Callable[[int], Tensor]:
    """Another random subset `[classes * ipc]` for each training."""
    return partial(random_subset, of.members, of.ipc, of.seed)


def herded_choice(of: Choice) -> Callable[[int], Tensor]:
    """Herding (Welling 2009): one choice `[classes * ipc]` for all trainings, whose mean stays close to the class's."""
    members = of.members
    same = torch.cat([indices[herding(of.features(label), of.ipc)] for label, indices in enumerate(members)])
    return lambda number: same


def centered_choice(of: Choice) -> Callable[[int], Tensor]:
    """K-center (Sener & Savarese 2018), `[classes * ipc]`: it starts, in each training and class, from another image drawn at random."""
    members = of.members
    features_of = cache(of.features)

    @cache
    def centers(number: int) -> Tensor:
        chosen = []
        for label, indices in enumerate(members):
            first = int(torch.randint(len(indices), (1,), generator=generator(of.seed, "evaluate", "k_center", number, label)))
            chosen.append(indices[k_center(features_of(label), of.ipc, first)])
        return torch.cat(chosen)

    return centers
