"""Experts that are trained in a fraction of a second."""

from __future__ import annotations

from dataclasses import dataclass

from bilp.config import ExpertsConfig, NetworkConfig
from bilp.data import Dataset

NARROW = NetworkConfig(width=8, depth=2)
TINY = ExpertsConfig(count=3, epochs=3, batch_size=32, learning_rate=0.1, augment=("color", "crop", "cutout", "scale", "rotate"))


@dataclass(frozen=True)
class Store:
    """A storage root with the digits and a tenth of them selected."""

    root: str
    uri: str
    dataset: Dataset
    selection: str
