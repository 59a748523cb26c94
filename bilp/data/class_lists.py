"""The classes of public data sets: their ids and names, in the order that all published indices mean.

Each list is a file of `bilp/data/classes`: a line per class, its id, a blank and its name. Those of ImageNet are the sorted WordNet
ids and the first of each synset's names; subsets are in the order in which the papers list them (Cazenavette et al. 2022, Kim et
al. 2022).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

IMAGENET1K = "imagenet1k"
MAP_CLSLOC = "imagenet1k_map_clsloc"
"""WordNet ids in the order of map_clsloc.txt, which numbers the classes of downsampled ImageNet from 1."""


@cache
def class_list(name: str) -> dict[str, str]:
    """Name by id of the classes of a data set, in order. Raises FileNotFoundError for a set that has no list."""
    text = files("bilp.data").joinpath("classes", f"{name}.txt").read_text(encoding="utf-8")
    return {class_id: rest or class_id for class_id, _, rest in (line.partition(" ") for line in text.splitlines())}


@cache
def class_order(name: str) -> tuple[str, ...]:
    """The ids of a list in order: position 0 is the class 0 of published indices."""
    return tuple(class_list(name))
