"""Wrong labels that are drawn by lot: to any other class, the next one, or the most similar one.

Which labels are chosen and which class each would become is drawn for every sample, whatever the share: so a larger share holds the
wrong labels of a smaller one with the same seed, and the kinds choose the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from bilp.config.label_noise import LabelNoiseConfig
from bilp.data.alterations.similar_classes import similar_classes
from bilp.data.contents import Labels
from bilp.errors import DataError
from bilp.seeds import generator

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Labeled:
    """True labels `[N]` of training images, and what a kind of noise may know of them."""

    labels: Labels
    class_names: Sequence[str]
    places: Integers
    """Position of each among the `total` images of the source's train split, `[N]`."""
    total: int
    where: str
    """Names the source in messages."""


def symmetric(given: Labeled, config: LabelNoiseConfig) -> Labels:
    """Each chosen label becomes a class drawn uniformly from all others; int64 `[N]`."""
    classes = _several(given)
    drawn = torch.randint(1, classes, (len(given.labels),), generator=generator(config.seed, "ingest", "label_noise", "becomes"))
    return _changed(given, config, (given.labels + drawn.numpy()) % classes)


def cyclic(given: Labeled, config: LabelNoiseConfig) -> Labels:
    """Each chosen label c becomes (c + 1) mod C; int64 `[N]`."""
    return _changed(given, config, (given.labels + 1) % _several(given))


def semantic(given: Labeled, config: LabelNoiseConfig) -> Labels:
    """Each chosen label becomes the class that it is taken for most easily; classes without one keep theirs; int64 `[N]`.

    Raises DataError for classes that no such table is known of.
    """
    becomes = similar_classes(given.class_names, given.where)
    return _changed(given, config, becomes[given.labels])


def count_of(share: float, images: int) -> int:
    """round(share * images), halves upwards, with the share as it was written down."""
    return int(Fraction(repr(share)) * images + Fraction(1, 2))


def _several(given: Labeled) -> int:
    classes = len(given.class_names)
    if classes < 2:
        raise DataError(f"{given.where}: one class has no label that could be wrong: set ingest.label_noise.kind to none")
    return classes


def _changed(given: Labeled, config: LabelNoiseConfig, becomes: Labels) -> Labels:
    """The labels, of which the share of those that differ from what they would become does."""
    assert config.share is not None
    labels, able = given.labels, np.flatnonzero(becomes != given.labels)
    groups = [able[labels[able] == label] for label in np.unique(labels[able])] if config.per_class else [able]
    changed = labels.copy()
    for group in groups:
        path = ("class", int(labels[group[0]])) if config.per_class else ("all",)
        order = torch.randperm(len(group), generator=generator(config.seed, "ingest", "label_noise", *path)).numpy()
        chosen = group[order[: count_of(config.share, len(group))]]
        changed[chosen] = becomes[chosen]
    return changed
