"""What somebody who imports a published set can say about it."""

from __future__ import annotations

from typing import Literal

from bilp.config.base import Count, Frozen, Location, Positive

Pixels = Literal["auto", "dataset", "cifar10", "unit"]


class ImportOptions(Frozen):
    """A published set: where it lies and what its file does not tell."""

    file: Location
    """Path or URI of the .pt file, or of a safetensors file that bilp export wrote."""
    labels: Location | None = None
    """Second file of MTT, with the labels; empty is the one whose name has labels for images."""
    experiment: Count = 0
    """Which of the sets in a file of DC, DSA or DM, from 0."""
    pixels: Pixels = "auto"
    """How the images are normalized: as the dataset is, with CIFAR-10's constants, not at all (unit); auto goes by the format."""
    factor: Positive = 1
    """Stored images that stand for factor x factor ones each, as those of IDC do."""
    name: str = "imported"
    """What the set is called in tables."""
