"""A long tail: classes keep fewer and fewer of their training images, in label order (Cui et al. 2019, exponential profile)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bilp.config.alterations import LongTailConfig
from bilp.data.contents import Labels
from bilp.data.duplicates import Mask
from bilp.seeds import generator

ROUNDING = 1e-9
"""So that 5000 / 100 is 50 wherever powers round."""


def kept_of_classes(images: Sequence[int], imbalance: float) -> NDArray[np.int64]:
    """How many of its n images class c of C keeps: floor(n * imbalance^(-c / (C - 1))), but at least one; int64 `[C]`."""
    last = max(len(images) - 1, 1)
    kept = [max(1, int(count * imbalance ** (-number / last) + ROUNDING)) if count else 0 for number, count in enumerate(images)]
    return np.array(kept, dtype=np.int64)


def long_tail(labels: Labels, classes: int, config: LongTailConfig) -> Mask:
    """Which of the images with these labels `[N]` stay, `[N]`; those of each class are drawn by lot."""
    counts = np.bincount(labels, minlength=classes)
    kept = np.zeros(len(labels), dtype=np.bool_)
    for number, most in enumerate(kept_of_classes(counts.tolist(), config.imbalance).tolist()):
        members = np.flatnonzero(labels == number)
        order = torch.randperm(len(members), generator=generator(config.seed, "ingest", "long_tail", number)).numpy()
        kept[members[order[:most]]] = True
    return kept
