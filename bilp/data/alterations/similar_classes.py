"""Which class of CIFAR-10 and CIFAR-100 is taken for which most easily, by their names.

CIFAR-10: the pairs that the literature on label noise uses since Patrini et al. 2017. CIFAR-100: the next of the five classes that
share a superclass (Krizhevsky 2009), the last one's is the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bilp.data.contents import quoted
from bilp.errors import DataError

CIFAR10: Mapping[str, str | None] = {
    "airplane": None,
    "automobile": None,
    "bird": "airplane",
    "cat": "dog",
    "deer": "horse",
    "dog": "cat",
    "frog": None,
    "horse": None,
    "ship": None,
    "truck": "automobile",
}

SUPERCLASSES = (
    ("beaver", "dolphin", "otter", "seal", "whale"),
    ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    ("orchid", "poppy", "rose", "sunflower", "tulip"),
    ("bottle", "bowl", "can", "cup", "plate"),
    ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    ("clock", "keyboard", "lamp", "telephone", "television"),
    ("bed", "chair", "couch", "table", "wardrobe"),
    ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    ("bear", "leopard", "lion", "tiger", "wolf"),
    ("bridge", "castle", "house", "road", "skyscraper"),
    ("cloud", "forest", "mountain", "plain", "sea"),
    ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    ("fox", "porcupine", "possum", "raccoon", "skunk"),
    ("crab", "lobster", "snail", "spider", "worm"),
    ("baby", "boy", "girl", "man", "woman"),
    ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
)
CIFAR100: Mapping[str, str | None] = {name: group[(place + 1) % len(group)] for group in SUPERCLASSES for place, name in enumerate(group)}


def similar_classes(class_names: Sequence[str], where: str) -> NDArray[np.int64]:
    """For each class the number of the one that it is taken for most easily, or its own where none is known; int64 `[C]`.

    Raises DataError unless the names are those of CIFAR-10 or of CIFAR-100, all of them, in any order.
    """
    for known in (CIFAR10, CIFAR100):
        if set(class_names) == known.keys():
            number = {name: place for place, name in enumerate(class_names)}
            return np.array([number[known[name] or name] for name in class_names], dtype=np.int64)
    raise DataError(
        f"{where}: semantic label noise is known of CIFAR-10 and CIFAR-100 with all of their classes, and these are others "
        f"({quoted(class_names, 3)}): set ingest.label_noise.kind to symmetric or cyclic, or give the labels in a file"
    )
