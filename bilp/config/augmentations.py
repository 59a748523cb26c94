"""The registries of augmentations: the differentiable families of DSA, and the operations of DC's own program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bilp.registry import EntryName, Registry


@dataclass(frozen=True)
class AugmentationEntry:
    """A family of differentiable augmentation (DSA; Zhao & Bilen 2021)."""

    name: str
    family: str
    """"module:name" of its `bilp.images.families.Family`."""
    mirrors: bool = False
    """Whether it mirrors, which changes what images of some data sets mean."""
    erases: bool = False
    """Whether it erases a part of the image, so that CutMix takes its place."""
    of_dsa: bool = True
    """Whether it is one of the families of DSA, of which methods draw unless somebody says otherwise."""
    combined: int | None = None
    """Place in IDC's combination, where it always applies: negative before the one that is drawn, positive after it. None if it is
    among those that one is drawn of."""


AUGMENTATIONS: Registry[AugmentationEntry] = Registry(
    "augmentation",
    AugmentationEntry,
    (
        AugmentationEntry("color", "bilp.images.families:COLOR", combined=-1),
        AugmentationEntry("crop", "bilp.images.families:CROP"),
        AugmentationEntry("cutout", "bilp.images.families:CUTOUT", erases=True, combined=1),
        AugmentationEntry("flip", "bilp.images.families:FLIP", mirrors=True, combined=-2),
        AugmentationEntry("scale", "bilp.images.families:SCALE"),
        AugmentationEntry("rotate", "bilp.images.families:ROTATE"),
        AugmentationEntry("resized_crop", "bilp.images.families:RESIZED_CROP", of_dsa=False),
    ),
)
ALL_FAMILIES = tuple(name for name, entry in AUGMENTATIONS.items() if entry.of_dsa)
AugmentFamily = Annotated[str, EntryName("bilp.config.augmentations:AUGMENTATIONS")]


def without_mirroring(families: tuple[str, ...] | list[str]) -> list[str]:
    """The families that do not mirror, in their order."""
    return [name for name in families if not AUGMENTATIONS[name].mirrors]


@dataclass(frozen=True)
class OperationEntry:
    """An operation of DC's own program, which it applies to single images on the CPU."""

    name: str
    operation: str
    """"module:name" of a `bilp.images.dc_augment.Operation`."""


OPERATIONS: Registry[OperationEntry] = Registry(
    "operation",
    OperationEntry,
    (
        OperationEntry("crop", "bilp.images.dc_augment:crop"),
        OperationEntry("scale", "bilp.images.dc_augment:scale"),
        OperationEntry("rotate", "bilp.images.dc_augment:rotate"),
        OperationEntry("noise", "bilp.images.dc_augment:add_noise"),
    ),
)
ImageOperation = Annotated[str, EntryName("bilp.config.augmentations:OPERATIONS")]
