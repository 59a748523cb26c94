"""How many samples and classes published sets have, for a plan that is made before anybody has the data.

By the name of a source in `bilp.config.sources`; one that is not among these has to be listed. Copies differ: these are the usual ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SetCounts:
    """Sizes of a set; classes are taken as equally large."""

    train: int
    test: int
    classes: int


_TEN_OF_IMAGENET = SetCounts(13000, 500, 10)

SET_COUNTS: Mapping[str, SetCounts] = {
    "mnist": SetCounts(60000, 10000, 10),
    "fashion_mnist": SetCounts(60000, 10000, 10),
    "svhn": SetCounts(73257, 26032, 10),
    "cifar10": SetCounts(50000, 10000, 10),
    "cifar100": SetCounts(50000, 10000, 100),
    "imagenet1k": SetCounts(1281167, 50000, 1000),
    **dict.fromkeys(("imagenette", "imagewoof", "imagefruit", "imageyellow", "imagemeow", "imagesquawk", "imagenet10"), _TEN_OF_IMAGENET),
    "imagenet100": SetCounts(130000, 5000, 100),
    "tiny_imagenet": SetCounts(100000, 10000, 200),
    "kinetics400": SetCounts(240258, 19881, 400),  # what exists in the usual copy, of 246,534 and 19,906 listed
    "ucf101": SetCounts(9537, 3783, 101),
    "miniucf": SetCounts(4662, 1861, 50),
    "hmdb51": SetCounts(3570, 1530, 51),
    "ssv2": SetCounts(168913, 24777, 174),
}
