"""The numbers that FRePo's program gives to classes, as those of a data set here.

It takes TinyImageNet's from wnids.txt and downsampled ImageNet's from map_clsloc.txt, where the order here is that of the sorted WordNet
ids (`bilp.data.class_lists`); of the other sets they are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bilp.config.methods.frepo_sets import SETS, FrepoSet, frepo_set
from bilp.data import Dataset
from bilp.data.class_lists import class_order
from bilp.errors import ConfigError


def class_places(dataset: Dataset) -> Tensor | None:
    """For each number of a class in that program the number in a data set, int64 `[classes]`; None where these are the same, and for
    data sets that are neither known by their names nor by the ids of their classes.

    Raises ConfigError where its numbers cannot be told, or the classes of the data set are not known by the ids that would tell.
    """
    known = frepo_set(dataset.name, dataset.shape, dataset.classes) or _by_ids(dataset)
    if known is None:
        return None
    if not known.numbered:
        raise ConfigError(f"FRePo's program does not tell which class of {dataset.name} has which number: its sets cannot be imported")
    if not known.order:
        return None
    order = class_order(known.order)
    for ids in _ids(dataset):
        if set(ids) == set(order):
            place = {class_id: number for number, class_id in enumerate(ids)}
            return torch.tensor([place[class_id] for class_id in order])
    raise ConfigError(
        f"FRePo's program numbers the classes of {dataset.name} in the order of {known.order}, and the classes of this copy have no "
        "WordNet ids: ingest it by the source of that name, or from folders that are named by them"
    )


def _by_ids(dataset: Dataset) -> FrepoSet | None:
    """A set that gives classes with these ids other numbers, or none that can be told, under whatever name and at whatever side."""
    for name, known in SETS.items():
        order = known.order if known.numbered else name
        if order and len(listed := set(class_order(order))) == dataset.classes and any(set(ids) == listed for ids in _ids(dataset)):
            return known
    return None


def _ids(dataset: Dataset) -> tuple[Sequence[str], ...]:
    """What the classes may be known by."""
    return (dataset.class_ids or (), dataset.class_names)
