"""Data sets as FRePo's program prepares them before it distills them (Zhou et al. 2022; lib/dataset/dataloader.py of yongchaoz/FRePo).

It normalizes with constants of its own, whitens everything but MNIST and Fashion-MNIST, and numbers classes as TensorFlow Datasets or
its own readers do. `bilp.exchange.frepo_pixels` undoes the former, `bilp.exchange.frepo_classes` the latter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bilp.config.normalization import plain_name
from bilp.config.shapes import Shape
from bilp.config.sources import Normalization


@dataclass(frozen=True)
class FrepoSet:
    """What its program does with a data set."""

    shape: Shape
    classes: int
    constants: Normalization
    whitening: Literal["none", "whole", "blocks"] = "whole"
    """Whether it whitens images as a whole, or in parts of 64 x 64 that are spread over an image like the fields of a checkerboard."""
    order: str = ""
    """List of `bilp.data.class_lists` in whose order it numbers the classes, where that is not the order of the data set here."""
    numbered: bool = True
    """Whether its program tells which class has which number."""


def _constants(mean: tuple[float, ...], std: tuple[float, ...]) -> Normalization:
    return Normalization(mean, std)


_BIRDS = FrepoSet((3, 32, 32), 200, _constants((0.4810, 0.4964, 0.4245), (0.2129, 0.2084, 0.2468)))
_TINY = FrepoSet(
    (3, 64, 64), 200, _constants((0.4759, 0.4481, 0.3926), (0.2763, 0.2687, 0.2813)), order="tiny_imagenet_wnids"
)  # its reader takes the numbers from wnids.txt

SETS: dict[str, FrepoSet] = {
    "mnist": FrepoSet((1, 28, 28), 10, _constants((0.1307,), (0.3081,)), "none"),
    "fashion_mnist": FrepoSet((1, 28, 28), 10, _constants((0.2861,), (0.3530,)), "none"),
    "cifar10": FrepoSet((3, 32, 32), 10, _constants((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))),
    "cifar100": FrepoSet((3, 32, 32), 100, _constants((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762))),
    "tiny_imagenet": _TINY,
    "tiny-imagenet-200": _TINY,
    # Downsampled ImageNet, of which TensorFlow Datasets keeps the numbers, less one.
    "imagenet1k": FrepoSet(
        (3, 64, 64), 1000, _constants((0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)), order="imagenet1k_map_clsloc"
    ),
    "imagenette": FrepoSet((3, 128, 128), 10, _constants((0.4626, 0.4588, 0.4251), (0.2790, 0.2745, 0.2973)), "blocks"),
    # Its table gives nine of the ten breeds the folder of another dog, and in a spelling that its list of classes refuses.
    "imagewoof": FrepoSet((3, 128, 128), 10, _constants((0.4917, 0.4613, 0.3931), (0.2513, 0.2442, 0.2530)), "blocks", numbered=False),
    "caltech_birds2011": _BIRDS,
    "CUB_200_2011": _BIRDS,
}
"""By the name of the data set."""

_BY_PLAIN = {plain_name(name): entry for name, entry in SETS.items()}


def frepo_set(name: str, shape: Shape, classes: int) -> FrepoSet | None:
    """What is known of a data set by its name, shape and number of classes, as `bilp.config.normalization.known_set` knows copies of
    published sets: wherever it was read from, and whatever was done with it that leaves these."""
    found = _BY_PLAIN.get(plain_name(name))
    return found if found is not None and (found.shape, found.classes) == (tuple(shape), classes) else None
