"""What somebody who imports a published set can say about it.

A further way to normalize the images of a set is one entry of PIXELS and one function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bilp.config.base import Count, Frozen, Location, Positive
from bilp.config.normalization import NORMALIZATIONS
from bilp.config.sources import Normalization
from bilp.registry import EntryName, Registry


@dataclass(frozen=True)
class PixelScale:
    """How the images of a published set may be normalized: a value of --pixels."""

    name: str
    constants: Normalization | None = None
    """By which they are normalized."""
    undo: str = ""
    """"module:function" where there is more to undo: (images `[n, C, H, W]`, Dataset) -> pixels, 0 to 1 of what a picture can show."""


AUTO = PixelScale("auto")
"""As the format of the file says."""
AS_DATASET = PixelScale("dataset")
"""As the data set is that the set is of."""
UNIT = PixelScale("unit")
"""Pixels in [0, 1]."""

PIXELS: Registry[PixelScale] = Registry(
    "scale of pixels",
    PixelScale,
    (
        AUTO,
        AS_DATASET,
        PixelScale("cifar10", NORMALIZATIONS["cifar10"].constants),
        UNIT,
        PixelScale("frepo", undo="bilp.exchange.frepo_pixels:frepo_pixels"),
    ),
)

Pixels = Annotated[str, EntryName("bilp.config.import_options:PIXELS")]


class ImportOptions(Frozen):
    """A published set: where it lies and what its file does not tell."""

    file: Location
    """Path or URI of the .pt file, of FRePo's checkpoint or .npz, or of a safetensors file that bilp export wrote."""
    labels: Location | None = None
    """Second file of MTT, with the labels; empty is the one whose name has labels for images."""
    experiment: Count = 0
    """Which of the sets in a file of DC, DSA or DM, from 0."""
    pixels: Pixels = "auto"
    """How the images are normalized: as the dataset is, with CIFAR-10's constants, not at all (unit), or normalized and whitened as by
    FRePo's program (frepo); auto goes by the format."""
    factor: Positive = 1
    """Stored images that stand for factor x factor ones each, as those of IDC do."""
    name: str = "imported"
    """What the set is called in tables."""
