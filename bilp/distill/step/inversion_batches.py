"""Which synthetic images share a batch while a teacher is inverted: the view of them, and the statistics that they are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.config import METHODS
from bilp.distill.step.setting import Setting
from bilp.registry import resolve


@dataclass(frozen=True)
class InversionBatch:
    """Synthetic images that have one view and one mean and variance per layer."""

    rows: Tensor
    """Their rows in the tensor of all synthetic images, int64 `[n]`, on the run's device."""
    path: tuple[int, ...]
    """Numbers in the names of its streams, the same whichever classes are distilled beside it."""
    class_index: int | None = None
    """Their class; None for images of different classes."""
    of_class: bool = False
    """Whether they are given the statistics of the real images of their class; otherwise those that the teacher holds."""


Batches = Callable[[Setting], list[InversionBatch]]


def batches_of(setting: Setting) -> list[InversionBatch]:
    """The batches of an iteration, as the method's entry has them; every synthetic image is in one."""
    made: Batches = resolve(METHODS[setting.config.method].parts["batches"])
    return made(setting)


def of_different_classes(setting: Setting) -> list[InversionBatch]:
    """SRe2L and CDA: consecutive classes, one image of each, up to `inversion.together` of them."""
    ipc, places = setting.config.ipc, torch.arange(len(setting.classes), device=setting.device)
    return [
        InversionBatch(part * ipc + image, (image, number))
        for image in range(ipc)
        for number, part in enumerate(places.split(setting.config.inversion.together))
    ]


def of_one_class(setting: Setting) -> list[InversionBatch]:
    """LPLD: the images of a class, up to `inversion.together` of them."""
    of_class = setting.config.class_statistics.target == "class"
    return [
        InversionBatch(rows, (c, number), c, of_class)
        for c in setting.classes
        for number, rows in enumerate(setting.row_numbers(c).split(setting.config.inversion.together))
    ]
